"""What a whole declaration needs of the token, key by key, whether or not anything differs now.

A value that is as declared may be changed by a person, and is set again then. So each key needs
what its declared value needs over the present one, and over none.
"""

from __future__ import annotations

from collections.abc import Iterator

from felhom_agent.model import ABSENT, Actual, ActualGuest, DesiredGuest, Facts, Mode
from felhom_agent.options import Invalid
from felhom_agent.planning.compare import to_wire
from felhom_agent.planning.context import Context, context_of
from felhom_agent.planning.privileges import AUDIT, Required, power_of, required
from felhom_agent.planning.rawlines import present_value

STATE = "state"
"""The name under which a run state's needs are told."""


def needs_of(
    desired: DesiredGuest, guest: ActualGuest, actual: Actual
) -> Iterator[tuple[str, Required]]:
    """Given a declaration, its guest and the snapshot that holds it, yield what it needs, each with
    the key that needs it (`state` for the run state, empty for seeing the guest at all).

    Nothing for what no token may write: no privilege would do.
    """
    yield "", Required(f"/vms/{guest.vmid}", (AUDIT,))
    if desired.mode is Mode.OBSERVE:
        return
    if desired.state is not None:
        yield from ((STATE, need) for need in power_of(guest.vmid))
    context = context_of(desired, guest, actual)
    for key in (*desired.config, *sorted(desired.unset)):
        found = _needs(desired, guest, key, context, actual.facts)
        yield from ((key, need) for need in dict.fromkeys(found))


def _needs(
    desired: DesiredGuest, guest: ActualGuest, key: str, context: Context, facts: Facts
) -> Iterator[Required]:
    present = present_value(guest, key)
    if present is None:
        present = ABSENT
    before = ABSENT if present is ABSENT else str(present)
    if key not in desired.config:
        yield from required(guest.kind, key, ABSENT, before, guest.vmid, facts)
        return
    try:
        after = to_wire(guest.kind, key, desired.config[key], present, context)
    except Invalid:
        return
    yield from required(guest.kind, key, after, before, guest.vmid, facts)
    yield from required(guest.kind, key, after, ABSENT, guest.vmid, facts)
