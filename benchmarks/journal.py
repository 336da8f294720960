"""What a durable record costs, beside a sync per record and the bare disk, all in the same run.

`python -m benchmarks.journal [--directory DIR] [--short]` prints rows as JSON. DIR should be on the
disk that the journal lives on; a directory in memory would show a gain that no host has, or none.
What a disk's sync takes may change tenfold within minutes, so each figure is taken with what it is
compared to. A second disk is the same with a fixed pause before each sync: what one gains depends
on that time, and a disk for homes is slower than most machines that run benchmarks.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Row
from felhom_agent.durable.disk import Disk
from felhom_agent.durable.line import Record, body_of, encode, encode_file
from felhom_agent.journal.content import NAME
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operation import intent, record_of
from felhom_agent.journal.retention import Limits, retain
from felhom_agent.model import Change, Kind, SetConfig

RECORD = record_of(intent("0" * 12, SetConfig(101, Kind.QEMU, (Change("cores", "1", "2"),)), 0.0))
PAUSE = 0.005


class MeasuredDisk(Disk):
    """The real disk, each sync with a pause before it, in seconds; counts its syncs.

    One writer at a time comes here.
    """

    def __init__(self, pause: float) -> None:
        self.syncs = 0
        self._pause = pause

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        if self._pause:
            time.sleep(self._pause)
        super().sync(descriptor)


def _run(threads: int, seconds: float, append: Callable[[], None]) -> tuple[int, float]:
    """Given how many append at once and for how long, return how many appends that were, and how
    many a second.
    """
    begun = time.monotonic()
    done = [0] * threads

    def go_on(who: int) -> None:
        # One at least: a disk may be slower than a short run is long.
        while not done[who] or time.monotonic() < begun + seconds:
            append()
            done[who] += 1

    workers = [threading.Thread(target=go_on, args=(who,)) for who in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done), sum(done) / (time.monotonic() - begun)


def ours(directory: Path, pause: float, threads: int, seconds: float) -> tuple[float, float]:
    """Return the journal's appends a second, and per sync."""
    disk = MeasuredDisk(pause)
    log, _ = JournalLog.open(directory, lambda _: [], disk)
    disk.syncs = 0
    count, rate = _run(threads, seconds, lambda: log.append(RECORD))
    log.close()
    return rate, count / disk.syncs


def single(directory: Path, pause: float, threads: int, seconds: float) -> float:
    """Return the appends a second where each record is encoded, written and synced by itself."""
    disk, lock, count = MeasuredDisk(pause), threading.Lock(), iter(range(10**12))
    descriptor = disk.create(directory / "single.jsonl")

    def append() -> None:
        body = body_of(RECORD)
        with lock:
            disk.write(descriptor, encode(next(count), body))
            disk.sync(descriptor)

    _, rate = _run(threads, seconds, append)
    disk.close(descriptor)
    return rate


def raw(directory: Path, pause: float, seconds: float) -> float:
    """Return how often a second one thread can write a line that is ready, and sync it."""
    disk, line = MeasuredDisk(pause), encode_file([RECORD])
    descriptor = disk.create(directory / "raw.jsonl")

    def append() -> None:
        disk.write(descriptor, line)
        disk.sync(descriptor)

    _, rate = _run(1, seconds, append)
    disk.close(descriptor)
    return rate


def appends(directory: Path, pause: float, seconds: float) -> list[Row]:
    """Given a pause before each sync, return what 1, 8 and 64 threads get done."""
    found: list[Row] = []
    for threads in (1, 8, 64):
        bare = raw(directory, pause, seconds)
        each = single(directory, pause, threads, seconds)
        rate, shared = ours(directory, pause, threads, seconds)
        disk = f"a sync {pause * 1000:g} ms slower" if pause else "as it is"
        row: Row = {"table": "journal", "disk": disk, "threads": threads}
        row |= {"ratio_single": rate / each, "ratio_raw": rate / bare, "raw_ms": 1000 / bare}
        found.append(row | {"rate": rate, "single": each, "raw": bare, "share": shared})
    return found


def opening(directory: Path, megabytes: float) -> Row:
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
    took = {"open": opened - begun, "compact": time.monotonic() - opened}
    return {"table": "opening", "megabytes": megabytes, **took}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path())
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args()
    seconds, sizes = (0.02, (0.01,)) if given.short else (1.0, (0.1, 1.0, 8.0))
    with tempfile.TemporaryDirectory(dir=given.directory, prefix="benchmark-") as name:
        found = appends(Path(name), 0.0, seconds) + appends(Path(name), PAUSE, seconds)
        found += [opening(Path(name), size) for size in sizes]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
