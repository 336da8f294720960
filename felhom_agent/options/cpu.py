"""The CPU of a QEMU guest: the models that PVE knows by name, and what a guest may say of one.

Apart because of the list of models, which grows with QEMU; a new model is one new word.
PVE: qemu-server QemuServer/CPUConfig.pm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from felhom_agent.options.formats import Invalid, phys_bits
from felhom_agent.options.propstring import Key, PropertyString, one_word
from felhom_agent.options.since import Since, qemu_server
from felhom_agent.options.types import Boolean, Text, Words, choice, integer

# A model of the operator's own is "custom-..." and not here
_CPU_MODELS: Final = frozenset(
    choice(
        "486 pentium pentium2 pentium3 coreduo core2duo Conroe Penryn Nehalem Nehalem-IBRS Westmere"
        " Westmere-IBRS SandyBridge SandyBridge-IBRS IvyBridge IvyBridge-IBRS Haswell Haswell-IBRS"
        " Haswell-noTSX Haswell-noTSX-IBRS Broadwell Broadwell-IBRS Broadwell-noTSX"
        " Broadwell-noTSX-IBRS Skylake-Client Skylake-Client-IBRS Skylake-Client-noTSX-IBRS"
        " Skylake-Client-v4 Skylake-Server Skylake-Server-IBRS Skylake-Server-noTSX-IBRS"
        " Skylake-Server-v4 Skylake-Server-v5 Cascadelake-Server Cascadelake-Server-v2"
        " Cascadelake-Server-noTSX Cascadelake-Server-v4 Cascadelake-Server-v5 Cooperlake"
        " Cooperlake-v2 KnightsMill Icelake-Client Icelake-Client-noTSX Icelake-Server"
        " Icelake-Server-noTSX Icelake-Server-v3 Icelake-Server-v4 Icelake-Server-v5"
        " Icelake-Server-v6 Icelake-Server-v7 SapphireRapids SapphireRapids-v2 SapphireRapids-v3"
        " SapphireRapids-v4 GraniteRapids GraniteRapids-v2 GraniteRapids-v3 SierraForest"
        " SierraForest-v2 SierraForest-v3 ClearwaterForest athlon phenom Opteron_G1 Opteron_G2"
        " Opteron_G3 Opteron_G4 Opteron_G5 EPYC EPYC-IBPB EPYC-v3 EPYC-v4 EPYC-v5 EPYC-Rome"
        " EPYC-Rome-v2 EPYC-Rome-v3 EPYC-Rome-v4 EPYC-Rome-v5 EPYC-Milan EPYC-Milan-v2"
        " EPYC-Milan-v3 EPYC-Genoa EPYC-Genoa-v2 EPYC-Turin host kvm32 kvm64 qemu32 qemu64 max"
        " x86-64-v2 x86-64-v2-AES x86-64-v3 x86-64-v4 a64fx cortex-a35 cortex-a53 cortex-a55"
        " cortex-a57 cortex-a710 cortex-a72 cortex-a76 neoverse-n1 neoverse-n2 neoverse-v1"
    ).values
)
# By the history of qemu-server; those that are not here came with PVE 7.0 or before
_MODELS_SINCE: Final[Mapping[str, Since]] = {
    model: since
    for since, models in (
        (qemu_server("7.2-4", "7.3"), "EPYC-Milan"),
        (qemu_server("8.0.4", "8.0"), "x86-64-v2 x86-64-v2-AES x86-64-v3 x86-64-v4"),
        (
            qemu_server("8.0.5", "8.1"),
            (
                "Cascadelake-Server-v2 Cascadelake-Server-v4 Cascadelake-Server-v5 Cooperlake"
                " Cooperlake-v2 EPYC-Rome-v2 EPYC-v3 Icelake-Server-v3 Icelake-Server-v4"
                " Icelake-Server-v5 Icelake-Server-v6 SapphireRapids Skylake-Client-v4"
                " Skylake-Server-v4 Skylake-Server-v5"
            ),
        ),
        (
            qemu_server("8.1.0", "8.2"),
            (
                "EPYC-Genoa EPYC-Milan-v2 EPYC-Rome-v3 EPYC-Rome-v4 EPYC-v4 GraniteRapids"
                " SapphireRapids-v2"
            ),
        ),
        (
            qemu_server("9.1.4", "9.2"),
            (
                "ClearwaterForest EPYC-Genoa-v2 EPYC-Milan-v3 EPYC-Rome-v5 EPYC-Turin EPYC-v5"
                " GraniteRapids-v2 GraniteRapids-v3 Icelake-Server-v7 SapphireRapids-v3"
                " SapphireRapids-v4 SierraForest SierraForest-v2 SierraForest-v3"
            ),
        ),
        (
            qemu_server("9.1.5", "9.2"),
            (
                "a64fx cortex-a35 cortex-a53 cortex-a55 cortex-a57 cortex-a710 cortex-a72"
                " cortex-a76 neoverse-n1 neoverse-n2 neoverse-v1"
            ),
        ),
    )
    for model in models.split()
}
# PVE: qemu-server QemuServer/CPUFlags.pm $supported_vm_specific_cpu_flags_by_arch, before 9.1.13 in
# CPUConfig.pm; the same since PVE 6, but for those in `_FLAGS_SINCE`
_FLAGS: Final = choice(
    "aes amd-no-ssb amd-ssbd hv-evmcs hv-tlbflush ibpb md-clear nested-virt pcid pdpe1gb spec-ctrl"
    " ssbd virt-ssbd"
).values
_FLAGS_SINCE: Final[Mapping[str, Since]] = {"nested-virt": qemu_server("9.0.27", "9.1")}
_SUBSET: Final = "invalid format - VM-specific CPU flags must be a subset of: "


def _fit_a_guest(parts: Mapping[str, str]) -> None:
    _known_cpu(parts)
    _allowed_flags(parts.get("flags", ""))


def _allowed_flags(flags: str) -> None:
    # PVE: CPUConfig.pm validate_vm_cpu_conf; a model of the operator's own may have any
    wrong = [flag for flag in flags.split(";") if flag and flag[1:] not in _FLAGS]
    if wrong:
        raise Invalid(
            f"{_SUBSET}{', '.join(_FLAGS)}\n",
            f"flags must be some of {', '.join(_FLAGS)}, not {one_word(wrong[0])}; "
            "for another one make a CPU model of your own in PVE",
        )


def _known_cpu(parts: Mapping[str, str]) -> None:
    # PVE: CPUConfig.pm validate_vm_cpu_conf
    model = parts.get("cputype", "")
    if model in {"", "0"}:  # to Perl both are false
        raise Invalid(
            "invalid format - CPU is missing cputype\n", "must begin with a model, like host"
        )
    if model not in _CPU_MODELS and not model.startswith("custom-"):
        raise Invalid(
            f"invalid format - Built-in cputype '{model}' is not defined"
            " (missing 'custom-' prefix?)\n",
            f"must be a model that PVE knows, like host or x86-64-v2-AES, not {one_word(model)}; "
            "one of your own begins with custom-",
        )


CPU: Final = PropertyString(
    {
        "cputype": Key(Text(), words_since=_MODELS_SINCE),
        "flags": Key(
            Words(
                ";",
                pattern=r"[+-][\w.-]+(?:;[+-][\w.-]+)*",
                unordered=True,
                words="flags with + or - before and semicolons between, like +aes;-pcid",
            ),
            words_since=_FLAGS_SINCE,
        ),
        "guest-phys-bits": Key(integer(32, 64), since=qemu_server("9.0.18", "9.1")),
        "hidden": Key(Boolean(), "0"),
        "hv-vendor-id": Key(Text(pattern=r"[a-zA-Z0-9]{1,12}", words="1 to 12 letters and digits")),
        "level": Key(integer(0, 4294967295), since=qemu_server("9.1.14", "9.2")),
        "phys-bits": Key(Text(phys_bits)),
    },
    "cputype",
    verdict=_fit_a_guest,
)
