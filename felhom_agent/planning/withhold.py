"""Why nothing is done to a guest although it may differ, and which of the reasons pass.

A lock, a pause and a state that HA holds pass; what a guest *is* (a template, of another kind than
declared) does not. Pure.
"""

from __future__ import annotations

from dataclasses import replace

from felhom_agent.model import Actual, ActualGuest, DesiredGuest

_UNTIL_ARMED = "what is done to it now may be undone when HA is armed"
# recorded: calls-9.2/205-ha-armed/015-024, 067
_WHILE_DISARMED = {
    "freeze": "PVE accepts a start or stop of it, and nothing happens",
    "ignore": "HA brings it to its own state when it is armed",
}


def whereabouts(vmid: int, actual: Actual) -> str:
    """Given a vmid that has no guest here, return where it is, as far as that is known."""
    if other := actual.elsewhere.get(vmid):
        state = ", which is offline" if other in actual.offline else ""
        return f"it is on node {other}{state}, not on {actual.node}; declare it there"
    if vmid in actual.hidden:
        return f"the token may not see it, if it exists: it lacks VM.Audit on /vms/{vmid}"
    return "there is no such guest; create it, or take it out of its file"


def reason_for_good(desired: DesiredGuest, guest: ActualGuest) -> str:
    """Return why nothing may be done to a guest as long as it is what it is; empty if it may."""
    if guest.state is None:
        return "PVE does not know its state; look at it in PVE"
    if desired.kind and desired.kind is not guest.kind:
        return f"declared as {desired.kind}, but vmid {guest.vmid} is {guest.kind}; mend its kind"
    template = "it is a template, which is never changed; take it out of its file"
    return template if guest.template else ""


def passing_reason(desired: DesiredGuest, guest: ActualGuest) -> str:
    """Return why nothing may be done to a guest for now; empty if it may."""
    if guest.lock:
        return f"locked ({guest.lock})"
    if guest.paused:
        return "it is paused; resume or stop it by hand"
    if _is_held_by_ha(desired, guest):
        if guest.ha_disarmed:
            return (
                f"HA manages it and is disarmed (resource mode {guest.ha_disarmed}): "
                f"{_WHILE_DISARMED.get(guest.ha_disarmed, _UNTIL_ARMED)}; arm HA again "
                f"(ha-manager crm-command arm-ha), or undeclare its state here"
            )
        return f"HA manages it (state {guest.ha_state}); set its state there, or undeclare it here"
    return ""


def as_let_go(desired: DesiredGuest, guest: ActualGuest) -> ActualGuest:
    """Given a guest, return it as it will be when its passing reasons have passed."""
    ha_state = "" if _is_held_by_ha(desired, guest) else guest.ha_state
    disarmed = guest.ha_disarmed if ha_state else ""
    return replace(guest, lock="", paused=False, ha_state=ha_state, ha_disarmed=disarmed)


def _is_held_by_ha(desired: DesiredGuest, guest: ActualGuest) -> bool:
    return bool(guest.ha_state) and desired.state not in (None, guest.state)
