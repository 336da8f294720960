"""An embedded node in a process of its own, with a fixed time for each answer.

`python -m benchmarks.node` reads commands from its standard input, one JSON object a line, and
answers each with one line. It ends at the end of its input. So the node's own work is not counted
as the agent's, and shares no interpreter with it.

Half of the guests are VMs, half are containers. Each is declared in full by `declared`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from felhom_agent.devnode import Behaviour, DevNode, Fault, World
from felhom_agent.devnode.demo.site import write_site

FIRST = 100
_FOR_EVER = 10**9


@dataclass(frozen=True)
class Fleet:
    """How a node is: how many guests it has, and seconds per answer and per start or stop."""

    guests: int
    delay: float = 0.015
    start: float = 2.0


def kind_of(vmid: int) -> str:
    """Given a vmid, return its kind."""
    return "lxc" if vmid % 2 else "qemu"


def declared(vmid: int) -> dict[str, Any]:
    """Given a vmid, return the five options that are declared of it, as it has them at first."""
    name = "hostname" if vmid % 2 else "name"
    options = {name: f"guest{vmid}", "cores": 2, "memory": 512, "onboot": 1}
    return {**options, "description": f"Guest {vmid} of the benchmark"}


def guest_file(guests: int) -> str:
    """Given how many guests there are, return the file that declares them, all running."""
    parts = []
    for vmid in range(FIRST, FIRST + guests):
        values = [f"{k} = {json.dumps(v)}" for k, v in declared(vmid).items() if k != "onboot"]
        head = [f"[guest.{vmid}]", 'state = "running"', f"[guest.{vmid}.config]", "onboot = true"]
        parts += [*head, *values, ""]
    return "\n".join(parts)


class Remote:
    """A node in a process of its own; `config` is the agent.toml that a caller may extend."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet = fleet
        words = [str(fleet.guests), str(fleet.delay), str(fleet.start), str(directory)]
        self._process = subprocess.Popen(  # noqa: S603  ourselves
            [sys.executable, "-m", "benchmarks.node", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.config = Path(self._answer()["config"])

    def tell(self, word: str, **more: object) -> dict[str, Any]:
        """Given a command, return its answer."""
        if self._process.stdin is None:
            raise RuntimeError("the node has no input")
        self._process.stdin.write(json.dumps({"do": word, **more}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the node."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(60)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("the node ended by itself")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def served(fleet: Fleet) -> Iterator[Remote]:
    """Hold a node with its guests for the length of a block."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        remote = Remote(fleet, Path(name))
        try:
            yield remote
        finally:
            remote.close()


class _Node:
    """What the commands do, each by the name of its method."""

    def __init__(self, fleet: Fleet, node: DevNode) -> None:
        self._fleet = fleet
        self._node = node
        self._seen = 0

    def requests(self) -> dict[str, Any]:
        """Tell the requests since the last time, by method."""
        new = self._node.requests[self._seen :]
        self._seen += len(new)
        methods = [request.method for request in new]
        polls = sum("/tasks" in request.path for request in new)
        reads = methods.count("GET")
        return {"all": len(new), "reads": reads, "writes": len(new) - reads, "tasks": polls}

    def first_change(self, since: float) -> dict[str, Any]:
        """Tell the seconds from a moment to the first change that was asked for."""
        moments = [r.at for r in self._node.mutations if r.at >= since]
        return {"seconds": moments[0] - since if moments else None}

    def spoil(self, configs: list[int], states: list[int]) -> dict[str, Any]:
        """Change the configuration of some guests, and stop others."""
        for vmid in configs:
            self._node.world.edit(vmid, {"description": "spoilt"})
        for vmid in states:
            self._node.world.stop(vmid)
        return {}

    def differ(self) -> dict[str, Any]:
        """Tell how many guests are not as declared."""
        world = self._node.world
        wrong = 0
        for vmid in range(FIRST, FIRST + self._fleet.guests):
            config = world.config(vmid)
            wrong += not world.running(vmid) or any(
                str(config.get(key)).strip() != str(value) for key, value in declared(vmid).items()
            )
        return {"guests": wrong}


def _world(fleet: Fleet) -> World:
    world = World(now=time.time)
    for vmid in range(FIRST, FIRST + fleet.guests):
        behaviour = Behaviour(start_seconds=fleet.start, config_seconds=0.0)
        world.add(kind_of(vmid), vmid, declared(vmid), running=True, behaviour=behaviour)
    return world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("guests", type=int)
    parser.add_argument("delay", type=float)
    parser.add_argument("start", type=float)
    parser.add_argument("directory", type=Path)
    given = parser.parse_args()
    fleet = Fleet(given.guests, given.delay, given.start)
    with DevNode(_world(fleet)) as node:
        config = write_site(node, given.directory)
        # Elsewhere the files have long been at rest, and nobody waits for that.
        config.write_text(config.read_text().replace("[desired]\n", "[desired]\nsettle = 0\n"))
        guests = given.directory / "guests.d" / "guests.toml"
        guests.write_text(guest_file(fleet.guests))
        if fleet.delay:
            node.faults.add(Fault(action=f"delay:{fleet.delay}", times=_FOR_EVER))
        served = _Node(fleet, node)
        print(json.dumps({"config": str(config)}), flush=True)
        for line in sys.stdin:
            command = json.loads(line)
            answer = getattr(served, command.pop("do"))(**command)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
