"""May a guest be changed now? One question with one answer, asked right before every act.

A *hold* is a reason to change nothing: a freeze, a pause, the journal cannot be written, the hub
blocks this host, `mode = "observe"`, no quorum, the agent is stopping. Whoever has such a reason
registers a question here once; the gate asks all of them immediately before each call that changes
a guest, and again after every wait, so that a hold which comes at any moment holds from that moment
on. A scheduler that asks, too, only saves work.

There is one exception. The Start that ends a restart which the agent itself began is the second
half of one act: without it a hold would turn a restart into an outage. It is done under every hold
but an *absolute* one.

A pause and observe mode keep the agent from what it would do by itself. What a person has signed
for that very guest is done all the same; every other hold holds it, too (`may_do_signed`).

`listed` tells people what holds, since when and by whose word. A hold that keeps this itself (a
pause, a freeze) tells it; of any other it began when `review`, called at each pass, first heard
that it holds the host.

Threads: holds are registered before any lane runs and never change; each question answers from any
thread under its owner's rules. `review` belongs to the main thread, which replaces what it has seen
as a whole; `listed` may be asked from any.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

_CLOSING, _CLOSING_REASON = "closing", "the agent is stopping"

Question = Callable[[int], str]
"""Given a vmid, returns why the guest must not be changed now; empty if it may be."""


@dataclass(frozen=True)
class InForce:
    """A hold that holds now, for people: which guest (0: all), why, since when (seconds since the
    epoch) and by whose word.
    """

    name: str
    reason: str
    since: float
    by: str
    vmid: int = 0


@dataclass(frozen=True)
class Hold:
    """One reason to change nothing, by somebody's word; `absolute` holds even the Start that ends
    our own restart, `observes` tells that guests are to be observed only, `yields` that a person's
    signed operation is done all the same. `each`, where the hold has it, tells all that it holds.
    """

    name: str
    ask: Question
    absolute: bool
    by: str
    each: Callable[[], Iterable[InForce]] | None
    observes: bool
    yields: bool


class Holds:
    """All holds of one agent, and the hold of its own stop."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """`now` tells seconds since the epoch."""
        self._now = now
        self._closing = threading.Event()
        self._holds: tuple[Hold, ...] = ()
        self._since: Mapping[str, float] = MappingProxyType({})

    def register(
        self,
        name: str,
        ask: Question,
        *,
        absolute: bool = False,
        by: str = "the agent",
        each: Callable[[], Iterable[InForce]] | None = None,
        observes: bool = False,
        yields: bool = False,
    ) -> None:
        """Given a hold's name and question, ask it from now on, in place of one of that name.

        `by` is by whose word it holds, `each` what tells it in more detail; `observes` tells that
        it is no obstacle, but the wish that guests be observed only, and `yields` that it keeps the
        agent from what it would do by itself, and nobody's signed operation.
        """
        others = tuple(hold for hold in self._holds if hold.name != name)
        self._holds = (*others, Hold(name, ask, absolute, by, each, observes, yields))

    def close(self) -> None:
        """Hold every guest for good: the agent is stopping."""
        if not self.closing:
            self._since = MappingProxyType({**self._since, _CLOSING: self._now()})
        self._closing.set()

    def review(self) -> None:
        """Note which holds hold the host by now, and since when."""
        holding = [hold.name for hold in self._holds if hold.ask(0)]
        closing = [_CLOSING] if self.closing else []
        now = self._now()
        since = {name: self._since.get(name, now) for name in (*holding, *closing)}
        self._since = MappingProxyType(since)

    def listed(self) -> tuple[InForce, ...]:
        """Return all that holds now, in the order in which holds were registered."""
        found: list[InForce] = []
        for hold in self._holds:
            if hold.each is not None:
                found += hold.each()
            elif reason := hold.ask(0):
                found.append(self._in_force(hold.name, reason, hold.by))
        if self.closing:
            found.append(self._in_force(_CLOSING, _CLOSING_REASON, "the agent"))
        return tuple(found)

    @property
    def closing(self) -> bool:
        """Whether the agent is stopping."""
        return self._closing.is_set()

    def may_change(self, vmid: int, *, ends_restart: bool = False) -> str:
        """Given a guest, return why it must not be changed now; empty if it may be.

        `ends_restart` tells that the change is the Start that ends a restart of ours.
        """
        reasons = [hold.ask(vmid) for hold in self._holds if hold.absolute or not ends_restart]
        if self.closing and not ends_restart:
            reasons.append(_CLOSING_REASON)
        return "; ".join(reason for reason in reasons if reason)

    def may_do_signed(self, vmid: int) -> str:
        """Given a guest, return why what a person has signed must not be done to it now; empty if
        it may be.
        """
        reasons = [hold.ask(vmid) for hold in self._holds if not hold.yields]
        if self.closing:
            reasons.append(_CLOSING_REASON)
        return "; ".join(reason for reason in reasons if reason)

    def only_observes(self, vmid: int) -> bool:
        """Given a guest, return whether it is to be observed only, and nothing else holds it."""
        holding = [hold.observes for hold in self._holds if hold.ask(vmid)]
        return bool(holding) and all(holding) and not self.closing

    def _in_force(self, name: str, reason: str, by: str) -> InForce:
        since = self._since.get(name)
        return InForce(name, reason, self._now() if since is None else since, by)
