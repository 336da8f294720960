"""Until when a signature is good, by a clock that may lie.

* A job whose times the signer chose is good within a window of at most `WINDOW` seconds, whatever
  the signer wrote. `FORGIVEN` seconds are forgiven for one that is not valid yet, for desks whose
  clock is ahead; none for one that has ended. It waits while this host's clock is behind the
  highest time ever seen here, or is not known to be synchronised: else a clock that is set back
  would make old signatures good again.
* A job with this agent's own challenge is measured by the agent alone, from when it gave that out:
  within one boot by CLOCK_BOOTTIME, which nobody sets; across boots by the wall clock, and while
  that is behind, the job waits. It is good for `CHALLENGE_SECONDS`, once, for the guest and the act
  it was given for.

What was refused as too late stays so: the time that was seen then is durable before it is said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from felhom_agent.authz.challenge import HOST_CLASS, ChallengeKey, is_remembered
from felhom_agent.authz.form import SignedTimes
from felhom_agent.authz.hostblob import HostOperation
from felhom_agent.authz.ledger import Ledger
from felhom_agent.authz.operation import Operation
from felhom_agent.authz.refusals import ClockUntrusted, OutsideTime, TooEarly
from felhom_agent.errors import JournalError
from felhom_agent.journal.signed import CHALLENGE_SECONDS, KEPT_AFTER, Challenge, age_of
from felhom_agent.journal.suspensions import Moment
from felhom_agent.printable import moment_text
from felhom_agent.service.boot import boot_id, since_boot

WINDOW: Final = 600
"""How many seconds may lie between when a job was issued and when it ends."""
FORGIVEN: Final = 120
"""How many seconds too early a job may come."""
_SELDOM: Final = 3600.0


class SignedClock:
    """Judges the times of signed operations.

    `now` tells seconds since the epoch, `synchronised` whether they are known to be right,
    `boottime` the seconds since the boot whose id is `boot`. Challenges that nobody remembers are
    known by their `key`. Keeps nothing that changes; may be asked from any thread.
    """

    def __init__(
        self,
        facts: Ledger,
        now: Callable[[], float],
        synchronised: Callable[[], bool],
        boottime: Callable[[], float] = since_boot,
        boot: str | None = None,
        key: ChallengeKey | None = None,
    ) -> None:
        self._key = key
        self._facts = facts
        self._now = now
        self._synchronised = synchronised
        self._boottime = boottime
        self._boot = boot_id() if boot is None else boot

    def moment(self) -> Moment:
        """Return this moment by all clocks."""
        return Moment(self._now(), self._boottime(), self._boot)

    def keep(self) -> None:
        """Remember the time durably, if it is known to be right; call it at each pass. At most each
        hour something is written. Raise JournalError if it cannot be kept.
        """
        if self._synchronised():
            self._facts.see(self._now(), at_least=_SELDOM)

    def latest(self) -> float:
        """Return the time by which keys are judged: it never goes back."""
        return max(self._now(), self._facts.highest())

    def untrusted(self) -> str:
        """Return why jobs whose times the signer chose wait; empty if they do not."""
        if not self._synchronised():
            return "nobody tells that this host's clock is synchronised (felhom-agent check)"
        now, highest = self._now(), self._facts.highest()
        if now < highest:
            seen = moment_text(highest)
            return f"this host's clock ({moment_text(now)}) is behind {seen}, which it showed once"
        return ""

    def until(self, operation: Operation) -> float:
        """Given an operation, return until when it is good (seconds since the epoch).

        Raise TooEarly or ClockUntrusted if it may be good later, OutsideTime if it never will be,
        JournalError if the time that was seen cannot be kept.
        """
        if operation.times is None:
            return self._until_of_challenge(operation)
        return self._until_of_window(operation.times)

    def _until_of_window(self, times: SignedTimes) -> float:
        if not times.issued <= times.not_before < times.expires:
            raise OutsideTime("its times are not in order: issued, not_before, expires")
        if times.expires - times.issued > WINDOW:
            window = times.expires - times.issued
            raise OutsideTime(f"its window is {window} s long, {WINDOW} at most; sign it again")
        if why := self.untrusted():
            raise ClockUntrusted(f"it waits: {why}; or sign a request of this host's own")
        now = self._now()
        if now >= times.expires:
            self._facts.see(now)
            raise OutsideTime(
                f"it has ended at {moment_text(times.expires)}, and it is {moment_text(now)}; "
                f"sign it again"
            )
        if now + FORGIVEN < times.not_before:
            raise TooEarly(
                f"it begins at {moment_text(times.not_before)}, and it is {moment_text(now)}"
            )
        return float(times.expires)

    def token(self, act: str, vmid: int = 0) -> str:
        """Given a class and a guest (0: none), return a new challenge that need not be remembered;
        empty if there is no key for it.
        """
        if self._key is None:
            return ""
        # By the time that never goes back, as nonces are remembered.
        return self._key.token(replace(self.moment(), wall=self.latest()), act, vmid)

    def _known(self, operation: Operation) -> Challenge | None:
        if is_remembered(operation.challenge):
            return self._facts.challenge(operation.challenge)
        if self._key is None:
            return None
        act = HOST_CLASS if isinstance(operation, HostOperation) else operation.act
        found = self._key.opened(operation.challenge, act, operation.vmid)
        return replace(found, act=operation.act) if found else None

    def _until_of_challenge(self, operation: Operation) -> float:
        known = self._known(operation)
        if known is None:
            raise OutsideTime(
                "its challenge was used, has ended, is not this agent's, or was given out for "
                "something else; make a new request"
            )
        if (known.vmid, known.act) != (operation.vmid, operation.act):
            raise OutsideTime("its challenge was given out for another guest, or another act")
        now, highest = self.moment(), self._facts.highest()
        try:
            age = age_of(known, now, highest)
        except JournalError as error:
            raise ClockUntrusted(
                f"it waits, since the age of its challenge cannot be told: {error}"
            ) from None
        if age > CHALLENGE_SECONDS or _may_be_forgotten(known, highest):
            hours = CHALLENGE_SECONDS / 3600
            raise OutsideTime(f"its challenge is older than {hours:.0f} h; make a new request")
        # Not less than the other end by which it may be judged: so long its nonce is remembered.
        return max(now.wall - age, known.at.wall) + CHALLENGE_SECONDS


def _may_be_forgotten(known: Challenge, highest: float) -> bool:
    """Return whether a nonce with this challenge may be forgotten by now (`retain_signed`). One
    that is remembered goes with its nonce; a token stays good by the time since boot, though the
    wall clock has jumped ahead.
    """
    is_token = not is_remembered(known.id)
    return is_token and known.at.wall + CHALLENGE_SECONDS + KEPT_AFTER < highest
