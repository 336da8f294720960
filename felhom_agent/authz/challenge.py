"""A challenge of this agent's own: a random number for one act on one guest.

Who signs it shows that the signature was made after the agent gave it out, so that neither the
desk's clock nor this host's decides how old the signature is. It is good for a day, and for one job
(`clock.py`); it is durable before anybody sees it.
"""

from __future__ import annotations

import secrets

from felhom_agent.authz.ledger import Ledger
from felhom_agent.journal.signed import Challenge
from felhom_agent.journal.suspensions import Moment


def issue(facts: Ledger, now: Moment, vmid: int, act: str) -> Challenge:
    """Given the moment, a guest and a class of acts, return a new challenge once it is durable.

    Raise JobRefused if too many are open, JournalError if it cannot be kept.
    """
    found = Challenge(random_id(), vmid, act, now)
    facts.remember(found)
    return found


def random_id() -> str:
    """Return a random number that nobody guesses, as 32 hex digits: for a challenge, a nonce."""
    return secrets.token_hex(16)
