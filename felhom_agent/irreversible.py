"""The acts that cannot be undone, and are done only with an operator's signature.

Words of their own beside `model.Action`, so that no planner can propose one: what plans speaks of
actions alone. Taking a disk away is a `SetConfig` and stands with the actions; `planning.gate`
tells it apart from a change that can be undone.
"""

from __future__ import annotations

from dataclasses import dataclass

from felhom_agent.model import Action, Kind


@dataclass(frozen=True)
class Destroy:
    """Remove a stopped guest with its volumes and snapshots; with `purge` from backup jobs,
    replication and HA, too.
    """

    vmid: int
    kind: Kind
    purge: bool = False

    @property
    def words(self) -> str:
        return "destroy and purge" if self.purge else "destroy"


@dataclass(frozen=True)
class Rollback:
    """Put a guest back to what it was when a snapshot was made."""

    vmid: int
    kind: Kind
    snapshot: str

    @property
    def words(self) -> str:
        return f"roll back to snapshot {self.snapshot}"


@dataclass(frozen=True)
class DeleteSnapshot:
    """Remove a snapshot."""

    vmid: int
    kind: Kind
    snapshot: str

    @property
    def words(self) -> str:
        return f"delete snapshot {self.snapshot}"


@dataclass(frozen=True)
class PullPlug:
    """Stop a running guest without asking it."""

    vmid: int
    kind: Kind

    @property
    def words(self) -> str:
        return "pull the plug"


Irreversible = Destroy | Rollback | DeleteSnapshot | PullPlug
Act = Action | Irreversible
"""Whatever can be done to a guest."""
