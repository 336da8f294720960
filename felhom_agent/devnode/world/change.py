"""A write of a guest's configuration: what it asks for, and what PVE refuses before it looks.

The order of the refusals is PVE's: parameters (400), then privileges (`authorize`), and only then
the guest's own state. recorded: 20-writes-qemu, 20-writes-lxc, 95-access.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from felhom_agent.devnode.world import schema
from felhom_agent.devnode.world.conf import RAW
from felhom_agent.devnode.world.readback import DISK, split
from felhom_agent.devnode.world.refusal import bad, died
from felhom_agent.devnode.world.schema import Check, Raw
from felhom_agent.options import Invalid, PropertyString, lookup, never_settles
from felhom_agent.options.since import Since, numbers

_CONTROL: Mapping[str, Mapping[str, Check]] = {
    "qemu": {
        "delete": schema.text(),
        "digest": schema.text(40),
        "revert": schema.text(),
        "force": schema.boolean,
        "skiplock": schema.boolean,
    },
    "lxc": {"delete": schema.text(), "digest": schema.text(40), "revert": schema.text()},
}

_POST_CONTROL = {**_CONTROL["qemu"], "background_delay": schema.integer(1, 30)}

_READ_ONLY = frozenset({"meta", "digest", "parent", "snaptime", "vmstate"})

# PVE: pve-container LXC/Config.pm; recorded: 20-writes-lxc/021, 028.
_REQUIRED_LXC = frozenset({"memory", "rootfs"})


@dataclass(frozen=True)
class ConfigWrite:
    """What a write asks for: keys to set, to delete, to take back, on top of which digest."""

    kind: str
    sets: Mapping[str, str]
    deletes: tuple[str, ...] = ()
    reverts: tuple[str, ...] = ()
    digest: str = ""
    delay: float | None = None
    force: bool = False

    def log_line(self, vmid: int) -> str:
        """Return what the task of an asynchronous write logs. recorded: 20-writes-qemu/060."""
        told = dict(self.sets)
        if "cipassword" in told:
            told["cipassword"] = "<hidden>"
        if self.deletes:
            told["delete"] = ",".join(self.deletes)
        if self.force:
            told["force"] = "1"
        words = (f"-{key} {told[key]}" for key in sorted(told))
        return f"update VM {vmid}: {' '.join(words)}"

    def only(self, keys: Collection[str]) -> ConfigWrite:
        """Return the part of it that sets or deletes these keys."""
        sets = {key: value for key, value in self.sets.items() if key in keys}
        deletes = tuple(key for key in self.deletes if key in keys)
        return replace(self, sets=sets, deletes=deletes, reverts=())


def parse(
    kind: str,
    params: Mapping[str, Raw],
    *,
    version: str,
    post: bool = False,
    newer: frozenset[str] = frozenset(),
) -> ConfigWrite:
    """Given a write's parameters, return what it asks for. Raise `Refusal` (400 or 500).

    An option that came after `version` is unknown, the parts in `newer` are known.
    """
    control = _POST_CONTROL if post else _CONTROL[kind]
    values = schema.verify(
        params,
        lambda key: _check(kind, key, control, version, newer),
        lambda key: schema.type_word(kind, key),
    )
    _refuse_force(values)
    _resolve_cdrom(kind, values)
    if _asks_nothing(kind, params):
        raise died("no options specified")
    # recorded: 20-writes-lxc/043-044; JSON's null deletes, for a VM it says nothing.
    nulls = [key for key, raw in params.items() if raw is None and kind == "lxc"]
    change = ConfigWrite(
        kind=kind,
        sets={key: value for key, value in values.items() if key not in control},
        deletes=(*_deletes(kind, values), *nulls),
        reverts=_words(values, "revert"),
        digest=values.get("digest", ""),
        delay=float(values["background_delay"]) if "background_delay" in values else None,
        force=values.get("force") == "1",
    )
    _refuse_drives(change)
    _refuse_both(change, change.reverts, "revert")
    _refuse_both(change, change.deletes, "delete")
    return change


def _check(
    kind: str, key: str, control: Mapping[str, Check], version: str, newer: frozenset[str]
) -> Check | None:
    if key in control:
        return control[key]
    unknown = key in _READ_ONLY or key.startswith(RAW) or _is_newer(kind, key, version)
    check = None if unknown else schema.option_check(kind, key)
    if check is None:
        return None

    def complaint(value: str) -> str:
        known = _without(value, newer)
        return (
            check(known)
            or _newer_part(kind, key, known, version)
            or _stricter(kind, key, known, version)
        )

    return complaint


def unknown_parts(kind: str, values: Mapping[str, str]) -> frozenset[str]:
    """Given a guest's file, return the parts in it that the table of options does not know.

    PVE drops what it cannot read, so that a node which shows such a part is newer, and takes it.
    """
    found: set[str] = set()
    for key, value in values.items():
        option = lookup(kind, key)
        if option is not None and isinstance(option.type, PropertyString):
            with suppress(Invalid):
                found |= option.type.unknown(value)
    return frozenset(found)


def _without(value: str, newer: frozenset[str]) -> str:
    parts = value.split(",")
    gone = [part for part in parts if part.partition("=")[0] in newer and "=" in part]
    return ",".join(part for part in parts if part not in gone) if gone else value


def _newer_part(kind: str, key: str, value: str, version: str) -> str:
    """Given a valid value, complain about a part that came after `version`."""
    option = lookup(kind, key)
    if option is None or not isinstance(option.type, PropertyString):
        return ""
    for part in sorted(option.type.split(value)):
        if _came_after(option.type.keys[part].since, version):
            return f"invalid format - format error\n{key}.{part}: {schema.UNKNOWN}\n"
    return ""


def _stricter(kind: str, key: str, value: str, version: str) -> str:
    """Given a value that the table takes, complain if PVE does not."""
    if kind == "qemu" and re.fullmatch(r"serial\d+", key) and numbers(version) >= (9, 2):
        # recorded: 9.2 202/411-426
        wrong = not re.fullmatch(r"/dev/[^,]+|socket", value)
        return "value does not match the regex pattern" if wrong else ""
    if kind == "lxc" and key == "timezone" and value != "host":
        known = _time_zones()
        if known and value not in known:  # recorded: 9.2 202/489-492
            return f"invalid format - invalid time zone '{value}'\n"
    return ""


def _time_zones() -> Collection[str]:
    """Return the time zones that PVE would know on this host; none if they cannot be read."""
    # PVE: pve-common JSONSchema.pm pve_verify_timezone
    for folder in zoneinfo.TZPATH:
        with suppress(OSError):
            rows = (Path(folder) / "zone.tab").read_text().splitlines()
            return {"UTC", *(row.split("\t")[2] for row in rows if not row.startswith("#"))}
    return zoneinfo.available_timezones()


def refuse_unknown_model(change: ConfigWrite, models: Collection[str]) -> None:
    """Raise `Refusal` (400) for a custom CPU model that the cluster has not.

    recorded: calls-9.2/202-values/375-376
    """
    parts = split(change.sets.get("cpu", ""))
    model = parts.get("cputype") or parts.get("", "")
    name = model.removeprefix("custom-")
    if change.kind == "qemu" and name != model and name not in models:
        raise bad({"cpu": f"invalid format - Custom cputype '{name}' not found\n"})


def _is_newer(kind: str, key: str, version: str) -> bool:
    option = lookup(kind, key)
    return option is not None and _came_after(option.since, version)


def _came_after(since: Since | None, version: str) -> bool:
    return since is not None and numbers(since.pve) > numbers(version)


def _words(values: Mapping[str, str], key: str) -> tuple[str, ...]:
    return tuple(filter(None, re.split(r"[,; \0]+", values.get(key, ""))))


def _deletes(kind: str, values: Mapping[str, str]) -> tuple[str, ...]:
    words = _words(values, "delete")
    return tuple("ide2" if kind == "qemu" and word == "cdrom" else word for word in words)


def _resolve_cdrom(kind: str, values: dict[str, str]) -> None:
    # PVE: qemu-server API2/Qemu.pm resolve_cdrom_alias
    if kind == "qemu" and (drive := values.pop("cdrom", "")):
        values["ide2"] = drive if "media=" in drive else f"{drive},media=cdrom"


def _refuse_force(values: Mapping[str, str]) -> None:
    if "force" in values and "delete" not in values:
        raise bad({"delete": "missing property required by 'force'"})
    if values.get("skiplock") == "1":
        raise bad({"skiplock": "Only root may use this option."})


def _asks_nothing(kind: str, params: Mapping[str, Raw]) -> bool:
    given = set(params) - {"digest", "background_delay", "force", "skiplock"}
    if kind == "lxc":
        # recorded: 20-writes-lxc/026; an empty delete= is enough for a container.
        return not given
    return all(key in ("delete", "revert") and not params[key] for key in given)


_UNREADABLE = "unable to parse drive options"
# PVE: qemu-server API2/Qemu.pm check_drive_param, check_storage_access
_WRONG_DRIVE = (
    _UNREADABLE,
    "explicit 'media=cdrom' is required",
    "'import-from' requires special syntax",
    "need to specify '",
    "content type needs to be 'images' or 'iso'",
)


def _refuse_drives(change: ConfigWrite) -> None:
    """Raise `Refusal` (400) for drives whose parts PVE's schema takes, and PVE does not.

    PVE: qemu-server API2/Qemu.pm check_drive_param. recorded: 9.2 202/511-548
    """
    for key, value in sorted(change.sets.items()):
        option = lookup(change.kind, key) if DISK.fullmatch(key) else None
        words = never_settles(option, value) if option and change.kind == "qemu" else ""
        if words.startswith(_WRONG_DRIVE) or " has wrong type '" in words:
            raise bad({key: words.partition(": ")[0] if words.startswith(_UNREADABLE) else words})


def _refuse_both(change: ConfigWrite, words: Iterable[str], verb: str) -> None:
    for key in words:
        if key in change.sets:
            text = f"you can't use '-{key}' and -{verb} {key}' at the same time"
            raise bad({verb: text})
        # recorded: 20-writes-qemu/029; the digest is no option.
        if lookup(change.kind, key) is None or key == "digest":
            raise bad({verb: f"unknown option '{key}'"})
        if change.kind == "lxc" and verb == "delete" and key in _REQUIRED_LXC:
            raise died(f"unable to delete required option '{key}'")
