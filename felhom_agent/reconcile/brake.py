"""Too much at once: what goes beyond the usual is held until a person has seen it.

A wrong profile, a bad merge or a stolen hub asks for hundreds of changes that are each allowed. So
the brake counts, for each source of intent and over a rolling hour, the distinct guests that were
changed, stopped and restarted. What goes beyond the limits (`[limits]`) is held, and what is held
together has a name, the plan id: who approves it lets exactly that pass, for an hour; what is new
is held anew.

* A change counts beyond the limit only if it is of more guests than `changed`, and than
  `changed_percent` of those that the source declares (a hub: of those that are there).
* The owner's own files are warned of, and held only for stops and restarts: whoever edits them is
  root on this host.
* The start of a guest that is declared running never counts: a host that comes back after a power
  cut must bring its guests up. But one that was stopped for the same source within the hour has
  been restarted by it, in however many steps.
* A guest that was stopped and started again for a source counts anew when it is stopped again.
* What was asked for counts, whether or not it succeeded.

An approval is kept in memory alone: after a restart of the agent it has to be given again.

Threads: one lock guards the counts, the approvals and what is held; `ask` is called by lanes, right
before each act, `review` by the main thread at each pass, `approve` by any. Nothing waits under it.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from felhom_agent.config.settings import LimitsConfig
from felhom_agent.model import (
    Action,
    DesiredGuest,
    GuestPlan,
    SetConfig,
    Source,
    Start,
    Stop,
)
from felhom_agent.planning.acts import print_of
from felhom_agent.service.counters import Counters
from felhom_agent.service.events import UNUSUALLY_LARGE
from felhom_agent.service.families import UNSAFE
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

WINDOW = 3600.0
"""Seconds for which what was done counts, and for which an approval is good."""


class Deed(StrEnum):
    """What is counted."""

    CHANGED = "changed"
    STOPPED = "stopped"
    RESTARTED = "restarted"


@dataclass(frozen=True)
class HeldPlan:
    """What is held together: its id, a fingerprint of each act, and which guests it is of, of how
    many that are declared.
    """

    plan_id: str = ""
    acts: frozenset[str] = frozenset()
    vmids: frozenset[int] = frozenset()
    declared: int = 0


@dataclass
class _Counts:
    """The guests of one source by deed, each with when it was last done; `declared` is how many
    guests the source declares, `warned` of what too much was told.
    """

    declared: int = 0
    warned: set[Deed] = field(default_factory=set)
    started: set[int] = field(default_factory=set)
    """Of the guests that were stopped, those that were started again."""
    again: list[float] = field(default_factory=list)
    """When a guest that had been started again was stopped once more."""
    seen: dict[Deed, dict[int, float]] = field(default_factory=lambda: {deed: {} for deed in Deed})

    def copy(self) -> _Counts:
        """Return a copy to try things on; it warns of nothing."""
        seen = {deed: dict(found) for deed, found in self.seen.items()}
        return _Counts(self.declared, set(Deed), set(self.started), [*self.again], seen)


class Brake:
    """Holds what goes beyond the limits."""

    def __init__(
        self,
        limits: LimitsConfig,
        clock: Callable[[], float],
        hub_stops: int | None = None,
        counters: Counters | None = None,
    ) -> None:
        """`clock` tells monotonic seconds; `hub_stops` is how many guests a hub may shut down
        within an hour, if that is another limit; `counters` count the plans that are held.
        """
        self._counters = counters or Counters()
        self._limits = limits
        self._hub_stops = hub_stops
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[Source, _Counts] = {}
        self._approved: dict[str, float] = {}
        self._held = HeldPlan()

    @property
    def held(self) -> HeldPlan:
        """What the latest pass found held."""
        with self._lock:
            return self._held

    def adopt(self, limits: LimitsConfig, hub_stops: int | None = None) -> None:
        """Take other limits from now on."""
        with self._lock:
            self._limits, self._hub_stops = limits, hub_stops

    def declare(self, declared: Mapping[int, DesiredGuest], here: Container[int]) -> None:
        """Hear which guests are declared from now on, and by which source.

        `here` are the guests that the node was last seen to have. Of those that a hub declares no
        others count: else it would raise its limit by declaring what is not there.
        """
        with self._lock:
            found = Counter(
                guest.source
                for vmid, guest in declared.items()
                if guest.source is not Source.HUB or vmid in here
            )
            for source in found.keys() | self._counts.keys():
                self._of(source).declared = found[source]

    def ask(self, action: Action, source: Source, *, applied: bool = False) -> str:
        """Given an act that is about to be done and whose wish it is, count it; return why it is
        held, and then it does not count; empty if it may be done. What a person has seen and
        `applied` counts, and is not held.
        """
        with self._lock:
            counts = self._of(source)
            self._forget_old(counts, source)
            held = print_of(action) in self._held.acts and not applied
            if held and not self._is_approved(action):
                # Else those that are held would be others than a person is shown.
                return self._words(_deeds(action, counts)[0], source)
            return self._judge(counts, action, source, applied=applied)

    def review(
        self, plans: Mapping[int, GuestPlan], declared: Mapping[int, DesiredGuest]
    ) -> HeldPlan:
        """Given a pass's plans and their declarations, return what of it would be held, under its
        name.
        """
        with self._lock:
            for source, counts in self._counts.items():
                self._forget_old(counts, source)
            would = {source: counts.copy() for source, counts in self._counts.items()}
            held = [
                (vmid, action)
                for vmid, plan in sorted(plans.items())
                for action in plan.actions
                if (source := declared[vmid].source)
                and self._judge(would.setdefault(source, _Counts()), action, source)
            ]
            before, self._held = self._held, _plan_of(held, len(declared))
            if self._held.plan_id and self._held.plan_id != before.plan_id:
                _say_held(self._held)
                self._counters.add(UNSAFE)
            return self._held

    def approve(self, plan_id: str) -> int:
        """Given the id of what is held now, let it pass for an hour; return of how many guests it
        is, 0 if nothing of that name is held.
        """
        with self._lock:
            if not plan_id or plan_id != self._held.plan_id:
                return 0
            until = self._clock() + WINDOW
            self._approved |= dict.fromkeys(self._held.acts, until)
            return len(self._held.vmids)

    def _judge(
        self, counts: _Counts, action: Action, source: Source, *, applied: bool = False
    ) -> str:
        """Count an act, or return why it is held. The caller holds the lock."""
        now = self._clock()
        for deed in _deeds(action, counts):
            guests = counts.seen[deed]
            again = deed is Deed.STOPPED and action.vmid in counts.started
            is_new = action.vmid not in guests or again
            # What ends a restart is never held: that would be an outage.
            if is_new and not isinstance(action, Start) and self._is_beyond(deed, counts, source):
                passes = applied or self._is_approved(action)
                if self._holds(deed, source) and not passes:
                    return self._words(deed, source)
                self._warn(deed, counts, source)
            if again:
                counts.again.append(now)
                counts.started.discard(action.vmid)
            guests[action.vmid] = now
            if isinstance(action, Start):
                counts.started.add(action.vmid)
        return ""

    def _is_approved(self, action: Action) -> bool:
        return self._approved.get(print_of(action), -math.inf) > self._clock()

    def _is_beyond(self, deed: Deed, counts: _Counts, source: Source) -> bool:
        """Return whether one more guest would be too many."""
        more = len(counts.seen[deed]) + 1 + (len(counts.again) if deed is Deed.STOPPED else 0)
        if deed is Deed.CHANGED:
            share = counts.declared * self._limits.changed_percent / 100
            return more > self._limits.changed and more > share
        return more > self._most(deed, source)

    def _most(self, deed: Deed, source: Source) -> int:
        most = self._limits.stopped if deed is Deed.STOPPED else self._limits.restarted
        if deed is Deed.STOPPED and source is Source.HUB and self._hub_stops is not None:
            return min(most, self._hub_stops)
        return most

    def _holds(self, deed: Deed, source: Source) -> bool:
        return source is Source.HUB or deed is not Deed.CHANGED

    def _words(self, deed: Deed, source: Source) -> str:
        """Return why an act is held; the same words as long as the same is held."""
        text = f"unusually large: more guests would be {deed} within an hour for the {source} than "
        text += f"the limit, {self._limit(deed, source)}"
        if self._held.plan_id:
            size = f"{len(self._held.vmids)} of {self._held.declared} guests"
            approve = f"`felhom-agent approve {self._held.plan_id}` lets them pass"
            return f"{text}; {size} are held; {approve}"
        return f"{text}; the next pass names what is held"

    def _limit(self, deed: Deed, source: Source) -> str:
        if deed is Deed.CHANGED:
            return f"{self._limits.changed} and {self._limits.changed_percent:g} %"
        return str(self._most(deed, source))

    def _warn(self, deed: Deed, counts: _Counts, source: Source) -> None:
        """Say once that something is beyond the limits and done all the same."""
        if deed not in counts.warned:
            counts.warned.add(deed)
            text = "unusually large: more than %d guests are %s within an hour (%s); going on; "
            text += "see what it is with `felhom-agent plan`"
            extra = fields(UNUSUALLY_LARGE)
            _log.warning(text, len(counts.seen[deed]), deed, source, extra=extra)

    def _of(self, source: Source) -> _Counts:
        return self._counts.setdefault(source, _Counts())

    def _forget_old(self, counts: _Counts, source: Source) -> None:
        """Forget what was done more than an hour ago, and approvals that are over."""
        now = self._clock()
        for deed, guests in counts.seen.items():
            counts.seen[deed] = {v: at for v, at in guests.items() if at > now - WINDOW}
        counts.again = [at for at in counts.again if at > now - WINDOW]
        counts.started &= counts.seen[Deed.STOPPED].keys()
        self._approved = {act: until for act, until in self._approved.items() if until > now}
        counts.warned = {deed for deed in counts.warned if self._is_beyond(deed, counts, source)}


def _say_held(held: HeldPlan) -> None:
    text = (
        "unusually large: %d of %d guests are held; `felhom-agent plan` shows them, "
        "`felhom-agent approve %s` lets them pass"
    )
    extra = fields(UNUSUALLY_LARGE)
    _log.warning(text, len(held.vmids), held.declared, held.plan_id, extra=extra)


def _deeds(action: Action, counts: _Counts) -> tuple[Deed, ...]:
    """Given an act and what was done before, return what it counts as."""
    match action:
        case SetConfig():
            return (Deed.CHANGED,)
        case Stop(restart=True):
            return (Deed.RESTARTED,)
        case Stop():
            return (Deed.STOPPED,)
        case Start():
            stopped = action.vmid in counts.seen[Deed.STOPPED]
            return (Deed.RESTARTED,) if stopped else ()


def _plan_of(held: list[tuple[int, Action]], declared: int) -> HeldPlan:
    """Given what is held, return it under its name: the same acts have the same one."""
    if not held:
        return HeldPlan()
    acts = frozenset(print_of(action) for _, action in held)
    name = hashlib.sha256("\n".join(sorted(acts)).encode()).hexdigest()[:12]
    return HeldPlan(name, acts, frozenset(vmid for vmid, _ in held), declared)
