"""What the journal costs: appends a second, and how many of them share a sync.

`python -m benchmarks.journal [--directory DIR] [--seconds S]`. DIR should be on the disk that the
journal lives on; a temporary directory in memory would show a gain that no host has, or none.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

from felhom_agent.durable.disk import Disk
from felhom_agent.durable.line import Record, encode_file
from felhom_agent.journal.content import NAME
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operation import intent, record_of
from felhom_agent.journal.retention import Limits, retain
from felhom_agent.model import Change, Kind, SetConfig

RECORD = record_of(intent("0" * 12, SetConfig(101, Kind.QEMU, (Change("cores", "1", "2"),)), 0.0))


class CountingDisk(Disk):
    """The real disk; counts its syncs. One writer at a time comes here."""

    def __init__(self) -> None:
        self.syncs = 0

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        super().sync(descriptor)


def appends(directory: Path, threads: int, seconds: float) -> tuple[float, float]:
    """Given how many append at once and for how long, return appends a second, and per sync."""
    disk = CountingDisk()
    log, _ = JournalLog.open(directory, lambda _: [], disk)
    end = time.monotonic() + seconds
    done = [0] * threads

    def append(who: int) -> None:
        while time.monotonic() < end:
            log.append(RECORD)
            done[who] += 1

    disk.syncs = 0
    workers = [threading.Thread(target=append, args=(who,)) for who in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    log.close()
    return sum(done) / seconds, sum(done) / disk.syncs


def opening(directory: Path, megabytes: float) -> tuple[float, float]:
    """Given a journal's size, return the seconds to open it, and to compact it while it is open."""
    line = len(encode_file([RECORD]))
    records: list[Record] = [
        {**RECORD, "op": f"{n:012x}"} for n in range(int(megabytes * 1_000_000 / line))
    ]
    (directory / NAME).write_bytes(encode_file(records))
    limits = Limits(36500, int(megabytes * 4_000_000))

    def keep(found: list[Record]) -> list[Record]:
        return retain(found, 0.0, limits)

    begun = time.monotonic()
    log, _ = JournalLog.open(directory, keep)
    opened = time.monotonic()
    log.compact(keep)
    log.close()
    return opened - begun, time.monotonic() - opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path())
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory, prefix="benchmark-") as name:
        print("threads  appends/s  appends/sync")
        for threads in (1, 2, 4, 8, 16, 32):
            rate, share = appends(Path(name), threads, given.seconds)
            print(f"{threads:7} {rate:10.0f} {share:13.1f}")
        print("\n     MB   open s  compact s")
        for megabytes in (0.1, 1.0, 8.0):
            first, second = opening(Path(name), megabytes)
            print(f"{megabytes:7} {first:8.2f} {second:10.2f}")


if __name__ == "__main__":
    main()
