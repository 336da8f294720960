"""The last part of the demo: a hub asks for what it may not, and for too much at once.

Its first wish takes the protection of guests away: the policy refuses the generation as a whole.
Its second is allowed, and is of six guests at once: the brake lets two pass, and holds the others
for a person. What is shown is asked of the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from felhom_agent.cli.demostage import agent, title, wait
from felhom_agent.cli.out import say
from felhom_agent.config.agentfile import load

if TYPE_CHECKING:
    from felhom_agent.devhub import DevHub
    from felhom_agent.devnode import DevNode

CUSTOMERS = range(300, 306)
MAX_CHANGED = 2
_HOST = "pve1"
_SETTINGS = (
    '\n[hub]\nurl = "{}"\nhost_id = "{}"\nkey_file = "{}"\nguests = ["{}-{}"]\n'
    "[limits]\nchanged = {}\n"
)


@dataclass(frozen=True)
class _Stage:
    """What the part is played on."""

    node: DevNode
    hub: DevHub
    config: Path

    def push(self, options: dict[str, object]) -> None:
        """Let the hub desire these options of every customer's guest."""
        guests = {str(vmid): {"config": options} for vmid in CUSTOMERS}
        self.hub.store.desire(_HOST, {"guest": guests})

    def changed(self) -> list[int]:
        """Return the guests of which the node has the hub's description."""
        world = self.node.world
        return [v for v in CUSTOMERS if "hub" in str(world.config(v).get("description", ""))]

    def protected(self) -> bool:
        """Return whether the node still protects every customer's guest."""
        return all(str(self.node.world.config(v).get("protection")) == "1" for v in CUSTOMERS)


def show(node: DevNode, path: Path) -> bool:
    """Given the demo's node and agent.toml, show the part; return whether the agent held."""
    # Not at the top: the daemon must start without the hub's own needs.
    from felhom_agent.devhub import DevHub, Store

    for vmid in CUSTOMERS:
        config = {"hostname": f"customer{vmid}", "protection": 1, "memory": 512}
        node.world.add("lxc", vmid, config)
    with DevHub(Store()) as hub:
        key = path.parent / "hub-key"
        key.touch(mode=0o600)
        key.write_text(hub.store.enroll(_HOST))
        first, last = CUSTOMERS[0], CUSTOMERS[-1]
        with path.open("a") as file:
            file.write(_SETTINGS.format(hub.url, _HOST, key, first, last, MAX_CHANGED))
        return _play(_Stage(node, hub, path))


def _play(stage: _Stage) -> bool:
    title("A stolen hub takes the protection of six guests away. The policy refuses it:")
    stage.push({"protection": 0})
    with agent(load(stage.config)) as lines:
        refused = wait(lambda: any("not in force" in line or "refused" in line for line in lines))
    title("It asks for what it may, of all six at once. The brake lets two pass:")
    stage.push({"description": "set by the hub"})
    with agent(load(stage.config)) as lines:
        held = wait(lambda: any("felhom-agent approve" in line for line in lines))
        held = wait(lambda: len(stage.changed()) == MAX_CHANGED) and held
    title("What the node answers now:")
    words = "still protected" if stage.protected() else "not protected any more"
    say(f"  all six are {words}; changed: {', '.join(map(str, stage.changed())) or 'none'}")
    return refused and held and stage.protected() and len(stage.changed()) == MAX_CHANGED
