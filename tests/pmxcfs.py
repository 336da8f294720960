"""A stand-in for pmxcfs' `/etc/pve`: `.vmlist` and `.version` in a directory, as was recorded.

Recorded on PVE 8.4 and 9.2: the versions come from one counter that all guests share, and grow with
every write, on whatever node; `.vmlist`'s own version and `.version`'s `vmlist` are the same; both
begin anew with each pmxcfs, which has another `starttime`; other counters move by themselves.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any


class Pmxcfs:
    """What is in `directory` after each call is what pmxcfs would show; used by one thread."""

    def __init__(self, directory: Path, node: str = "pve1") -> None:
        self.directory = directory
        self.node = node
        self.guests: dict[int, dict[str, Any]] = {}
        self.began = 1_795_638_320
        self._version = 1
        self._counter = 0
        self._tasks = 0
        self.show()

    def write(self, vmid: int, times: int = 1) -> None:
        """A guest's configuration is written, or made: PUT, by hand, a snapshot."""
        old = self.guests.get(vmid, {})
        kept = {"node": old.get("node", self.node), "type": old.get("type", "qemu")}
        for _ in range(times):
            self._set(vmid, **kept)
        self.show()

    def create(self, vmid: int, node: str = "", kind: str = "qemu") -> None:
        self._set(vmid, node=node or self.node, type=kind)
        self.show()

    def move(self, vmid: int, node: str) -> None:
        """A guest's file goes to another node: it gets a new version there."""
        self._version += 1
        self._set(vmid, node=node, type=self.guests[vmid]["type"])
        self.show()

    def remove(self, vmid: int) -> None:
        del self.guests[vmid]
        self._version += 1
        self.show()

    def tick(self) -> None:
        """Ten seconds pass: pvestatd moves the counters of tasks."""
        self._tasks += 1
        self.show()

    def begin_again(self, later: int = 3) -> None:
        """Pmxcfs ends and begins, `later` seconds after; all versions begin anew."""
        self.began += later
        self._version, self._counter, self._tasks = 1, 0, 0
        for guest in self.guests.values():
            self._counter += 1
            guest["version"] = self._counter
        self.show()

    def vanish(self) -> None:
        """The mount is gone."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def show(self) -> None:
        """Put both files there."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.put(".vmlist", self.vmlist)
        self.put(".version", self.version)

    def put(self, name: str, text: str) -> None:
        """Give one of the files this text, at once."""
        new = self.directory / f"{name}.tmp"
        new.write_text(text)
        new.replace(self.directory / name)

    @property
    def vmlist(self) -> str:
        rows = ",\n".join(f'"{vmid}": {json.dumps(row)}' for vmid, row in self.guests.items())
        return f'{{\n"version": {self._version},\n"ids": {{\n{rows}}}\n\n}}\n'

    @property
    def version(self) -> str:
        content = {
            "starttime": self.began,
            "clinfo": 0,
            "vmlist": self._version,
            "storage.cfg": 2,
            "kvstore": {self.node: {"tasklist": self._tasks, "kv/network": self._tasks}},
        }
        return json.dumps(content, indent=0) + "\n"

    def _set(self, vmid: int, **row: Any) -> None:
        self._version += 1
        self._counter += 1
        self.guests[vmid] = {**row, "version": self._counter}
