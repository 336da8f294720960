"""Who does what a plan has, and when; and what keeps them from it: for a person.

It is said of guests that the agent really acts on, at the time that `status` gives, too. What is
held has its reason with the guest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from felhom_agent.cli.agentstate import GuestNow
from felhom_agent.cli.outlook import GuestOutlook, Outlook
from felhom_agent.cli.terminal import Line, Part, Style


def sentences(outlook: Outlook) -> Iterator[str]:
    """Given an outlook that was only shown, yield who will do it, and when, in sentences."""
    agent = outlook.agent
    yield from (f"Held: {why}" for why in agent.held)
    changed = {v: guest for v, guest in outlook.guests.items() if guest.changes}
    if agent.held and changed:
        yield "Nothing was changed, and nothing will be while that holds."
        return
    acting = [guest.now for guest in changed.values() if guest.now.acts]
    vmids = [v for v, guest in changed.items() if guest.now.by_hand]
    if acting:
        rest = ", but for what is held" if len(acting) < len(changed) else ""
        waiting = [v for v, g in changed.items() if g.now.acts and not g.now.begun]
        at_once = f"; at once: {_apply(waiting)}" if waiting else ""
        yield f"Nothing was changed. {_itself(acting)}{rest}{at_once}"
    elif not vmids:
        yield "Nothing was changed."
    elif agent.observes:
        yield f"Nothing was changed; the agent only observes. To do it: {_apply(vmids)}"
    else:
        yield f"Nothing was changed. To do it: {_apply(vmids)}"


def _apply(vmids: Sequence[int]) -> str:
    few = " ".join(map(str, vmids)) if len(vmids) <= 3 else "[VMID...]"
    return f"felhom-agent apply {few}"


def _itself(acting: Iterable[GuestNow]) -> str:
    """Given the guests that the agent acts on, return when it does, in words."""
    moments = [_clock(now.next) for now in acting if not now.begun]
    if not moments:
        return "The agent is at work on this"
    known = sorted({moment for moment in moments if moment})
    at = f" {'from' if len(known) > 1 else 'at'} {known[0]:%H:%M:%S}" if known else ""
    return f"The agent does this itself{at}{' on' if len(known) > 1 else ''}"


def of_guest(guest: GuestOutlook) -> Iterator[Line]:
    """Given a guest, yield what keeps the agent from it, or has so far, and when it is tried."""
    now = guest.now
    if not now.why or not (guest.changes or not now.by_hand):
        return
    label, word = ("again ", "next try") if now.acts else ("held  ", "tried again")
    if now.begun:
        label = "now   "
    moment = _clock(now.next)
    then = f"; {word} at {moment:%H:%M:%S}" if moment and now.by_hand else ""
    yield ("  ", Part(label, Style.WARN), f"{now.why}{then}")


def _clock(moment: str) -> datetime | None:
    """Return a moment as this host's clock shows it; None if it is not known."""
    try:
        return datetime.fromisoformat(moment).astimezone()
    except ValueError:
        return None
