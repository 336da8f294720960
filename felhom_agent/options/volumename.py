"""What a volume's name tells of it: whether any storage of PVE's own can read it, and its format.

A name that begins as those of PVE's own storages do must go on as they do. Any other may be of a
custom storage plugin, and nothing is said of it, but for what is plainly meant as a size.

PVE: pve-storage Storage/Plugin.pm parse_volname, parse_name_dir; LVMPlugin.pm, LvmThinPlugin.pm,
ZFSPoolPlugin.pm, RBDPlugin.pm parse_volname; Storage.pm ISO_EXT_RE_0, IMPORT_EXT_RE_1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from felhom_agent.options.volume import Volume

_SIZE: Final = re.compile(
    r"\s*[+-]?(?:0x[0-9a-f]+|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?)"
    r"\s*(?:[kmgtpe]?(?:i?b)?|bytes?|%)\s*",
    re.IGNORECASE,
)
_IMAGE: Final = r"[^/\s]+\.(raw|qcow2|vmdk|subvol)"
_OF_DIRECTORY: Final = re.compile(rf"[0-9]+/(?:{_IMAGE}/[0-9]+/)?{_IMAGE}")
_SNAPSHOT: Final = re.compile(r"snap-.*\.qcow2")
_ISO: Final = re.compile(r"iso/[^/]+\.(?:iso|img)", re.IGNORECASE)
_SAFE: Final = r"[ a-zA-Z0-9.+=_-]+"
_TO_IMPORT: Final = re.compile(rf"import/{_SAFE}(?:\.ova/{_SAFE})?\.(?:qcow2|raw|vmdk)")
_MACHINE: Final = re.compile(rf"import/{_SAFE}\.ov[af]")
_OF_POOL: Final = re.compile(
    r"((?:base|basevol)-[0-9]+-\S+/)?(base|basevol|vm|subvol)-[0-9]+-(\S+)"
)


def unreadable(text: str) -> str:
    """Given the volume part of a drive or mount point, return why no storage of PVE's can read its
    name; empty if one can, or if it may be a custom storage's.
    """
    volume = Volume(text)
    if not volume.storage or volume.is_request:
        return ""
    name = _name(text)
    if _SIZE.fullmatch(name):
        return "a size is in GiB, without a unit and in plain digits, like local-lvm:32"
    return next((why(name) for begins, why in _JUDGES if begins.match(name)), "")


def formats_of(text: str) -> frozenset[str]:
    """Given the volume part of a drive or mount point, return the formats that it may be of, by its
    name; none where only its storage knows.
    """
    name = _name(text)
    if found := _OF_DIRECTORY.fullmatch(name):
        return frozenset({found[2]})
    found = _OF_POOL.fullmatch(name)
    if found is None:
        return frozenset()
    base, stem, rest = found.groups(default="")
    if stem in {"subvol", "basevol"}:
        # PVE: RBDPlugin.pm: there it is all the name of a base
        return frozenset({"subvol", "raw"} if base.startswith("base-") else {"subvol"})
    # PVE: LVMPlugin.pm: there a volume's ending is its format, in any other pool it is raw
    either = stem == "vm" and rest.endswith(".qcow2")
    return frozenset({"raw", "qcow2"} if either else {"raw"})


def _name(text: str) -> str:
    return "" if text.startswith("/") else text.partition(":")[2]


def _iso(name: str) -> str:
    return "" if _ISO.fullmatch(name) else (
        "an ISO image's name must end in .iso or .img, in no folder, like local:iso/a.iso"
    )  # fmt: skip


def _to_import(name: str) -> str:
    if _TO_IMPORT.fullmatch(name):
        return ""
    if _MACHINE.fullmatch(name):
        return "it is a whole machine; name a disk in it, like local:import/a.ova/disk.vmdk"
    return (
        "the name of an image to import must end in .qcow2, .raw or .vmdk, in no folder, and have"
        " no other characters than letters, digits, blanks and . + = _ -"
    )


def _of_directory(name: str) -> str:
    last = name.rpartition("/")[2]
    if _OF_DIRECTORY.fullmatch(name) and not _SNAPSHOT.fullmatch(last):
        return ""
    return "a guest's file must end in .raw, .qcow2, .vmdk or .subvol, and have no blank in it"


def _of_pool(name: str) -> str:
    return "" if _OF_POOL.fullmatch(name) else (
        "the volume's name has a blank in it, or ends too early; it is like vm-101-disk-0"
    )  # fmt: skip


# ESXi's volumes are DATACENTER/DATASTORE/PATH; a datacenter's name may be a number
_JUDGES: Final[tuple[tuple[re.Pattern[str], Callable[[str], str]], ...]] = (
    (re.compile("iso/"), _iso),
    (re.compile("import/"), _to_import),
    (re.compile(r"[0-9]+/(?:[^/]*|[^/]+/[0-9]+/[^/]*)$"), _of_directory),
    (re.compile(r"(?:base|basevol|vm|subvol)-[0-9]+-"), _of_pool),
)
