"""The long run: after much drift and many faults the agent holds no more than before them.

`python -m tests.soak.soak --seconds 600 --guests 200` serves a node, runs the real agent on it,
and goes through three stages:

1. *bare*: all is as declared, so the agent only looks, and no lane was ever opened;
2. *warm-up*: every guest is spoilt once and healed, then some go on drifting for a while, so that
   caches are filled and all that a burst needs was had once;
3. *drift*: for the given time people stop, start, edit and lock guests, and the wire breaks.

After the warm-up, and again after the drift, all is left alone until the world is as declared and
the lanes have retired. Then nothing is changed any more, and what the agent holds is measured: at
the beginning, and at the end.

Whether all is as declared is asked of the world, never of the agent. Every stage has a deadline.
The run ends with a verdict, and the process with 0 where it is good.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from random import Random
from statistics import median

from felhom_agent.devnode import DevNode
from felhom_agent.devnode.demo.site import write_site
from tests.soak.household import Household
from tests.soak.process import Agent, Ended, Usage, running
from tests.soak.report import Report
from tests.soak.told import telling

# A lost answer closes a guest for the write's timeout and some seconds; at PVE's pace that is a
# minute, and a run would be spent waiting.
_PROXMOX = "[proxmox]\nwrite_timeout = 3\n"
_RECONCILE = "\n[reconcile]\ninterval = {}\nparallel = 4\nbackoff_first = 0.5\nbackoff_cap = 4\n"
# People stop and spoil far more guests here than the brake would let pass.
_LIMITS = "[limits]\nstopped = 100000\nrestarted = 100000\n"
_DONE = ": done: "
_PATIENCE = 120.0
_TOLD = 5
_POLL, _GLANCE = 0.2, 0.05
_NEWS = 30.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Course:
    """How long and how hard a run is; times are in seconds.

    `warm_up` is how long guests drift before the beginning is measured, beyond the once that each
    is spoilt. Without `rest` that is done while lanes still idle, which saves half a minute; the
    threads of the beginning are then those of the bare agent. With `hints` the host tells what
    happens, and the agent listens.
    """

    seconds: float = 600.0
    guests: int = 200
    seed: int = 0
    warm_up: float = 30.0
    interval: float = 1.0
    drifts_per_second: float = 3.0
    rest: bool = True
    hints: bool = False


class TooLate(Exception):
    """A stage did not come to its end in time."""


def soak(course: Course, say: Say) -> Report:
    """Given a course, go it, telling `say` how it goes; return the report."""
    rng = Random(course.seed)  # noqa: S311  a seed brings guests and deeds back
    household = Household(course.guests, rng)
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as directory,
        DevNode(household.world) as node,
        _hints(household, Path(directory), course) as hints,
        running(_furnish(node, household, Path(directory), course, hints)) as agent,
    ):
        run = _Run(course, household, node, agent, rng, say)
        try:
            run.go()
        except (Ended, TooLate) as error:
            run.report.defects += [str(error), *_left(household, agent)]
        run.close()
    return run.report


class _Run:
    """One run of all stages; belongs to one thread."""

    def __init__(
        self,
        course: Course,
        household: Household,
        node: DevNode,
        agent: Agent,
        rng: Random,
        say: Say,
    ) -> None:
        self._course = course
        self._household = household
        self._node = node
        self._agent = agent
        self._rng = rng
        self._say = say
        self._pause = threading.Event()
        self._begun = time.monotonic()
        self._bare = Usage()
        self.report = Report()

    def go(self) -> None:
        """Go through all stages. Raise Ended or TooLate if one does not end well."""
        self._passes_go_by(1)
        self._bare = self._least()
        self.report.changed_in_calm = self._mutations()
        self._household.spoil_all()
        self._until_as_declared()
        self._drift(self._course.warm_up)
        self.report.beginning = self._measure("beginning", rest=self._course.rest)
        held = self._drift(self._course.seconds)
        if self._course.warm_up:
            # Else the first of the drift was the warm-up.
            self.report.grown = _grown(held)
        self.report.end = self._measure("end", rest=True)
        self.report.defects += _left(self._household, self._agent)

    def close(self) -> None:
        """Let the agent stop, and note what can be known only then."""
        report, agent = self.report, self._agent
        report.exit_code = agent.end()
        report.mutations, report.passes = self._mutations(), self._passes()
        report.healed = len(agent.said(_DONE))
        report.defects += agent.said("internal error", "Traceback")
        if not report.defects and not agent.said("stopped; nothing is in flight"):
            report.defects.append(f"its last word was: {agent.lines[-1:]}")

    def _drift(self, seconds: float) -> list[Usage]:
        """Let things drift for some seconds; return what the agent held after each deed."""
        held: list[Usage] = []
        begun = news = time.monotonic()
        while time.monotonic() < begun + seconds:
            self._household.spoil(self._node.faults)
            self.report.drifts += 1
            if time.monotonic() >= news + _NEWS:
                news += _NEWS
                self._tell("drift")
            held.append(self._usage())
            self._pause.wait(self._rng.uniform(0.5, 1.5) / self._course.drifts_per_second)
        return held

    def _measure(self, name: str, *, rest: bool) -> Usage:
        """Return what the agent holds when nothing is left to do, after a `rest` for its lanes."""
        self._household.leave_alone(self._node.faults)
        self._until_as_declared()
        # A turn that had begun by then may still end with a change.
        self._passes_go_by(2)
        before = self._mutations()
        if rest:
            self._until_lanes_retired()
        usage = self._least()
        self.report.changed_in_calm += self._mutations() - before
        self._tell(name)
        return usage if rest else replace(usage, threads=self._bare.threads)

    def _until_as_declared(self) -> None:
        self._until(lambda: not self._household.differences(), "not as declared in time")

    def _until_lanes_retired(self) -> None:
        bare = self._bare.threads
        self._until(lambda: self._usage().threads <= bare, f"more than {bare} threads stay")

    def _passes_go_by(self, count: int) -> None:
        if self._course.hints and self._passes():
            # They ask for nothing then, so that nobody sees them go by.
            self._pause.wait(2 * count * self._course.interval)
            return
        wanted = self._passes() + count
        self._until(lambda: self._passes() >= wanted, "no passes any more")

    def _until(self, done: Callable[[], bool], otherwise: str, poll: float = _POLL) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not done():
            self._usage()
            if time.monotonic() > deadline:
                raise TooLate(otherwise)
            self._pause.wait(poll)

    def _usage(self) -> Usage:
        usage = self._agent.usage()
        self.report.peak = self.report.peak.most(usage)
        return usage

    def _least(self) -> Usage:
        """Return the least that the agent holds in the time of two passes, and so between them."""
        seen: list[Usage] = []
        wanted = self._passes() + 2
        end = time.monotonic() + 4 * self._course.interval

        def look() -> bool:
            seen.append(self._usage())
            return self._passes() >= wanted or (self._course.hints and time.monotonic() >= end)

        self._until(look, "no passes any more", _GLANCE)
        return reduce(Usage.least, seen)

    def _mutations(self) -> int:
        return len(self._node.mutations)

    def _passes(self) -> int:
        # A pass lists the containers once; a look at one guest never does.
        return sum(request.path.endswith("/lxc") for request in self._node.requests)

    def _tell(self, stage: str) -> None:
        usage, elapsed = self._usage(), time.monotonic() - self._begun
        healed = len(self._agent.said(_DONE))
        self._say(
            f"{elapsed:4.0f} s  {stage:10}{self.report.drifts} drifts, {healed} healed, "
            f"{usage.fds} fds, {usage.threads} threads, {usage.memory / 1024:.1f} MiB"
        )


def _grown(held: Sequence[Usage]) -> int:
    """Return how many KiB more are usual in the last fifth of some samples than in the first."""
    memory = [usage.memory for usage in held]
    fifth = max(1, len(memory) // 5)
    return int(median(memory[-fifth:]) - median(memory[:fifth]))


def _hints(household: Household, directory: Path, course: Course) -> AbstractContextManager[str]:
    return telling(household.world, directory) if course.hints else nullcontext("")


def _furnish(
    node: DevNode, household: Household, directory: Path, course: Course, hints: str
) -> Path:
    path = write_site(node, directory)
    text = path.read_text().replace("[proxmox]\n", _PROXMOX)
    path.write_text(text + _RECONCILE.format(course.interval) + _LIMITS + hints)
    (directory / "guests.d" / "household.toml").write_text(household.text())
    return path


def _left(household: Household, agent: Agent) -> list[str]:
    """Return how guests are not as declared, and what the agent said of the first of them."""
    left = household.differences()
    told = [f"guest {vmid}: {text}" for vmid, text in left.items()]
    more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
    said = [
        line
        for vmid in [*left][:_TOLD]
        for line in agent.said(f"guest {vmid}:", f"guest {vmid} ")[-3:]
    ]
    return [*told[:_TOLD], *more, *said]


def main(arguments: Sequence[str]) -> int:
    """Given the words of a command line, go a run and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.soak")
    parser.add_argument("--seconds", type=float, default=Course.seconds, help="time of drift")
    parser.add_argument("--guests", type=int, default=Course.guests)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--hints", action="store_true", help="the host tells what happens")
    given = parser.parse_args(arguments)
    _say(f"seed {given.seed}")
    report = soak(Course(given.seconds, given.guests, given.seed, hints=given.hints), _say)
    complaints = report.complaints()
    for line in [*report.table(), *(f"BAD: {c}" for c in complaints)]:
        _say(line)
    _say("the verdict: bad" if complaints else "the verdict: good")
    return 1 if complaints else 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
