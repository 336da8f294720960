"""`felhom-agent selftest`: does it really work on this host?

`read` reports on all that a pass needs and changes nothing. `task` makes one harmless change to
one guest and takes it back, through the same planner, lane, journal and normalization as the
daemon: it appends a marker to the guest's description, sees it there, and restores what was there
before, where absent stays absent. The daemon must not run meanwhile; its lock sees to that.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from types import MappingProxyType

from felhom_agent.cli import health, healthhost, healthnode
from felhom_agent.cli.asowner import run_as_owner
from felhom_agent.cli.check import put_finding, show
from felhom_agent.cli.command import Commands, add_command, vmid
from felhom_agent.cli.confirm import answered
from felhom_agent.cli.inforce import desired_in_force
from felhom_agent.cli.out import complain, say
from felhom_agent.cli.serviceuser import service_of
from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import Config
from felhom_agent.daemon.assembly import Parts, assembled
from felhom_agent.errors import FelhomError
from felhom_agent.model import ABSENT, Converged, Desired, DesiredGuest, Outcome
from felhom_agent.planning.plan import plan_guest
from felhom_agent.service import logging

KEY = "description"
MARKER = "[felhom-agent selftest: this line is taken back in a moment]"

_MAX_SECONDS = 600.0


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "selftest",
        run,
        summary="Try on this host what the agent does: `read` looks, `task` changes and restores.",
        example="selftest task --vmid 101",
    )
    parser.add_argument("what", choices=("read", "task"))
    parser.add_argument("--vmid", type=vmid, help="the guest whose description `task` changes")
    parser.add_argument("--yes", action="store_true", help="do not ask before changing")
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    if arguments.what == "read":
        return show(_read(config))
    if arguments.vmid is None:
        arguments.usage_error("task needs --vmid, the guest whose description it changes")
    code = run_as_owner(config.journal.directory, arguments.words)
    if code is not None:
        return code
    if not (arguments.yes or _agreed(arguments.vmid)):
        say("Nothing was changed.")
        return 1
    return _try_task(config, arguments.vmid)


def _read(config: Config) -> Iterator[health.Finding]:
    """Yield how all is that a pass needs, by the probes of `check`."""
    service = service_of(config)
    yield from healthnode.of_node(config, lambda: desired_in_force(config))
    yield from health.probed("the journal", lambda: healthhost.of_journal(config, service))


def _agreed(guest: int) -> bool:
    return answered(
        f"This appends a line to the description of guest {guest}, reads it back and restores "
        f"what was there."
    )


def _try_task(config: Config, guest: int) -> int:
    logging.set_up()
    with assembled(config) as parts:
        before = _description(parts, guest)
        text = "" if before is ABSENT else str(before)
        marked = _declared(guest, f"{text.rstrip()}\n{MARKER}".lstrip("\n"))
        try:
            wrote = _fulfil(parts, marked)
        finally:
            restored = _fulfil(parts, _declared(guest, None if before is ABSENT else text))
    for words, outcome in (("write and read back", wrote), ("restore", restored)):
        finding = health.good if isinstance(outcome, Converged) else health.bad
        put_finding(finding(f"{words}: {outcome}"))
    if not isinstance(restored, Converged):
        complain(f"The description of guest {guest} was: {text!r}", prefix="")
    return 0 if isinstance(wrote, Converged) and isinstance(restored, Converged) else 1


def _description(parts: Parts, guest: int) -> object:
    """Return a guest's description or ABSENT. Raise FelhomError if nothing may be done to it."""
    actual = parts.node.observer.observe_guest(guest)
    if why := plan_guest(DesiredGuest(guest), actual).withheld:
        raise FelhomError(f"guest {guest}: {why}")
    return (actual.guests[guest].config or {}).get(KEY, ABSENT)


def _declared(guest: int, description: str | None) -> DesiredGuest:
    if description is None:
        return DesiredGuest(guest, unset=frozenset({KEY}))
    return DesiredGuest(guest, config=MappingProxyType({KEY: description}))


def _fulfil(parts: Parts, guest: DesiredGuest) -> Outcome:
    parts.engine.desired = Desired(MappingProxyType({guest.vmid: guest}))
    try:
        return parts.engine.reconcile(guest.vmid).result(_MAX_SECONDS).outcome
    except TimeoutError:
        raise FelhomError(f"guest {guest.vmid}: no end after {_MAX_SECONDS:.0f} s") from None
