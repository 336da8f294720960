"""The keys of LXC itself (`lxc.cap.drop`), which PVE keeps in a container's file beside its own.

GET config answers with all of them as pairs under `lxc`, in the order of the file; no call takes
one, so that they are compared and never sent.
"""

from __future__ import annotations

from felhom_agent.model import ABSENT, EMPTY, ActualGuest, RunState, TypeOfAbsent


def raw_lines(guest: ActualGuest, key: str) -> str | TypeOfAbsent | None:
    """Given a guest and such a key, return its values, one a line; `None` if they were not read."""
    pairs = (guest.config or EMPTY).get("lxc")
    if pairs is None and guest.state is RunState.RUNNING:
        # PVE: pve-guest-common GuestHelpers.pm config_with_pending_array leaves lists out of
        # /pending, and that is how a running guest is read.
        return None
    values = [str(pair[1]) for pair in pairs if pair[0] == key] if isinstance(pairs, list) else []
    return "\n".join(values) if values else ABSENT


def present_value(guest: ActualGuest, key: str) -> object:
    """Given a guest and any key, return what PVE answers of it; `None` if it was not read."""
    return (
        raw_lines(guest, key)
        if key.startswith("lxc.")
        else (guest.config or EMPTY).get(key, ABSENT)
    )
