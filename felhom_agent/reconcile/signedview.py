"""What a signature is compared with: one guest, its snapshots and its past, as PVE tells them now.

Three answers that belong together: the configuration, the snapshots, and the task list. PVE gives
the configuration's digest with the snapshots, too; where the two differ, somebody wrote in between,
and all is asked again.
"""

from __future__ import annotations

from felhom_agent.authz.blob import SignedOperation, SignedSnapshot
from felhom_agent.authz.observed import ObservedGuest, observed_of
from felhom_agent.authz.refusals import WrongGuest
from felhom_agent.errors import Busy
from felhom_agent.model import Actual, ActualGuest
from felhom_agent.proxmox.births import births_of
from felhom_agent.proxmox.node import Node

_TRIES = 3


class SignedView:
    """Looks at guests for the examination of signed operations; may be asked from any thread."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def observe(self, operation: SignedOperation) -> ObservedGuest | None:
        """Given an operation, return its guest as it is now; None if it is not on this host.

        Raise WrongGuest if the guest cannot be seen, Unchanged if PVE cannot be asked.
        """
        return self.guest(operation.vmid)

    def guest(self, vmid: int) -> ObservedGuest | None:
        """As `observe`, by the guest's number."""
        for _ in range(_TRIES):
            seen = self._seen(vmid)
            if seen is None:
                return None
            found, digest = self._node.guests.snapshots(seen.kind, vmid)
            history = births_of(self._node.client, vmid)
            if digest in ("", seen.digest):
                snapshots = [SignedSnapshot(name, made) for name, made in found.items()]
                return observed_of(seen, history, snapshots)
        raise Busy(f"guest {vmid} was changed each time while it was looked at")

    def actual(self, vmid: int) -> Actual:
        """Return all that PVE tells of a guest's place, as it is now, and of how HA holds it. Raise
        Unchanged if PVE cannot be asked.
        """
        return self._node.observer.observe_guest(vmid, place=True)

    def _seen(self, vmid: int) -> ActualGuest | None:
        actual = self.actual(vmid)
        if vmid in actual.hidden:
            raise WrongGuest(
                f"guest {vmid} cannot be seen: the token lacks VM.Audit on /vms/{vmid}"
            )
        return actual.guests.get(vmid)
