"""A signed operation in plain words: what will happen, and how far it reaches.

Made of the operation alone, so that the desk and the host say the same; the hash of these words is
part of what is signed, and each makes the words itself and compares. So a file that shows one thing
and signs another is noticed by an honest desk. A desk whose software lies is not (see the page on
signed operations).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from felhom_agent.authz.blob import SignedOperation, SignedSnapshot, SignedVolume
from felhom_agent.authz.form import SignedTimes
from felhom_agent.authz.hostblob import HostOperation
from felhom_agent.authz.hostwords import host_lines, host_title
from felhom_agent.authz.operation import Operation
from felhom_agent.model import Kind
from felhom_agent.printable import moment_text

_KINDS = {Kind.QEMU: "VM", Kind.LXC: "container"}


def words_of(operation: Operation) -> tuple[str, ...]:
    """Given an operation, return what a signer must be shown, line by line."""
    lines = host_lines(operation) if isinstance(operation, HostOperation) else _lines(operation)
    asked = [f"Asked for by the key {operation.requester}"] if operation.requester else []
    return (*lines, *asked, _time(operation.times))


def shown_hash(operation: Operation) -> str:
    """Given an operation, return the SHA-256 of its words."""
    return hashlib.sha256("\n".join(words_of(operation)).encode()).hexdigest()


_O = TypeVar("_O", bound=Operation)


def with_words(operation: _O) -> _O:
    """Given an operation, return it with the hash of its words."""
    return replace(operation, shown=shown_hash(operation))


def title_of(operation: Operation) -> str:
    """Given an operation, return in one line what will happen: "DESTROY VM 101 web"."""
    if isinstance(operation, HostOperation):
        return host_title(operation)
    guest = f"{_KINDS[operation.kind]} {operation.guest}"
    params = operation.params
    match operation.act:
        case "guest_destroy":
            return f"DESTROY {guest}"
        case "snapshot_rollback":
            return f"ROLL BACK {guest} to its snapshot {params.get('snapshot')}"
        case "snapshot_delete":
            return f"DELETE the snapshot {params.get('snapshot')} of {guest}"
        case "force_stop":
            return f"PULL THE PLUG of {guest}"
        case "disk_detach":
            return f"TAKE {params.get('key')} AWAY from {guest}"
    return f"{operation.act} of {guest}"


def _lines(operation: SignedOperation) -> Iterator[str]:
    yield title_of(operation)
    yield from _reach(operation)
    if operation.stop:
        yield "First: if it runs, it is stopped."
    yield from _afterwards(operation)
    yield f"Host: {operation.host}"
    yield f"The guest is known by: {operation.identity}"
    yield f"Configuration: version {operation.digest}"


def _reach(operation: SignedOperation) -> Iterator[str]:
    params = operation.params
    match operation.act:
        case "guest_destroy":
            yield "Lost for good: its configuration and"
            yield from _listed(operation.volumes, operation.snapshots)
            if params.get("purge") is True:
                yield "Besides: it is taken out of backup jobs, replication and HA (purge)."
        case "snapshot_rollback":
            snapshot = params.get("snapshot")
            yield f"Lost for good: all that was written since {_made(operation, snapshot)}, of"
            yield from _listed(operation.volumes, ())
        case "snapshot_delete":
            yield f"Lost for good: the way back to {_made(operation, params.get('snapshot'))}"
        case "force_stop":
            yield "Lost for good: what it has not written to its disks yet"
        case "disk_detach":
            yield "The guest loses, and PVE keeps as unused if it can:"
            yield from _listed([v for v in operation.volumes if v.key == params.get("key")], ())


def _listed(
    volumes: tuple[SignedVolume, ...] | list[SignedVolume], snapshots: tuple[SignedSnapshot, ...]
) -> Iterator[str]:
    for volume in volumes:
        if volume.volid.startswith("/"):
            yield f"  {volume.key}  {volume.volid}  (a path of the host: it stays)"
        else:
            yield f"  {volume.key}  {volume.volid}  {volume.size or 'size unknown'}"
    for snapshot in snapshots:
        yield f"  snapshot {snapshot.name} of {moment_text(snapshot.snaptime)}"
    if not volumes and not snapshots:
        yield "  no volume, no snapshot"


def _made(operation: SignedOperation, name: object) -> str:
    for snapshot in operation.snapshots:
        if snapshot.name == name:
            return f"{moment_text(snapshot.snaptime)} ({snapshot.name})"
    return f"an unknown time ({name})"


def _afterwards(operation: SignedOperation) -> Iterator[str]:
    if operation.act == "guest_destroy":
        return
    if operation.resume:
        yield "Afterwards: the agent goes on with the guest as it is declared."
    else:
        yield "Afterwards: the guest is left alone until somebody resumes it."


def _time(times: SignedTimes | None) -> str:
    if times is None:
        return "Good for a day after the host made the request, once."
    return f"Good from {moment_text(times.not_before)} to {moment_text(times.expires)}, once."
