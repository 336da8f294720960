"""Since when PVE knows an option or a part of one, by the package that brought it.

PVE's version names a release; the options of a guest come with qemu-server and pve-container, which
go their own way between two releases. Taken from the history of both packages: the first version
whose schema has the key. What both had when PVE 7.0 came out is `FIRST`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Since:
    """The package and its version that first knew a key, and the PVE release that brought it."""

    package: str
    version: str
    pve: str

    def __str__(self) -> str:
        return f"{self.package} {self.version} (PVE {self.pve})"


FIRST: Final = Since("", "", "7.0")


def qemu_server(version: str, pve: str) -> Since:
    """Return since when qemu-server knows a key."""
    return Since("qemu-server", version, pve)


def pve_container(version: str, pve: str) -> Since:
    """Return since when pve-container knows a key."""
    return Since("pve-container", version, pve)


def numbers(version: str) -> tuple[int, ...]:
    """Given a version ("9.0.27", "7.0-18", "9.2.11-1~bpo1"), return the numbers that order it."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("~")[0])[:3])
