"""A guest's latest backup, as far as the token may see backups: for a person who is to decide.

PVE tells of a storage to whoever has Datastore.Audit on it (API2/Cluster.pm resources), and lists
its content, but leaves out, without a word, each backup that the caller may not read. That takes
Datastore.Allocate on the storage, or Datastore.AllocateSpace there and VM.Backup on the guest
(pve-storage Storage.pm check_volume_access). So only to a token with these an empty list says that
there is none. PVE finds backups by a guest's number: one may be of an earlier guest, and on a
shared store of another cluster's.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from felhom_agent.errors import Interrupted, Unchanged
from felhom_agent.printable import moment_text
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.tokenrights import read_rights_on
from felhom_agent.service.flag import Signal

_log = logging.getLogger(__name__)

UNKNOWN: Final = "unknown"
PATIENCE: Final = 5.0
"""How long, in seconds, all storages together may take; one that hangs must not cost the answer."""
_STORAGE: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}")
_SHOWN_NAME: Final = 20
_SHOWN_NAMES: Final = 2


@dataclass(frozen=True)
class Backup:
    """One backup: on which storage, when it was made (seconds since the epoch), and whether the
    backup server found it broken.
    """

    storage: str
    made: int
    broken: bool = False


@dataclass(frozen=True)
class LatestBackup:
    """What is known of a guest's backups: the latest, if there is one, the storages that were
    looked through (`looked`), and those that could not be (`unseen`).
    """

    vmid: int
    found: Backup | None = None
    looked: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it in one line of at most 200 characters: "unknown" if nothing is known."""
        if not self.looked:
            return UNKNOWN
        rest = f"; not looked at: {_named(self.unseen)}" if self.unseen else ""
        if self.found is None:
            return f"none on {_named(self.looked)}{rest}"
        broken = ", which the backup server found broken" if self.found.broken else ""
        when, where = moment_text(self.found.made), _named([self.found.storage])
        return f"of VMID {self.vmid} at {when} on {where}{broken}{rest}"


def latest_backup(
    client: Client, vmid: int, abandon: Signal, patience: float = PATIENCE
) -> LatestBackup:
    """Given a guest, what ends the asking early, and the seconds it may take, return what is known
    of its backups. Raises nothing: what PVE does not tell is not known.
    """
    asking = client.abandoned_by(_Deadline(patience, abandon))
    try:
        rows = asking.get("cluster", "resources", type="storage")
        storages = storages_of(rows, client.config.node)
        backs_up = "VM.Backup" in read_rights_on(asking, f"/vms/{vmid}") if storages else False
    except (Unchanged, Interrupted) as error:
        _log.debug("the latest backup of guest %s is not known: %s", vmid, error)
        return LatestBackup(vmid)
    found = {
        storage: _listed(asking, storage, vmid, backs_up=backs_up) if available else None
        for storage, available in storages.items()
    }
    return LatestBackup(
        vmid,
        max((b for each in found.values() for b in each or ()), key=lambda b: b.made, default=None),
        tuple(storage for storage, each in found.items() if each is not None),
        tuple(storage for storage, each in found.items() if each is None),
    )


class _Deadline:
    """Set once a time is over, or another signal is set."""

    def __init__(self, seconds: float, other: Signal) -> None:
        self._until = time.monotonic() + seconds
        self._other = other

    def is_set(self) -> bool:
        return self._other.is_set() or time.monotonic() >= self._until


def _listed(client: Client, storage: str, vmid: int, *, backs_up: bool) -> list[Backup] | None:
    """Return the guest's backups on a storage, `None` unless PVE lists all of them. `backs_up` is
    whether the token has VM.Backup on the guest.
    """
    try:
        held = read_rights_on(client, f"/storage/{storage}")
        if "Datastore.Allocate" not in held and not (
            "Datastore.AllocateSpace" in held and backs_up
        ):
            return None
        path = ("nodes", client.config.node, "storage", storage, "content")
        return backups_of(client.get(*path, content="backup", vmid=vmid), storage)
    except (Unchanged, Interrupted) as error:
        _log.debug("the backups on storage %s are not known: %s", storage, error)
        return None


def storages_of(answer: object, node: str) -> dict[str, bool]:
    """Given the cluster's storages, return those of this node that take backups, each with whether
    it is there.
    """
    found: dict[str, bool] = {}
    for row in answer if isinstance(answer, list) else []:
        if not isinstance(row, Mapping) or (row.get("type"), row.get("node")) != ("storage", node):
            continue
        name, content = row.get("storage"), row.get("content")
        if not isinstance(name, str) or not _STORAGE.fullmatch(name):
            continue
        if isinstance(content, str) and "backup" in re.split("[,; ]+", content):
            found[name] = row.get("status") == "available"
    return found


def backups_of(answer: object, storage: str) -> list[Backup]:
    """Given a storage's content, return its backups. Raise Unchanged if it is no list of them: what
    cannot be read may be the latest.
    """
    if not isinstance(answer, list):
        raise Unchanged("PVE lists no content")
    return [_backup(row, storage) for row in answer]


def _backup(row: object, storage: str) -> Backup:
    made = row.get("ctime") if isinstance(row, Mapping) else None
    if not isinstance(row, Mapping) or type(made) is not int or made < 0:
        raise Unchanged("a backup does not tell when it was made")
    checked = row.get("verification")
    broken = isinstance(checked, Mapping) and checked.get("state") == "failed"
    return Backup(storage, made, broken)


def _named(storages: Iterable[str]) -> str:
    names = [n if len(n) <= _SHOWN_NAME else f"{n[:_SHOWN_NAME]}..." for n in storages]
    more = len(names) - _SHOWN_NAMES
    shown = ", ".join(names[:_SHOWN_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown
