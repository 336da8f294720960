"""Whether the node's cluster has quorum: without it nothing is changed.

PVE writes no configuration and starts no guest without quorum, and still shuts guests down
(recorded: calls-9.2/201-quorum). So a refusal for want of quorum holds all guests, and each
shutdown asks first, since nobody could start the guest again. That quorum is back is asked for at
each pass.

GET /cluster/ha/status/current tells it at once; GET /cluster/status may say otherwise for long
(recorded: calls-9.2/201-quorum/033, 054). A node of its own has quorum (recorded: 141-ha-running).
A token without Sys.Audit on / may not ask. Then only PVE's refusals tell: after one, what PVE
refuses by itself is tried again at each pass, and nothing is stopped before something has worked
that takes quorum. Only a denial means that PVE does not tell; where the question fails otherwise,
nothing is stopped, either.

Threads: `_holds` and `_doubted` are plain attributes, set by lanes and by the main thread by what
PVE said last, and read by all. What is set too late is mended by PVE's next answer.
"""

from __future__ import annotations

import logging

from felhom_agent.errors import Denied, PveError, Unanswered
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.hastatus import ha_status_of
from felhom_agent.service.events import QUORUM_BACK, QUORUM_LOST
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

REASON = "nothing is changed while the cluster has no quorum"
NO_RESTART = "no restart is begun before the cluster is known to have quorum"
NO_STOP = "nothing is stopped before the cluster is known to have quorum"
NO_SIGNED = "nothing that was signed is done before the cluster is known to have quorum"
_UNTOLD = "PVE does not tell whether the cluster has quorum"


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
        try:
            quorate = self._told()
        except PveError as error:
            _log.debug("the quorum cannot be asked for: %s", error)
            quorate = None
        if quorate:
            self.note_back()
        self._holds = quorate is False

    def why_no_restart(self) -> str:
        """Ask PVE; return why a guest must not be shut down to be started again; else empty.

        Raise Unanswered if PVE cannot be asked.
        """
        return self._lacking(NO_RESTART, NO_RESTART)

    def why_no_stop(self) -> str:
        """Ask PVE; return why a guest must not be shut down to stay down: nobody could start it
        again. Empty if it may be. Raise as `why_no_restart`.
        """
        return self._lacking(REASON, NO_STOP)

    def why_no_signed(self) -> str:
        """Ask PVE; return why what was signed must not be done: PVE would stop the guest for it,
        and do no more. Empty if it may be. Raise as `why_no_restart`.
        """
        return self._lacking(REASON, NO_SIGNED)

    def _lacking(self, known: str, doubted: str) -> str:
        """Return what of the two stands in the way: a known lack of quorum, or one that was heard
        of and of which PVE does not tell; else empty.
        """
        quorate = self._told()
        if quorate is False:
            self.note_lost()
            return known
        return doubted if quorate is None and self._doubted else ""

    def _told(self) -> bool | None:
        """Return whether there is quorum; None if the token may not ask. Raise Unanswered if PVE
        cannot be asked, or makes no sense.
        """
        path = ("cluster", "ha", "status", "current")
        try:
            quorate = ha_status_of(self._client.get(*path)).quorate
        except Denied:
            return None
        except PveError as error:
            raise Unanswered(
                f"{_UNTOLD}: {error.text}",
                call=error.call,
                status=error.status,
                timed_out=error.timed_out,
                cut_off=error.cut_off,
            ) from error
        if quorate is None:
            text = f"{_UNTOLD}: unexpected response from PVE"
            raise Unanswered(text, call=f"GET /{'/'.join(path)}", status=200)
        return quorate
