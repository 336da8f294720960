"""A host that tells: what happens in the world is written where pmxcfs and the kernel show it.

One thread looks at the world ten times a second, so that a hint comes late by a tenth at most, as
on a host, and lets the helper of the hints copy what pmxcfs shows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from felhom_agent.devnode import World
from felhom_agent.hintshelper import POLL_SECONDS, Copier
from tests.pmxcfs import Pmxcfs

_LOOK = 0.1
_END = 30.0


@dataclass(frozen=True)
class _Seen:
    digest: object
    running: bool


class _Host:
    """Belongs to the thread that tells."""

    def __init__(self, world: World, directory: Path) -> None:
        self._world = world
        self._pmxcfs = Pmxcfs(directory / "pve")
        self._cgroups = directory / "cgroup"
        copies = directory / "copies"
        copies.mkdir(mode=0o750)
        self._cgroups.mkdir()
        (self._cgroups / "cgroup.controllers").write_text("cpu\n")
        self._copier = Copier(self._pmxcfs.directory, copies)
        self._seen: dict[int, _Seen] = {}
        self._copied = 0.0
        self.look()

    def look(self) -> None:
        """Tell what is new in the world."""
        for vmid in list(self._world.guests):
            now = _Seen(self._world.config(vmid)["digest"], self._world.running(vmid))
            before = self._seen.get(vmid)
            if before is None or before.digest != now.digest:
                self._pmxcfs.write(vmid)
            if before is None or before.running != now.running:
                self._show(vmid, running=now.running)
            self._seen[vmid] = now
        if time.monotonic() >= self._copied + POLL_SECONDS:
            self._copied = time.monotonic()
            self._copier.poll()

    def _show(self, vmid: int, *, running: bool) -> None:
        if self._world.guests[vmid].kind == "lxc":
            group = self._cgroups / "lxc" / str(vmid)
        else:
            group = self._cgroups / "qemu.slice" / f"{vmid}.scope"
        if running:
            group.mkdir(parents=True, exist_ok=True)
        elif group.exists():
            group.rmdir()


@contextmanager
def telling(world: World, directory: Path) -> Iterator[str]:
    """Let a host tell for the length of a block; yield what agent.toml must say of it."""
    host, over = _Host(world, directory), threading.Event()

    def tell() -> None:
        while not over.wait(_LOOK):
            host.look()

    thread = threading.Thread(target=tell, name="tells", daemon=True)
    thread.start()
    try:
        yield (
            f'[hints]\ndirectory = "{directory / "copies"}"\n'
            f'cgroups = "{directory / "cgroup"}"\nsettle = 2\n'
        )
    finally:
        over.set()
        thread.join(_END)
