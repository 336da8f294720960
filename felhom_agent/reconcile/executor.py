"""One action, as one operation: the journal around a call to PVE.

The intent is durable before PVE is called, the UPID before it is waited for, the outcome once it
was seen: `begin` does an action as far as PVE's word, and `confirm` gives it its outcome by the
look that came after. Between the two the operation is in flight; so it stays where nobody can tell
what became of it, and recovery finds out.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from felhom_agent.config.settings import ReconcileConfig
from felhom_agent.errors import (
    Changed,
    FelhomError,
    Held,
    Interrupted,
    Missing,
    OutcomeUnknown,
    PveError,
    StillRunning,
    TaskFailed,
    Unchanged,
    Unsigned,
)
from felhom_agent.irreversible import Act, DeleteSnapshot, Destroy, Rollback
from felhom_agent.journal.operation import Operation
from felhom_agent.journal.operations import Operations
from felhom_agent.model import Action, Change, GuestPlan, SetConfig, Start, Stop
from felhom_agent.planning.actions import describe
from felhom_agent.proxmox.answers import already_there, was_not_plugged
from felhom_agent.proxmox.node import Node
from felhom_agent.proxmox.permit import Permit, PermitError
from felhom_agent.reconcile.gate import Gate, Proposal
from felhom_agent.service.events import GUEST_CHANGED, IN_FLIGHT, Event
from felhom_agent.service.logging import fields
from felhom_agent.service.names import Names

_log = logging.getLogger(__name__)

# PVE's own timeout for a shutdown comes first; ours is for a task that overstays even that.
_SLACK = 30.0
# Seconds; a disk of some terabytes is wiped, or a snapshot merged.
_IRREVERSIBLE = 1800.0
# What is not there already by somebody else's act.
_ONCE = (Destroy, Rollback, DeleteSnapshot)
_DOES_NOT_SHOW = "PVE said OK, but it does not show"


class NoEffect(FelhomError):
    """An action succeeded by PVE's word, and the next look shows no trace of it."""


class Executor:
    """Does actions; called on the lane of the action's guest.

    Threads: `settings` is replaced as a whole by the main loop and read as a whole by lanes.
    """

    def __init__(
        self,
        node: Node,
        operations: Operations,
        gate: Gate,
        settings: ReconcileConfig,
        names: Names,
    ) -> None:
        """`names` are what guests are called in the log."""
        self._names = names
        self._node = node
        self._operations = operations
        self._gate = gate
        self.settings = settings

    def begin(
        self,
        proposal: Proposal,
        *,
        key: str = "",
        expires: float | None = None,
    ) -> Operation:
        """Given an action proposed, do it as far as PVE's word; return the operation, to be
        confirmed.

        The gate is asked before the intent is written, and again immediately before the call, since
        writing may have taken its time. The place for a write is had before both: from the intent
        on the call is under way, or it is not made.
        `key` and `expires` make it a one-shot job. Raise JobRefused if that must not be begun, and
        what stood in the way otherwise; the journal then holds it as failed, or in flight where
        nobody can tell.
        """
        with self._node.client.writes.held():
            operation, upid = self._ask_for(proposal, key, expires)
        if not upid:
            return operation
        return self._await(self._operations.task(operation, upid), proposal.action)

    def _ask_for(
        self, proposal: Proposal, key: str, expires: float | None
    ) -> tuple[Operation, str]:
        """Ask PVE for an action; return the operation and its UPID, if there is one."""
        action = proposal.action
        self._gate.ask(proposal)
        operation = self._operations.begin(action, key=key, expires=expires, name=proposal.name)
        try:
            return operation, self._call(action, self._gate.ask(proposal))
        except (Held, Changed, Interrupted, Unsigned, PermitError) as error:
            self._operations.failed(operation, f"not begun: {error}", untouched=True)
            raise
        except Unchanged as error:
            if already_there(error.text) and not isinstance(action, _ONCE):
                return operation, ""
            self._operations.failed(operation, error.text, untouched=True)
            raise
        except OutcomeUnknown as error:
            if _waits(action, error):
                return replace(operation, why=error.text), ""
            self._log_unknown(operation, error)
            raise

    def confirm(self, operation: Operation, action: Action, plan: GuestPlan) -> Operation:
        """Given the plan that a look after the action came to, record the operation's outcome.

        Raise NoEffect if the action, or a part of it, is planned again.
        """
        if _is_repeated(action, plan.actions):
            self._operations.failed(operation, operation.why or _DOES_NOT_SHOW)
            why = f"it does not show{f' ({operation.why})' if operation.why else ''}"
            raise NoEffect(f"PVE accepted to {describe(action)}, but {why}; look at its tasks")
        if operation.why:
            _log.warning(
                "%s: %s: written, and waits for a restart: %s",
                self._names.guest(action.vmid),
                describe(action),
                operation.why,
                extra=_fields(operation, GUEST_CHANGED),
            )
            return self._operations.succeeded(operation)
        operation = self._operations.succeeded(operation)
        _log.info(
            "%s: done: %s",
            self._names.guest(action.vmid),
            describe(action),
            extra=_fields(operation, GUEST_CHANGED),
        )
        return operation

    def timeout(self, action: str) -> float:
        """Given an action's name, return the seconds that its task is waited for."""
        seconds = {
            "Start": self.settings.start_timeout,
            "Stop": self.settings.stop_timeout + _SLACK,
            "SetConfig": self.settings.config_timeout,
        }
        return seconds.get(action, _IRREVERSIBLE)

    def _call(self, action: Act, permit: Permit) -> str:
        match action:
            case Start():
                return self._node.guests.start(action, permit)
            case Stop():
                return self._node.guests.stop(action, self.settings.stop_timeout, permit)
            case SetConfig():
                return self._node.guests.set_config(action, permit)
            case _:
                return self._node.guests.irreversibly(action, permit)

    def _await(self, operation: Operation, action: Act) -> Operation:
        """Wait for an operation's task to end well; return the operation.

        Raise what PVE refused a change for, where it refused it before it wrote anything: the same
        words come as an answer or as a task's end (recorded: calls-9.2/200-post-worker).
        """
        try:
            self._node.tasks.wait(operation.upid, self.timeout(operation.action))
        except TaskFailed as error:
            if already_there(error.text) and not isinstance(action, _ONCE):
                return operation
            if _waits(action, error):
                return replace(operation, why=error.text)
            refused = None
            if isinstance(action, SetConfig):
                refused = self._node.guests.refusal_of(action, error.text)
            self._operations.failed(operation, error.text, untouched=refused is not None)
            if refused is not None:
                raise refused from None
            raise
        except (StillRunning, Missing) as error:
            self._log_unknown(operation, error)
            raise
        return operation

    def _log_unknown(self, operation: Operation, error: FelhomError) -> None:
        _log.warning(
            "%s: not known yet what became of %s: %s; that is looked up before anything is done",
            self._names.guest(operation.vmid),
            operation.text,
            error,
            extra=_fields(operation, IN_FLIGHT),
        )


def _fields(operation: Operation, event: Event) -> dict[str, object]:
    return fields(
        event,
        vmid=operation.vmid,
        action=operation.action,
        op=operation.op_id,
        upid=operation.upid,
    )


def _waits(action: Act, error: PveError) -> bool:
    """Return whether a change that failed is written, and waits for a restart: a look will tell."""
    return isinstance(action, SetConfig) and was_not_plugged(error.text)


def _is_repeated(done: Action, planned: tuple[Action, ...]) -> bool:
    """Return whether an action that was just done is planned again, wholly or in part."""
    match done:
        case SetConfig():
            changes = [c for a in planned if isinstance(a, SetConfig) for c in a.changes]
            # What was in effect beside a value that waited, and was dropped, is to go next.
            keys = {c.key for c in changes} - {
                c.key for c in done.changes if c.reverts and c.key not in _reverted(changes)
            }
            return any(change.key in keys for change in done.changes)
        case Start():
            # The start that ends a restart is another one.
            restarts = any(isinstance(a, Stop) and a.restart for a in planned)
            return not restarts and any(isinstance(a, Start) for a in planned)
        case Stop():
            return any(isinstance(a, Stop) for a in planned)


def _reverted(changes: list[Change]) -> frozenset[str]:
    return frozenset(change.key for change in changes if change.reverts)
