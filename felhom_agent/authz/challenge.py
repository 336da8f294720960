"""Challenges of this agent's own: what shows that a signature was made after the agent spoke.

Who signs one makes neither the desk's clock nor this host's decide how old the signature is. It is
good for a day (`clock.py`). There are two kinds.

* A *remembered* one is a random number for one act on one guest, durable before anybody sees it,
  and good for one job. A request that is made on the host has one.
* A *token* is remembered by nobody: when it was given out is written in it, under a MAC by a key of
  this agent's own (`challenge-key`, 32 random bytes). So a hub may be told one with each report,
  and ask for as many as it likes. It is bound to the host and to a class: an act on a guest, or
  `HOST_CLASS` for what is done to the host. That a job is done once is its nonce's part. Where the
  key is gone another is made, and all tokens from before are void.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from felhom_agent.authz.ledger import Ledger
from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.durable.file import read_or_empty, write_in_place
from felhom_agent.errors import FelhomError
from felhom_agent.journal.signed import Challenge
from felhom_agent.journal.suspensions import Moment

KEY_NAME: Final = "challenge-key"
HOST_CLASS: Final = "host"
"""The class of all that is done to the host itself."""
TOKEN: Final = re.compile(
    r"(?P<wall>[0-9a-f]{1,12})\.(?P<since>[0-9a-f]{1,12})\.(?P<boot>[0-9a-f]{32}|none)\."
    r"(?P<mac>[0-9a-f]{64})"
)
"""A token: seconds since the epoch, seconds since the boot, which boot, the MAC."""
_KEY_BYTES: Final = 32
_REMEMBERED: Final = re.compile(r"[0-9a-f]{32}")


def issue(facts: Ledger, now: Moment, vmid: int, act: str) -> Challenge:
    """Given the moment, a guest and a class of acts, return a new challenge that is remembered,
    once it is durable.

    Raise JobRefused if too many are open, JournalError if it cannot be kept.
    """
    found = Challenge(random_id(), vmid, act, now)
    facts.remember(found)
    return found


def random_id() -> str:
    """Return a random number that nobody guesses, as 32 hex digits: for a challenge, a nonce."""
    return secrets.token_hex(16)


def is_remembered(challenge: str) -> bool:
    """Return whether a challenge is of the kind that is remembered, and good for one job."""
    return bool(_REMEMBERED.fullmatch(challenge))


@dataclass(frozen=True)
class ChallengeKey:
    """The key of this agent's tokens, on the host of that id."""

    secret: bytes = field(repr=False)
    host: str

    def token(self, now: Moment, act: str, vmid: int = 0) -> str:
        """Given the moment, a class and a guest (0: none), return a token for them."""
        told = f"{int(now.wall):x}.{int(now.boottime):x}.{now.boot or 'none'}"
        return f"{told}.{self._mac(told, act, vmid)}"

    def opened(self, token: str, act: str, vmid: int) -> Challenge | None:
        """Given a token, and what it must be for, return when it was given out; None if it is not
        this agent's, or is for something else.
        """
        found = TOKEN.fullmatch(token)
        if found is None:
            return None
        told = token.rpartition(".")[0]
        if not hmac.compare_digest(found["mac"], self._mac(told, act, vmid)):
            return None
        boot = "" if found["boot"] == "none" else found["boot"]
        # Whole seconds, cut off: so a token is taken for older than it is, and never for younger.
        at = Moment(float(int(found["wall"], 16)), float(int(found["since"], 16)), boot)
        return Challenge(token, vmid, act, at)

    def _mac(self, told: str, act: str, vmid: int) -> str:
        text = "\0".join(("felhom-challenge-v1", self.host, act, str(vmid), told))
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()


def challenge_key(directory: Path, host: str, disk: Disk = DISK) -> ChallengeKey:
    """Given the agent's state directory and the host's id, return the key, made if absent.

    Raise FelhomError if it can be neither read nor written.
    """
    path = directory / KEY_NAME
    try:
        secret = read_or_empty(disk, path)
        if len(secret) != _KEY_BYTES:
            secret = secrets.token_bytes(_KEY_BYTES)
            write_in_place(disk, path, secret)
    except OSError as error:
        raise FelhomError(f"{path}: cannot be used: {error.strerror or error}") from None
    return ChallengeKey(secret, host)
