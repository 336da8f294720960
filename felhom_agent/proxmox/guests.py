"""What may be asked of one guest: read it, start it, shut it down, set its configuration.

The words an engine needs, for QEMU and LXC alike. A word that PVE answers with a UPID returns
it; an empty answer is success without a task, and returns an empty text. A word that changes a
guest takes a permit for that very action, and raises PermitError without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from felhom_agent.errors import Interrupted, NotSent, OutcomeUnknown, Unanswered, Unchanged
from felhom_agent.irreversible import DeleteSnapshot, Destroy, Irreversible, PullPlug, Rollback
from felhom_agent.model import (
    ABSENT,
    EMPTY,
    ActualGuest,
    Kind,
    RunState,
    SetConfig,
    Start,
    Stop,
    StopPolicy,
)
from felhom_agent.proxmox import rows
from felhom_agent.proxmox.answers import nothing_done, refusal_if_untouched
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.permit import Permit, require
from felhom_agent.proxmox.upid import Upid

# PVE answers at once when the change ended within this time, and with a UPID otherwise
# (recorded: 20-writes-qemu/057, 062).
_BACKGROUND_DELAY = 2

TASK_TYPES: Mapping[tuple[str, Kind], str] = {
    ("Start", Kind.QEMU): "qmstart",
    ("Start", Kind.LXC): "vzstart",
    ("Stop", Kind.QEMU): "qmshutdown",
    ("Stop", Kind.LXC): "vzshutdown",
    ("SetConfig", Kind.QEMU): "qmconfig",
    ("Destroy", Kind.QEMU): "qmdestroy",
    ("Destroy", Kind.LXC): "vzdestroy",
    ("Rollback", Kind.QEMU): "qmrollback",
    ("Rollback", Kind.LXC): "vzrollback",
    ("DeleteSnapshot", Kind.QEMU): "qmdelsnapshot",
    ("DeleteSnapshot", Kind.LXC): "vzdelsnapshot",
    ("PullPlug", Kind.QEMU): "qmstop",
    ("PullPlug", Kind.LXC): "vzstop",
}
"""The type of the task that PVE makes of an action; an LXC configuration change makes none."""


class Guests:
    """The guests of the client's node."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._node = client.config.node

    def config(self, kind: Kind, vmid: int) -> dict[str, Any]:
        """Return a guest's configuration as PVE gives it, pending changes merged in.

        Raise Unchanged if it cannot be had, or makes no sense.
        """
        try:
            return rows.checked(self._object(kind, vmid, "config"))
        except rows.Odd as odd:
            raise _unexpected(vmid, str(odd)) from None

    def pending(self, kind: Kind, vmid: int) -> list[Any]:
        """Return a guest's configuration as rows of key, value, pending and delete.

        Raise Unchanged if they cannot be had; the rows are as PVE sent them.
        """
        answer = self._client.get("nodes", self._node, kind, vmid, "pending")
        if not isinstance(answer, list):
            raise _unexpected(vmid, "its pending changes are no list")
        return answer

    def configured(self, guest: ActualGuest, *, raw: bool = False) -> ActualGuest:
        """Given a guest, return it with its configuration, with `raw` also the `lxc.*` lines of a
        running container, which take a call more. Raise Unchanged if it cannot be had.

        Of a VM that is off values may wait, too: those that a change left behind which PVE refused
        half-way (PVE: qemu-server API2/Qemu.pm update_vm_api).
        """
        kind, vmid = guest.kind, guest.vmid
        try:
            if kind is Kind.LXC and guest.state is not RunState.RUNNING:
                return rows.with_config(guest, self.config(kind, vmid))
            found = rows.with_pending(guest, self.pending(kind, vmid))
            if not raw or kind is not Kind.LXC:
                return found
            # PVE: pve-guest-common GuestHelpers.pm config_with_pending_array leaves lists out.
            lines = self.config(kind, vmid).get("lxc", [])
            return replace(found, config={**(found.config or EMPTY), "lxc": lines})
        except rows.Odd as odd:
            raise _unexpected(vmid, str(odd)) from None

    def status(self, kind: Kind, vmid: int) -> dict[str, Any]:
        """Return a guest's present status: state, lock, HA. Raise Unchanged if it cannot be had."""
        return self._object(kind, vmid, "status", "current")

    def start(self, action: Start, permit: Permit) -> str:
        """Begin to start a guest; return the UPID."""
        return self._post(action, "start", {}, permit)

    def stop(self, action: Stop, timeout: float, permit: Permit) -> str:
        """Ask a guest to shut down within `timeout` seconds; return the UPID.

        PVE pulls the plug after that if, and only if, the guest's policy allows it.
        """
        force = action.policy is StopPolicy.POWER_OFF
        data = {"timeout": int(timeout), "forceStop": force}
        return self._post(action, "shutdown", data, permit)

    def snapshots(self, kind: Kind, vmid: int) -> tuple[dict[str, int], str]:
        """Return a guest's snapshots, each with when it was made (seconds since the epoch), and the
        digest of the configuration that they stand in.

        PVE lists the present state among them, as `current` (recorded: 100-snapshots-qemu).
        Raise Unchanged if they cannot be had, or one of them is not to be understood.
        """
        listed = self._client.get("nodes", self._node, kind, vmid, "snapshot")
        found: dict[str, int] = {}
        digest = ""
        for row in listed if isinstance(listed, list) else [None]:
            if not isinstance(row, dict):
                raise _unexpected(vmid, "its snapshots are not to be understood")
            name, made = row.get("name"), row.get("snaptime")
            if name == "current":
                digest = str(row.get("digest") or "")
            elif isinstance(name, str) and name and type(made) is int and name not in found:
                found[name] = made
            else:
                raise _unexpected(vmid, "its snapshots are not to be understood")
        return found, digest

    def irreversibly(self, action: Irreversible, permit: Permit) -> str:
        """Do what cannot be undone; return the UPID.

        A destroy carries no digest: PVE takes none for it. What stands in no configuration is left
        alone (`destroy-unreferenced-disks`; PVE: qemu-server API2/Qemu.pm destroy_vm).
        """
        require(permit, action)
        path: tuple[str | int, ...] = ("nodes", self._node, action.kind, action.vmid)
        data: dict[str, int] = {}
        match action:
            case Destroy():
                method, data = "DELETE", {"destroy-unreferenced-disks": 0, "purge": action.purge}
            case DeleteSnapshot():
                method, path = "DELETE", (*path, "snapshot", action.snapshot)
            case Rollback():
                method, path = "POST", (*path, "snapshot", action.snapshot, "rollback")
            case PullPlug():
                method, path = "POST", (*path, "status", "stop")
        return _upid(self._client.write(method, *path, data=data, permit=permit), action.vmid)

    def set_config(self, action: SetConfig, permit: Permit) -> str:
        """Write the changes, on top of the version that the action was planned on.

        Return the UPID, or an empty text if PVE was done at once. Raise NotSent if there is no
        digest: PVE would take an empty one for "do not check" (recorded: 20-writes-qemu/011).
        A refusal in words that leave it open is settled by the digest: while the file has it
        still, nothing was written.
        """
        require(permit, action)
        if not action.digest:
            raise NotSent(f"PVE gave no digest of guest {action.vmid}'s configuration")
        data: dict[str, str | int] = {
            c.key: c.after for c in action.changes if c.after is not ABSENT
        }
        gone = [c for c in action.changes if c.after is ABSENT]
        for word, reverts in (("delete", False), ("revert", True)):
            if keys := [c.key for c in gone if c.reverts is reverts]:
                data[word] = ",".join(keys)
        data["digest"] = action.digest
        method = "PUT"
        if action.kind is Kind.QEMU:
            # LXC knows no POST here (recorded: 20-writes-lxc/057).
            method, data["background_delay"] = "POST", _BACKGROUND_DELAY
        path = ("nodes", self._node, action.kind, action.vmid, "config")
        try:
            answer = self._client.write(method, *path, data=data, permit=permit)
        except OutcomeUnknown as error:
            if error.if_untouched is None:
                raise
            number = len(action.changes)
            if nothing_done(action.kind, number, error.text) or self._is_untouched(action):
                raise error.if_untouched from None
            raise
        return "" if answer in (None, "") else _upid(answer, action.vmid)

    def refusal_of(self, action: SetConfig, exit_status: str) -> Unchanged | None:
        """Given a change and what its task ended with, return what PVE refused it for if nothing
        was written; None if it may have been, or these words are not known.
        """
        refused = refusal_if_untouched(action.kind, exit_status)
        if refused is None or nothing_done(action.kind, len(action.changes), exit_status):
            return refused
        return refused if self._is_untouched(action) else None

    def _is_untouched(self, action: SetConfig) -> bool:
        try:
            return self.config(action.kind, action.vmid).get("digest") == action.digest
        except (Unchanged, Interrupted):
            return False

    def _object(self, kind: Kind, vmid: int, *what: str) -> dict[str, Any]:
        answer = self._client.get("nodes", self._node, kind, vmid, *what)
        if not isinstance(answer, dict):
            raise _unexpected(vmid, f"its {what[-1]} is no object")
        return answer

    def _post(
        self, action: Start | Stop, verb: str, data: Mapping[str, int | bool], permit: Permit
    ) -> str:
        require(permit, action)
        path = ("nodes", self._node, action.kind, action.vmid, "status", verb)
        answer = self._client.write("POST", *path, data=data, permit=permit)
        return _upid(answer, action.vmid)


def _unexpected(vmid: int, what: str) -> Unanswered:
    return Unanswered(f"unexpected response from PVE for guest {vmid}: {what}", status=200)


def _upid(answer: object, vmid: int) -> str:
    """Return the UPID that a write was answered with. Raise OutcomeUnknown if it names no task of
    that guest: then only a look can tell what was done.
    """
    try:
        if isinstance(answer, str) and Upid.parse(answer).id == str(vmid):
            return answer
    except ValueError:
        pass
    raise OutcomeUnknown(f"PVE names no task of guest {vmid} in its answer", status=200)
