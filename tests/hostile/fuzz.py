"""The long fuzzing run: a million odd inputs to everything that reads what others write.

`python -m tests.hostile.fuzz [--inputs N] [--seconds S] [--only NAME] [--seed K]`; exits with 0
only if nothing happened that is not documented, no input took longer than `trial.MAX_SECONDS` of
CPU time, and no process grew by more than `trial.MAX_MEMORY`.

Each module `fuzz_NAME.py` here is a harness: its `one(data: bytes)` raises only what is not
documented. It may have `seeds() -> list[bytes]`, sound inputs to begin with, and `TOKENS`, words
that mean something in them. Each has a process of its own, or as many as let all cores work; the
cores are shared evenly, so each has the same time, and the run ends when all together have tried
as many inputs as were asked for.

Inputs are mutations of those that are known; one in some dozens is tried again with its steps
through the code recorded, and built upon if they are new.
"""

from __future__ import annotations

import argparse
import importlib
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from random import Random
from typing import Any

from tests.hostile.mutator import Mutator
from tests.hostile.reached import Reached
from tests.hostile.trial import MAX_MEMORY, MAX_SECONDS, Finding, Result, Trial

_HERE = Path(__file__).parent
_PREFIX = "fuzz_"
_RECORDED = 24
"""One input in so many has its steps recorded."""
_REPORTS = 1.0
_SAYS = 5.0
_PATIENCE = 90.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Course:
    """What a run shall do: at most so many inputs, and at most so many seconds."""

    inputs: int = 1_000_000
    seconds: float = math.inf
    seed: int = 0
    cores: int = 1


@dataclass
class Worker:
    """A process that tries inputs on a harness, and what it told last."""

    name: str
    process: SpawnProcess
    pipe: Connection
    result: Result
    done: bool = False


def harnesses(directory: Path = _HERE, package: str = __package__) -> dict[str, str]:
    """Given a directory of modules and their package, return each harness's name and module."""
    return {
        path.stem.removeprefix(_PREFIX): ".".join(filter(None, (package, path.stem)))
        for path in sorted(directory.glob(f"{_PREFIX}*.py"))
    }


def fuzz(
    modules: Mapping[str, str], course: Course, directory: Path, say: Say
) -> dict[str, Result]:
    """Given harnesses, try inputs on all of them; return what came of it, by harness.

    Inputs that were not taken as they must be are kept in the directory.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    workers = []
    for name, module in modules.items():
        for number in range(math.ceil(course.cores / len(modules))):
            here, there = context.Pipe(duplex=False)
            words = (module, f"{name}-{number}", course.seed, directory, stop, there)
            process = context.Process(target=_work, args=words, daemon=True)
            process.start()
            there.close()
            workers.append(Worker(name, process, here, Result()))
    try:
        _follow(workers, course, say, stop.set)
    except KeyboardInterrupt:
        say("interrupted")
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()
    results = {name: Result() for name in modules}
    for worker in workers:
        results[worker.name].add(worker.result)
    return results


def _work(module: str, name: str, seed: int, directory: Path, stop: Any, pipe: Connection) -> None:
    """Try inputs until told to stop; tell now and then what came of them. Runs in a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    harness = importlib.import_module(module)
    seeds: list[bytes] = getattr(harness, "seeds", list)()
    random = Random(f"{seed} {name}")  # noqa: S311  # it need not be secret
    mutator = Mutator(random, seeds, getattr(harness, "TOKENS", ()))
    trial, reached = Trial(harness.one, directory, name), Reached()
    told = -math.inf
    # Seeds come first and once; and some input is tried, however soon the others are done.
    for number in count():
        seeded = number < len(seeds)
        data = seeds[number] if seeded else mutator.next()
        recorded = trial.run(data) and (seeded or number % _RECORDED == 0)
        if recorded and reached.grew(partial(harness.one, data)) and not seeded:
            mutator.keep(data)
            trial.result.kept += 1
        done = stop.is_set()
        if done or time.monotonic() - told >= _REPORTS:
            told = time.monotonic()
            try:
                pipe.send((trial.result, done))
            except BrokenPipeError:
                return
        if done:
            return


def _follow(workers: Sequence[Worker], course: Course, say: Say, stop: Callable[[], None]) -> None:
    """Hear the workers until all inputs were tried, and then until each has said its last."""
    begun = said = heard = time.monotonic()
    stopping = False
    while going := [worker for worker in workers if not worker.done]:
        ready = wait([worker.pipe for worker in going], 0.2)
        for worker in going:
            if worker.pipe in ready:
                heard = time.monotonic()
                _hear(worker)
        now = time.monotonic()
        total = sum(worker.result.inputs for worker in workers)
        if now - said >= _SAYS:
            said = now
            say(_progress(workers, total, now - begun))
        if not stopping and (total >= course.inputs or now - begun >= course.seconds):
            stopping = True
            stop()
        if now - heard > _PATIENCE:
            for worker in going:
                _lost(worker, f"nothing heard for {_PATIENCE:.0f} s")


def _hear(worker: Worker) -> None:
    try:
        worker.result, worker.done = worker.pipe.recv()
    except EOFError:
        worker.process.join(_PATIENCE)
        _lost(worker, f"the process ended with {worker.process.exitcode}")


def _lost(worker: Worker, why: str) -> None:
    worker.result.bad += 1
    worker.result.findings.append(Finding(why, None))
    worker.done = True


def _progress(workers: Sequence[Worker], total: int, seconds: float) -> str:
    counts: dict[str, int] = {}
    for worker in workers:
        counts[worker.name] = counts.get(worker.name, 0) + worker.result.inputs
    each = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    bad = sum(worker.result.bad for worker in workers)
    return f"{seconds:5.0f} s  {total:,} inputs ({each}), {bad} bad"


def table(results: Mapping[str, Result]) -> Iterator[str]:
    """Given results by harness, yield them as a table."""
    yield "harness         inputs  undocumented    longest    memory   kept"
    for name, result in (*results.items(), ("all", summed(results))):
        yield (
            f"{name:<10}{result.inputs:>12,}{result.bad:>14,}{result.longest * 1000:>8.0f} ms"
            f"{result.memory / 1024:>6.0f} MiB{result.kept:>7,}"
        )
    for name, result in results.items():
        for finding in result.findings:
            yield f"BAD: {name}: {finding.what}; input: {finding.path or 'not kept'}"


def summed(results: Mapping[str, Result]) -> Result:
    """Given results by harness, return what they come to together."""
    whole = Result()
    for result in results.values():
        whole.add(result)
    return whole


def good(results: Mapping[str, Result]) -> bool:
    """Return whether all was as documented, in time and within memory, and was tried at all."""
    return all(
        r.inputs and not r.bad and r.longest <= MAX_SECONDS and r.memory <= MAX_MEMORY
        for r in results.values()
    )


def main(arguments: Sequence[str]) -> int:
    """Given the words of a command line, go a run and return the exit code."""
    known = harnesses()
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz")
    parser.add_argument("--inputs", type=int, default=Course.inputs)
    parser.add_argument("--seconds", type=float, default=Course.seconds)
    parser.add_argument("--only", choices=known, help="one harness")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    given = parser.parse_args(arguments)
    modules = {given.only: known[given.only]} if given.only else known
    course = Course(given.inputs, given.seconds, given.seed, os.cpu_count() or 1)
    _say(f"seed {given.seed}, {course.cores} cores")
    directory = Path(tempfile.mkdtemp(prefix="felhom-fuzz-"))
    begun = time.monotonic()
    results = fuzz(modules, course, directory, _say)
    for line in table(results):
        _say(line)
    verdict = good(results)
    _say(f"{time.monotonic() - begun:.0f} s; the verdict: {'good' if verdict else 'bad'}")
    if not any(directory.iterdir()):
        directory.rmdir()
    return 0 if verdict else 1


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
