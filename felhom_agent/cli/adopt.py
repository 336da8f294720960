"""`felhom-agent adopt`: existing guests as guest files. It changes nothing on the node, and no file
that is there.

What is written was planned before and plans nothing; then the node is looked at once more, and what
a plan says now is told, for a guest may have been changed by somebody meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from felhom_agent.cli import adoptfile
from felhom_agent.cli.adoptguests import MAX_NAMED, Asked, Selected, guests, select, why_absent
from felhom_agent.cli.codes import ERROR, OK
from felhom_agent.cli.command import Commands, add_command, file_path, some_text
from felhom_agent.cli.inforce import desired_in_force
from felhom_agent.cli.out import complain, say_styled
from felhom_agent.cli.terminal import put
from felhom_agent.config import tomlfile
from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import Config
from felhom_agent.config.suggest import did_you_mean
from felhom_agent.daemon.history import HistoryReader
from felhom_agent.desired.adoption import AdoptedGuest, LeftOut, Wish, adopt, files_of, said, sum_of
from felhom_agent.desired.guestfile import guests_of
from felhom_agent.errors import FelhomError
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.identities import known
from felhom_agent.model import NOBODY, Desired, History, Known
from felhom_agent.options import keys
from felhom_agent.planning.adopting import is_known_name
from felhom_agent.planning.plan import plan
from felhom_agent.printable import moment_text, printable
from felhom_agent.proxmox.node import Node

Tell = Callable[[str], None]


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "adopt",
        run,
        summary="Write existing guests as guest files that, used as they are, change nothing. What "
        "PVE keeps itself, what only root can set and volumes stand there as comments, each with "
        "the reason; secrets are named and never written. No file is overwritten, and a guest that "
        "is declared already is left out.",
        example="adopt 101 200-210 --observe",
    )
    parser.add_argument(
        "guests", nargs="*", type=guests, metavar="VMID", help="these guests; 200-210 is a range"
    )
    parser.add_argument("--tag", type=some_text, help="the guests that have this tag in PVE")
    parser.add_argument("--pool", type=some_text, help="the guests of this pool")
    parser.add_argument("--all", action="store_true", help="all guests of this host")
    parser.add_argument("--observe", action="store_true", help='write mode = "observe"')
    parser.add_argument("--state", action="store_true", help="write whether each runs, too")
    parser.add_argument(
        "--only",
        action="append",
        type=option_names,
        metavar="KEYS",
        help="only these options, as in cores,memory,net0; net stands for all net0, net1 ..., and "
        "volumes are declared only where they are named here",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=file_path,
        metavar="FILE",
        help="the new file, - for stdout; default: adopted.toml in the directory of guest files",
    )
    parser.set_defaults(usage_error=parser.error)


def option_names(text: str) -> frozenset[str]:
    """Given an argument, return the options it names. Raise ArgumentTypeError if one is none."""
    names = frozenset(text.split(","))
    for name in sorted(names):
        if not is_known_name(name):
            every = {key.removesuffix("[n]") for kind in ("qemu", "lxc") for key in keys(kind)}
            guess = did_you_mean(name, every)
            raise argparse.ArgumentTypeError(f"no guest has an option {name!r}{guess}")
    return names


def run(arguments: argparse.Namespace) -> int:
    given = (arguments.guests, arguments.tag, arguments.pool, arguments.all)
    if sum(map(bool, given)) != 1:
        arguments.usage_error("name guests (101 200-210), or a --tag, or a --pool, or say --all")
    config = load(arguments.config)
    target = adoptfile.target_of(config, arguments.output)
    asked = Asked(tuple(arguments.guests), arguments.tag or "", arguments.pool or "")
    node = Node.connect(config.proxmox)
    try:
        return adopt_into(target, config, node, asked, _wish(arguments, target))
    finally:
        node.client.close()


def adopt_into(
    target: Path | None,
    config: Config,
    node: Node,
    asked: Asked,
    wish: Wish,
    *,
    named_must: bool = True,
) -> int:
    """Given the path of the new file (None: stdout), the configuration, the node, and which guests
    are to be adopted how, write them and tell what was done; return the exit code. With
    `named_must` it is an error that one that was named by its number is left out.

    Raise FelhomError if nothing was written for want of a guest, a right, or a place.
    """
    tell: Tell = put if target else complain
    vmids = undeclared(config, select(node, asked), tell)
    identities = known(read(config.journal.directory / NAME, absent_ok=True))
    history = HistoryReader(node.client).read() if vmids else History()
    found = list(_looked_at(vmids, node, wish, identities, history))
    left_out = [guest for guest in found if isinstance(guest, LeftOut)]
    adopted = [guest for guest in found if isinstance(guest, AdoptedGuest)]
    _tell_some((f"{_named(g.vmid, g.name)}: left out: {g.why}" for g in left_out), tell)
    if adopted:
        texts = files_of(adopted, _head(config))
        tell(f"wrote {_put(texts, target)}: {sum_of(adopted)}")
        tell(f"{_plan_now(texts, node, identities, history)} Nothing was changed on the node.")
    else:
        tell("nothing is left to adopt; nothing was written.")
    named = {r.low for r in asked.ranges if r.low == r.high} if named_must else set()
    return ERROR if any(guest.failed or guest.vmid in named for guest in left_out) else OK


def _wish(arguments: argparse.Namespace, target: Path | None) -> Wish:
    only: frozenset[str] = frozenset().union(*(arguments.only or ()))
    plain = target is None and not _takes_utf8(sys.stdout)
    return Wish(only, arguments.observe, arguments.state, plain)


def _takes_utf8(stream: Any) -> bool:
    return str(getattr(stream, "encoding", "")).lower().replace("-", "") == "utf8"


def undeclared(config: Config, selected: Selected, tell: Tell = lambda _: None) -> list[int]:
    """Given the configuration, selected guests and how to tell of those that are left out, return
    those that are not declared yet. Raise FelhomError if that is not known of each guest.
    """
    desired = desired_in_force(config)
    if not desired.complete:
        why = desired.problems[0] if desired.problems else "a guest file cannot be read"
        raise FelhomError(f"{why}; mend it first: nobody knows which guests it declares")
    if selected.elsewhere:
        tell(f"left out: {selected.elsewhere} on other nodes; adopt them there")
    places = {vmid: str(guest.place) for vmid, guest in desired.guests.items()}
    places |= dict(desired.held)
    here = [(v, name) for v, name in selected.names.items() if v in places]
    _tell_some(
        (f"{_named(*g)}: left out: declared already: {places[g[0]] or 'by the hub'}" for g in here),
        tell,
    )
    return [vmid for vmid in selected.names if vmid not in places]


def _looked_at(
    vmids: Sequence[int],
    node: Node,
    wish: Wish,
    identities: Mapping[int, Known],
    history: History,
) -> Iterator[AdoptedGuest | LeftOut]:
    """Look at guests, and yield what is to be written of each."""
    if not vmids:
        return
    # The lines of LXC itself are read, too: an operator shall see that they are there.
    actual = node.observer.snapshot(vmids, vmids)
    for vmid in vmids:
        guest = actual.guests.get(vmid)
        if guest is None:
            yield LeftOut(vmid, "", why_absent(vmid, actual))
        else:
            yield adopt(guest, actual, wish, identities.get(vmid, NOBODY), history)


def _put(texts: Sequence[str], target: Path | None) -> str:
    """Write texts; return where they are."""
    if target is None:
        if sys.stdout is None:
            raise FelhomError("stdout is closed; nothing was written")
        for text in texts:
            say_styled(text, end="")
        return "to stdout"
    return ", ".join(map(str, adoptfile.write(target, texts)))


def _plan_now(
    texts: Iterable[str], node: Node, identities: Mapping[int, Known], history: History
) -> str:
    """Return what a plan says now, after another look at the node."""
    files = [tomlfile.parse(text, Path(adoptfile.NAME)) for text in texts]
    declared = {v: g for file in files for v, g in guests_of(file, hints=False)[0].items()}
    desired = Desired(MappingProxyType(declared))
    actual = node.observer.snapshot(desired.guests.keys(), desired.raw)
    plans = plan(desired, actual, identities, history)
    differing = [found for found in plans.values() if found.drifted]
    if not differing:
        return f"plan now: all {len(plans)} as declared."
    named = "; ".join(f"{_named(p.vmid, p.name)}: {said(p)}" for p in differing[:MAX_NAMED])
    return (
        f"plan now: {len(plans) - len(differing)} as declared; {len(differing)} changed meanwhile, "
        f"so edit the file: {named}."
    )


def _head(config: Config) -> str:
    return (
        f"# Guests of node {config.proxmox.node} as they were at {moment_text(time.time())}.\n"
        "# Used as it is, this file changes nothing.\n"
        "# What stands behind a # is not declared, for the reason beside it.\n"
    )


def _named(vmid: int, name: str) -> str:
    return f"{vmid} {printable(name, 60)}".strip()


def _tell_some(lines: Iterable[str], tell: Tell) -> None:
    """Tell the first lines one by one, and of the others how many they are."""
    every = list(lines)
    for line in every[:MAX_NAMED]:
        tell(line)
    if len(every) > MAX_NAMED:
        tell(f"and {len(every) - MAX_NAMED} more are left out")
