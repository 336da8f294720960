"""Which guests to look at again, as the host tells it for nothing.

Two sources, since each misses what the other sees: copies of pmxcfs' lists of versions
(`hintfiles.py`) tell whose configuration was written, and the guests' cgroups (`cgroups.py`) whose
process came or went. Both are looked at once a second by the main thread, which owns them; a look
waits for nothing, raises nothing and costs well below 1 ms when nothing changed.

A hint is never the truth about a guest, only a reason to ask PVE. With `working`, whoever writes,
starts or stops a guest of this node from now on is told of, or `everything` says why all must be
looked at. Without it, what is told is still right, and may not be all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from felhom_agent.proxmox.cgroups import Cgroups
from felhom_agent.proxmox.hintfiles import HintFiles


@dataclass(frozen=True)
class Heard:
    """What the host told since the look before.

    `written`: guests of this node whose configuration was written, came, went or moved; `power`:
    guests whose process or container came or went; `everything`: why all must be looked at again
    (empty: it need not); `working`: whether whoever writes, starts or stops a guest of this node
    from now on is surely heard of.
    """

    written: frozenset[int] = frozenset()
    power: frozenset[int] = frozenset()
    everything: str = ""
    working: bool = False


class Hints:
    """Both sources. The thread that looks owns it, and closes it in the end."""

    def __init__(
        self,
        directory: Path,
        node: str,
        cgroups: Path = Path("/sys/fs/cgroup"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`directory` has the copies that felhom-agent-hints.service makes; `node` is this one."""
        self._files = HintFiles(directory, node, clock)
        self._cgroups = Cgroups(cgroups, clock)

    def look(self) -> Heard:
        """Return what was told since the look before; the first time, everything."""
        # Cgroups first: what a start or a stop writes is then not older than what is told of it.
        power = self._cgroups.look()
        written = self._files.look()
        return Heard(
            written=written.guests,
            power=power.guests,
            everything=written.everything or power.everything,
            working=written.working and power.working,
        )

    def close(self) -> None:
        """End the watches; it is not used afterwards."""
        self._cgroups.close()
