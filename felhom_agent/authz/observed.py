"""What a guest is now, compared with what its signer saw.

Made of what PVE answered (`observed_of`), once when the request is made and again under the lane,
immediately before the act. What cannot be read does not count as unchanged: it stands in the way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from felhom_agent.authz.blob import SignedOperation, SignedSnapshot, SignedVolume
from felhom_agent.authz.refusals import GuestLocked, OtherIdentity, StateChanged, WrongGuest
from felhom_agent.model import EMPTY, ActualGuest, History, Kind, RunState
from felhom_agent.options import Invalid, PropertyString, Volume, lookup
from felhom_agent.planning.identity import identity_of
from felhom_agent.planning.volumes import is_volume
from felhom_agent.printable import printable


@dataclass(frozen=True)
class ObservedGuest:
    """A guest as it is now. `identity` is empty where there is nothing to know it by, `born` None
    where the task list cannot be read; `running` is None where nobody knows. `lock` is PVE's word
    for what it does to the guest now; empty: nothing.
    """

    vmid: int
    kind: Kind
    name: str
    identity: str
    born: int | None
    digest: str
    running: bool | None
    volumes: tuple[SignedVolume, ...] = ()
    snapshots: tuple[SignedSnapshot, ...] = ()
    lock: str = ""


def observed_of(
    guest: ActualGuest, history: History, snapshots: Iterable[SignedSnapshot]
) -> ObservedGuest:
    """Given a guest, the node's task list and the guest's snapshots (without "current"), return
    what a signature is compared with. Raise WrongGuest if its configuration was not read.
    """
    if guest.config is None or not guest.digest:
        why = guest.unread or "its configuration was not read"
        raise WrongGuest(f"guest {guest.vmid} cannot be observed: {why}")
    running = None if guest.state is None else guest.state is RunState.RUNNING
    return ObservedGuest(
        vmid=guest.vmid,
        kind=guest.kind,
        name=printable(guest.name, 255),
        identity=identity_of(guest),
        born=history.born(guest.vmid),
        digest=guest.digest,
        running=True if guest.hung or guest.paused else running,
        volumes=tuple(sorted(_volumes(guest))),
        snapshots=tuple(sorted(snapshots)),
        lock=guest.lock,
    )


def refuse_other_guest(operation: SignedOperation, guest: ObservedGuest | None) -> None:
    """Raise WrongGuest unless the guest is on this host, and of the signed kind."""
    if guest is None or guest.vmid != operation.vmid:
        raise WrongGuest(f"there is no guest {operation.vmid} on this host")
    if guest.kind is not operation.kind:
        raise WrongGuest(f"guest {operation.vmid} is of kind {guest.kind}, not {operation.kind}")


def refuse_other_identity(operation: SignedOperation, guest: ObservedGuest) -> None:
    """Raise OtherIdentity unless it is surely the guest that the signer meant."""
    if not guest.identity:
        raise OtherIdentity(f"guest {guest.vmid} has nothing to know it by; nothing is done to it")
    if guest.identity != operation.identity:
        raise OtherIdentity(
            f"vmid {guest.vmid} is not the guest that was signed: {operation.identity} was, "
            f"and it is {guest.identity}"
        )
    if guest.born is None or operation.born is None:
        # A container that is created again has the same volume's name, and may have the same cards.
        if guest.kind is Kind.LXC or operation.born is not None:
            raise OtherIdentity(
                f"the node's task list cannot tell whether {guest.vmid} was created again"
            )
    elif guest.born > operation.born:
        raise OtherIdentity(
            f"guest {guest.vmid} was created, restored or destroyed since it was signed"
        )


def refuse_locked(guest: ObservedGuest) -> None:
    """Raise GuestLocked while PVE works on a guest: the lock stands in its configuration, so nobody
    can tell whether that is otherwise what was signed.
    """
    if guest.lock:
        name = f"{guest.vmid} {guest.name}".rstrip()
        raise GuestLocked(
            f"{name} is locked ({printable(guest.lock, 40)}) until PVE is done with it"
        )


def refuse_other_state(operation: SignedOperation, guest: ObservedGuest) -> None:
    """Raise StateChanged unless the guest is as the signer saw it, and is ready for the act."""
    signed, now = operation, guest
    refuse_locked(now)
    if now.digest != signed.digest or now.name != signed.name:
        raise StateChanged(f"the configuration of {signed.guest} was changed since it was signed")
    if now.volumes != signed.volumes:
        named = _named(v.key for v in set(signed.volumes) ^ set(now.volumes))
        raise StateChanged(f"the volumes of {signed.guest} are others than were signed: {named}")
    if now.snapshots != signed.snapshots:
        named = _named(s.name for s in set(signed.snapshots) ^ set(now.snapshots))
        raise StateChanged(f"the snapshots of {signed.guest} are others than were signed: {named}")
    if signed.act == "guest_destroy" and not signed.stop and now.running is not False:
        what = "is running" if now.running else "may be running"
        raise StateChanged(f'{signed.guest} {what}, and "stop" was not signed')


def _named(names: Iterable[str]) -> str:
    found = sorted(set(names))
    return ", ".join(found[:3]) + (", ..." if found[3:] else "")


def _volumes(guest: ActualGuest) -> Iterable[SignedVolume]:
    for key, value in (guest.config or EMPTY).items():
        if not is_volume(guest.kind, key):
            continue
        option, text = lookup(guest.kind, key), str(value)
        if option is None or not isinstance(option.type, PropertyString):
            continue
        try:
            parts = option.type.split(text)
        except Invalid:
            # What cannot be taken apart is named as a whole: it can be lost all the same.
            parts = {option.type.default_key: text}
        volid = parts.get(option.type.default_key, "")
        # An image in a CD drive stays where it is; PVE's own cloud-init drive goes with the guest.
        is_image = parts.get("media") == "cdrom" and not Volume(volid).is_cloudinit
        if not is_image and volid not in ("", "none", "cdrom"):
            yield SignedVolume(key, printable(volid, 1000), parts.get("size", ""))
