"""What may be asked of one guest: read it, start it, shut it down, set its configuration.

The five words an engine needs, for QEMU and LXC alike. A word that PVE answers with a UPID returns
it; an empty answer is success without a task, and returns an empty text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from felhom_agent.errors import NotSent
from felhom_agent.model import ABSENT, Kind, SetConfig, Start, Stop, StopPolicy
from felhom_agent.proxmox.client import Client

# PVE answers at once when the change ended within this time, and with a UPID otherwise
# (recorded: 20-writes-qemu/057, 062).
_BACKGROUND_DELAY = 2

TASK_TYPES: Mapping[tuple[str, Kind], str] = {
    ("Start", Kind.QEMU): "qmstart",
    ("Start", Kind.LXC): "vzstart",
    ("Stop", Kind.QEMU): "qmshutdown",
    ("Stop", Kind.LXC): "vzshutdown",
    ("SetConfig", Kind.QEMU): "qmconfig",
}
"""The type of the task that PVE makes of an action; an LXC configuration change makes none."""


class Guests:
    """The guests of the client's node."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._node = client.config.node

    def config(self, kind: Kind, vmid: int) -> dict[str, Any]:
        """Return a guest's configuration as PVE gives it, pending changes merged in."""
        return dict(self._client.get("nodes", self._node, kind, vmid, "config"))

    def pending(self, kind: Kind, vmid: int) -> list[dict[str, Any]]:
        """Return a guest's configuration as rows of key, value, pending and delete."""
        return list(self._client.get("nodes", self._node, kind, vmid, "pending"))

    def status(self, kind: Kind, vmid: int) -> dict[str, Any]:
        """Return a guest's present status: state, lock, HA."""
        return dict(self._client.get("nodes", self._node, kind, vmid, "status", "current"))

    def start(self, action: Start) -> str:
        """Begin to start a guest; return the UPID."""
        return self._post(action.kind, action.vmid, "start", {})

    def stop(self, action: Stop, timeout: float) -> str:
        """Ask a guest to shut down within `timeout` seconds; return the UPID.

        PVE pulls the plug after that if, and only if, the guest's policy allows it.
        """
        force = action.policy is StopPolicy.POWER_OFF
        data = {"timeout": int(timeout), "forceStop": force}
        return self._post(action.kind, action.vmid, "shutdown", data)

    def set_config(self, action: SetConfig) -> str:
        """Write the changes, on top of the version that the action was planned on.

        Return the UPID, or an empty text if PVE was done at once. Raise NotSent if there is no
        digest: PVE would take an empty one for "do not check" (recorded: 20-writes-qemu/011).
        """
        if not action.digest:
            raise NotSent(f"PVE gave no digest of guest {action.vmid}'s configuration")
        data: dict[str, str | int] = {
            c.key: c.after for c in action.changes if c.after is not ABSENT
        }
        if gone := [c.key for c in action.changes if c.after is ABSENT]:
            data["delete"] = ",".join(gone)
        data["digest"] = action.digest
        method = "PUT"
        if action.kind is Kind.QEMU:
            # LXC knows no POST here (recorded: 20-writes-lxc/057).
            method, data["background_delay"] = "POST", _BACKGROUND_DELAY
        path = ("nodes", self._node, action.kind, action.vmid, "config")
        return _upid(self._client.write(method, *path, data=data))

    def _post(self, kind: Kind, vmid: int, verb: str, data: Mapping[str, int | bool]) -> str:
        path = ("nodes", self._node, kind, vmid, "status", verb)
        return _upid(self._client.write("POST", *path, data=data))


def _upid(answer: object) -> str:
    return answer if isinstance(answer, str) else ""
