"""What can go wrong inside of the node, at a test's word.

What goes wrong on the way to it is in `faults`, how a guest behaves in `guest.Behaviour`. Each
word takes effect at once and lasts until the one that ends it, where there is one.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from felhom_agent.devnode.world.broadcast import Broadcasts
from felhom_agent.devnode.world.guest import Guest
from felhom_agent.devnode.world.tasks import TaskBook
from felhom_agent.devnode.world.volumes import switched_off
from felhom_agent.devnode.world.worker import Worker


class Mishaps(ABC):
    """The part of a world that breaks."""

    guard: threading.RLock
    guests: dict[int, Guest]
    tasks: TaskBook
    broadcasts: Broadcasts
    quorate = True

    @abstractmethod
    def catch_up(self) -> None:
        """Let everything happen that is due by now. The caller holds `guard`."""

    def pvestatd_lost(self) -> None:
        """Let pvestatd be gone, and all it ever told: every guest's status is "unknown"."""
        with self.guard:
            self.broadcasts.lost = True
            self.broadcasts.forget()

    def pvestatd_back(self) -> None:
        """Let pvestatd tell again."""
        with self.guard:
            self.broadcasts.lost = False

    @abstractmethod
    def changed(self, guest: Guest) -> None:
        """Hear that a guest was started or stopped."""

    def quorum_lost(self) -> None:
        """Let the cluster lose its quorum: all is read as before, and no configuration written.

        recorded: calls-9.2/201-quorum.
        """
        with self.guard:
            self.quorate = False

    def quorum_back(self) -> None:
        """Let the cluster have its quorum again."""
        with self.guard:
            self.quorate = True

    def crash(self, vmid: int) -> None:
        """Let a guest's process die: it is off, and no task tells. recorded: 130-stop/078."""
        with self.guard:
            self.catch_up()
            guest = self.guests[vmid]
            switched_off(guest, writable=self.quorate)
            self.changed(guest)

    def hang(self, vmid: int, qmpstatus: str) -> None:
        """Let a running VM hang: QEMU says `io-error` or the like until it is started again."""
        with self.guard:
            self.catch_up()
            self.guests[vmid].hung = qmpstatus

    def hold_lock(self, vmid: int) -> None:
        """Hold a guest's configuration lock as somebody else, until it is released.

        A write answers 500, and a task ends so: `can't lock file '...' - got timeout`.
        """
        with self.guard:
            self.catch_up()
            self.guests[vmid].flock.hold()

    def release_lock(self, vmid: int) -> None:
        """Let go of a guest's configuration lock."""
        with self.guard:
            self.catch_up()
            self.guests[vmid].flock.let_go()

    def forget_tasks(self) -> None:
        """Lose the files of all ended tasks, as a clean-up of logs does: `no such task`."""
        with self.guard:
            self.catch_up()
            self.tasks.forget()

    def hide_tasks(self, looks: int) -> None:
        """Let every task started from now on be `no such task` to that many looks at it."""
        with self.guard:
            self.tasks.hidden_looks = looks

    def kill_tasks(self, vmid: int) -> None:
        """Kill (-9) the workers of a guest: their tasks end with `unexpected status`."""
        self._each_worker(vmid, Worker.kill)

    def interrupt_tasks(self, vmid: int) -> None:
        """End the running tasks of a guest as DELETE does: with `received interrupt`."""
        self._each_worker(vmid, Worker.interrupt)

    def _each_worker(self, vmid: int, end: Callable[[Worker], None]) -> None:
        with self.guard:
            self.catch_up()
            for task in list(self.tasks.running()):
                if task.id == str(vmid) and task.worker is not None:
                    end(task.worker)
