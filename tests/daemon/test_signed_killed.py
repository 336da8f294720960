"""The agent dies at every durable step and every request of a signed operation; the next one on the
same disk does nothing twice, and has a last word on the job.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.jobs import JobState, statuses_of
from felhom_agent.config.settings import Config, JournalConfig
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.journal.audit import AUDIT_NAME, verify_audit
from tests.authz.desk import needs_ssh_keygen
from tests.daemon.signing import DESTROY, WEB, SigningAgent, SigningHost
from tests.journal.disks import WatchedDisk

pytestmark = needs_ssh_keygen

_STEPS = ("write", "sync", "rename")
_DEAD = Answer(500, "nobody asks any more")


class Killed(BaseException):
    """The process is gone; nothing of it handles that."""


class Fate:
    """Kills an agent at its step number `at`: from then on it writes nothing and changes nothing.

    One lock guards the count; steps come from the lane and from whoever hands a job in.
    """

    def __init__(self, host: SigningHost) -> None:
        self.dead = False
        self.steps = 0
        self._at = -1
        self._lock = threading.Lock()
        self._node = host.site.devnode
        self._answers = self._node.answer

    def arm(self, at: int) -> None:
        self._at, self.steps = at, 0
        self._node.answer = self.answer  # type: ignore[method-assign]

    def disarm(self) -> None:
        self._node.answer = self._answers  # type: ignore[method-assign]

    def _is_over(self) -> bool:
        with self._lock:
            self.steps += 1
            self.dead = self.dead or self.steps == self._at
            return self.dead

    def before(self, call: str) -> None:
        """Hear of a call of the disk. Raise Killed if the process is dead before it."""
        if self._at > 0 and (call in _STEPS) and self._is_over():
            raise Killed

    def answer(self, heard: Request, raw: Mapping[str, Any], authorization: str) -> Answer:
        """Answer a request; what changes a guest has a step before it and one behind it."""
        if not heard.changes:
            return self._answers(heard, raw, authorization)
        if self._is_over():
            self._node.over(heard)
            return _DEAD
        answer = self._answers(heard, raw, authorization)
        return _DEAD if self._is_over() else answer


@dataclass(frozen=True)
class Story:
    """One kind of signed job: the act with its parameters, and what shows that it was done."""

    act: str
    params: Mapping[str, str | bool]
    shows: Callable[[SigningHost, int], bool]
    stop: bool = False
    running: bool = False

    def job(self, agent: SigningAgent, vmid: int) -> SignedJob:
        return agent.job(self.act, vmid, self.params, stop=self.stop)


def _is_gone(host: SigningHost, vmid: int) -> bool:
    return host.site.world.here("qemu", vmid) is None


STORIES = {
    "destroy": Story(DESTROY, {"purge": False}, _is_gone),
    "stop and destroy": Story(DESTROY, {"purge": False}, _is_gone, stop=True, running=True),
    "rollback": Story(
        "snapshot_rollback",
        {"snapshot": "before"},
        lambda host, vmid: host.site.world.config(vmid)["cores"] == 1,
    ),
    "snapshot": Story(
        "snapshot_delete",
        {"snapshot": "before"},
        lambda host, vmid: "before" not in host.site.world.snapshots(vmid),
    ),
    "force stop": Story(
        "force_stop", {}, lambda host, vmid: not host.site.world.running(vmid), running=True
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_killed_at_any_step_a_job_is_dispatched_at_most_once_and_has_a_last_word(
    host: SigningHost, name: str
) -> None:
    story = STORIES[name]
    words = set()
    for number, vmid in enumerate(range(1000, 2000), start=1):
        _furnish(host, vmid, story)
        config = _config(host, number)
        fate, job, acknowledged = _first_life(host, config, story, vmid, number)
        words.add(_second_life(host, config, story, vmid, job, acknowledged=acknowledged))
        if not fate.dead:
            break
    assert number > 10, "a job without steps shows nothing"
    assert JobState.DONE in words
    assert words & {JobState.FAILED, JobState.REFUSED}, "none died before the act"


def _furnish(host: SigningHost, vmid: int, story: Story) -> None:
    world = host.site.world
    own = {
        "smbios1": f"uuid=11111111-2222-3333-4444-{vmid:012d}",
        "scsi0": f"local-lvm:vm-{vmid}-disk-0,size=4G",
    }
    world.add("qemu", vmid, {**WEB, **own})
    world.snapshot(vmid, "before")
    world.edit(vmid, {"cores": 2})
    if story.running:
        world.start(vmid)
    host.site.declare(f"[guest.{vmid}.config]\ncores = 2\n")


def _config(host: SigningHost, number: int) -> Config:
    return replace(host.config, journal=JournalConfig(host.site.directory / f"journal-{number}"))


def _first_life(
    host: SigningHost, config: Config, story: Story, vmid: int, number: int
) -> tuple[Fate, SignedJob, bool]:
    """Let an agent live until its step of that number; return whether the job was taken, too."""
    fate, acknowledged = Fate(host), False
    job: SignedJob | None = None
    try:
        with host.agent(config, WatchedDisk(fate.before)) as agent:
            agent.running.look()
            job = story.job(agent, vmid)
            fate.arm(number)
            agent.ready.jobs.submit(job)
            acknowledged = True
            taken = job
            agent.running.hear(lambda: fate.dead or agent.status(taken).state.final)
            agent.running.hear(lambda: fate.dead or agent.running.scheduler.idle)
    except Killed:
        pass
    finally:
        fate.disarm()
    assert job is not None
    return fate, job, acknowledged


def _second_life(
    host: SigningHost,
    config: Config,
    story: Story,
    vmid: int,
    job: SignedJob,
    *,
    acknowledged: bool,
) -> JobState | None:
    """Let an agent find what the first left; return its last word. Fail if a promise is broken."""
    with host.agent(config) as agent:
        for _ in range(12):
            agent.running.look()
            host.site.clock.pass_by(10)
            agent.running.later(20)
            found = agent.ready.jobs.status(job.hash)
            if (found is None or found.state.final) and not agent.parts.operations.in_flight():
                break
        assert found is not None or not acknowledged, "a job that was taken is lost"
        assert found is None or found.state.final, found
        assert agent.parts.operations.in_flight() == ()
        sent = list(_sent(host, vmid))
        assert len(sent) == len(set(sent)), f"dispatched twice: {sent}"
        if story.act == "snapshot_rollback" and story.shows(host, vmid):
            assert agent.parts.suspensions.is_paused(vmid), "it would be healed away"
        shows = story.shows(host, vmid)
        if found is not None:
            assert found.state is not JobState.DONE or shows, found
            assert found.state not in (JobState.REFUSED, JobState.EXPIRED) or not sent, found
            assert not shows or found.state in (JobState.DONE, JobState.UNKNOWN), found
            _agrees(config, job, found.state)
            if sent:
                agent.ready.jobs.submit(job)
                agent.running.look()
                assert list(_sent(host, vmid)) == sent, "the same bytes were done again"
    return found.state if found is not None else None


def _sent(host: SigningHost, vmid: int) -> Iterator[tuple[str, str]]:
    for each in host.site.devnode.mutations:
        if each.guest == str(vmid) and each.status == 200 and not each.path.endswith("/config"):
            yield each.method, each.path


def _agrees(config: Config, job: SignedJob, state: JobState) -> None:
    """Fail unless the audit log alone says the same to whoever reads it later."""
    report = verify_audit(config.journal.directory / AUDIT_NAME)
    assert report.problems == ()
    assert statuses_of(report.entries)[job.hash].state is state
    ended = [e for e in report.entries if e.decision in ("done", "failed", "unknown")]
    assert len(ended) <= 1
