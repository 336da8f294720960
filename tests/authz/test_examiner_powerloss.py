"""Power goes away between any two system calls of an authorization; nothing is done twice."""

from __future__ import annotations

from pathlib import Path

from felhom_agent.authz.check import Dependencies, SignedJob
from felhom_agent.authz.clock import SignedClock
from felhom_agent.authz.examiner import Authorization, Examiner
from felhom_agent.authz.refusals import OperationRefused
from felhom_agent.authz.signers import load
from felhom_agent.journal.audit import AUDIT_NAME, AuditLog, verify_audit
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.retention import Limits, retain
from felhom_agent.journal.signed import SignedFacts, decisions_of
from tests.authz.desk import GUEST, HOST, Host, needs_ssh_keygen, signed
from tests.conftest import Clock
from tests.journal.disks import FragileDisk, PowerLoss

pytestmark = needs_ssh_keygen


def attempt(host: Host, directory: Path, disk: FragileDisk, job: SignedJob) -> Authorization:
    """Start the agent on a disk, and let it authorize a job."""
    clock = Clock()
    log, records = JournalLog.open(directory, lambda r: retain(r, clock(), Limits()), disk)
    audit = AuditLog.open(directory, clock(), disk)
    facts = SignedFacts(log, records)
    times = SignedClock(facts, clock, lambda: True, lambda: 0.0, "a" * 32)
    signers = load(host.signers.directory, host.directory.stat().st_uid)
    needs = Dependencies(HOST, lambda: signers, host.verifier, times, facts, host.policy)
    return Examiner(needs, audit, clock).authorize(job, lambda _: GUEST)


def test_a_job_is_authorized_at_most_once_whenever_power_goes_away(
    host: Host, tmp_path: Path
) -> None:
    job = signed(host.timed())
    directory = tmp_path / "fragile"
    directory.mkdir(mode=0o700)
    fuel, acknowledged, done, seen = 0, 0, False, 0
    while not done:
        disk = FragileDisk(fuel=fuel)
        try:
            attempt(host, directory, disk, job)
            done = True
        except PowerLoss:
            pass
        # Any prefix of a line may be there; the first, the last and each 15th are enough.
        for number, found in enumerate(disk.survivors()):
            if number % 15 and not done:
                continue
            seen += 1
            try:
                attempt(host, directory, found, job)
                again = True
            except OperationRefused:
                again = False
            assert not (done and again), "acknowledged, and done again"
            acknowledged += again
            _, records = JournalLog.open(directory, list, found)
            known = decisions_of(records)
            assert verify_audit(directory / AUDIT_NAME, known, "", found).problems == ()
        fuel += 1
    assert fuel > 10
    assert acknowledged
    assert seen > 50
