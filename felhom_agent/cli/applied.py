"""What was done, compared with what was shown: an apply is done when nothing shown is left to do.

The agent tells that a guest is as declared, by what it has in force. Where that is another text
than the one that was shown, nothing of what was shown was done. So the node is looked at once more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from felhom_agent.cli.out import complain
from felhom_agent.cli.outlook import Outlook
from felhom_agent.cli.progress import Followed
from felhom_agent.errors import FelhomError
from felhom_agent.planning.acts import prints_of

_DONE: Final = "converged"
_OTHER_TEXT: Final = (
    "not done: the agent takes the guest for as declared, so it has another declaration in force"
    " than this one; look with `felhom-agent check`, then `felhom-agent reconcile`"
)
_NOT_SEEN: Final = "nothing was done, and whether anything is left to do could not be looked at"


def compared(
    found: Followed,
    shown: Mapping[int, frozenset[str]],
    look: Callable[[Collection[int]], Outlook],
) -> Followed:
    """Given what came of an apply by the agent's word, the fingerprints of what was shown, and how
    to look at some guests again, return what came of it.
    """
    done = [guest["vmid"] for guest in found.guests if guest["outcome"] == _DONE]
    if not done:
        return found
    try:
        left = _left(look(done), shown)
    except FelhomError as error:
        complain(f"what was done could not be looked at: {error}")
        idle = {guest["vmid"]: _NOT_SEEN for guest in found.guests if not guest["steps"]}
        return _without(found, done, idle)
    return _without(found, done, dict.fromkeys(left, _OTHER_TEXT))


def _left(now: Outlook, shown: Mapping[int, frozenset[str]]) -> list[int]:
    """Return the guests of which something that was shown is still to be done."""
    return [
        vmid
        for vmid, guest in now.guests.items()
        if prints_of(guest.plan.actions) & shown.get(vmid, frozenset())
    ]


def _without(found: Followed, done: Iterable[int], why: Mapping[int, str]) -> Followed:
    """Return what came of it, some of what is told as done being blocked."""
    wrong = {vmid: why[vmid] for vmid in done if vmid in why}

    def corrected(guest: dict[str, Any]) -> dict[str, Any]:
        text = wrong.get(guest["vmid"])
        return {**guest, "outcome": "blocked", "why": text} if text else guest

    return replace(found, guests=[corrected(guest) for guest in found.guests])
