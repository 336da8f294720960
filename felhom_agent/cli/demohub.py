"""`felhom-agent demohub`: a hub, two nodes and two agents; one change on the hub's page, both heal;
and a destroy that is asked for on the page, signed at a desk, and carried by the hub.

What is shown is asked of the nodes and of the hub, not of the agents; the exit code is the answer.
With `--keep` all of them go on afterwards, for a person with a browser, until Ctrl-C. SIGINT and
SIGTERM end agents, nodes and hub in order, whenever they come.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from felhom_agent.cli.codes import ERROR, INTERRUPTED, OK
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.demodrift import drift_lines
from felhom_agent.cli.demohubsigned import SETTINGS, VMID, SignedPart, shown
from felhom_agent.cli.demostage import Ending, agent, serving, title, wait
from felhom_agent.cli.out import say
from felhom_agent.config.agentfile import load

if TYPE_CHECKING:
    from felhom_agent.devhub import DevHub
    from felhom_agent.devnode import DevNode

HOSTS = ("pve-north", "pve-south")
FIRST = {"cores": 2, "description": "Shop"}
THEN = {"cores": 2, "description": "Shop, moved to the new office", "onboot": 1}
# A hub is asked once a minute at the most.
_PATIENCE = 100.0
_SETTINGS = '\n[reconcile]\ninterval = 1\nbackoff_first = 1\n[hub]\nurl = "{}"\nhost_id = "{}"\n'
_NAMED = f"guests = [100, {VMID}]\n[hub.options]\nonboot = true\n{SETTINGS}"


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "demohub",
        run,
        summary="Show a hub with two agents on two embedded nodes; takes two minutes.",
        example="demohub",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="let hub, nodes and agents go on after it, for a browser, until Ctrl-C",
    )


@dataclass(frozen=True)
class Site:
    """One host: its node, and its agent's configuration."""

    name: str
    node: DevNode
    config: Path

    def config_of(self, key: str) -> object:
        """Return what the node has of the guest."""
        return self.node.world.config(100).get(key)


def run(arguments: argparse.Namespace) -> int:
    # Not at the top: the daemon must start without the hub's and the node's own needs.
    from felhom_agent.devhub import DevHub, Store

    with ExitStack() as stack:
        ending = stack.enter_context(Ending())
        hub = stack.enter_context(DevHub(Store()))
        sites = [stack.enter_context(_site(hub, name)) for name in HOSTS]
        return _show(hub, sites, ending, keep=arguments.keep)


def _show(hub: DevHub, sites: list[Site], ending: Ending, *, keep: bool) -> int:
    title(f"A hub listens on {hub.url}. What it desires of each host:")
    say(f"  {json.dumps(_state(FIRST))}")
    for site in sites:
        hub.store.desire(site.name, _state(FIRST))
    part = SignedPart(hub, sites[0].name, sites[0].node, sites[0].config)
    part.begin()
    title("Two agents start, report, and fetch it:")
    with ExitStack() as stack:
        for site in sites:
            stack.enter_context(agent(load(site.config), prefix=f"{site.name}: "))
        good = _comes(sites, FIRST, ending)
        if ending.came():
            return INTERRUPTED
        title("On the hub's page a person changes both (the agents ask once a minute):")
        for site in sites:
            _on_the_page(hub, site, _state(THEN))
        good = _comes(sites, THEN, ending) and good
        if not ending.came():
            good = shown(part, lambda done: _waited(done, ending)) and good
        if ending.came():
            return INTERRUPTED
        if keep:
            _answers(hub, sites)
            _to_try(hub, sites[0], good=good)
            ending.wait()
            title("All of them end.")
    if not keep:
        _answers(hub, sites)
    return OK if good else ERROR


def _comes(sites: list[Site], wanted: Mapping[str, object], ending: Ending) -> bool:
    """Return whether all guests came to be as wanted; the wait ends early with a signal."""
    return _waited(lambda: all(_is_there(site, wanted) for site in sites), ending)


def _waited(done: Callable[[], bool], ending: Ending) -> bool:
    """Return whether something came to be; the wait ends early with a signal."""
    wait(lambda: ending.came() or done(), _PATIENCE)
    return done()


def _answers(hub: DevHub, sites: list[Site]) -> None:
    title("What the nodes and the hub say now:")
    for site in sites:
        seen = hub.store.host(site.name)
        version = seen.report.get("agent", {}).get("version") if seen else None
        say(f"  {site.name}: {site.config_of('description')}; reported by agent {version}")


def _to_try(hub: DevHub, site: Site, *, good: bool) -> None:
    title("All of them go on until Ctrl-C. In a browser on this machine:")
    if not good:
        say("  Not all came to be as the hub desires; the agents' lines above tell why.")
    say(f"  page      {hub.url}/")
    say("  user      operator")
    say(f"  password  {hub.operator_key}")
    say("What to try (the agents ask the hub once a minute, the page shows it after that):")
    say('  on the page of a host write another description, or "cores": 4, and save')
    say('  add "restart": "allowed" beside "state": it is refused, and the page says why')
    say("  block a host: its agent then only observes, until it is unblocked")
    say(f"  cause drift on {site.name}, from a second terminal; its agent puts it back at once:")
    for line in drift_lines(site.node, site.config.parent, 100, 100):
        say(f"    {line}")


def _state(config: Mapping[str, object]) -> dict[str, object]:
    return {"guest": {"100": {"state": "running", "config": dict(config)}}}


def _is_there(site: Site, wanted: Mapping[str, object]) -> bool:
    there = all(site.config_of(key) == value for key, value in wanted.items())
    return there and site.node.world.running(100)


def _on_the_page(hub: DevHub, site: Site, state: object) -> None:
    """Send the form of a host's page, as a browser does."""
    requests.post(
        f"{hub.url}/hosts/{site.name}/desired-state",
        data={"state": json.dumps(state)},
        auth=("operator", hub.operator_key),
        timeout=10,
    ).raise_for_status()


@contextmanager
def _site(hub: DevHub, name: str) -> Iterator[Site]:
    from felhom_agent.devnode import DevNode, World
    from felhom_agent.devnode.demo.site import write_site

    world = World(node="pve1")
    world.add("qemu", 100, {"name": "shop", "memory": "2048", "cores": 1})
    with (
        tempfile.TemporaryDirectory(prefix="felhom-demohub-") as directory,
        serving(lambda: DevNode(world)) as node,
    ):
        path = write_site(node, Path(directory))
        key = Path(directory) / "hub-key"
        key.touch(mode=0o600)
        key.write_text(hub.store.enroll(name))
        with path.open("a") as file:
            file.write(_SETTINGS.format(hub.url, name) + f'key_file = "{key}"\n' + _NAMED)
        yield Site(name, node, path)
