"""Journals as a test wants them: operations at chosen times, written by the real thing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from felhom_agent.journal.content import NAME
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operations import Operations
from felhom_agent.journal.retention import Limits
from felhom_agent.model import Change, Kind, SetConfig, Start, Stop, StopPolicy
from tests.conftest import Clock

UPID = "UPID:pve1:00000001:00000002:6B04A81C:qmstart:101:felhom-agent@pve!agent:"
START = Start(101, Kind.QEMU)
STOP = Stop(103, Kind.QEMU)
HARD = Stop(103, Kind.QEMU, StopPolicy.POWER_OFF)
MORE = SetConfig(201, Kind.LXC, (Change("memory", "2048", "3072"),))


class Book:
    """An open journal, and the clock by which it is written."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.path = directory / NAME
        self.clock = clock
        self.log, records = JournalLog.open(directory)
        # The monotonic clock is not what these tests are about.
        self.operations = Operations(self.log, records, clock, Limits(), lambda: 0.0)

    def start(self, vmid: int = 101, name: str = "web", seconds: float = 1.0) -> None:
        """Write down a start that went well, and let the time of it pass."""
        operation = self.operations.begin(Start(vmid, Kind.QEMU), name=name)
        self.clock.pass_by(seconds)
        self.operations.succeeded(self.operations.task(operation, UPID))


@contextmanager
def book(directory: Path, clock: Clock) -> Iterator[Book]:
    """Hold a journal open for the length of a block."""
    found = Book(directory, clock)
    try:
        yield found
    finally:
        found.log.close()


def damage(path: Path, number: int) -> None:
    """Change a letter in a line of a journal."""
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace(b"state", b"stAte")
    path.write_bytes(b"".join(lines))
