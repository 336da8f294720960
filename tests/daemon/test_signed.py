"""A signed operation is done once, as it was signed, and the guest is left alone after it."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.authz.jobs import JobState
from felhom_agent.authz.refusals import GuestLocked
from felhom_agent.authz.signers import SignerSet
from felhom_agent.config.settings import Threshold
from felhom_agent.devnode import Fault
from felhom_agent.devnode.world.backups import Backup, BackupStorage
from felhom_agent.durable.disk import Disk
from felhom_agent.errors import Held, Interrupted, Unsigned
from felhom_agent.irreversible import Destroy
from felhom_agent.model import Kind, Mode
from felhom_agent.reconcile.gate import Proposal
from tests.authz.desk import key, needs_ssh_keygen
from tests.conftest import TOKEN_ID
from tests.daemon.running import asked
from tests.daemon.signing import DESTROY, PRIVILEGES, WEB, SigningHost

pytestmark = needs_ssh_keygen


def sent(host: SigningHost, method: str) -> list[str]:
    return [m.path for m in host.site.devnode.mutations if m.method == method]


@pytest.mark.parametrize("vmid", [100, 200])
def test_a_signed_destroy_is_done_once_and_nothing_else_is_removed(
    host: SigningHost, vmid: int
) -> None:
    with host.agent() as agent:
        found = agent.done(agent.job(DESTROY, vmid))
        assert (found.state, found.why) == (JobState.DONE, "")
        assert host.site.world.here("qemu", vmid) is host.site.world.here("lxc", vmid) is None
        assert agent.decisions() == ["accepted", "authorized", "done"]
    (call,) = [m for m in host.site.devnode.mutations if m.method == "DELETE"]
    assert call.path.endswith(f"/{vmid}")
    assert call.params == {"destroy-unreferenced-disks": "0", "purge": "0"}


def test_the_same_job_again_is_one_job(host: SigningHost) -> None:
    with host.agent() as agent:
        job = agent.job(DESTROY)
        agent.done(job)
        assert agent.ready.jobs.submit(job).state is JobState.DONE
    with host.agent() as agent:
        assert agent.ready.jobs.submit(job).state is JobState.DONE
        agent.tried(job)
    assert len(sent(host, "DELETE")) == 1


def test_a_running_guest_is_destroyed_only_where_its_stop_was_signed(host: SigningHost) -> None:
    host.site.world.start(100)
    with host.agent() as agent:
        refused = agent.done(agent.job(DESTROY))
        assert (refused.state, refused.stage) == (JobState.REFUSED, "state")
        assert host.site.world.running(100)
        found = agent.done(agent.job(DESTROY, stop=True))
        assert (found.state, found.why) == (JobState.DONE, "")
    assert asked(host.site, "stop") == [100]
    assert host.site.world.here("qemu", 100) is None


def test_a_rollback_is_not_healed_away_until_a_person_says_so(host: SigningHost) -> None:
    world = host.site.world
    world.snapshot(100, "before")
    world.edit(100, {"cores": 2})
    host.site.declare("[guest.100.config]\ncores = 2\n")
    with host.agent() as agent:
        agent.running.look()
        found = agent.done(agent.job("snapshot_rollback", 100, {"snapshot": "before"}))
        assert (found.state, found.why) == (JobState.DONE, "")
        assert world.config(100)["cores"] == 1
        (pause,) = agent.parts.suspensions.all()
        assert "after signed rollback" in agent.parts.suspensions.text(pause)
        agent.running.look()
    with host.agent() as agent:
        agent.running.look()
        assert world.config(100)["cores"] == 1
        agent.parts.suspensions.resume(100, "root")
        agent.running.look()
        assert world.config(100)["cores"] == 2


def test_a_changed_declaration_ends_the_pause_and_a_moved_one_does_not(host: SigningHost) -> None:
    world = host.site.world
    world.snapshot(100, "before")
    host.site.declare("[guest.100.config]\ncores = 2\nonboot = false\n")
    with host.agent() as agent:
        agent.running.look()
        agent.done(agent.job("snapshot_rollback", 100, {"snapshot": "before"}))
    host.site.declare("# a remark\n[guest.100.config]\nonboot = false\n\ncores = 2\n")
    with host.agent() as agent:
        agent.running.look()
        assert world.config(100)["cores"] == 1
        host.site.declare("[guest.100.config]\ncores = 3\nonboot = false\n")
        agent.running.look()
        assert world.config(100)["cores"] == 3
        assert agent.parts.suspensions.all() == ()


def test_with_resume_the_agent_goes_on_at_once(host: SigningHost) -> None:
    world = host.site.world
    world.snapshot(100, "before")
    host.site.declare("[guest.100.config]\ncores = 2\n")
    with host.agent() as agent:
        agent.running.look()
        job = agent.job("snapshot_rollback", 100, {"snapshot": "before"}, resume=True)
        assert agent.done(job).state is JobState.DONE
        assert agent.parts.suspensions.all() == ()
        agent.running.look()
        assert world.config(100)["cores"] == 2


@pytest.mark.parametrize(
    ("act", "params"),
    [
        ("snapshot_delete", {"snapshot": "before"}),
        ("force_stop", {}),
        ("disk_detach", {"key": "scsi0"}),
    ],
)
def test_each_act_is_done_and_seen_to_be_done(
    host: SigningHost, act: str, params: dict[str, Any]
) -> None:
    world = host.site.world
    world.snapshot(100, "before")
    if act == "force_stop":
        world.start(100)
    with host.agent() as agent:
        found = agent.done(agent.job(act, 100, params))
        assert (found.state, found.why) == (JobState.DONE, "")
        assert [each.vmid for each in agent.parts.suspensions.all()] == [100]
    assert "before" in world.snapshots(100) or act == "snapshot_delete"
    assert not world.running(100)
    assert ("scsi0" in world.config(100)) is (act != "disk_detach")


def test_what_was_not_signed_is_not_done_by_anothers_leave(host: SigningHost) -> None:
    """The nonce of one job is leave for its own act alone."""
    with host.agent() as agent:
        ready = agent.ready
        leave = ready.examiner.authorize(agent.job(DESTROY), ready.view.observe)
        gate = agent.parts.engine._executor._gate
        for act in (
            Destroy(200, Kind.LXC),
            Destroy(100, Kind.LXC),
            Destroy(100, Kind.QEMU, purge=True),
        ):
            with pytest.raises(Unsigned, match="none of what was signed"):
                gate.ask(Proposal(act, "x", leave=leave))
            with pytest.raises(Unsigned, match="pending signature: guest_destroy"):
                gate.ask(Proposal(act, "x"))
        gate.ask(Proposal(Destroy(100, Kind.QEMU), "x", leave=leave))


def test_what_was_signed_waits_for_a_hold_at_the_very_last_moment(host: SigningHost) -> None:
    with host.agent() as agent:
        ready = agent.ready
        leave = ready.examiner.authorize(agent.job(DESTROY), ready.view.observe)
        gate = agent.parts.engine._executor._gate
        proposal = Proposal(Destroy(100, Kind.QEMU), "destroy", leave=leave)
        agent.parts.suspensions.freeze(None, "a test", "root")
        with pytest.raises(Held, match="frozen by root: a test.*; would destroy"):
            gate.ask(proposal)
        agent.parts.suspensions.thaw("root")
        gate.ask(proposal)
        agent.parts.holds.close()
        with pytest.raises(Interrupted):
            gate.ask(proposal)


@pytest.mark.parametrize("change", ["config", "snapshot", "recycled", "key"])
def test_what_changed_between_arrival_and_act_is_seen_under_the_lane(
    host: SigningHost, change: str
) -> None:
    world = host.site.world
    with host.agent() as agent:
        job = agent.job(DESTROY)
        agent.parts.suspensions.freeze(None, "a reason", "root")
        agent.ready.jobs.submit(job)
        assert "frozen" in agent.tried(job).why
        match change:
            case "config":
                world.edit(100, {"cores": 4})
            case "snapshot":
                world.snapshot(100, "one-more")
            case "recycled":
                world.remove(100)
                host.site.clock.pass_by(5)
                world.create("qemu", 100, WEB)
            case "key":
                host.allow(key(number=7))
        agent.parts.suspensions.thaw("root")
        found = agent.tried(job)
        assert found.state is JobState.REFUSED, found
        expected = {"recycled": "identity", "key": "key"}.get(change, "state")
        assert found.stage == expected
        assert agent.decisions()[-1] == "refused"
    assert sent(host, "DELETE") == []
    assert world.here("qemu", 100) is not None


def test_a_job_expires_though_its_node_is_away_and_nobody_can_look(host: SigningHost) -> None:
    with host.agent() as agent:
        now = int(host.site.clock())
        job = host.signed(agent.request(DESTROY), now=now, seconds=300)
        agent.parts.suspensions.freeze(None, "a reason", "root")
        agent.ready.jobs.submit(job)
        host.site.devnode.faults.add(Fault(action="status:500", times=100_000))
        agent.parts.suspensions.thaw("root")
        assert agent.tried(job).state is JobState.PENDING
        host.site.clock.pass_by(301)
        assert agent.tried(job).state is JobState.EXPIRED
        assert agent.decisions()[-1] == "refused"
    assert sent(host, "DELETE") == []


def test_a_key_that_is_taken_away_ends_its_jobs_though_nobody_can_look(host: SigningHost) -> None:
    with host.agent() as agent:
        job = agent.job(DESTROY)
        agent.parts.suspensions.freeze(None, "a reason", "root")
        agent.ready.jobs.submit(job)
        host.site.devnode.faults.add(Fault(action="status:500", times=100_000))
        agent.parts.suspensions.thaw("root")
        assert agent.tried(job).state is JobState.PENDING
        host.allow(key(number=7))
        found = agent.tried(job)
        assert (found.state, found.stage) == (JobState.REFUSED, "key")
    assert sent(host, "DELETE") == []


def test_a_list_with_a_fault_lets_what_was_taken_in_wait_until_it_is_mended(
    host: SigningHost,
) -> None:
    with host.agent() as agent:
        job = agent.job(DESTROY)
        agent.parts.suspensions.freeze(None, "a reason", "root")
        agent.ready.jobs.submit(job)
        host.signers.allow()  # as an editor leaves it for a moment
        agent.parts.suspensions.thaw("root")
        found = agent.tried(job)
        assert (found.state, "no key" in found.why) == (JobState.PENDING, True)
        agent.tried(job)
        assert agent.decisions().count("waits") == 1, "it is written down once"
        host.allow(host.key)
        assert agent.tried(job).state is JobState.DONE
    assert len(sent(host, "DELETE")) == 1


def test_a_request_names_the_latest_backup_if_the_token_may_see_it(host: SigningHost) -> None:
    world = host.site.world
    world.backup_storages["nas"] = BackupStorage(backups=[Backup("qemu", 100, 1_795_000_000)])
    with host.agent() as agent:
        assert "Latest backup: unknown" in agent.request(DESTROY).lines()
        more = {"/storage": ("Datastore.Audit", "Datastore.Allocate")}
        world.grant(TOKEN_ID, {**PRIVILEGES, **more})
        told = agent.request(DESTROY).lines()
    assert "Latest backup: of VMID 100 at 2026-11-18T11:06:40Z on nas" in told


def test_a_job_that_waits_too_long_expires_and_is_never_done(host: SigningHost) -> None:
    with host.agent() as agent:
        now = int(host.site.clock())
        job = host.signed(agent.request(DESTROY), now=now, seconds=300)
        agent.parts.suspensions.freeze(None, "a reason", "root")
        agent.ready.jobs.submit(job)
        host.site.clock.pass_by(301)
        assert agent.tried(job).state is JobState.EXPIRED
        agent.parts.suspensions.thaw("root")
        assert agent.tried(job).state is JobState.EXPIRED
    assert sent(host, "DELETE") == []


def test_a_job_that_waits_outlives_the_agent(host: SigningHost) -> None:
    with host.agent() as agent:
        job = agent.job(DESTROY)
        agent.parts.suspensions.freeze(None, "a reason", "root")
        agent.ready.jobs.submit(job)
        agent.tried(job)
    with host.agent() as agent:
        assert "frozen" in agent.tried(job).why
        agent.parts.suspensions.thaw("root")
        assert agent.tried(job).state is JobState.DONE
    assert len(sent(host, "DELETE")) == 1


def test_a_job_whose_file_a_start_cannot_read_waits_for_the_next_one(host: SigningHost) -> None:
    class Failing(Disk):
        def read(self, path: Path) -> bytes:
            if path.parent.name == "signed-jobs":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(path)

    with host.agent() as agent:
        job = agent.job(DESTROY)
        agent.parts.suspensions.freeze(None, "a reason", "root")
        agent.ready.jobs.submit(job)
    with host.agent(disk=Failing()) as agent:
        assert agent.tried(job).state is JobState.PENDING
        agent.parts.suspensions.thaw("root")
    with host.agent() as agent:
        assert agent.tried(job).state is JobState.DONE


@pytest.mark.parametrize("hold", ["pause", "observe"])
def test_a_pause_and_observe_mode_hold_nobodys_signed_operation(
    host: SigningHost, hold: str
) -> None:
    config = host.config
    if hold == "observe":
        config = replace(config, reconcile=replace(config.reconcile, mode=Mode.OBSERVE))
    with host.agent(config) as agent:
        if hold == "pause":
            agent.parts.suspensions.pause(100, None, "mine", "root")
        assert agent.done(agent.job(DESTROY)).state is JobState.DONE


def test_a_locked_guest_lets_the_job_wait(host: SigningHost) -> None:
    with host.agent() as agent:
        job = agent.job(DESTROY)
        host.site.world.lock(100, "backup")
        agent.ready.jobs.submit(job)
        found = agent.tried(job)
        assert (found.state, found.stage) == (JobState.PENDING, "state")
        assert found.why == "100 web is locked (backup) until PVE is done with it"
        with pytest.raises(GuestLocked):
            agent.request(DESTROY)
    assert sent(host, "DELETE") == []
    with host.agent() as agent:
        host.site.world.unlock(100)
        assert agent.tried(job).state is JobState.DONE


def test_a_failed_act_is_told_and_ends_the_pause_if_nothing_was_done(host: SigningHost) -> None:
    host.site.world.add("qemu", 101, {**WEB, "protection": 1})
    with host.agent() as agent:
        found = agent.done(agent.job(DESTROY, 101))
        assert found.state is JobState.FAILED
        assert "protection" in found.why
        assert agent.decisions()[-1] == "failed"
        assert agent.parts.suspensions.all() == ()


def test_jobs_in_roots_spool_are_taken_once(host: SigningHost) -> None:
    with host.agent() as agent:
        job = agent.job(DESTROY)
        host.spool.mkdir()
        (host.spool / "one.job").write_bytes(job.blob)
        (host.spool / "one.job.sig").write_bytes(job.signatures[0])
        (host.spool / "alone.job").write_bytes(b"x")
        (host.spool / "bad.job").write_bytes(b"{}")
        (host.spool / "bad.job.sig").write_bytes(b"nothing")
        agent.running.run_pass()
        agent.running.daemon._signed.at_pass()
        assert agent.ended_known(job).state is JobState.DONE
        for _ in range(3):
            agent.running.run_pass()
        assert agent.decisions().count("refused") == 1
    assert len(sent(host, "DELETE")) == 1


def test_without_signers_nothing_is_done_and_the_first_command_is_named(
    host: SigningHost,
) -> None:
    host.signers.directory.rename(host.site.directory / "away")
    with host.agent() as agent:
        job = agent.job(DESTROY)
        found = agent.ready.jobs.submit(job)
        assert (found.state, found.stage) == (JobState.REFUSED, "key")
        assert "signers init" in found.why
        (host.site.directory / "away").rename(host.signers.directory)
        assert agent.done(job).state is JobState.DONE, "the same job may be brought again"


def test_an_audit_log_that_cannot_be_used_costs_signed_operations_alone(
    host: SigningHost,
) -> None:
    host.site.declare("[guest.100.config]\ncores = 2\n")
    with host.agent() as agent:
        agent.done(agent.job(DESTROY, 200))
    path = host.config.journal.directory / "audit.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:1]))
    with host.agent() as agent:
        agent.running.look()
        assert host.site.world.config(100)["cores"] == 2
        assert "audit.jsonl: line" in agent.parts.signing.trouble


def test_an_audit_log_that_was_moved_away_as_the_log_says_lets_jobs_be_signed_again(
    host: SigningHost, caplog: pytest.LogCaptureFixture
) -> None:
    with host.agent() as agent:
        agent.done(agent.job(DESTROY, 200))
    path = host.config.journal.directory / "audit.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:1]))
    with host.agent() as agent:
        assert "(mv" in agent.parts.signing.trouble
    path.rename(path.with_name("evidence"))
    for act in ("force_stop", DESTROY):
        with host.agent() as agent:
            assert agent.done(agent.job(act)).state is JobState.DONE
    assert caplog.text.count("a new one was begun") == 1
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    with host.agent() as agent:
        assert "(mv" in agent.parts.signing.trouble, "the new one is watched as the old one was"


def test_who_may_sign_is_looked_at_off_the_main_thread(
    host: SigningHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with host.agent() as agent:
        current, threads = agent.ready.trust.current, set[str]()

        def looked() -> SignerSet:
            threads.add(threading.current_thread().name)
            return current()

        monkeypatch.setattr(agent.ready._expiry, "_signers", looked)
        agent.running.run_pass()
        agent.running.hear(lambda: bool(threads))
        assert threading.main_thread().name not in threads, "a chain may be checked there"


def test_an_answer_that_is_lost_is_never_asked_for_again_and_its_task_is_found(
    host: SigningHost,
) -> None:
    host.site.devnode.faults.add(Fault("DELETE", action="reset-after"))
    with host.agent() as agent:
        job = agent.job(DESTROY)
        agent.ready.jobs.submit(job)
        found = agent.tried(job)
        assert found.state is JobState.RUNNING
        for _ in range(3):
            agent.running.look()
        assert agent.status(job).state is JobState.DONE
        assert agent.decisions() == ["accepted", "authorized", "done"]
    assert len(sent(host, "DELETE")) == 1


def test_a_job_of_two_signers_waits_over_a_restart_with_both_signatures(
    host: SigningHost,
) -> None:
    two = replace(host.config.authz, threshold=(Threshold(DESTROY, 2),))
    config = replace(host.config, authz=two)
    other = key(number=1)
    host.allow(host.key, other)
    with host.agent(config) as agent:
        agent.parts.suspensions.freeze(None, "a reason", "root")
        first = agent.job(DESTROY)
        job = replace(first, signatures=(*first.signatures, other.sign(first.blob, "felhom-op-v1")))
        assert agent.ready.jobs.submit(first).state is JobState.REFUSED
        assert agent.ready.jobs.submit(job).state is JobState.PENDING
    with host.agent(config) as agent:
        agent.parts.suspensions.thaw("root")
        agent.running.run_pass()
        assert agent.ended(job).state is JobState.DONE


def test_a_second_signature_that_comes_into_the_spool_later_counts(host: SigningHost) -> None:
    two = replace(host.config.authz, threshold=(Threshold(DESTROY, 2),))
    other = key(number=1)
    host.allow(host.key, other)
    with host.agent(replace(host.config, authz=two)) as agent:
        job = agent.job(DESTROY)
        host.spool.mkdir()
        (host.spool / "one.job").write_bytes(job.blob)
        (host.spool / "one.job.sig").write_bytes(job.signatures[0])
        agent.running.run_pass()
        assert agent.ended_known(job).stage == "threshold"
        (host.spool / "one.job.2.sig").write_bytes(other.sign(job.blob, "felhom-op-v1"))
        agent.running.run_pass()
        agent.running.hear(lambda: agent.status(job).state is JobState.DONE)
