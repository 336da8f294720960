"""What PVE denied while a guest was reconciled once: that is left out, and all else is done.

PVE takes all keys of a change or none, so one key that the token may not write would hold up the
guest's others. The keys that the missing privilege explains are left out of the next try. Where
nothing explains it, the keys are tried one at a time, each once, so that this ends.

Belongs to one reconciliation, on its guest's lane; the next one asks PVE again, unless the token's
rights, read meanwhile, already tell.
"""

from __future__ import annotations

from dataclasses import replace

from felhom_agent.errors import Denied
from felhom_agent.model import Action, Change, Facts, GuestPlan, SetConfig
from felhom_agent.planning.actions import describe
from felhom_agent.planning.granting import commands
from felhom_agent.planning.privileges import Required, required, told

_TAG = " for modifying tag "


class Denials:
    """What was denied; `tries` is how many tries that took, and will take besides."""

    def __init__(self, token_id: str) -> None:
        self.tries = 0
        self._token_id = token_id
        self._keys: dict[str, str] = {}
        self._power: dict[str, str] = {}
        self._one_by_one = False

    def add(self, action: Action, error: Denied, facts: Facts) -> bool:
        """Given an action that PVE denied, note what of it is left out from now on; return whether
        anything can be tried without it.
        """
        if not error.path:  # a bad token, which may do nothing at all
            return False
        self.tries += 1
        if not isinstance(action, SetConfig):
            self._power[type(action).__name__] = (
                f"{describe(action)}: {self._grant((_named(error),), facts)}"
            )
            return True
        explained = {c.key: _explain(c, action, error, facts) for c in action.changes}
        found = {key: needs for key, needs in explained.items() if needs}
        if not found and len(action.changes) > 1:
            self._one_by_one = True
            self.tries += len(action.changes)
            return True
        if not found:
            found = {action.changes[0].key: (_named(error),)}
        self._keys |= {key: f"{key}: {self._grant(needs, facts)}" for key, needs in found.items()}
        return True

    def left(self, plan: GuestPlan) -> GuestPlan:
        """Given a plan, return it without what was denied, which is reported instead."""
        if not self.tries:
            return plan
        actions = tuple(left for action in plan.actions if (left := self._left(action)) is not None)
        dropped = [key for key in self._keys if _has(plan, key)]
        kinds = {type(action).__name__ for action in plan.actions}
        notes = [self._keys[key] for key in dropped]
        notes += [why for kind, why in self._power.items() if kind in kinds]
        return replace(plan, actions=actions, notes=(*plan.notes, *notes))

    def _grant(self, needs: tuple[Required, ...], facts: Facts) -> str:
        lines = "; ".join(commands(needs, self._token_id, facts.rights))
        return f"{told(needs)}; to grant it, as root: {lines}"

    def _left(self, action: Action) -> Action | None:
        if not isinstance(action, SetConfig):
            # A guest that may not be shut down is not started again, and the other way round.
            return None if self._power else action
        changes = tuple(c for c in action.changes if c.key not in self._keys)
        if self._one_by_one:
            changes = changes[:1]
        return replace(action, changes=changes) if changes else None


def _has(plan: GuestPlan, key: str) -> bool:
    writes = (action for action in plan.actions if isinstance(action, SetConfig))
    return any(change.key == key for action in writes for change in action.changes)


def _explain(
    change: Change, action: SetConfig, error: Denied, facts: Facts
) -> tuple[Required, ...]:
    """Return what of a change's needs PVE found lacking; empty if it was none of them."""
    if _TAG in error.privilege:
        return (Required(error.path, ("Sys.Modify",)),) if change.key == "tags" else ()
    denied = set(error.privilege.split("|"))
    needs = required(action.kind, change.key, change.after, change.before, action.vmid, facts)
    return tuple(n for n in needs if n.path == error.path and set(n.any_of) & denied)


def _named(error: Denied) -> Required:
    """Return what PVE itself says is lacking."""
    return Required(error.path, tuple(error.privilege.partition(_TAG)[0].split("|")))
