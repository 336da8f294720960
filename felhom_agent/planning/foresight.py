"""What carrying out a guest's plan will bring, said before anything is written.

People approve a plan, so that it must name what the plan leads to: a restart most of all. A change
that waits for a restart makes the agent restart the guest in its next look, if the declaration
allows it. Here the plan, the guest and the declaration tell it beforehand: which changes take
effect at once, which wait, whether the guest is shut down, started or restarted, whether a stop may
end in a power-off, and, where the plan is withheld, what comes after.

Pure: no clock, no network, no file. No value of a secret option is in its words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from felhom_agent.model import (
    EMPTY,
    Action,
    ActualGuest,
    Blocked,
    Change,
    DesiredGuest,
    Facts,
    GuestPlan,
    RestartPolicy,
    RunState,
    SetConfig,
    Start,
    Stop,
    StopPolicy,
)
from felhom_agent.planning.bootorder import BESIDES, is_besides
from felhom_agent.planning.effects import Effect, Judgement, effect_of
from felhom_agent.planning.privileges import lacking, power_of, told

_MAX_WORDS = 5
"""How many things one line names; how many more there are is said."""


@dataclass(frozen=True)
class ForeseenChange:
    """A change, when it will be in effect, and why not at once (empty: there is nothing to say)."""

    change: Change
    effect: Effect
    why: str = ""

    def __str__(self) -> str:
        """Return "memory 2048 -> 3072: "memory" is not in hotplug"."""
        words = _words_of(self.change)
        return f"{words}: {self.why}" if self.why else words


@dataclass(frozen=True)
class Foresight:
    """What will come of a plan.

    * `changes`: the changes that are written, each with its effect.
    * `restarts`: the guest will be shut down and started again.
    * `may_restart`: it will be if its operating system does not let go of a device.
    * `waits`: the changes that will wait for a restart which the agent does not do, in words.
    * `no_restart`: why it does not; empty unless something waits.
    * `stops`, `starts`: it is shut down for good, or started, as declared.
    * `waiting`: what was written before and takes effect with that restart, in words.
    * `may_power_off`: a shutdown that is not obeyed in time ends in a power-off, now or after what
      it waits for.
    * `withheld`, `then`: why nothing is done now, and what comes after, in words.
    """

    changes: tuple[ForeseenChange, ...] = ()
    restarts: bool = False
    may_restart: bool = False
    waits: tuple[str, ...] = ()
    no_restart: str = ""
    stops: bool = False
    starts: bool = False
    waiting: str = ""
    may_power_off: bool = False
    withheld: str = ""
    then: tuple[str, ...] = ()

    def wait(self) -> str:
        """Return why nothing is done and what comes after, as one line; empty if not withheld.

        "waits: locked (backup); then cores 8 -> 2"
        """
        if not self.withheld:
            return ""
        return str(Blocked(self.withheld, then=_some(self.then)))


def foresee(
    desired: DesiredGuest, guest: ActualGuest | None, plan: GuestPlan, facts: Facts
) -> Foresight:
    """Given a declaration, its guest as PVE answered (None: it is not here), the plan made of the
    two and the node's facts, return what carrying out the plan will bring.
    """
    if guest is None or plan.unread:
        return Foresight(withheld=plan.withheld)
    if plan.withheld:
        after = _foresee(desired, guest, plan, plan.then, facts)
        return Foresight(
            withheld=plan.withheld, then=_after(after), may_power_off=after.may_power_off
        )
    return _foresee(desired, guest, plan, plan.actions, facts)


def _foresee(
    desired: DesiredGuest,
    guest: ActualGuest,
    plan: GuestPlan,
    actions: tuple[Action, ...],
    facts: Facts,
) -> Foresight:
    changes = tuple(_changes(guest, actions, facts))
    waiting = [foreseen for foreseen in changes if foreseen.effect is Effect.RESTART]
    unsure = any(foreseen.effect is Effect.UNSURE for foreseen in changes)
    planned = any(isinstance(a, Stop) and a.restart for a in actions)
    no_restart = _why_no_restart(desired, guest, facts)
    restarts = planned or (bool(waiting) and not no_restart)
    stops = any(isinstance(a, Stop) and not a.restart for a in actions)
    may_restart = unsure and not restarts and not no_restart
    shut_down = restarts or may_restart or stops
    return Foresight(
        changes=changes,
        restarts=restarts,
        may_restart=may_restart,
        waits=() if restarts else tuple(str(foreseen) for foreseen in waiting),
        no_restart=no_restart if waiting else "",
        stops=stops,
        starts=not restarts and any(isinstance(a, Start) for a in actions),
        waiting=plan.waiting if restarts else "",
        may_power_off=shut_down and desired.stop is StopPolicy.POWER_OFF,
    )


def _changes(
    guest: ActualGuest, actions: Iterable[Action], facts: Facts
) -> Iterator[ForeseenChange]:
    runs = guest.state is RunState.RUNNING
    present = in_effect(guest)
    for action in actions:
        if isinstance(action, SetConfig):
            for change in action.changes:
                found = _judged(guest, change, present, facts, runs=runs)
                besides = BESIDES if is_besides(guest, change) else found.why
                yield ForeseenChange(change, found.effect, besides)
        else:
            runs = isinstance(action, Start)


def _judged(
    guest: ActualGuest, change: Change, present: Mapping[str, str], facts: Facts, *, runs: bool
) -> Judgement:
    if not runs:
        return Judgement(Effect.NOW)
    return effect_of(guest.kind, change, present, facts)


def in_effect(guest: ActualGuest) -> Mapping[str, str]:
    """Given a guest as PVE answered, return the values that are in effect, without those that wait
    for a restart.
    """
    merged: dict[str, object] = {**(guest.config or EMPTY), **guest.pending}
    return {k: str(v) for k, v in merged.items() if isinstance(v, str | int | float)}


def _why_no_restart(desired: DesiredGuest, guest: ActualGuest, facts: Facts) -> str:
    """Return why the agent will not restart a guest for what waits; empty if it will."""
    no_power = told(lacking(power_of(guest.vmid), facts))
    if no_power and desired.state is RunState.STOPPED:
        return no_power
    if desired.restart is not RestartPolicy.ALLOWED:
        return 'restart = "allowed" is not declared'
    if desired.state is not RunState.RUNNING:
        return 'state = "running" is not declared'
    if guest.ha_state:
        return f"HA manages it (state {guest.ha_state}), so restart it there"
    return no_power


def afterwards(desired: DesiredGuest, guest: ActualGuest, plan: GuestPlan, facts: Facts) -> str:
    """Given a declaration, its guest and its plan that is withheld, return what comes then, in
    words.
    """
    return _some(_after(_foresee(desired, guest, plan, plan.then, facts)))


def _after(found: Foresight) -> tuple[str, ...]:
    """Given what would come if a guest's plan were not withheld, return it in words."""
    harder = " (power-off if it ignores the shutdown)" if found.may_power_off else ""
    words = [f"shut down{harder}"] if found.stops else []
    words += [_words_of(foreseen.change) for foreseen in found.changes]
    if found.restarts:
        words.append(f"restart{f' for {found.waiting}' if found.waiting else ''}{harder}")
    elif found.may_restart:
        words.append(f"restart, if it does not let go of the device{harder}")
    words += ["start"] if found.starts else []
    return tuple(words)


def _words_of(change: Change) -> str:
    before, after = change.shown()
    return f"{change.key} {before} -> {after}"


def _some(words: tuple[str, ...]) -> str:
    more = len(words) - _MAX_WORDS
    shown = ", ".join(words[:_MAX_WORDS])
    return f"{shown} and {more} more" if more > 0 else shown
