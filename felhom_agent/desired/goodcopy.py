"""The copy of what was last good of one guest file, as it is kept on the disk.

It has the file's own bytes, not what was read from them: so what is in force after a restart is
what the operator wrote, checked as every guest file is. Some guests of a file may be in force by an
older text than others, where the newer one is wrong for them; so a copy has one or some versions of
the file, each with the guests that are in force by it, and those that the file declares by it: a
guest may be in force by a text of a file that does not declare it any more, while the one that does
is wrong.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from felhom_agent.desired.hubfile import OddContent

MAX_VERSIONS: Final = 16
"""How many versions of one file a copy has; of more, the oldest are left out."""


@dataclass(frozen=True)
class Version:
    """One text of a file, since when it is in force (seconds since the epoch), which guests are by
    it, and which ones the file declares by it. `whole` tells that it is the last one that was good
    as a file, `last` that it is the last one that was TOML.
    """

    text: bytes = field(repr=False)
    since: float
    guests: frozenset[int] = frozenset()
    declared: frozenset[int] = frozenset()
    whole: bool = False
    last: bool = False


@dataclass(frozen=True)
class GoodCopy:
    """What was last good of the file under a path, oldest version first."""

    path: Path
    versions: tuple[Version, ...] = ()

    @property
    def whole(self) -> Version | None:
        """The last version that was good as a file."""
        return next((each for each in self.versions if each.whole), None)

    @property
    def last(self) -> Version | None:
        """The last version that was TOML."""
        return next((each for each in self.versions if each.last), None)

    @property
    def newest(self) -> float:
        """Since when its newest version is in force."""
        return max((each.since for each in self.versions), default=0.0)

    def since(self, text: bytes) -> float | None:
        """Return since when a text is in force; None if it is none of these."""
        return next((each.since for each in self.versions if each.text == text), None)


def bounded(versions: Iterable[Version]) -> tuple[Version, ...]:
    """Given versions of a file, return as many of them as a copy may have, oldest first."""
    ordered = sorted(versions, key=lambda each: (each.whole or each.last, each.since))[
        -MAX_VERSIONS:
    ]
    return tuple(sorted(ordered, key=lambda each: each.since))


def record_of(copy: GoodCopy) -> Mapping[str, Any]:
    """Given a copy, return the record of it."""
    return {
        "file": quote(os.fsencode(copy.path)),
        "versions": [
            {
                "text": base64.b64encode(each.text).decode("ascii"),
                "since": each.since,
                "guests": sorted(each.guests),
                "declared": sorted(each.declared),
                "whole": each.whole,
                "last": each.last,
            }
            for each in copy.versions
        ],
    }


def copy_of(record: Mapping[str, Any]) -> GoodCopy:
    """Given a record, return the copy. Raise OddContent if it is none of ours."""
    file, versions = record.get("file"), record.get("versions")
    if not isinstance(file, str) or not file or not isinstance(versions, list):
        raise OddContent("is damaged")
    path = Path(os.fsdecode(unquote_to_bytes(file)))
    return GoodCopy(path, tuple(_version(each) for each in versions[:MAX_VERSIONS]))


def _version(record: object) -> Version:
    try:
        given = dict(record)  # type: ignore[call-overload]  # whatever it is
        text = base64.b64decode(given["text"], validate=True)
        since, guests = float(given["since"]), frozenset(map(int, given["guests"]))
        declared = frozenset(map(int, given["declared"]))
    except (TypeError, ValueError, KeyError, OverflowError, binascii.Error):
        raise OddContent("is damaged") from None
    whole, last = given.get("whole") is True, given.get("last") is True
    return Version(text, since, guests, declared, whole, last)
