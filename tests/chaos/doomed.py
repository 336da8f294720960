"""The agent with an appointment: the real daemon on a journal whose disk kills it at a named point.

`python -m tests.chaos.doomed --config FILE --jobs FILE --acks FILE --die "after intent:2"`

The named points are steps of the journal, told apart by what is written: the process gets SIGKILL
in the middle of that system call, before or after it. One-shot jobs come from a file, a JSON line
each, and are handed in again at every start until the agent has said what became of them, as a hub
would. That answer is written to a second file, durably, before the job is given up.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, NoReturn

from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.jobs import JobStatus
from felhom_agent.config.agentfile import load
from felhom_agent.daemon.assembly import Parts, assembled
from felhom_agent.daemon.loop import Daemon, Inbox
from felhom_agent.daemon.signals import signals
from felhom_agent.desired.hub import HubProvider
from felhom_agent.durable.disk import Disk
from felhom_agent.errors import FelhomError, JobRefused, JournalError, QueueClosed
from felhom_agent.journal.suspensions import ALL
from felhom_agent.model import Action, Change, Kind, SetConfig, Start, Stop
from felhom_agent.reconcile.signedoutcomes import NOT_KEPT
from felhom_agent.service import logging
from felhom_agent.service.flag import Flag

_STEPS = {"intent": (b'"state":"intent"',), "task": (b'"state":"task"',),
          "outcome": (b'"state":"succeeded"', b'"state":"failed"',
                      b'"state":"unknown"')}  # fmt: skip
_OF_SIGNED = {"kept job": (b'{"job": ',), "decision": (b'"decision":"a', b'"decision":"r'),
          "nonce": (b'"signed":"nonce"',), "pause": (b'"why":"after signed',),
          "last word": (b'"decision":"done"', b'"decision":"failed"')}  # fmt: skip
_ALL_STEPS = _STEPS | _OF_SIGNED
_WHEN = ("before", "torn", "after")
POINTS = (
    *(f"{when} {step}" for step in _STEPS for when in _WHEN), "before rename", "after rename",
)  # fmt: skip
SIGNED_POINTS = tuple(f"{when} {step}" for step in _OF_SIGNED for when in _WHEN)
_PAUSE = 0.1


class DeadlyDisk(Disk):
    """The real disk until the appointed point was passed that often; then death.

    One writer at a time comes here to the journal, and one to the audit log; that one of them
    counts for the other harms nothing but the name of the moment at which the process dies.
    """

    def __init__(self, point: str, times: int) -> None:
        self._point = point
        self._left = times
        self._written: set[str] = set()

    def write(self, descriptor: int, data: bytes) -> None:
        steps = {step for step, marks in _ALL_STEPS.items() if any(mark in data for mark in marks)}
        for step in steps:
            self._pass(f"before {step}")
            if self._is_due(f"torn {step}"):
                super().write(descriptor, data[: len(data) * 2 // 3])
                _die()
        self._written = steps
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        for step in self._written:
            self._pass(f"after {step}")

    def rename(self, old: Path, new: Path) -> None:
        self._pass("before rename")
        super().rename(old, new)
        self._pass("after rename")

    def _pass(self, point: str) -> None:
        if self._is_due(point):
            _die()

    def _is_due(self, point: str) -> bool:
        self._left -= point == self._point
        return point == self._point and self._left <= 0


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody survives that")


class Jobs:
    """Hands jobs in until each has an answer; a thread that ends when the engine closes."""

    def __init__(self, parts: Parts, jobs: Path, acks: Path) -> None:
        self._parts = parts
        self._acks = acks
        answered = {json.loads(line)["key"] for line in _lines(acks)}
        found = [json.loads(line) for line in _lines(jobs)]
        self._open = [job for job in found if job["key"] not in answered]
        self.closed = threading.Event()

    def run(self) -> None:
        while self._open and not self.closed.wait(_PAUSE):
            self._open = [job for job in self._open if not self._hand_in(job)]

    def _hand_in(self, job: dict[str, Any]) -> bool:
        """Return whether there is an answer that is final."""
        try:
            future = self._parts.engine.run_once(job["key"], self._action(job), job["expires"])
            answer = str(future.result(60).state)
        except JobRefused as error:
            answer = str(error)
        except QueueClosed:
            self.closed.set()
            return False
        except FelhomError:
            return False
        self._acknowledge({"key": job["key"], "answer": answer})
        return True

    def _action(self, job: dict[str, Any]) -> Action:
        vmid, kind = int(job["vmid"]), Kind(job["kind"])
        if job["do"] == "start":
            return Start(vmid, kind)
        if job["do"] == "stop":
            return Stop(vmid, kind)
        config = self._parts.node.guests.config(kind, vmid)
        before = str(config.get("description", ""))
        changes = (Change("description", before, job["key"]),)
        return SetConfig(vmid, kind, changes, str(config["digest"]))

    def _acknowledge(self, answer: dict[str, str]) -> None:
        with self._acks.open("a") as file:
            file.write(json.dumps(answer) + "\n")
            file.flush()
            os.fsync(file.fileno())


class SignedHandIn:
    """Brings signed jobs until each has ended, one of them twice at times; a thread that ends when
    the agent does.
    """

    def __init__(self, parts: Parts, path: Path, closed: threading.Event) -> None:
        self._jobs = parts.signing.parts.jobs
        found = [json.loads(line) for line in _lines(path)]
        self._open = [
            SignedJob(base64.b64decode(blob), (base64.b64decode(armor),), "socket")
            for blob, armor in found
        ]
        self._closed = closed

    def run(self) -> None:
        with suppress(JournalError, QueueClosed):
            while self._open and not self._closed.wait(_PAUSE):
                self._open = [job for job in self._open if not self._bring(job)]

    def _bring(self, job: SignedJob) -> bool:
        """Return whether it has ended."""
        known = self._jobs.status(job.hash)
        if known is not None and is_final(known):
            return True
        try:
            return is_final(self._jobs.submit(job))
        except JournalError:
            raise
        except FelhomError:
            return False


def is_final(status: JobStatus) -> bool:
    """Return whether it stays so: what was not taken in yet is brought again."""
    return status.state.final and status.why != NOT_KEPT


def _suspend_at_random(parts: Parts, hub: HubProvider, over: threading.Event) -> None:
    """Pause, resume, freeze, thaw, and let the hub block this host now and then; each ends by
    itself after a second, or with the next start, so that an agent that is left alone gets on with
    its work.
    """

    def block() -> None:
        hub.block(blocked=True)
        over.wait(1.0)
        hub.block(blocked=False)

    rng, said = Random(), parts.suspensions  # noqa: S311  # no secret
    acts: tuple[Callable[[], object], ...] = (
        lambda: said.freeze(1.0, "chaos", "chaos"),
        lambda: said.pause(ALL, 1.0, "chaos", "chaos"),
        lambda: said.pause(rng.randint(100, 105), 1.0, "chaos", "chaos"),
        lambda: said.thaw("chaos"),
        lambda: said.resume(ALL, "chaos"),
        block,
    )
    with suppress(JournalError):
        while not over.wait(rng.uniform(0.2, 2.0)):
            rng.choice(acts)()


def _lines(path: Path) -> list[str]:
    # A line that a kill cut short was acknowledged to nobody.
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("config", "jobs", "acks"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--die", default=":0", help='a point and how often it may pass: "POINT:N"')
    given = parser.parse_args(arguments)
    point, _, times = given.die.rpartition(":")
    logging.set_up()
    config = load(given.config)
    inbox: Inbox = queue.SimpleQueue()
    shutting_down = Flag()
    disk = DeadlyDisk(point, int(times))
    with (
        signals(inbox, shutting_down),
        assembled(config, disk=disk, shutting_down=shutting_down) as parts,
    ):
        hub = HubProvider(config.journal.directory, config.hub)
        hub.block(blocked=False)
        parts.holds.register("hub", lambda _: "the hub blocks" if hub.kept.blocked else "")
        daemon = Daemon(config, parts, inbox)
        daemon.begin()
        jobs = Jobs(parts, given.jobs, given.acks)
        thread = threading.Thread(target=jobs.run, name="jobs", daemon=True)
        thread.start()
        signed = SignedHandIn(parts, given.config.parent / "signed", jobs.closed)
        threading.Thread(target=signed.run, name="signed", daemon=True).start()
        hand = threading.Thread(
            target=_suspend_at_random, args=(parts, hub, jobs.closed), name="hand", daemon=True
        )
        hand.start()
        daemon.run()
        jobs.closed.set()


if __name__ == "__main__":
    main()
