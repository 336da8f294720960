"""`felhom-agent apply`: shows the plan, asks, and has exactly that carried out.

The running agent does it, through its queue; where none runs, an agent that lives as long as this
command does it, with the agent's lock. What would be done then is compared with what was shown: an
act that was not shown is not done.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

from felhom_agent.cli.applied import compared
from felhom_agent.cli.asowner import run_as_owner
from felhom_agent.cli.codes import DIFFERS, ERROR, OK
from felhom_agent.cli.command import Commands, add_command, vmid
from felhom_agent.cli.confirm import answered, is_terminal
from felhom_agent.cli.out import complain, say, say_json
from felhom_agent.cli.outlook import GuestOutlook, Outlook, look
from felhom_agent.cli.plan import code_of, show
from felhom_agent.cli.plantext import problems
from felhom_agent.cli.progress import Followed, follow
from felhom_agent.cli.terminal import Part, Style, put_table
from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import Config
from felhom_agent.daemon.temporary import Ask, temporary_agent
from felhom_agent.errors import FelhomError
from felhom_agent.planning.acts import prints_of
from felhom_agent.proxmox.node import Node
from felhom_agent.service.controlclient import ControlRefused, NoAgent, call

_WORDS = {
    "converged": Part("done", Style.GOOD),
    "retry": Part("failed", Style.BAD),
    "blocked": Part("waits", Style.WARN),
    "refused": Part("refused", Style.BAD),
}
_NOT_ENDED = Part("not ended", Style.WARN)


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "apply",
        run,
        summary="Show the plan, ask, and do it; nothing that was not shown. Exit code 0: all are "
        "as declared; 3: something stands in the way; 1: an error, or something failed.",
        example="apply 101",
    )
    parser.add_argument("vmid", nargs="*", type=vmid, help="only these guests")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print at the end what came of it")
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    asks = not arguments.yes
    if asks and (arguments.json or not (is_terminal(sys.stdin) and is_terminal(sys.stdout))):
        arguments.usage_error("asks at a terminal, and here is none; --yes does it without asking")
    config = load(arguments.config)
    if not _agent_runs(config):
        code = run_as_owner(config.journal.directory, arguments.words)
        if code is not None:
            return code
    node = Node.connect(config.proxmox)
    try:
        return _apply(arguments, config, node)
    finally:
        node.client.close()


def _apply(arguments: argparse.Namespace, config: Config, node: Node) -> int:
    outlook = look(config, node, arguments.vmid)
    for problem in problems(outlook):
        complain(problem)
    if not arguments.json:
        show(outlook, config.reconcile.stop_timeout)
    changed = {v: g for v, g in outlook.guests.items() if g.changes}
    acts = {v: prints_of(g.acts) for v, g in changed.items() if g.now.by_hand}
    left = [_left_alone(v, g, outlook) for v, g in changed.items() if v not in acts]
    if not acts:
        if arguments.json:
            say_json({"guests": left})
        elif not left:
            say("Nothing is to be done.")
        for why in dict.fromkeys(guest["why"] for guest in left):
            complain(f"nothing can be done now: {why}")
        return code_of(outlook)
    if not arguments.yes and not answered(""):
        say("Nothing was changed.")
        return ERROR
    # Whether the agent goes on when this command has ended.
    goes_on = config.control.socket is not None and outlook.agent.running is not False
    with _agent(config, goes_on=goes_on) as ask:
        found = _carried_out(ask, acts, outlook, node, goes_on=goes_on, quiet=arguments.json)
    found = compared(found, acts, lambda vmids: look(config, node, vmids))
    rows = sorted([*found.guests, *left], key=lambda guest: int(guest["vmid"]))
    found = replace(found, guests=rows)
    if arguments.json:
        say_json({"guests": found.guests})
    else:
        _sum_up(found, outlook, goes_on=goes_on)
    return _code(found, outlook)


def _carried_out(
    ask: Ask,
    acts: Mapping[int, frozenset[str]],
    outlook: Outlook,
    node: Node,
    *,
    goes_on: bool,
    quiet: bool,
) -> Followed:
    try:
        told = ask("POST", "/v1/apply", {"guests": {str(v): sorted(a) for v, a in acts.items()}})
    except ControlRefused as error:
        # Another apply is under way; it ends by itself.
        error.temporary |= error.status == HTTPStatus.CONFLICT
        raise
    names = {vmid: guest.plan.name for vmid, guest in outlook.guests.items()}
    name = str(told["apply"])
    return follow(ask, name, names, node, goes_on=goes_on, quiet=quiet)


def _left_alone(vmid: int, guest: GuestOutlook, outlook: Outlook) -> dict[str, Any]:
    """Return, as the agent would tell it, what comes of a guest that nobody may change now."""
    why = guest.now.why or "; ".join(outlook.agent.held)
    return {"vmid": vmid, "activity": "idle", "outcome": "blocked", "why": why, "steps": []}


def _agent_runs(config: Config) -> bool:
    """Return whether an agent answers here, or may."""
    if config.control.socket is None:
        return False
    try:
        call(config.control.socket, "GET", "/v1/status")
    except NoAgent as error:
        return error.runs is not False
    except FelhomError:
        return True
    return True


@contextmanager
def _agent(config: Config, *, goes_on: bool) -> Iterator[Ask]:
    """Hold whoever carries it out: the running agent, or one for the length of a block."""
    if goes_on and config.control.socket is not None:
        yield partial(call, config.control.socket)
        return
    complain("no agent runs here: this command does it itself")
    # What it has to say of the other guests is not asked here.
    logging.getLogger("felhom_agent").setLevel(logging.ERROR)
    with temporary_agent(config) as ask:
        yield ask


def _sum_up(found: Followed, outlook: Outlook, *, goes_on: bool) -> None:
    """Print what came of each guest."""
    rows = [
        (
            str(guest["vmid"]),
            outlook.guests[guest["vmid"]].plan.name,
            _WORDS.get(guest["outcome"], _NOT_ENDED),
            str(guest["why"]),
        )
        for guest in found.guests
    ]
    say()
    put_table(("VMID", "NAME", "RESULT", "WHY"), rows)
    if found.away:
        say("What had begun is looked up when an agent runs again: felhom-agent history")
    elif found.interrupted:
        say(_left(found, goes_on=goes_on))


def _left(found: Followed, *, goes_on: bool) -> str:
    """Return what an interrupt has left, in a sentence."""
    if not found.open:
        return "What had not begun was withdrawn."
    if goes_on:
        return "What had not begun was withdrawn; what had begun goes on: felhom-agent history"
    return (
        "What had begun is left as it is: its task goes on in PVE, and a guest that is shut down "
        "for its restart stays down until an agent runs, or you start it."
    )


def _code(found: Followed, outlook: Outlook) -> int:
    results = {guest["outcome"] for guest in found.guests}
    if found.interrupted or found.away or results & {"retry", None} or outlook.failed:
        return ERROR
    others = [g for v, g in outlook.guests.items() if not g.changes and g.differs]
    return OK if results == {"converged"} and not others else DIFFERS
