"""What is done for a signed operation: the acts that its signature is leave for, and no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from felhom_agent.authz.blob import SignedOperation
from felhom_agent.irreversible import Act, DeleteSnapshot, Destroy, PullPlug, Rollback
from felhom_agent.model import ABSENT, Change, SetConfig


def acts_of(operation: SignedOperation) -> tuple[Act, ...]:
    """Given an operation whose parameters were found good, return what may be done by it, in that
    order. The first of several is done only where it is needed: a guest that is to be destroyed
    is stopped if it runs.
    """
    return _ACTS[operation.act](operation)


def _destroy(operation: SignedOperation) -> tuple[Act, ...]:
    vmid, kind = operation.vmid, operation.kind
    stop = (PullPlug(vmid, kind),) if operation.stop else ()
    return (*stop, Destroy(vmid, kind, purge=operation.params["purge"] is True))


def _detach(operation: SignedOperation) -> tuple[Act, ...]:
    key = str(operation.params["key"])
    held = next(volume.volid for volume in operation.volumes if volume.key == key)
    change = Change(key, held, ABSENT)
    return (SetConfig(operation.vmid, operation.kind, (change,), operation.digest),)


_ACTS: Final[Mapping[str, Callable[[SignedOperation], tuple[Act, ...]]]] = MappingProxyType(
    {
        "guest_destroy": _destroy,
        "snapshot_rollback": lambda o: (Rollback(o.vmid, o.kind, str(o.params["snapshot"])),),
        "snapshot_delete": lambda o: (DeleteSnapshot(o.vmid, o.kind, str(o.params["snapshot"])),),
        "force_stop": lambda o: (PullPlug(o.vmid, o.kind),),
        "disk_detach": _detach,
    }
)
