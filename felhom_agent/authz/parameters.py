"""Which acts this version does with a signature, and what each is told besides the guest.

A class of acts that is not in the table is refused by its name, whoever has signed it. Each
parameter of a class must be there, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from felhom_agent.authz.blob import Param, SignedOperation, is_snapshot_name
from felhom_agent.authz.hostblob import HOST_ACTS
from felhom_agent.authz.refusals import NotSupported, WrongParameters
from felhom_agent.model import Kind

_Check = Callable[[Param], bool]

# PVE: pve-container LXC.pm: the root file system cannot be taken away from a container
_NOT_DETACHED: Final = frozenset({"rootfs"})

ACTS: Final[Mapping[str, Mapping[str, _Check]]] = MappingProxyType(
    {
        "guest_destroy": {"purge": lambda value: isinstance(value, bool)},
        "snapshot_rollback": {"snapshot": is_snapshot_name},
        "snapshot_delete": {"snapshot": is_snapshot_name},
        "force_stop": {},
        "disk_detach": {"key": lambda value: isinstance(value, str) and value != ""},
    }
)
"""The classes that are done, each with its parameters."""
_MAY_STOP: Final = frozenset({"guest_destroy"})


def refuse_unsupported(act: str) -> None:
    """Raise NotSupported for a class of acts that no version up to this one does."""
    if act not in ACTS and act not in HOST_ACTS:
        raise NotSupported(f"{act} is not done by this version, signed or not; by hand on the host")


def refuse_parameters(operation: SignedOperation) -> None:
    """Raise WrongParameters unless the parameters are the act's, and fit the guest that was
    signed.
    """
    wanted = ACTS[operation.act]
    for name in operation.params:
        if name not in wanted:
            raise WrongParameters(f"{operation.act} has no parameter {name!r}")
    for name, check in wanted.items():
        if name not in operation.params:
            raise WrongParameters(f"{operation.act} needs the parameter {name!r}")
        if not check(operation.params[name]):
            raise WrongParameters(f"the parameter {name!r} is not as it must be")
    if operation.stop and operation.act not in _MAY_STOP:
        raise WrongParameters(f"{operation.act} has no stop before it")
    if operation.resume and operation.act == "guest_destroy":
        raise WrongParameters("there is nothing to go on with after a destroy")
    _refuse_absent(operation)


def _refuse_absent(operation: SignedOperation) -> None:
    """Raise WrongParameters if what a parameter names is not among what was signed."""
    snapshot = operation.params.get("snapshot")
    if snapshot is not None and snapshot not in {s.name for s in operation.snapshots}:
        raise WrongParameters(f"{operation.guest} has no snapshot {snapshot!r}")
    key = operation.params.get("key")
    if key is None:
        return
    if key not in {v.key for v in operation.volumes}:
        raise WrongParameters(f"{operation.guest} has no volume at {key!r}")
    if operation.kind is Kind.LXC and key in _NOT_DETACHED:
        raise WrongParameters(f"{key} cannot be taken from a container")
