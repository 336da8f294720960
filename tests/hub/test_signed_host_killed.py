"""The agent ends, or its disk fails, at every durable step of what is done to the host: signers are
the old ones or the new ones, the last word on the job says which, and somebody can still sign.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest

from felhom_agent.authz.armor import MAX_ARMOR
from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.hostblob import REVOCATION, ROTATION, THAW
from felhom_agent.authz.jobs import JobState, statuses_of
from felhom_agent.authz.request import SignedRequest
from felhom_agent.authz.signerline import Role
from felhom_agent.config.settings import Config, JournalConfig
from felhom_agent.daemon.signedhub import SignedForHub
from felhom_agent.errors import FelhomError
from felhom_agent.journal.audit import AUDIT_NAME, verify_audit
from tests.authz.desk import Key, key, needs_ssh_keygen, signer_line
from tests.conftest import Site
from tests.daemon.signing import PRIVILEGES, SigningAgent
from tests.hub.carrier import HubbedHost, a_carrier, signed
from tests.journal.disks import WatchedDisk

pytestmark = needs_ssh_keygen

ANNA, BELA = key(), key(number=1)
SAFE, NEW_SAFE = key(number=5), key(number=6)
FIRST = (signer_line(ANNA), signer_line(BELA), signer_line(SAFE, Role.RECOVERY))
SECOND = (signer_line(BELA), signer_line(NEW_SAFE, Role.RECOVERY))
_STEPS = ("write", "sync", "rename", "remove", "sync_directory")


class Killed(BaseException):
    """The process is gone; nothing of it handles that."""


class Fate:
    """What becomes of an agent at its step number `at`: it is gone, its disk has failed for good,
    or one call of its disk fails. One lock guards the count; steps come from several threads.
    """

    def __init__(self, how: str) -> None:
        self.how = how
        self.struck = False
        self._at, self._steps = -1, 0
        self._lock = threading.Lock()

    def arm(self, at: int) -> None:
        self._at = at

    def before(self, call: str) -> None:
        if self._at < 0 or call not in _STEPS:
            return
        with self._lock:
            self._steps += 1
            now = self._steps == self._at
            struck, self.struck = self.struck, self.struck or now
        if now or (struck and self.how != "one call fails"):
            raise Killed if self.how == "killed" else OSError(errno.EIO, "the disk fails")


@dataclass(frozen=True)
class Story:
    """One kind of operation on the host: what is asked for, who signs it, and whether its effect is
    in force.
    """

    act: str
    params: dict[str, object]
    signers: tuple[Key, ...]
    shows: Callable[[SigningAgent], bool]


def _is_frozen(agent: SigningAgent) -> bool:
    return bool(agent.parts.suspensions.frozen())


def _is_taken_back(agent: SigningAgent, signer: Key) -> bool:
    return any(signer.line == each.text for each in agent.ready.trust.current().revoked)


def _signs(agent: SigningAgent, request: SignedRequest, signer: Key) -> bool:
    """Return whether a key's signature would be followed now, by the real examination."""
    return all(stage.passed for stage in agent.ready.verify(signed(request, signer)))


STORIES = {
    ROTATION: Story(
        ROTATION, {"allowed_signers": "".join(f"{line}\n" for line in SECOND)},
        (SAFE, NEW_SAFE, BELA), lambda agent: agent.ready.trust.current().version == 2,
    ),
    REVOCATION: Story(
        REVOCATION, {"keys": [ANNA.line]}, (SAFE,), lambda agent: _is_taken_back(agent, ANNA)
    ),
    THAW: Story(THAW, {}, (SAFE,), lambda agent: not _is_frozen(agent)),
}  # fmt: skip


@pytest.fixture
def scene(make_site: Callable[..., Site]) -> Iterator[HubbedHost]:
    with a_carrier() as hub:
        scene = HubbedHost(make_site(privileges=PRIVILEGES), hub)
        scene.allow(*FIRST)
        scene.host.site.world.start(100)
        yield scene


@pytest.mark.parametrize("act", STORIES)
@pytest.mark.parametrize("how", ["killed", "the disk fails", "one call fails"])
def test_whatever_step_is_its_last_the_set_in_force_and_the_last_word_agree(
    scene: HubbedHost, how: str, act: str
) -> None:
    story, words = STORIES[act], set[JobState | None]()
    shown = set[object]()
    for number in range(1, 500):
        config = replace(
            scene.config, journal=JournalConfig(scene.host.site.directory / f"journal-{number}")
        )
        config = replace(
            config, authz=replace(config.authz, kept=config.journal.directory / "signers")
        )
        fate, job, taken = _first_life(scene, config, story, how, number)
        words.add(_second_life(scene, config, story, job, shown, taken=taken))
        if not fate.struck:
            break
    assert number > 10, "a job without steps shows nothing"
    assert JobState.DONE in words
    assert words - {JobState.DONE}, "none ended before the act"


def test_while_what_is_kept_cannot_be_read_a_job_has_no_last_word_and_then_the_right_one(
    scene: HubbedHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    kept = scene.host.site.directory / "journal" / "signers" / "2"

    def dies_once_it_is_kept(_: str) -> None:
        if (kept / "job").exists():
            raise Killed

    with suppress(Killed), scene.host.agent(scene.config, WatchedDisk(dies_once_it_is_kept)) as it:
        story = STORIES[ROTATION]
        job = signed(it.ready.request_for_host(ROTATION, story.params), *story.signers)
        it.ready.jobs.submit(job)
        _wait(it, (kept / "job").exists)
    assert "signed key_rotation of this host waits: the agent is stopping" in caplog.messages
    signature = kept / "job.1.sig"
    good = signature.read_bytes()
    signature.write_bytes(b"-" * (MAX_ARMOR + 1))
    with scene.host.agent(scene.config) as agent:
        assert agent.status(job).state is JobState.RUNNING
    (line,) = (each for each in caplog.messages if "has no last word yet" in each)
    assert line.endswith("job.1.sig has more than 16384 bytes")
    signature.write_bytes(good)
    with scene.host.agent(scene.config) as agent:
        assert agent.status(job).state is JobState.DONE
        assert story.shows(agent)


def _first_life(
    scene: HubbedHost, config: Config, story: Story, how: str, number: int
) -> tuple[Fate, SignedJob, bool]:
    """Let an agent live until its step of that number; return whether the job was taken, too."""
    fate, taken = Fate(how), False
    job: SignedJob | None = None
    try:
        with scene.host.agent(config, WatchedDisk(fate.before)) as agent:
            job = signed(agent.ready.request_for_host(story.act, story.params), *story.signers)
            if story.act == THAW:
                agent.parts.suspensions.freeze(None, "a reason", "root")
            fate.arm(number)
            brought = job
            SignedForHub(agent.ready, lambda _: True).take("j", job.blob, job.signatures)
            taken = True
            _wait(agent, lambda: fate.struck or agent.status(brought).state.final)
    except (Killed, FelhomError):
        assert fate.struck
    assert job is not None
    return fate, job, taken


def _second_life(
    scene: HubbedHost,
    config: Config,
    story: Story,
    job: SignedJob,
    shown: set[object],
    *,
    taken: bool,
) -> JobState | None:
    """Let an agent find what the first left; return its last word. Fail if a promise is broken."""
    with scene.host.agent(config) as agent:
        found = agent.ready.jobs.status(job.hash)
        assert found is not None or not taken, "a job that was taken is lost"
        if found is not None:
            agent.running.daemon._signed.hand_over()
            _wait(agent, lambda: agent.status(job).state.final)
            found = agent.status(job)
        word = found.state if found is not None else None
        assert story.shows(agent) is (word is JobState.DONE), found
        _nobody_is_locked_out(agent, shown)
        if word is not None:
            report = verify_audit(config.journal.directory / AUDIT_NAME)
            assert report.problems == ()
            assert statuses_of(report.entries)[job.hash].state is word
    return word


def _wait(agent: SigningAgent, done: Callable[[], bool]) -> None:
    """Let the agent's main loop go on until something is so."""
    for _ in range(3000):
        if done():
            return
        agent.running.daemon._wait(0.01)
    raise AssertionError("it never came to pass")


def _nobody_is_locked_out(agent: SigningAgent, shown: set[object]) -> None:
    """Fail unless the set in force is one that a person wrote, and its keys can sign; the latter
    once for each set, with those taken back, since it takes its time.
    """
    found = agent.ready.trust.current()
    assert found.problems == ()
    recovery = {1: SAFE, 2: NEW_SAFE}[found.version]
    if (found.version, found.revoked) in shown:
        return
    shown.add((found.version, found.revoked))
    assert _signs(agent, agent.ready.request_for_host(THAW, {}), recovery)
    assert _signs(agent, agent.request("force_stop"), BELA)
