"""`felhom-agent plan`: what would be done, and what is withheld. Looks, and changes nothing."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from felhom_agent.cli.command import Commands, add_command, vmid
from felhom_agent.cli.out import complain, say, say_json
from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import Config
from felhom_agent.daemon.assembly import desired_now
from felhom_agent.daemon.history import HistoryReader
from felhom_agent.durable.line import Record
from felhom_agent.errors import FelhomError
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.identities import known
from felhom_agent.journal.suspensions import Moment, reasons
from felhom_agent.model import ABSENT, Action, Change, Desired, GuestPlan, Mode, SetConfig
from felhom_agent.planning.actions import describe
from felhom_agent.planning.plan import plan
from felhom_agent.proxmox.node import Node
from felhom_agent.service.boot import boot_id, since_boot

EX_DRIFT = 2
EMPTY_REMARKS: Mapping[int, str] = MappingProxyType({})


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "plan",
        run,
        summary="Show what would be done to bring the guests in line "
        "(exit code 0: nothing, 2: something, 1: an error).",
        example="plan 101 --json",
    )
    parser.add_argument("vmid", nargs="*", type=vmid, help="only these guests")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    desired = _only(desired_now(config), arguments.vmid)
    # Who was managed under each vmid, and what is paused, if an agent has kept a journal here.
    records = read(config.journal.directory / NAME, absent_ok=True)
    held = _held(config, records)
    node = Node.connect(config.proxmox)
    try:
        actual = node.observer.snapshot(desired.guests.keys(), desired.raw)
        history = HistoryReader(node.client).read()
        plans = plan(desired, actual, known(records), history)
    finally:
        node.client.close()
    for problem in desired.problems:
        complain(problem)
    if arguments.json:
        say_json({**as_json(config.proxmox.node, desired, plans), "held": held})
    else:
        for line in held:
            say(line)
        for line in as_text(config.proxmox.node, plans, desired.remarks):
            say(line)
    if desired.problems:
        return 1
    return EX_DRIFT if any(p.drifted for p in plans.values()) else 0


def _held(config: Config, records: Iterable[Record]) -> list[str]:
    """Return why the agent would not do this now, as far as that can be told without asking it."""
    now = Moment(time.time(), since_boot(), boot_id())
    found = [
        f"guest {said.vmid}: {why}" if said.vmid else why
        for said, why in reasons(records, now).items()
    ]
    if config.reconcile.mode is Mode.OBSERVE:
        found.append('mode = "observe": nothing is changed')
    return found


def _only(desired: Desired, vmids: list[int]) -> Desired:
    """Return the desired state of some guests. Raise FelhomError if one is not declared."""
    if not vmids:
        return desired
    if unknown := [str(v) for v in vmids if v not in desired.guests.keys() | desired.held.keys()]:
        raise FelhomError(f"not declared in any guest file: {', '.join(unknown)}")
    guests = MappingProxyType({v: desired.guests[v] for v in vmids if v in desired.guests})
    return dataclasses.replace(desired, guests=guests)


def as_text(
    node: str, plans: Mapping[int, GuestPlan], remarks: Mapping[int, str] = EMPTY_REMARKS
) -> Iterator[str]:
    """Given plans and remarks on guests, yield them as lines for a person; guests in line come
    last, in one line.
    """
    differing = [p for p in plans.values() if p.drifted]
    fine = [str(p.vmid) for p in plans.values() if not p.drifted]
    yield f"Node {node}: {len(plans)} guests declared, {len(differing)} to look after."
    for guest in differing:
        yield ""
        yield f"  {guest.vmid}  {guest.kind or '?':<4}  {guest.name}".rstrip()
        yield from (f"       {line}" for line in _lines(guest))
    if fine:
        yield ""
        yield f"  As declared: {', '.join(fine)}"
    for number in sorted(remarks.keys() & plans.keys()):
        yield ""
        yield f"  {number}: {remarks[number]}"


def _lines(guest: GuestPlan) -> Iterator[str]:
    for action in guest.actions:
        if isinstance(action, SetConfig):
            width = max(len(change.key) for change in action.changes)
            yield from (_change_line(change, width) for change in action.changes)
        else:
            yield describe(action)
    if guest.unread:
        yield f"not observed: {guest.unread}"
    if guest.withheld:
        yield f"withheld: {guest.withheld}"
    if guest.refused:
        yield f"refused: {guest.refused}"
    yield from (f"note: {note}" for note in guest.notes)


def _change_line(change: Change, width: int) -> str:
    before, after = change.shown()
    return f"set {change.key:<{width}}  {before} -> {after}"


def as_json(node: str, desired: Desired, plans: Mapping[int, GuestPlan]) -> dict[str, Any]:
    """Given plans, return them as plain data; an absent value is null, a secret is hidden."""
    return {
        "node": node,
        "guests": [
            {
                "vmid": p.vmid,
                "kind": p.kind,
                "name": p.name,
                "actions": [_action_json(a) for a in p.actions],
                "unread": p.unread or None,
                "withheld": p.withheld or None,
                "refused": p.refused or None,
                "notes": list(p.notes),
                "remark": desired.remarks.get(p.vmid),
            }
            for p in plans.values()
        ],
        "problems": [str(problem) for problem in desired.problems],
    }


def _action_json(action: Action) -> dict[str, Any]:
    data: dict[str, Any] = {"action": type(action).__name__}
    if isinstance(action, SetConfig):
        data["changes"] = [_change_json(change) for change in action.changes]
    return data


def _change_json(change: Change) -> dict[str, Any]:
    if change.secret:
        return {"key": change.key, "secret": True}
    return {
        "key": change.key,
        "before": None if change.before is ABSENT else change.before,
        "after": None if change.after is ABSENT else change.after,
    }
