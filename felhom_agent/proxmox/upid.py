"""A UPID: how PVE names a task."""

from __future__ import annotations

import re
from dataclasses import dataclass

# PVE: pve-common Tools.pm upid_decode, but for what would end a part of an API path.
_UPID = re.compile(
    r"UPID:(?P<node>[A-Za-z0-9-]{1,63}):(?P<pid>[0-9A-F]{8}):(?P<pstart>[0-9A-F]{8,9}):"
    r"(?P<start>[0-9A-F]{8}):(?P<type>[^:/?#%\s]{1,64}):(?P<id>[^:/?#%\s]{0,128}):"
    r"(?P<user>[^:!/?#%\s]{1,128})(?:!(?P<token>[^:/?#%\s]{1,128}))?:"
)


@dataclass(frozen=True)
class Upid:
    """A task's name, taken apart. `start` is in seconds since the epoch."""

    text: str
    node: str
    start: int
    type: str
    id: str
    user: str
    token: str

    @classmethod
    def parse(cls, text: str) -> Upid:
        """Given a UPID, return its parts. Raise ValueError if it is none."""
        found = _UPID.fullmatch(text)
        if not found:
            raise ValueError(f"not a UPID: {text!r}")
        start = int(found["start"], 16)
        return cls(
            text, found["node"], start, found["type"], found["id"], found["user"],
            found["token"] or "",
        )  # fmt: skip
