"""A hub's signed jobs on this host, and what it is told of them (`hub.jobs.SignedOperations`).

A hub carries: its jobs are examined as any others, and must have a challenge of this agent's own.
It may ask for what is to be signed, but learns of a guest by that only where the owner named the
guest for it. What it is told with each report lets its operator see what the hub keeps back: the
last nonce, how many jobs were ever accepted, and how those of late stand.

Threads: called on the hub loop's thread; what it asks guards itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from felhom_agent.authz.check import HUB, SignedJob
from felhom_agent.authz.hostblob import HOST_ACTS
from felhom_agent.authz.jobs import JobStatus
from felhom_agent.authz.refusals import WrongGuest, WrongParameters
from felhom_agent.authz.signerline import Role
from felhom_agent.daemon.signing import Ready
from felhom_agent.errors import FelhomError
from felhom_agent.hub.jobs import ComposedRequest, SignedStatus, SignersInForce, TakenJob

_MAX_RECENT: Final = 50


class SignedForHub:
    """The signed operations of one agent, as its hub sees them; `speaks_for` tells whether the
    owner named a guest for the hub.
    """

    def __init__(self, ready: Ready, speaks_for: Callable[[int], bool]) -> None:
        self._ready = ready
        self._speaks_for = speaks_for

    def take(self, job_id: str, blob: bytes, signatures: tuple[bytes, ...]) -> TakenJob:
        """Given a job as it came, return how it stands. Raise FelhomError if it cannot be examined
        now.
        """
        return _taken(self._ready.jobs.submit(SignedJob(blob, signatures, f"{HUB}:{job_id}")))

    def compose(self, wanted: Mapping[str, object]) -> ComposedRequest:
        """Given what a hub asks for, return what is to be signed for it.

        Raise OperationRefused if it could not be done, or is not the hub's to ask; other
        FelhomErrors if that cannot be found out now.
        """
        act, params = str(wanted["act"]), wanted["params"]
        assert isinstance(params, dict)  # noqa: S101  # `jobrows` has looked
        if act in HOST_ACTS:
            if "vmid" in wanted or wanted["stop"] or wanted["resume"]:
                raise WrongParameters(f"{act} is done to the host: no vmid, no stop, no resume")
            made = self._ready.request_for_host(act, params)
        else:
            vmid = wanted.get("vmid")
            if not isinstance(vmid, int):
                raise WrongParameters(f"{act} is done to a guest: its vmid is missing")
            if not self._speaks_for(vmid):
                raise WrongGuest(
                    f"[hub] guests in agent.toml does not name guest {vmid}; make the request on "
                    f"the host"
                )
            if not all(isinstance(value, (str, bool)) for value in params.values()):
                raise WrongParameters("its parameters are texts, true or false")
            made = self._ready.request_from_afar(
                act, vmid, params, stop=bool(wanted["stop"]), resume=bool(wanted["resume"])
            )
        return ComposedRequest(made.encode().decode("utf-8"), made.circumstances.expires)

    def told(self) -> SignedStatus:
        """Return what a report says of signed operations. Raises nothing."""
        ready = self._ready
        accepted = ready.accepted
        carried = ready.jobs.carried()[-_MAX_RECENT:]
        return SignedStatus(
            last_nonce=accepted.nonce,
            accepted=accepted.count,
            recent=tuple((job_id, _taken(status)) for job_id, status in carried),
            challenge=ready.host_challenge(),
            audit_head=ready.audit_head,
            signers=self._signers(),
        )

    def _signers(self) -> SignersInForce | None:
        """Return whose signatures count; None if nobody's does, or nobody can tell."""
        try:
            found, known = self._ready.trust.current(), self._ready.trust.known()
        except FelhomError:
            return None
        if found.problems or not found.present:
            return None
        return SignersInForce(
            version=found.version,
            by="rotation" if found.is_rotated else "root",
            since=known.at or None,
            expires=found.expires,
            operational=len(found.keys_of(Role.OPERATIONAL)),
            recovery=len(found.keys_of(Role.RECOVERY)),
        )


def _taken(status: JobStatus) -> TakenJob:
    why = ": ".join(filter(None, (status.stage, status.why)))
    return TakenJob(str(status.state), why, final=status.state.final)
