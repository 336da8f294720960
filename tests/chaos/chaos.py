"""Chaos: kills the agent a thousand times, and proves that nothing was lost and nothing done twice.

`python -m tests.chaos.chaos --kills 1000 [--seed N]`; it ends after that many kills, at the first
broken promise, or when a kill takes far too long, and exits with 0 only if every promise was kept.

Each round makes trouble (drift, faults on the wire, one-shot jobs), starts the real daemon on the
same journal, and kills it with SIGKILL: at a named step of the journal, at a named moment seen by
the node, or at any moment. After each restart it is asked of the node and the journal: did two of
our changes ever meet at one guest; was a job sent twice; is there a change that was not written
down first; is there an acknowledged job that did not happen. Every hundred kills, and in the end,
the agent is left alone: all must be as declared, nothing in flight, every job answered, and
`felhom-agent journal verify` content.

Some jobs are signed (`signed.py`): guests are destroyed, rolled back, stopped, rid of snapshots, by
several at once, some brought twice, some through the spool, some with a mistake. Each nonce is for
one dispatch, each job has one last word that agrees with the node, the audit log's chain is whole,
and what was rolled back stays so.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from felhom_agent.authz.jobs import JobState
from tests.chaos.doomed import POINTS, SIGNED_POINTS
from tests.chaos.site import NODE_POINTS, ChaosSite, chaos_site

Say = Callable[[str], None]

AT_ANY_MOMENT = "any moment"
_USUAL_POINTS = (*POINTS, *NODE_POINTS, AT_ANY_MOMENT)
_ALL_POINTS = (*SIGNED_POINTS, *_USUAL_POINTS)
_LONGEST_LIFE = 2.0
_PATIENCE = 60.0
_REST_EVERY = 100
_MORE = 5
"""Rounds without a kill in which signed jobs get their turn, where none was done before."""


@dataclass
class Report:
    """What a run came to; `broken` are the promises that were not kept, in words."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    operations: int = 0
    jobs: int = 0
    signed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    doubles: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.doubles or self.lost or self.broken)

    def lines(self) -> Iterator[str]:
        """Yield the report as a person reads it."""
        yield f"seed {self.seed}, {self.seconds:.0f} s"
        yield (
            f"kills {self.kills.total()}, restarts {self.starts}, operations {self.operations}, "
            f"jobs {self.jobs}, signed {dict(self.signed)}, "
            f"doubles {len(self.doubles)}, lost {len(self.lost)}"
        )
        for point in _ALL_POINTS:
            yield f"  {self.kills[point]:5} killed at: {point}"
        for text in (*self.doubles, *self.lost, *self.broken):
            yield f"BROKEN: {text}"


class Appointment:
    """The death of one process at a moment that the node sees; `strike` is safe from any thread."""

    def __init__(self, process: subprocess.Popen[bytes], point: str, times: int) -> None:
        self._process = process
        self._point = point
        self._left = times
        self._lock = threading.Lock()

    def strike(self, point: str) -> None:
        """Hear that a point was passed; kill the process if that was the appointed time."""
        with self._lock:
            self._left -= point == self._point
            due = point == self._point and self._left == 0
        if due:
            self._process.kill()


class Chaos:
    """One run: a site, an agent that is started and killed, and what came of it."""

    def __init__(self, site: ChaosSite, rng: Random, report: Report) -> None:
        self._site = site
        self._rng = rng
        self._report = report
        self._log = site.directory / "agent.log"

    def kill_once(self) -> None:
        """Make trouble, let an agent live for a while, and judge what it left."""
        self._site.trouble()
        # Without a signed job no such moment comes.
        signed = self._site.owner.waits and self._rng.random() < 0.5
        point = self._rng.choice(SIGNED_POINTS if signed else _USUAL_POINTS)
        # A start renames once.
        times = 1 if "rename" in point else self._rng.choice((1, 1, 2, 3))
        life = self._rng.uniform(0.1, 1.2) if point == AT_ANY_MOMENT else _LONGEST_LIFE
        with self._agent(f"{point}:{times}") as process:
            self._site.node.strike = Appointment(process, point, times).strike
            try:
                process.wait(life)
            except subprocess.TimeoutExpired:
                point = AT_ANY_MOMENT
                process.kill()
                process.wait()
        if process.returncode == -signal.SIGKILL:
            self._report.kills[point] += 1
        else:
            self._report.broken.append(f"the agent ended by itself: {process.returncode}")
        self._judge()

    def rest(self) -> None:
        """Leave an agent alone until all is as it shall be, and stop it as systemd would."""
        self._site.node.faults.clear()
        with self._agent(":0") as process:
            if not _wait_until(lambda: not self._unsettled()):
                self._report.broken += self._unsettled()
            process.terminate()
            if process.wait(_PATIENCE) != 0:
                self._report.broken.append(f"a stop ended with {process.returncode}")
        self._judge()
        self._site.owner.tidy()
        if self._verify() != 0:
            self._report.broken.append("the journal does not verify")

    def _unsettled(self) -> list[str]:
        wrong = self._site.hear_answers()
        self._report.lost += wrong
        found = self._site.differences()
        found += [f"{job} has no answer" for job in self._site.jobs if not job.answer]
        self._note(self._site.owner.hear())
        found += self._site.owner.without_word()
        return found + [f"in flight: {o}" for o in self._site.operations() if o.in_flight]

    def _judge(self) -> None:
        site, report = self._site, self._report
        report.lost += site.hear_answers()
        report.lost += [text for text in site.unwritten() if text not in report.lost]
        report.doubles = site.doubles()
        self._note([*site.overlaps(), *site.owner.hear()])
        log = self._log.read_text()
        if "Traceback" in log or "internal error" in log:
            report.broken.append("the agent's log has an internal error")

    def _note(self, wrong: Sequence[str]) -> None:
        self._report.broken += [text for text in wrong if text not in self._report.broken]

    @contextmanager
    def _agent(self, die: str) -> Iterator[subprocess.Popen[bytes]]:
        self._report.starts += 1
        place = self._site.directory
        words = [sys.executable, "-m", "tests.chaos.doomed"]
        words += ["--config", str(place / "agent.toml")]
        words += ["--jobs", str(place / "jobs"), "--acks", str(place / "acks"), "--die", die]
        with self._log.open("ab") as log:
            process = subprocess.Popen(words, stderr=log, cwd=_ROOT)
        try:
            yield process
        finally:
            self._site.node.strike = lambda point: None
            if process.poll() is None:
                process.kill()
                process.wait()

    def _verify(self) -> int:
        words = [sys.executable, "-m", "felhom_agent", "--config"]
        words += [str(self._site.directory / "agent.toml"), "journal", "verify"]
        return subprocess.run(words, check=False, capture_output=True, cwd=_ROOT).returncode


_ROOT = Path(__file__).parent.parent.parent


def run(kills: int, seed: int, directory: Path, say: Say) -> Report:
    """Given how many kills, a seed and an empty directory, return what the run came to."""
    rng, report, begun = Random(seed), Report(seed), time.monotonic()  # noqa: S311  # no secret
    with chaos_site(directory, rng) as site:
        chaos = Chaos(site, rng, report)
        while report.kills.total() < kills and report.good:
            chaos.kill_once()
            done = report.kills.total()
            if done % _REST_EVERY == 0 and done < kills:
                chaos.rest()
                say(f"{done} kills, {len(site.node.mutations)} changes, {len(site.jobs)} jobs")
        if report.good:
            chaos.rest()
        for _ in range(_MORE):
            # In a short run chance may have sent no signed job that is good, or none in time.
            if report.good and not any(job.state is JobState.DONE for job in site.owner.jobs):
                site.owner.act()
                chaos.rest()
        report.operations, report.jobs = len(site.operations()), len(site.jobs)
        report.signed = Counter(str(job.state) for job in site.owner.jobs)
    report.seconds = time.monotonic() - begun
    return report


def _wait_until(true: Callable[[], bool]) -> bool:
    pause, deadline = threading.Event(), time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.1)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    given = parser.parse_args(arguments)
    print(f"seed {given.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="felhom-chaos-"))
    report = run(given.kills, given.seed, directory, lambda line: print(line, flush=True))
    for line in report.lines():
        print(line)
    if report.good:
        subprocess.run(["rm", "-r", directory], check=True)
    else:
        print(f"what is left of it: {directory}")
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
