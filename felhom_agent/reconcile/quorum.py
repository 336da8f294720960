"""Whether the node's cluster has quorum: without it nothing is changed.

PVE writes no configuration and starts no guest without quorum, and still shuts guests down
(recorded: calls-9.2/201-quorum). So a refusal for want of quorum holds all guests, and the shutdown
that begins a restart asks first. That quorum is back is asked for at each pass.

GET /cluster/ha/status/current tells it at once; GET /cluster/status may say otherwise for long
(recorded: calls-9.2/201-quorum/033, 054). A node of its own has no such row, and needs none.

Threads: `_lost` is a plain attribute, set by lanes and by the main thread, read by all.
"""

from __future__ import annotations

import logging

from felhom_agent.errors import PveError
from felhom_agent.proxmox.client import Client
from felhom_agent.service.events import QUORUM_BACK, QUORUM_LOST
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

REASON = "nothing is changed while the cluster has no quorum"


class Quorum:
    """What is known of the quorum of the client's cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lost = False

    def reason(self) -> str:
        """Return why nothing may be changed; empty if the quorum is not known to be lost."""
        return REASON if self._lost else ""

    def note_lost(self) -> None:
        """Hear that PVE refused something for want of quorum."""
        if not self._lost:
            self._lost = True
            text = "the cluster has no quorum; guests are only observed until it has one again"
            _log.error(text, extra=fields(QUORUM_LOST))

    def look_again(self) -> None:
        """Ask PVE whether a quorum that was lost is back."""
        if self._lost and self.ask():
            self._lost = False
            _log.info("the cluster has quorum again", extra=fields(QUORUM_BACK))

    def ask(self) -> bool:
        """Ask PVE; return whether there is quorum, or nobody says that there is none."""
        try:
            rows = self._client.get("cluster", "ha", "status", "current")
        except PveError as error:
            _log.debug("the quorum cannot be asked for: %s", error)
            return not self._lost
        found = [
            row.get("quorate")
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict) and row.get("type") == "quorum"
        ]
        return all(str(quorate) == "1" for quorate in found)
