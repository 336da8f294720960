"""What must not be forgotten of signed operations: nonces, challenges, and the highest time seen.

Facts of their own in the journal. They outlive the process, a crash, and compaction:

    {"signed":"time","at":...}
    {"signed":"challenge","id":"...","vmid":101,"act":"guest_destroy",
     "wall":...,"boottime":...,"boot":"..."}
    {"signed":"nonce","nonce":"...","blob":"...","until":...,"at":...,"challenge":"...",
     "entry":12,"head":"..."}
    {"signed":"signers","version":2,"blob":"...","at":...}
    {"signed":"revoked","blob":"...","at":...}
    {"signed":"forgotten","blob":"...","at":...}
    {"signed":"audit","at":...}

* A *nonce* is burnt at most once: it is taken in memory first, so that of two who come at once one
  is refused; then the decision is made durable, then the nonce. It is free again only where the
  decision could not be kept, since then nothing happens.
* A *challenge* is this agent's own, for one guest and one act, and good for one nonce.
* The *highest time* only rises. What decides whether a nonce may be forgotten is that time and
  never the clock: whatever a clock does, a job is refused as too late, or waits, before its nonce
  is forgotten (`retain_signed`).
* The version of the *signers* in force only rises; `blob` is the job that brought it (empty: root
  did). With the jobs by which keys were taken back (*revoked*) it tells whether the lists that are
  kept beside the journal, or the journal, were put back from an older copy. One of these jobs that
  is gone is *forgotten* once root has provisioned a higher version.
* `entry` and `head` name the line of the audit log that the decision is in: who cuts that log off
  behind it is found out (`audit.py`). Where that log was begun anew (*audit*), those of nonces from
  before are lines of the one that is gone.

Threads: one lock guards the tables, for no longer than it takes to look; records are appended
outside of it, since a sync takes its time. Nothing waits here but for the append.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from felhom_agent.durable.line import Record
from felhom_agent.errors import JobRefused, JournalError
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.suspensions import Moment

KEPT_AFTER = 7 * 86400.0
"""How many seconds a nonce or a challenge is remembered after it has ended."""
CHALLENGE_SECONDS = 86400.0
"""How many seconds a challenge is good for."""
MAX_CHALLENGES = 200
"""How many challenges may be open at once."""


@dataclass(frozen=True)
class Challenge:
    """What this agent gave out for one act on one guest, at a moment by its own clocks."""

    id: str
    vmid: int
    act: str
    at: Moment


@dataclass(frozen=True)
class Decision:
    """The line of the audit log that a decision is in: its number, and the hash of that line."""

    entry: int
    head: str


@dataclass(frozen=True)
class Spent:
    """A nonce that was burnt: for which blob (SHA-256), until when it was good, and at what time
    it was burnt (seconds since the epoch); with its challenge, if it had one.
    """

    nonce: str
    blob: str
    until: float
    at: float
    challenge: str = ""
    decision: Decision = Decision(0, "")


@dataclass(frozen=True)
class KnownSigners:
    """The set of signers that was in force last: its version (0: none is known), the SHA-256 of the
    job that brought it (empty: root did), and since when (seconds since the epoch).
    """

    version: int = 0
    blob: str = ""
    at: float = 0.0


class NonceTaken(JobRefused):
    """The nonce was used before, or is being used; `same` tells that it was for the same blob."""

    def __init__(self, text: str, *, same: bool) -> None:
        self.same = same
        super().__init__(text)


class SignedFacts:
    """The nonces, challenges and the highest time of an open journal."""

    def __init__(self, log: JournalLog, records: Iterable[Record]) -> None:
        found = [record for record in records if "signed" in record]
        self._log = log
        self._lock = threading.Lock()
        self._spent = {spent.nonce: spent for spent in map(_spent, _of(found, "nonce"))}
        self._taken: dict[str, str] = {}
        used = {spent.challenge for spent in self._spent.values()}
        challenges = map(_challenge, _of(found, "challenge"))
        self._challenges = {each.id: each for each in challenges if each.id not in used}
        self._highest = self._durable = highest_of(found)
        self._decisions = list(_decisions(found))
        self._signers = known_signers_of(found)
        self._revoked = set(revocations_of(found))

    def highest(self) -> float:
        """Return the highest time ever seen, in seconds since the epoch; 0 if there is none."""
        with self._lock:
            return self._highest

    def see(self, now: float, *, at_least: float = 0.0) -> None:
        """Given the time, remember it if it is the highest; return when it is durable.

        Nothing is written for fewer than `at_least` seconds. Raise JournalError if it cannot be
        kept.
        """
        with self._lock:
            self._highest = max(self._highest, now)
            if now <= self._durable or now - self._durable < at_least:
                return
        self._log.append({"signed": "time", "at": now})
        with self._lock:
            self._durable = max(self._durable, now)

    def remember(self, challenge: Challenge) -> None:
        """Given a new challenge, return when it is durable. Raise JobRefused if too many are open,
        JournalError if it cannot be kept.
        """
        with self._lock:
            self._drop_old_challenges(challenge.at)
            if len(self._challenges) >= MAX_CHALLENGES:
                raise JobRefused(
                    f"{MAX_CHALLENGES} requests are open already; wait for some to end"
                )
        self._log.append(_challenge_record(challenge))
        with self._lock:
            self._challenges[challenge.id] = challenge

    def challenge(self, challenge_id: str) -> Challenge | None:
        """Return the challenge of that id; None if it was never given out, was used, or is
        forgotten.
        """
        with self._lock:
            return self._challenges.get(challenge_id)

    def spent(self, nonce: str) -> Spent | None:
        """Return what is known of a nonce that was burnt; None if it was not."""
        with self._lock:
            return self._spent.get(nonce)

    def refuse_spent(self, nonce: str, blob: str) -> None:
        """Given a nonce and its blob's SHA-256, raise NonceTaken if it cannot be burnt."""
        with self._lock:
            self._refuse_spent(nonce, blob)

    def burn(self, spending: Spent, decide: Callable[[], Decision]) -> Spent:
        """Given a nonce to be burnt, and what makes the decision durable, return when both are.

        `decide` is called once the nonce is surely this caller's. Raise NonceTaken if it was used
        before, or is being used; whatever `decide` raises, and then the nonce is free again;
        JournalError if it cannot be kept, and then it is not free.
        """
        with self._lock:
            self._refuse_spent(spending.nonce, spending.blob)
            self._refuse_used(spending.challenge)
            self._taken[spending.nonce] = spending.blob
            if spending.challenge:
                self._taken[spending.challenge] = spending.blob
        try:
            decision = decide()
        except BaseException:
            with self._lock:
                self._taken.pop(spending.nonce, None)
                self._taken.pop(spending.challenge, None)
            raise
        done = Spent(
            spending.nonce, spending.blob, spending.until, spending.at, spending.challenge, decision
        )
        # Where this fails it may be on the disk all the same, so it stays taken.
        self._log.append(_spent_record(done))
        with self._lock:
            self._spent[done.nonce] = done
            self._decisions.append(done.decision)
            self._challenges.pop(done.challenge, None)
            self._highest = max(self._highest, done.at)
            self._durable = max(self._durable, done.at)
        return done

    def burnt(self) -> tuple[Spent, ...]:
        """Return all nonces that were burnt and are remembered, in the order of their decisions.

        One whose job the journal's operations do not know was authorized and never begun.
        """
        with self._lock:
            return tuple(sorted(self._spent.values(), key=lambda spent: spent.decision.entry))

    def decisions(self) -> tuple[Decision, ...]:
        """Return the lines of the audit log that must be there, in their order."""
        with self._lock:
            return _in_order(self._decisions)

    def audit_begun(self, at: float) -> None:
        """Given the time, remember that the audit log was begun anew; return when it is durable.
        Raise JournalError if it cannot be kept.
        """
        self._log.append({"signed": "audit", "at": at})
        with self._lock:
            self._decisions.clear()

    def signers(self) -> KnownSigners:
        """Return the set of signers that was in force last."""
        with self._lock:
            return self._signers

    def remember_signers(self, known: KnownSigners) -> None:
        """Given the set of signers that is in force from now on, return when that is durable. Raise
        JournalError if it cannot be kept.
        """
        self._log.append(
            {"signed": "signers", "version": known.version, "blob": known.blob, "at": known.at}
        )
        with self._lock:
            self._signers = _newest((self._signers, known))

    def revocations(self) -> frozenset[str]:
        """Return the SHA-256 of each job by which keys were taken back."""
        with self._lock:
            return frozenset(self._revoked)

    def remember_revocation(self, blob: str, at: float) -> None:
        """Given the SHA-256 of a job that takes keys back, and the time, return when it is durable.
        Raise JournalError if it cannot be kept.
        """
        self._log.append({"signed": "revoked", "blob": blob, "at": at})
        with self._lock:
            self._revoked.add(blob)

    def forget_revocation(self, blob: str, at: float) -> None:
        """Given the SHA-256 of a job that took keys back and is gone, and the time, look for it no
        more; return when that is durable. Raise JournalError if it cannot be kept.
        """
        self._log.append({"signed": "forgotten", "blob": blob, "at": at})
        with self._lock:
            self._revoked.discard(blob)

    def check(self) -> None:
        """Raise JournalError if nothing can be kept any more."""
        self._log.check()

    def _refuse_spent(self, nonce: str, blob: str) -> None:
        known = self._spent.get(nonce)
        before = known.blob if known else self._taken.get(nonce)
        if before is None:
            return
        if before == blob:
            raise NonceTaken("this job was taken before; it is not done twice", same=True)
        raise NonceTaken("its nonce was used before, for another job", same=False)

    def _refuse_used(self, challenge_id: str) -> None:
        """Raise NonceTaken if a challenge was used for another nonce, or is being used."""
        if not challenge_id:
            return
        if challenge_id in self._taken or challenge_id not in self._challenges:
            raise NonceTaken("its challenge was used before", same=False)

    def _drop_old_challenges(self, now: Moment) -> None:
        gone = [key for key, each in self._challenges.items() if is_over(each, now, self._highest)]
        for key in gone:
            if key not in self._taken:
                del self._challenges[key]


def age_of(challenge: Challenge, now: Moment, highest: float) -> float:
    """Given a challenge, the moment and the highest time ever seen, return how many seconds ago it
    was given out.

    Within one boot CLOCK_BOOTTIME alone tells. Across boots there is but the wall clock; where that
    one cannot tell, since it is behind what was seen before, it is older than this boot is. Raise
    JournalError where that says too little: it may be good again once the clock is right.
    """
    if challenge.at.boot and challenge.at.boot == now.boot:
        return max(0.0, now.boottime - challenge.at.boottime)
    if now.wall < max(highest, challenge.at.wall):
        if challenge.at.boot and now.boot and now.boottime > CHALLENGE_SECONDS:
            return now.boottime
        raise JournalError("the host was booted since, and its clock is behind what it was before")
    return now.wall - challenge.at.wall


def is_over(challenge: Challenge, now: Moment, highest: float) -> bool:
    """Return whether a challenge is surely good no more."""
    try:
        return age_of(challenge, now, highest) > CHALLENGE_SECONDS
    except JournalError:
        return False


def highest_of(records: Iterable[Record]) -> float:
    """Given a journal's records, return the highest time ever seen; 0 if there is none."""
    # Of signers it stands there for people alone, by a clock that nobody vouches for.
    seen = (r for r in records if r.get("signed") in ("time", "nonce"))
    return max([0.0, *(float(r["at"]) for r in seen)])


def decisions_of(records: Iterable[Record]) -> tuple[Decision, ...]:
    """Given a journal's records, return the lines of the audit log that must be there."""
    return _in_order(_decisions(records))


def revocations_of(records: Iterable[Record]) -> frozenset[str]:
    """Given a journal's records, return the SHA-256 of each job by which keys were taken back."""
    return frozenset(_revoked(records))


def burnt_blobs_of(records: Iterable[Record]) -> frozenset[str]:
    """Given a journal's records, return the SHA-256 of each job whose nonce was burnt."""
    return frozenset(str(record["blob"]) for record in _of(records, "nonce"))


def retain_signed(records: Iterable[Record]) -> list[Record]:
    """Given a journal's records, return those on signed operations that must be kept: the highest
    time, and what had not ended `KEPT_AFTER` seconds before it.
    """
    found = [record for record in records if "signed" in record]
    highest = highest_of(found)
    horizon = highest - KEPT_AFTER
    begun = _of(found, "audit")[-1:]
    nonces = [
        r
        for r in found
        if r in begun or (r["signed"] == "nonce" and max(r["until"], r["at"]) >= horizon)
    ]
    used = {r["challenge"] for r in _of(found, "nonce")}
    challenges = {
        r["id"]: r
        for r in _of(found, "challenge")
        if r["id"] not in used and r["wall"] + CHALLENGE_SECONDS >= horizon
    }
    time = [{"signed": "time", "at": highest}] if highest else []
    signers = sorted(_of(found, "signers"), key=lambda r: int(r["version"]))[-1:]  # as `_newest`
    return [*time, *challenges.values(), *nonces, *signers, *_revoked(found).values()]


def _revoked(records: Iterable[Record]) -> dict[str, Record]:
    """Given a journal's records, return those on jobs by which keys were taken back, by the job."""
    found: dict[str, Record] = {}
    for record in records:
        if record.get("signed") == "revoked":
            found[str(record["blob"])] = record
        elif record.get("signed") == "forgotten":
            found.pop(str(record["blob"]), None)
    return found


def _in_order(decisions: Iterable[Decision]) -> tuple[Decision, ...]:
    return tuple(sorted(decisions, key=lambda decision: decision.entry))


def _decisions(records: Iterable[Record]) -> list[Decision]:
    """Given a journal's records, return the lines of the present audit log that they know."""
    found: list[Decision] = []
    for record in records:
        if record.get("signed") == "audit":
            found.clear()
        elif record.get("signed") == "nonce":
            found.append(_spent(record).decision)
    return found


def _of(records: Iterable[Record], kind: str) -> list[Record]:
    return [record for record in records if record.get("signed") == kind]


def known_signers_of(records: Iterable[Record]) -> KnownSigners:
    """Given a journal's records, return the set of signers that was in force last."""
    found = [record for record in records if "signed" in record]
    known = [KnownSigners(r["version"], r["blob"], r["at"]) for r in _of(found, "signers")]
    return _newest((KnownSigners(), *known))


def _newest(known: Iterable[KnownSigners]) -> KnownSigners:
    """Return the set of the highest version; of several the one that came last."""
    return sorted(known, key=lambda each: each.version)[-1]


def _challenge(record: Record) -> Challenge:
    at = Moment(record["wall"], record["boottime"], record["boot"])
    return Challenge(record["id"], record["vmid"], record["act"], at)


def _challenge_record(challenge: Challenge) -> Record:
    at = challenge.at
    return {
        "signed": "challenge", "id": challenge.id, "vmid": challenge.vmid, "act": challenge.act,
        "wall": at.wall, "boottime": at.boottime, "boot": at.boot,
    }  # fmt: skip


def _spent(record: Record) -> Spent:
    decision = Decision(record["entry"], record["head"])
    return Spent(
        record["nonce"],
        record["blob"],
        record["until"],
        record["at"],
        record["challenge"],
        decision,
    )


def _spent_record(spent: Spent) -> Record:
    return {
        "signed": "nonce", "nonce": spent.nonce, "blob": spent.blob, "until": spent.until,
        "at": spent.at, "challenge": spent.challenge,
        "entry": spent.decision.entry, "head": spent.decision.head,
    }  # fmt: skip
