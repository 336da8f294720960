"""A request as it came to the node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CHANGING = frozenset({"PUT", "POST", "DELETE"})
_GUEST = re.compile(r"/(?:qemu|lxc)/(\d+)(?:/|$)")


@dataclass(frozen=True)
class Request:
    """A request as it came: `at` by the world's clock, `status` 0 while or where none was sent.

    `during` is what else a change of a guest met there: the tokens' own requests and tasks that
    were not over, in words.
    """

    seq: int
    at: float
    method: str
    path: str
    params: Mapping[str, str]
    token: str
    status: int = 0
    during: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it asks for a change."""
        return self.method in _CHANGING

    @property
    def guest(self) -> str:
        """The vmid in its path; empty if there is none."""
        found = _GUEST.search(self.path)
        return found[1] if found else ""
