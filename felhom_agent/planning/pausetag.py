"""The tag by which a person pauses a guest in PVE's own web page.

It counts whoever declared the guest and whatever tags its file declares, since it only ever holds:
whoever may edit the guest in PVE may as well do by hand what the agent is kept from.
"""

from __future__ import annotations

import re

from felhom_agent.model import EMPTY, ActualGuest, Facts

PAUSE_TAG = "felhom-pause"
PAUSED_BY_TAG = f"paused by the tag {PAUSE_TAG} in PVE; take it off to go on"

# PVE: pve-common Tools.pm split_list
_SEPARATORS = re.compile(r"[,;\s\0]+")


def is_paused_by_tag(guest: ActualGuest, facts: Facts) -> bool:
    """Given a guest as PVE answered, return whether it carries the tag, in the case that counts by
    the datacenter's tag-style.
    """
    text = str((guest.config or EMPTY).get("tags", ""))
    tags = _SEPARATORS.split(text if facts.case_sensitive_tags else text.lower())
    return PAUSE_TAG in tags
