"""An outlook as plain data: `docs/json/plan.json` is its schema."""

from __future__ import annotations

from typing import Any

from felhom_agent.cli.outlook import GuestOutlook, Outlook
from felhom_agent.cli.plantext import counts
from felhom_agent.desired.told import told
from felhom_agent.model import ABSENT, Action, Change, Mode, SetConfig, Stop
from felhom_agent.planning.foresight import ForeseenChange
from felhom_agent.printable import moment_text


def as_json(outlook: Outlook) -> dict[str, Any]:
    """Given an outlook, return it as plain data; an absent value is null, a secret is hidden."""
    agent = outlook.agent
    return {
        "node": outlook.node,
        "observed_at": moment_text(outlook.at),
        "guests": [_guest(guest, outlook) for guest in outlook.guests.values()],
        "counts": dict(sorted(counts(outlook).items())),
        "not_declared": outlook.undeclared,
        "problems": [str(problem) for problem in told(outlook.desired)],
        "agent": {
            "running": agent.running,
            "observes": agent.observes,
            "next_pass": agent.next_pass or None,
            "held": list(agent.held),
        },
    }


def _guest(guest: GuestOutlook, outlook: Outlook) -> dict[str, Any]:
    plan, seen = guest.plan, guest.foresight
    place = guest.declared.place if guest.declared else None
    return {
        "vmid": plan.vmid,
        "kind": plan.kind,
        "name": plan.name,
        "file": place.file if place and place.file else None,
        "line": place.line if place and place.line else None,
        "observed": guest.declared is not None and guest.declared.mode is Mode.OBSERVE,
        "actions": [_action(action) for action in plan.actions],
        "would": [_action(action) for action in guest.would.actions] if guest.would else [],
        "changes": [_foreseen(each) for each in seen.changes],
        "restarts": seen.restarts,
        "may_restart": seen.may_restart,
        "waiting": seen.waiting or None,
        "may_power_off": seen.may_power_off,
        "then": list(seen.then),
        "unread": plan.unread or None,
        "withheld": plan.withheld or None,
        "refused": plan.refused or None,
        "notes": list(plan.notes),
        "held": guest.now.why or None if not guest.now.acts else None,
        "agent": {
            "acts": guest.now.acts and guest.changes,
            "begun": guest.now.begun,
            "why": guest.now.why or None,
            "next": guest.now.next or None,
        },
        "remark": outlook.desired.remarks.get(plan.vmid),
    }


def _foreseen(foreseen: ForeseenChange) -> dict[str, Any]:
    return {
        **_change(foreseen.change),
        "effect": str(foreseen.effect),
        "why": foreseen.why or None,
    }


def _action(action: Action) -> dict[str, Any]:
    data: dict[str, Any] = {"action": type(action).__name__}
    if isinstance(action, SetConfig):
        data["changes"] = [_change(change) for change in action.changes]
    if isinstance(action, Stop):
        data |= {"policy": str(action.policy), "restart": action.restart}
    return data


def _change(change: Change) -> dict[str, Any]:
    if change.secret:
        return {"key": change.key, "secret": True}
    return {
        "key": change.key,
        "before": None if change.before is ABSENT else change.before,
        "after": None if change.after is ABSENT else change.after,
    }
