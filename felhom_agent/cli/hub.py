"""`felhom-agent hub`: what is kept of the hub, and the owner's last word over it.

`status` only looks, also beside a running agent. `forget` drops the generation and the desired
state, so that a hub which named a mad generation can start again. `unblock` ends a block and keeps
the hub from blocking again, until `trust`. These write. Of `forget` and `unblock` a running agent
is asked at its control socket; otherwise it must not run meanwhile, and its lock sees to that.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from felhom_agent.cli import ask
from felhom_agent.cli.asowner import run_as_owner
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.confirm import agreed
from felhom_agent.cli.out import complain, say
from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import Config
from felhom_agent.desired.claims import Claims
from felhom_agent.desired.hub import HubProvider, HubState
from felhom_agent.journal import lock
from felhom_agent.service.controlclient import NoAgent, call

_MAX_NAMED = 20


@dataclass(frozen=True)
class _Deed:
    """What one of the words does: asked before, needed at all, done, and told after; `route` is how
    a running agent is asked for it, if it can be.
    """

    question: str
    needed: Callable[[HubState], bool]
    act: Callable[[HubProvider], None]
    done: str
    route: str = ""


_DEEDS = {
    "forget": _Deed(
        "This forgets generation {0.generation} and what the hub desires; until it answers again, "
        "nothing is done to its guests.",
        lambda kept: bool(kept.generation) or kept.state is not None,
        lambda hub: hub.forget(),
        "Forgotten. The hub is asked again when the agent starts.",
        "/v1/hub-forget",
    ),
    "unblock": _Deed(
        "This lets the agent change guests again, and the hub can no longer block this host.",
        lambda kept: kept.blocked or kept.may_block,
        lambda hub: hub.let_block(allowed=False),
        "The hub no longer blocks this host, and cannot until `felhom-agent hub trust`.",
        "/v1/hub-unblock",
    ),
    "trust": _Deed(
        "This lets the hub block this host again.",
        lambda kept: not kept.may_block,
        lambda hub: hub.let_block(allowed=True),
        "The hub may block this host again.",
    ),
}


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "hub",
        run,
        summary="Show what is kept of the hub (`status`); drop its desired state (`forget`); end "
        "its block and allow it no other (`unblock`), or allow it again (`trust`).",
        example="hub status",
    )
    parser.add_argument("what", choices=("status", *_DEEDS))
    parser.add_argument("--yes", action="store_true", help="do not ask before changing")


def run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    directory = config.journal.directory
    if arguments.what == "status":
        for line in _status(config):
            say(line)
        return 0
    deed = _DEEDS[arguments.what]
    if deed.route and _runs(config):
        hub = HubProvider(directory, config.hub, keeps=False)
        return _do(deed, hub, arguments, lambda: ask.tell(arguments.config, deed.route))
    code = run_as_owner(directory, arguments.words)
    if code is not None:
        return code
    with lock.held(directory):
        hub = HubProvider(directory, config.hub)
        return _do(deed, hub, arguments, lambda: _act(deed, hub))


def _runs(config: Config) -> bool:
    """Return whether an agent answers."""
    if config.control.socket is None:
        return False
    try:
        call(config.control.socket, "GET", "/v1/status")
    except NoAgent:
        return False
    return True


def _act(deed: _Deed, hub: HubProvider) -> None:
    deed.act(hub)
    say(deed.done)


def _do(
    deed: _Deed, hub: HubProvider, arguments: argparse.Namespace, act: Callable[[], object]
) -> int:
    for problem in hub.load().problems:
        complain(problem)
    if not deed.needed(hub.kept):
        say("It is so already; nothing was changed.")
        return 0
    if not (arguments.yes or agreed(deed.question.format(hub.kept), f"hub {arguments.what}")):
        say("Nothing was changed.")
        return 1
    act()
    return 0


def _status(config: Config) -> Iterator[str]:
    directory = config.journal.directory
    hub = HubProvider(directory, config.hub, keeps=False)
    claims = Claims(directory, keeps=False)
    kept, desired = hub.kept, hub.load()
    named = f"{config.hub.url} as {config.hub.host_id}" if config.hub.url else "none is configured"
    yield f"Hub: {named}"
    yield f"  generation in force: {kept.generation or 'none'}"
    yield f"  guests that it declares and may speak for: {_listed(desired.guests)}"
    yield f"  guests that files on this host declare, or did: {_listed(claims.declared)}"
    yield f"  blocks this host: {'yes' if kept.blocked else 'no'}"
    may = "yes" if kept.may_block else "no, since `hub unblock`; `hub trust` lets it"
    yield f"  may block this host: {may}"
    for text in (*(str(problem) for problem in desired.problems), *claims.trouble):
        yield f"  problem: {text}"


def _listed(vmids: Iterable[int]) -> str:
    found = sorted(vmids)
    more = f" and {len(found) - _MAX_NAMED} more" if len(found) > _MAX_NAMED else ""
    return ", ".join(str(v) for v in islice(found, _MAX_NAMED)) + more or "none"
