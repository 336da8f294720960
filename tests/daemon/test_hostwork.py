"""What came of a signed operation on the host is told as it is, also where the disk fails in it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.hostblob import HostOperation
from felhom_agent.authz.jobs import JobState
from felhom_agent.authz.keptsets import KeptSets
from felhom_agent.authz.refusals import RevokedKey, UnknownKey
from felhom_agent.authz.signerline import Role
from felhom_agent.daemon.hostwork import NOT_KNOWN, HostWork
from felhom_agent.errors import JournalClosed
from felhom_agent.journal.audit import verify_audit
from felhom_agent.journal.suspensions import Suspensions
from felhom_agent.reconcile.signedwork import SignedEnd
from tests.authz.desk import Host, Key, a_host, key, needs_ssh_keygen, signed, signer_line
from tests.journal.disks import WatchedDisk, failing

pytestmark = needs_ssh_keygen

ANNA, BELA, SAFE, NEW_SAFE = (key(number=number) for number in (0, 1, 5, 6))
OLD = [signer_line(ANNA), signer_line(SAFE, Role.RECOVERY)]
NEW = [signer_line(BELA), signer_line(NEW_SAFE, Role.RECOVERY)]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with a_host(tmp_path, *OLD) as host:
        host.trust.current()
        yield host


def run(host: Host, job: SignedJob, operation: HostOperation) -> SignedEnd:
    suspensions = Suspensions(host.log, [], host.wall)
    return HostWork(host.examiner, host.trust, suspensions).run(job, operation)


def forget(*_: object) -> None:
    raise JournalClosed("journal.jsonl: No space left on device")


def counts(host: Host, signer: Key) -> bool:
    try:
        host.authorize(signed(host.request(), signer))
    except (UnknownKey, RevokedKey):
        return False
    return True


def test_a_rotation_that_is_kept_and_could_not_be_remembered_is_not_told_as_failed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = host.rotation(*NEW)
    job = signed(operation, SAFE, NEW_SAFE, BELA)
    monkeypatch.setattr(host.facts, "remember_signers", forget)
    end = run(host, job, operation)
    assert (end.state, NOT_KNOWN in end.why) == (JobState.RUNNING, True)
    assert verify_audit(host.audit.path).entries[-1].decision == "authorized"
    monkeypatch.undo()
    host.restart()
    assert counts(host, BELA)


def test_a_rotation_of_which_nothing_is_kept_has_failed_and_changes_nothing(host: Host) -> None:
    operation = host.rotation(*NEW)
    host.kept._disk = WatchedDisk(failing("write", errno.ENOSPC, after=2))
    end = run(host, signed(operation, SAFE, NEW_SAFE, BELA), operation)
    assert (end.state, "No space left" in end.why) == (JobState.FAILED, True)
    host.restart()
    assert (counts(host, ANNA), counts(host, BELA)) == (True, False)


def test_a_revocation_counts_at_once_though_the_journal_cannot_take_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = host.revocation(ANNA)
    monkeypatch.setattr(host.facts, "remember_revocation", forget)
    assert run(host, signed(operation, SAFE), operation).state is JobState.RUNNING
    assert not counts(host, ANNA)
    monkeypatch.undo()
    host.restart()
    assert not counts(host, ANNA)


@pytest.mark.parametrize("calls", range(0, 24, 3))
def test_cut_off_while_it_takes_the_place_of_one_that_came_to_nothing_it_locks_nobody_out(
    host: Host, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    first = host.rotation(*NEW)
    monkeypatch.setattr(host.facts, "remember_signers", forget)
    run(host, signed(first, SAFE, NEW_SAFE, BELA), first)
    monkeypatch.undo()
    other = host.rotation(*NEW, signer_line(key(number=7)))
    left = iter(range(calls))

    def before(_: str) -> None:
        if next(left, None) is None:
            raise OSError(errno.EIO, "the power goes")

    host.trust._kept = KeptSets(host.kept.directory, WatchedDisk(before))
    run(host, signed(other, SAFE, NEW_SAFE, BELA), other)
    host.restart()
    assert host.trust.current().problems == ()
    assert counts(host, ANNA) or counts(host, BELA)


def test_a_list_that_root_edits_at_that_moment_is_not_rotated_over(host: Host) -> None:
    operation = host.rotation(*NEW)
    job = signed(operation, SAFE, NEW_SAFE, BELA)
    rotate = host.trust.rotate

    def edited(job: SignedJob, operation: HostOperation) -> None:
        host.signers.allow(signer_line(ANNA), signer_line(key(number=8), Role.RECOVERY))
        rotate(job, operation)

    host.trust.rotate = edited  # type: ignore[method-assign]
    end = run(host, job, operation)
    assert (end.state, "make a new request" in end.why) == (JobState.FAILED, True)
    assert (counts(host, ANNA), counts(host, BELA)) == (True, False)
