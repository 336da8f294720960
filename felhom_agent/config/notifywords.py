"""The words of [notify] in agent.toml: in which form a receiver takes a message, and which events
one may be told of.

The names are those of `felhom_agent/service/events.py`, a test compares them. What ends the process
(`agent-broken` and its like) is not among them: nobody is left who could tell of it, and systemd
does (OnFailure=). `notify-failed` and `notify-back` are about the receiver itself.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Preset(StrEnum):
    """In which form a message is sent."""

    JSON = "json"
    GOTIFY = "gotify"
    NTFY = "ntfy"
    PVE = "pve"


DEFAULT_EVENTS: Final = (
    "guest-blocked",
    "guest-refused",
    "config-wrong",
    "journal-lost",
    "quorum-lost",
    "node-away",
    "hub-refused",
    "signers-changed",
    "unusually-large",
    "agent-stuck",
    "internal-error",
)
"""Those at which a person must act."""
EVENT_NAMES: Final = (
    *DEFAULT_EVENTS,
    "agent-started",
    "agent-stopped",
    "agent-warned",
    "agent-reloaded",
    "metrics-lost",
    "metrics-back",
    "config-good",
    "node-back",
    "quorum-back",
    "pass-failed",
    "guest-changed",
    "guest-converged",
    "guest-differs",
    "guest-retry",
    "host-frozen",
    "host-thawed",
    "guest-paused",
    "guest-resumed",
    "operation-in-flight",
    "operation-settled",
    "journal-back",
    "journal-compacted",
    "hub-away",
    "hub-back",
    "hub-state",
    "hub-jobs",
    "control-asked",
    "control-lost",
)
"""Those that may be named."""
