"""Signed operations of one agent, put together: who may sign, the clock, the logs, the jobs.

Whatever of it cannot be used (an audit log that was changed, no room for it, a host id that cannot
be read) costs signed operations alone: they are refused with that reason, and all that can be
undone goes on.

Threads: made before any thread runs; each part has its own rules.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from felhom_agent.authz.blob import Param, SignedOperation
from felhom_agent.authz.challenge import HOST_CLASS, challenge_key, issue
from felhom_agent.authz.check import Dependencies, SignedJob
from felhom_agent.authz.clock import SignedClock
from felhom_agent.authz.examiner import Examiner, StageReport
from felhom_agent.authz.hostblob import HOST_ACTS, ROTATION, HostOperation
from felhom_agent.authz.hostid import host_id, this_machine
from felhom_agent.authz.keptsets import KeptSets
from felhom_agent.authz.observed import ObservedGuest
from felhom_agent.authz.parameters import refuse_unsupported
from felhom_agent.authz.refusals import WrongGuest, WrongParameters
from felhom_agent.authz.request import (
    Circumstances,
    SignedRequest,
    compose,
    compose_for_host,
)
from felhom_agent.authz.rotation import refuse_lock_out, set_of
from felhom_agent.authz.signers import load, owner_by
from felhom_agent.authz.sshkeygen import SshKeygen
from felhom_agent.authz.trust import Trust
from felhom_agent.config.settings import ClockTrust, Config
from felhom_agent.daemon.hostwork import HostWork
from felhom_agent.daemon.signedjobs import SignedJobs
from felhom_agent.daemon.signersexpiry import SignersExpiry
from felhom_agent.daemon.spool import Spool
from felhom_agent.durable.disk import Disk
from felhom_agent.durable.line import Record
from felhom_agent.errors import FelhomError, JournalError
from felhom_agent.journal.audit import AUDIT_NAME, Accepted, AuditEntry, AuditLog, verify_audit
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operation import Operation
from felhom_agent.journal.operations import Operations
from felhom_agent.journal.pendingjobs import PendingJobs
from felhom_agent.journal.signed import CHALLENGE_SECONDS, SignedFacts
from felhom_agent.journal.suspensions import Suspensions
from felhom_agent.proxmox.backups import latest_backup
from felhom_agent.proxmox.node import Node
from felhom_agent.reconcile.holds import Holds
from felhom_agent.reconcile.signedoutcomes import SignedOutcomes
from felhom_agent.reconcile.signedview import SignedView
from felhom_agent.reconcile.signedwork import SignedParts
from felhom_agent.service.events import AGENT_WARNED
from felhom_agent.service.logging import fields
from felhom_agent.service.timesync import is_synchronised

_log = logging.getLogger(__name__)


_BEGUN_ANEW: Final = (
    "%s: is gone with %d lines that the journal knows; a new one was begun, so if nobody moved it "
    "away, find out who did"
)


@dataclass(frozen=True)
class Signing:
    """All that signed operations need, or why they are not done (`trouble`)."""

    trouble: str = ""
    ready: Ready | None = None

    @property
    def parts(self) -> Ready:
        """Return what is there. Raise SigningUnusable if it is not."""
        if self.ready is None:
            raise SigningUnusable(f"no signed operation is done: {self.trouble}")
        return self.ready

    def heard(self, operation: Operation) -> None:
        """Hear each step of an operation."""
        if self.ready is not None:
            self.ready.work.outcomes.heard(operation)


NO_SIGNING: Final = Signing("it was not set up")


class SigningUnusable(FelhomError):
    """Signed operations are not done until the agent is restarted."""


class Ready:
    """Signed operations that can be done."""

    def __init__(
        self,
        config: Config,
        node: Node,
        facts: SignedFacts,
        audit: AuditLog,
        operations: Operations,
        suspensions: Suspensions,
        holds: Holds,
        host: str,
        disk: Disk,
    ) -> None:
        wanted, now = config.authz, operations.now
        self.host, self._node, self._facts, self._audit = host, node, facts, audit
        self._policy = wanted
        key = challenge_key(config.journal.directory, host, disk)
        self._clock = SignedClock(facts, now, lambda: _is_right(config), key=key)
        owner, verifier = owner_by(config.path), SshKeygen()
        kept = wanted.kept_beside(config.journal.directory)
        self.trust = Trust(
            lambda: load(wanted.signers, owner), KeptSets(kept, disk), facts, verifier, wanted, now,
            lambda blob: any(each.blob == blob for each in facts.burnt()),
        )  # fmt: skip
        means = Dependencies(host, self.trust.current, verifier, self._clock, facts, wanted)
        self.examiner = Examiner(means, audit, now)
        self.view = SignedView(node)
        self.host_work = HostWork(self.examiner, self.trust, suspensions)
        outcomes = SignedOutcomes(audit, now, is_done=self.host_work.is_done)
        self._expiry = SignersExpiry(self.trust.current)
        self.work = SignedParts(self.examiner, self.view, outcomes, suspensions, holds)
        self._pending = PendingJobs(config.journal.directory, disk)
        self.jobs = SignedJobs(self.examiner, self.view, self._pending, now)
        outcomes.told = self.jobs.heard
        self.spool = Spool(wanted.spool, owner) if wanted.spool else None

    def resume(self, entries: Iterable[AuditEntry], operations: Operations) -> None:
        """Given the audit log's decisions, take up what earlier processes left. Raise JournalClosed
        if that cannot be read.
        """
        kept = self._pending.load()
        for problem in kept.problems:
            _log.warning("%s", problem)
        self._tell_faults()
        found, waiting = tuple(entries), kept.unread | {each.hash for each in kept.jobs}
        self.jobs.resume(found)
        # The last words come first: what has one does not wait any more.
        self.work.outcomes.resume(self._facts.burnt(), found, operations, waiting)
        self.jobs.take_up(kept.jobs, self._facts)

    def _tell_faults(self) -> None:
        """Log why nobody's signature counts, if it is so."""
        try:
            faults = [str(problem) for problem in self.trust.current().problems]
        except FelhomError as error:
            faults = [str(error)]
        for fault in faults:
            _log.error("no signature counts: %s", fault, extra=fields(AGENT_WARNED))

    @property
    def has_files(self) -> bool:
        """Whether root has put anything there: lists of signers, or a spool directory."""
        listed = os.path.lexists(self._policy.signers)
        return listed or (self.spool is not None and self.spool.is_there)

    def tell_end(self) -> None:
        """Warn of signers that end; to be called at each pass, where it may take its time."""
        self._expiry.tell(self._clock.latest())

    def keep(self) -> None:
        """Remember the time; to be called at each pass."""
        try:
            self._clock.keep()
        except JournalError as error:
            _log.debug("the time cannot be remembered: %s", error)

    def request(
        self, act: str, vmid: int, params: Mapping[str, Param], *, stop: bool, resume: bool
    ) -> SignedRequest:
        """Given an act on a guest, return what is to be signed for it, with a challenge of this
        agent's own.

        Raise OperationRefused if it could not be done, JobRefused if too many requests are open,
        JournalError if the challenge cannot be kept, Unchanged if PVE cannot be asked.
        """
        guest = self._guest_for(act, vmid)
        # A challenge is given out only for what can be signed.
        compose(act, guest, self.host, "0" * 32, params=params, stop=stop, resume=resume)
        challenge = issue(self._facts, self._clock.moment(), vmid, act).id
        made = compose(act, guest, self.host, challenge, params=params, stop=stop, resume=resume)
        return self._told(made, guest)

    def request_from_afar(
        self, act: str, vmid: int, params: Mapping[str, Param], *, stop: bool, resume: bool
    ) -> SignedRequest:
        """As `request`, for who asks from afar: with a challenge that need not be remembered, so
        that nobody can ask for too many.
        """
        guest, challenge = self._guest_for(act, vmid), self._clock.token(act, vmid)
        made = compose(act, guest, self.host, challenge, params=params, stop=stop, resume=resume)
        return self._told(made, guest)

    def request_for_host(self, act: str, params: Mapping[str, Any]) -> SignedRequest:
        """Given an act on this host and its parameters, return what is to be signed for it. A
        rotation is told its version here.

        Raise OperationRefused if it could not be done.
        """
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in params.items()}
        if act == ROTATION:
            made = self._rotation(given)
        else:
            made = compose_for_host(act, given, self.host, self.host_challenge())
        return SignedRequest(
            made, Circumstances(self._node.client.config.node, expires=self._end())
        )

    def _rotation(self, params: Mapping[str, Any]) -> HostOperation:
        """Return a rotation to the next version. Raise OperationRefused if it would be refused."""
        signers = self.trust.current()
        given = {"revoked_keys": "", "expires": "", **params, "version": signers.version + 1}
        made = compose_for_host(ROTATION, given, self.host, self.host_challenge())
        refuse_lock_out(set_of(made), signers.revoked, self._policy, self._clock.latest())
        return made

    @property
    def accepted(self) -> Accepted:
        """How many jobs were ever accepted here, and the nonce of the last one."""
        return self._audit.accepted

    @property
    def audit_head(self) -> str:
        """The hash of the audit log's last line."""
        return self._audit.last.head

    @property
    def signers_end(self) -> float | None:
        """When the set of signers ends, in seconds since the epoch; None: it does not."""
        return self._expiry.end

    def host_challenge(self) -> str:
        """Return a new challenge for what is done to this host."""
        return self._clock.token(HOST_CLASS)

    def _guest_for(self, act: str, vmid: int) -> ObservedGuest:
        refuse_unsupported(act)
        if act in HOST_ACTS:
            raise WrongParameters(f"{act} is done to the host, and to no guest")
        guest = self.view.guest(vmid)
        if guest is None:
            raise WrongGuest(f"there is no guest {vmid} on this host")
        return guest

    def _end(self) -> int:
        """Return until when a challenge of this moment is good."""
        return int(self._clock.moment().wall + CHALLENGE_SECONDS)

    def _told(self, made: SignedOperation, guest: ObservedGuest) -> SignedRequest:
        """Return a request with what helps to decide."""
        vmid = guest.vmid
        status = self._node.guests.status(guest.kind, vmid)
        uptime = status.get("uptime")
        seen = self.view.actual(vmid).guests.get(vmid)
        told = Circumstances(
            node=self._node.client.config.node,
            backup=latest_backup(self._node.client, vmid, self._node.shutting_down).text(),
            uptime=uptime if type(uptime) is int and uptime > 0 else None,
            ha=seen.ha_state if seen else "",
            expires=self._end(),
        )
        return SignedRequest(made, told)

    def verify(self, job: SignedJob) -> tuple[StageReport, ...]:
        """Given a job, return what each stage finds. Raise Unchanged if PVE cannot be asked."""
        return self.examiner.report(job, self.view.observe)

    def close(self) -> None:
        """Give the audit log's file back."""
        self._audit.close()


def signing_for(
    config: Config,
    node: Node,
    log: JournalLog,
    records: Iterable[Record],
    operations: Operations,
    suspensions: Suspensions,
    holds: Holds,
    disk: Disk,
) -> Signing:
    """Given an agent's parts, return its signed operations. Raises nothing: what cannot be used is
    told, and costs them alone.
    """
    directory, now = config.journal.directory, operations.now()
    try:
        facts, is_new = SignedFacts(log, records), not os.path.lexists(directory / AUDIT_NAME)
        audit = AuditLog.open(directory, now, disk)
        try:
            if is_new and (known := len(facts.decisions())):
                facts.audit_begun(now)
                _log.error(_BEGUN_ANEW, directory / AUDIT_NAME, known, extra=fields(AGENT_WARNED))
            return Signing(ready=_ready(
                config, node, facts, audit, operations, suspensions, holds, disk
            ))  # fmt: skip
        except BaseException:
            audit.close()
            raise
    except (FelhomError, OSError) as error:
        _log.error("no signed operation is done: %s", error, extra=fields(AGENT_WARNED))
        return Signing(trouble=str(error))


def _ready(
    config: Config,
    node: Node,
    facts: SignedFacts,
    audit: AuditLog,
    operations: Operations,
    suspensions: Suspensions,
    holds: Holds,
    disk: Disk,
) -> Ready:
    directory = config.journal.directory
    report = verify_audit(directory / AUDIT_NAME, facts.decisions(), disk=disk)
    if report.problems:
        raise FelhomError(
            f"{report.problems[0]}; the audit log was cut off, or put back from a copy; keep it as "
            f"evidence (mv), and restart the agent"
        )
    host = host_id(directory, this_machine(), disk)
    if host.renewed:
        text = "this is another machine than before: its host id is new, and what was signed for "
        _log.warning("%sthe old one is refused", text, extra=fields(AGENT_WARNED))
    ready = Ready(config, node, facts, audit, operations, suspensions, holds, host.id, disk)
    ready.resume(report.entries, operations)
    return ready


def _is_right(config: Config) -> bool:
    trusted = config.authz.clock is ClockTrust.TRUST
    return trusted or is_synchronised(config.hints.directory)
