"""Whether the node's cluster has quorum: without it nothing is changed.

PVE writes no configuration and starts no guest without quorum, and still shuts guests down
(recorded: calls-9.2/201-quorum). So a refusal for want of quorum holds all guests, and each
shutdown asks first, since nobody could start the guest again. That quorum is back is asked for at
each pass.

GET /cluster/ha/status/current tells it at once; GET /cluster/status may say otherwise for long
(recorded: calls-9.2/201-quorum/033, 054). A node of its own has quorum (recorded: 141-ha-running).
A token without Sys.Audit on / may not ask. Then only PVE's refusals tell: at each pass what it
refuses by itself is tried again, and no restart is begun before something has worked that takes
quorum.

Threads: `_holds` and `_doubted` are plain attributes, set by lanes and by the main thread by what
PVE said last, and read by all. What is set too late is mended by PVE's next answer.
"""

from __future__ import annotations

import logging

from felhom_agent.errors import PveError
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.hastatus import ha_status_of
from felhom_agent.service.events import QUORUM_BACK, QUORUM_LOST
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

REASON = "nothing is changed while the cluster has no quorum"
NO_RESTART = "no restart is begun before the cluster is known to have quorum"


class Quorum:
    """What is known of the quorum of the client's cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._holds = False
        self._doubted = False

    def reason(self) -> str:
        """Return why nothing may be changed; empty if something may be tried."""
        return REASON if self._holds else ""

    def note_lost(self) -> None:
        """Hear that PVE refused something for want of quorum."""
        if not self._doubted:
            text = (
                "the cluster has no quorum; guests are only observed until it has one again; "
                "`pvecm status` tells which nodes are missing"
            )
            _log.error(text, extra=fields(QUORUM_LOST))
        self._doubted = self._holds = True

    def note_back(self) -> None:
        """Hear that PVE did, or said, what takes quorum."""
        if self._doubted:
            self._doubted = self._holds = False
            _log.info("the cluster has quorum again", extra=fields(QUORUM_BACK))

    def look_again(self) -> None:
        """Ask PVE whether a quorum that was lost is back; if nobody tells, let lanes try."""
        if not self._doubted:
            return
        quorate = self._told()
        if quorate:
            self.note_back()
        self._holds = quorate is False

    def why_no_restart(self) -> str:
        """Ask PVE; return why a guest must not be shut down to be started again; else empty."""
        quorate = self._asked()
        lacks = self._doubted if quorate is None else not quorate
        return NO_RESTART if lacks else ""

    def why_no_stop(self) -> str:
        """Ask PVE; return why a guest must not be shut down to stay down: nobody could start it
        again. Empty if it may be, and where PVE does not tell.
        """
        return REASON if self._asked() is False else ""

    def _asked(self) -> bool | None:
        quorate = self._told()
        if quorate is False:
            self.note_lost()
        return quorate

    def _told(self) -> bool | None:
        """Return whether PVE says that there is quorum; None if it does not tell."""
        try:
            rows = self._client.get("cluster", "ha", "status", "current")
        except PveError as error:
            _log.debug("the quorum cannot be asked for: %s", error)
            return None
        return ha_status_of(rows).quorate
