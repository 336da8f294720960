"""One guest's .conf file: its values, the changes that wait for a stop, its digest.

The file is the truth of a guest in PVE: the digest is the SHA-1 of its text, so whatever changes
the text changes the digest. Values are held as the text of the file, the way PVE prints it;
`answer` gives them the JSON types of PVE's API.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from felhom_agent.devnode.world.schema import json_value

Json = str | int | list[list[str]]
RAW = "lxc."
"""What keys of LXC itself begin with. GET config has them as pairs, GET pending not at all."""

ENVIRONMENT = "lxc.environment.runtime"
"""How the file has each part of a container's `env`."""

MASK = "**********"

# PVE: pve-common Tools.pm encode_text leaves these characters of a description line alone.
_PLAIN = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) not in "%:")
_PENDING_SECTION = {"qemu": "[PENDING]", "lxc": "[pve:pending]"}


@dataclass
class Conf:
    """What is in force (`values`), what waits (`pending`), what waits to go (`unset`), and what of
    that goes with its volume (`forced`). `hollow` is a pending section that nothing is in,
    `snapshots` are the sections of the snapshots, in the order in which they were taken.
    """

    kind: str
    values: dict[str, str] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)
    unset: set[str] = field(default_factory=set)
    forced: set[str] = field(default_factory=set)
    hollow: bool = False
    snapshots: dict[str, dict[str, str]] = field(default_factory=dict)

    def text(self) -> str:
        """Return the text of the file, keys sorted as PVE writes it."""
        lines = [*_section(self.values)]
        waiting = dict(self.pending)
        if self.unset:
            marked = ((f"!{key}" if key in self.forced else key) for key in sorted(self.unset))
            waiting["delete"] = ",".join(marked)
        if waiting or self.hollow:
            lines += ["", _PENDING_SECTION[self.kind], *_section(waiting)]
        for name in sorted(self.snapshots):
            lines += ["", f"[{name}]", *_section(self.snapshots[name])]
        return "".join(line + "\n" for line in lines)

    def digest(self) -> str:
        """Return the hexadecimal SHA-1 of the file's text. recorded: 14-fixpoints/002."""
        return hashlib.sha1(self.text().encode(), usedforsecurity=False).hexdigest()

    def merged(self) -> dict[str, str]:
        """Return the values as they will be once all that waits has been applied."""
        merged = {**self.values, **self.pending}
        for key in self.unset:
            # PVE: a waiting deletion of a value that Perl takes for false is not seen (TRAPS 8).
            if merged.get(key) not in ("0", ""):
                merged.pop(key, None)
        return merged

    def answer(self, *, current: bool = False) -> dict[str, Json]:
        """Return what GET config answers; `current` leaves out what waits."""
        values = self.values if current else self.merged()
        raw = [[key, line] for key, line in _lines(values) if key.startswith(RAW)]
        told: dict[str, Json] = {**self._typed(values), "digest": self.digest()}
        return {**told, "lxc": raw} if raw else told

    def section(self, name: str) -> dict[str, Json]:
        """Given a snapshot, return what GET snapshot/NAME/config answers."""
        section = self.snapshots[name]
        raw = [[key, line] for key, line in _lines(section) if key.startswith(RAW)]
        told: dict[str, Json] = {**self._typed(section)}
        if "snaptime" in section:
            told["snaptime"] = int(section["snaptime"])
        return {**told, "lxc": raw} if raw else told

    def rows(self) -> Iterator[dict[str, Json]]:
        """Yield what GET pending answers."""
        current, waiting = self._typed(self.values), self._typed(self.pending)
        for key in [*current, *(k for k in waiting if k not in current)]:
            row: dict[str, Json] = {"key": key}
            if key in current:
                row["value"] = current[key]
            if key in waiting:
                # PVE masks a waiting password with one blank more (TRAPS 10).
                row["pending"] = MASK + " " if key == "cipassword" else waiting[key]
            if key in self.unset:
                row["delete"] = 1
            yield row
        yield {"key": "digest", "value": self.digest()}

    def put(self, key: str, value: str) -> None:
        """Set a key at once."""
        self.forget([key])
        self.values[key] = value

    def drop(self, key: str) -> None:
        """Remove a key at once."""
        self.forget([key])
        self.values.pop(key, None)

    def postpone(self, key: str, value: str) -> None:
        """Let a value wait for the next stop; the present value waits for nothing."""
        self.forget([key])
        if self.values.get(key) != value:
            self.pending[key] = value

    def postpone_drop(self, key: str) -> None:
        """Let the removal of a key wait for the next stop."""
        self.forget([key])
        if key in self.values:
            self.unset.add(key)

    def stage(self, key: str, value: str) -> None:
        """Let a value wait, whether it is the present one or not."""
        self.forget([key])
        self.pending[key] = value

    def stage_drop(self, key: str, *, force: bool = False) -> None:
        """Let the removal of a key wait, `force` with its volume, whether there is one or not."""
        self.forget([key])
        self.unset.add(key)
        if force:
            self.forced.add(key)

    def clean(self) -> None:
        """Let nothing wait that changes nothing. PVE: AbstractConfig.pm cleanup_pending"""
        self.forget([key for key in self.unset if key not in self.values])
        self.forget([k for k, value in self.pending.items() if self.values.get(k) == value])

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what waits for these keys."""
        for key in keys:
            self.pending.pop(key, None)
            self.unset.discard(key)
            self.forced.discard(key)

    @property
    def waits(self) -> bool:
        """Whether anything waits for the guest to be off."""
        return bool(self.pending or self.unset)

    def settle(self) -> None:
        """Apply all that waits, as PVE does when the guest stops."""
        for key in self.unset:
            self.values.pop(key, None)
        self.values.update(self.pending)
        self.pending.clear()
        self.unset.clear()
        self.forced.clear()
        self.hollow = False

    def _typed(self, values: Mapping[str, str]) -> dict[str, Json]:
        typed: dict[str, Json] = {
            k: json_value(self.kind, k, v) for k, v in values.items() if not k.startswith(RAW)
        }
        return {k: MASK if k == "cipassword" else v for k, v in typed.items()}


def _section(values: Mapping[str, str]) -> Iterator[str]:
    description = values.get("description", "").removesuffix("\n")
    if "description" in values:
        yield from ("#" + quote(line, safe=_PLAIN) for line in description.split("\n"))
    for key, line in _lines(values):
        if key != "description":
            yield from _written(key, line)


def _lines(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield key and text of each line; a key of LXC itself may have several."""
    for key in sorted(values):
        lines = values[key].split("\n") if key.startswith(RAW) else [values[key]]
        yield from ((key, line) for line in lines)


def _written(key: str, line: str) -> Iterator[str]:
    if key == "env":
        # PVE: pve-container LXC/Config.pm write_pct_config. recorded: 9.2 202/467-474
        yield from (f"{ENVIRONMENT}: {part}" for part in line.split("\0"))
    else:
        yield f"{key}: {line}"
