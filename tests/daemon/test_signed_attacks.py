"""What stands against a signed operation between its arrival and its end, with a whole agent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from felhom_agent.authz.check import Observe, SignedJob
from felhom_agent.authz.examiner import Examined
from felhom_agent.authz.jobs import JobState, JobStatus
from felhom_agent.authz.refusals import VerifierFailed
from felhom_agent.authz.words import with_words
from felhom_agent.devnode import Fault
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES
from felhom_agent.errors import FelhomError
from tests.authz.desk import at_once, needs_ssh_keygen
from tests.conftest import TOKEN_ID, Site
from tests.daemon.running import asked
from tests.daemon.signing import DESTROY, OWNER, PRIVILEGES, WEB, SigningHost

pytestmark = needs_ssh_keygen


def deleted(host: SigningHost) -> list[str]:
    return [m.path for m in host.site.devnode.mutations if m.method == "DELETE"]


@pytest.mark.parametrize("others", [True, False])
def test_a_destroy_that_takes_the_tokens_own_rights_along_is_done(
    make_site: Callable[..., Site], *, others: bool
) -> None:
    """PVE removes what is given on a guest together with it (recorded: 110-destroy-qemu)."""
    rights = [*AGENT_PRIVILEGES, *OWNER]
    privileges = {
        "/vms/100": rights,
        "/nodes": rights,
        "/storage": rights,
        "/sdn/zones/localnetwork": ["SDN.Use"],
    }
    if others:
        privileges["/vms/101"] = rights
    site = make_site(privileges=privileges)
    site.world.add("qemu", 100, WEB)
    site.world.add("qemu", 101, {"name": "other"})
    host = SigningHost(site)
    with host.agent() as agent:
        agent.ready.jobs.submit(job := agent.job(DESTROY))
        for _ in range(4):
            agent.tried(job)
        assert site.world.here("qemu", 100) is None
        assert agent.status(job).state is JobState.DONE
        assert agent.parts.operations.in_flight() == ()


def between_stop_and_destroy(host: SigningHost, do: Callable[[], None]) -> None:
    """Let something happen once the stop was done, and before the guest is looked at again."""
    node = host.site.devnode
    answers = node.answer

    def answer(heard: Request, raw: Mapping[str, Any], authorization: str) -> Answer:
        found = answers(heard, raw, authorization)
        if heard.path.endswith("status/stop"):
            do()
        return found

    node.answer = answer  # type: ignore[method-assign]


@pytest.mark.parametrize("what", ["recycled", "started", "snapshot", "config", "moved"])
def test_what_happens_between_the_stop_and_the_destroy_is_seen(
    host: SigningHost, what: str
) -> None:
    world = host.site.world
    world.start(100)

    def recycle() -> None:
        world.remove(100)
        host.site.clock.pass_by(5)
        world.create("qemu", 100, WEB)

    acts: dict[str, Callable[[], None]] = {
        "recycled": recycle,
        "started": lambda: world.start(100),
        "snapshot": lambda: world.snapshot(100, "one-more"),
        "config": lambda: world.edit(100, {"cores": 4}),
        "moved": lambda: world.move(100, "pve2"),
    }
    between_stop_and_destroy(host, acts[what])
    with host.agent() as agent:
        job = agent.job(DESTROY, stop=True)
        found = agent.done(job)
        assert found.state is JobState.FAILED, found
        assert found.why
        assert agent.decisions()[-1] == "failed"
    assert deleted(host) == []
    assert 100 in world.guests


def test_one_job_brought_by_many_at_once_is_one_job(host: SigningHost) -> None:
    with host.agent() as agent:
        job = agent.job(DESTROY)
        found = at_once(*[lambda: agent.ready.jobs.submit(job)] * 6)
        assert all(isinstance(each, JobStatus) for each in found), found
        assert agent.ended(job).state is JobState.DONE
        assert agent.decisions() == ["accepted", "authorized", "done"]
    assert len(deleted(host)) == 1


def test_the_same_bytes_with_a_bad_signature_at_the_same_time_keep_no_good_job_out(
    host: SigningHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with host.agent() as agent:
        job = agent.job(DESTROY)
        bad = replace(job, signatures=(host.key.sign(b"else", "felhom-op-v1"),), source="hub:x")
        examine, told = agent.ready.examiner.examine, list[object]()

        def meanwhile(brought: SignedJob, observe: Observe) -> Examined:
            if brought is bad:
                with pytest.raises(FelhomError) as found:
                    agent.ready.jobs.submit(job)
                told.append(found.value.temporary)
            return examine(brought, observe)

        monkeypatch.setattr(agent.ready.examiner, "examine", meanwhile)
        assert agent.ready.jobs.submit(bad).state is JobState.REFUSED
        assert told == [True], "who is told that it was taken brings it no more"
        assert agent.done(job).state is JobState.DONE


@pytest.mark.parametrize("source", ["spool", "hub:x"])
def test_a_better_signature_that_could_not_be_looked_at_once_is_looked_at_again(
    host: SigningHost, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    with host.agent() as agent:
        job = replace(agent.job(DESTROY), source=source)
        bad = replace(job, signatures=(host.key.sign(b"else", "felhom-op-v1"),))
        assert agent.ready.jobs.submit(bad).state is JobState.REFUSED

        def busy(*_: object) -> Examined:
            raise VerifierFailed("other signatures are being checked")

        monkeypatch.setattr(agent.ready.examiner, "examine", busy)
        with pytest.raises(VerifierFailed):
            agent.ready.jobs.submit(job)
        monkeypatch.undo()
        assert agent.done(job).state is JobState.DONE


@pytest.mark.parametrize("shared", ["nonce", "challenge"])
def test_of_two_jobs_with_one_nonce_or_challenge_one_is_done(
    host: SigningHost, shared: str
) -> None:
    world = host.site.world
    world.start(100)
    with host.agent() as agent:
        request = agent.request("force_stop")
        first = request.operation
        words = {"nonce": {"resume": True}, "challenge": {"nonce": "f" * 32}}[shared]
        second = with_words(replace(first, **words))  # type: ignore[arg-type]
        jobs = [host.signed(replace(request, operation=each)) for each in (first, second)]
        at_once(*[partial(agent.ready.jobs.submit, job) for job in jobs])
        states = sorted(str(agent.ended(job).state) for job in jobs)
    assert states in (["done", "refused"], ["done", "expired"])
    assert asked(host.site, "stop") == [100]


def test_a_job_is_not_replayed_after_a_restart_or_once_all_is_forgotten(
    host: SigningHost,
) -> None:
    """The guest is as it was when it was signed, and the job is brought again: never twice."""
    world = host.site.world
    world.start(100)
    with host.agent() as agent:
        job = agent.job("force_stop")
        assert agent.done(job).state is JobState.DONE
    for days in (0, 3, 8, 30):
        host.site.clock.pass_by(days * 86400.0)
        world.start(100)
        with host.agent() as agent:
            agent.ready.jobs.submit(job)
            assert agent.tried(job).state in (JobState.DONE, JobState.REFUSED)
        assert world.running(100)
    assert asked(host.site, "stop") == [100]


def test_a_clock_that_is_set_back_does_not_bring_a_late_job_back(host: SigningHost) -> None:
    with host.agent() as agent:
        job = host.signed(agent.request(DESTROY), now=int(host.site.clock()), seconds=300)
        agent.parts.suspensions.freeze(None, "a reason", "root")
        agent.ready.jobs.submit(job)
        host.site.clock.pass_by(400)
        assert agent.tried(job).state is JobState.EXPIRED
        agent.parts.suspensions.thaw("root")
        host.site.clock.pass_by(-390)
        agent.ready.jobs.submit(job)
        assert "behind" in agent.tried(job).why
    with host.agent() as agent:
        assert agent.tried(job).state is JobState.PENDING
    assert deleted(host) == []


def test_a_clock_that_jumps_ahead_before_the_act_ends_the_job(host: SigningHost) -> None:
    with host.agent() as agent:
        job = host.signed(agent.request(DESTROY), now=int(host.site.clock()), seconds=300)
        agent.parts.suspensions.freeze(None, "a reason", "root")
        agent.ready.jobs.submit(job)
        host.site.clock.pass_by(10 * 365 * 86400.0)
        agent.parts.suspensions.thaw("root")
        assert agent.tried(job).state is JobState.EXPIRED
    assert deleted(host) == []


def test_the_state_of_a_host_that_was_copied_is_no_leave_on_the_copy(host: SigningHost) -> None:
    with host.agent() as agent:
        job, other = agent.job(DESTROY), agent.job(DESTROY, 200)
        agent.parts.suspensions.freeze(None, "a reason", "root")
        agent.ready.jobs.submit(job)
        agent.tried(job)
    directory = host.config.journal.directory
    copy = directory.with_name("copy")
    shutil.copytree(directory, copy)
    told = json.loads((copy / "host-id").read_text())
    told |= {"machine": "0" * 32, "cards": ["0" * 32]}
    (copy / "host-id").write_text(json.dumps(told))
    (copy / "host-id").chmod(0o600)
    config = replace(host.config, journal=replace(host.config.journal, directory=copy))
    with host.agent(config) as agent:
        agent.parts.suspensions.thaw("root")
        found = agent.tried(job)
        assert (found.state, found.stage) == (JobState.REFUSED, "host")
        assert agent.ready.jobs.submit(other).stage == "host"
    assert deleted(host) == []
    with host.agent() as agent:
        agent.parts.suspensions.thaw("root")
        assert agent.tried(job).state is JobState.DONE, "the first is the host it was before"


def _rights(host: SigningHost, *without: str) -> None:
    """Give the token other rights from now on."""
    kept = {path: [r for r in found if r not in without] for path, found in PRIVILEGES.items()}
    host.site.world.token(TOKEN_ID, kept, host.site.secret)


@pytest.mark.parametrize("vmid", [100, 200])
@pytest.mark.parametrize(
    ("what", "stage"),
    [("moved", "host"), ("hidden", "host"), ("no task list", "identity"), ("key", "key")],
)
def test_what_cannot_be_seen_any_more_is_not_touched(
    host: SigningHost, vmid: int, what: str, stage: str
) -> None:
    with host.agent() as agent:
        job = agent.job(DESTROY, vmid)
        agent.parts.suspensions.freeze(None, "a reason", "root")
        agent.ready.jobs.submit(job)
        match what:
            case "moved":
                host.site.world.move(vmid, "pve2")
            case "hidden":
                _rights(host, "VM.Audit")
            case "no task list":
                _rights(host, "Sys.Audit")
            case "key":
                host.signers.revoke(f"{host.key.line}\n")
        agent.parts.suspensions.thaw("root")
        found = agent.tried(job)
        if what == "hidden" and found.state is JobState.PENDING:
            assert "VM.Audit" in found.why, "the token may see no guest at all"
        else:
            refused_at = "revocation" if what == "key" else stage
            assert (found.state, found.stage) == (JobState.REFUSED, refused_at), found
        assert agent.ready.examiner.report(job, lambda _: None)[-1].passed is None
        assert "authorized" not in agent.decisions()
    assert deleted(host) == []
    assert vmid in host.site.world.guests


def test_a_job_on_a_guest_that_ha_has_waits_until_ha_has_it_no_more(host: SigningHost) -> None:
    host.site.world.start(100)
    with host.agent() as agent:
        job = agent.job("force_stop")
        host.site.world.ha(100, "started")
        agent.ready.jobs.submit(job)
        found = agent.tried(job)
        assert found.state is JobState.PENDING
        assert "ha-manager remove" in found.why
        assert asked(host.site, "stop") == []
        host.site.world.ha(100, "")
        assert agent.tried(job).state is JobState.DONE
    assert asked(host.site, "stop") == [100]


@pytest.mark.parametrize("act", [DESTROY, "snapshot_rollback"])
def test_what_is_done_to_a_template_is_told_as_it_is(host: SigningHost, act: str) -> None:
    world = host.site.world
    world.snapshot(100, "before")
    world.edit(100, {"template": 1})
    params: dict[str, str | bool] = {"purge": False} if act == DESTROY else {"snapshot": "before"}
    with host.agent() as agent:
        found = agent.done(agent.job(act, 100, params))
        gone = world.here("qemu", 100) is None
        assert (found.state is JobState.DONE) is gone
        assert found.state is JobState.DONE or found.why
        assert agent.decisions()[-1] == str(found.state)


@pytest.mark.parametrize("action", ["not-json", "garbage", "status:596", "hang"])
def test_a_snapshot_list_that_makes_no_sense_stands_in_the_way(
    host: SigningHost, action: str
) -> None:
    quick = replace(host.config, proxmox=replace(host.site.proxmox, read_timeout=0.5))
    with host.agent(quick) as agent:
        job = agent.job(DESTROY)
        agent.parts.suspensions.freeze(None, "a reason", "root")
        agent.ready.jobs.submit(job)
        host.site.devnode.faults.add(Fault("GET", "/100/snapshot$", action, times=50))
        agent.parts.suspensions.thaw("root")
        found = agent.tried(job)
        assert (found.state, bool(found.why)) == (JobState.PENDING, True)
        assert deleted(host) == []
        host.site.devnode.faults.clear()
        assert agent.tried(job).state is JobState.DONE
    assert len(deleted(host)) == 1


def test_a_job_in_the_spool_that_was_refused_is_not_done_at_a_later_start(
    host: SigningHost,
) -> None:
    """It was refused since the guest ran; hours later somebody stops the guest for another reason,
    and the agent is restarted.
    """
    world = host.site.world
    host.spool.mkdir()
    with host.agent() as agent:
        job = agent.job(DESTROY)
        world.start(100)
        (host.spool / "one.job").write_bytes(job.blob)
        (host.spool / "one.job.sig").write_bytes(job.signatures[0])
        agent.running.run_pass()
        assert agent.ended_known(job).state is JobState.REFUSED
    world.stop(100)
    for _ in range(2):
        with host.agent() as agent:
            agent.running.look()
            agent.running.look()
            assert agent.status(job).state is JobState.REFUSED
    assert agent.decisions().count("refused") == 1
    assert deleted(host) == []
    with host.agent() as agent:
        assert agent.done(job).state is JobState.DONE, "a person brought it again"
