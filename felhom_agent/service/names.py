"""What guests are called where people are told of them: "guest 101 web".

A number alone sends its reader to a list. The names are those that PVE showed last: each pass
brings those of all guests, each look of a lane that of its own, and the log, the status and the
answers to people take them from here. A guest whose name is not known is called by its number. A
name is whatever somebody typed; it is shown as one short printable word.

Threads: `_lock` guards a change of `_names`, which is replaced as a whole and read as a whole by
any thread; nothing waits under it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from felhom_agent.printable import printable

MAX_NAME: Final = 63
"""The longest name that is shown, in characters; PVE's are DNS names."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]+")


class Names:
    """The names of guests, by vmid."""

    def __init__(self, names: Mapping[int, str] | None = None) -> None:
        self._lock = threading.Lock()
        self._names: Mapping[int, str] = MappingProxyType(dict(names or {}))

    def learn(self, names: Mapping[int, str], keep: frozenset[int] = frozenset()) -> None:
        """Given the names of all guests as they are now, take them; the guests of `keep` keep the
        name that they had if they are not among them.
        """
        with self._lock:
            kept = {vmid: self._names[vmid] for vmid in keep & self._names.keys()}
            self._names = MappingProxyType({**kept, **names})

    def add(self, names: Mapping[int, str]) -> None:
        """Given the names of some guests as they are now, take them beside the others."""
        with self._lock:
            self._names = MappingProxyType({**self._names, **names})

    def of(self, vmid: int) -> str:
        """Given a guest, return its number and name: "101 web"; only the number if that is all."""
        return numbered(vmid, self._names.get(vmid, ""))

    def guest(self, vmid: int) -> str:
        """Given a guest, return it as the subject of a sentence: "guest 101 web"."""
        return f"guest {self.of(vmid)}"


def numbered(vmid: int, name: str) -> str:
    """Given a guest's number and name ("" if that is not known), return both: "101 web"."""
    shown = printable(name.strip(), MAX_NAME)
    # What PVE shows of a guest that has no name (PVE: QemuServer.pm, LXC.pm vmstatus) is none.
    if shown in ("", f"VM {vmid}", f"CT{vmid}"):
        return str(vmid)
    return f"{vmid} {shown}" if _PLAIN.fullmatch(shown) else f"{vmid} {shown!r}"
