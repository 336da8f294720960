"""The agent beside two other tools, each as one command on the same node.

`python -m benchmarks.peers CASE GUESTS [--tools NAME,...]` prints rows as JSON. The cases:

* `calm`: nothing differs, and the tool shall say so. `felhom-agent plan`; `proxctl apply --dry-run`
  on manifests as `proxctl export` writes them. The modules of Ansible's collection for guests have
  no check mode (they are skipped then), so the playbook is run: it writes every VM's configuration
  each time and finds every one changed.
* `tenth`: every tenth guest differs, half in its configuration, half stopped, and the tool shall
  mend that. `felhom-agent run --once`, `proxctl apply`, the playbook.

What Ansible is not asked for: the configuration of containers. Its module repeats the vmid and the
node in the body of that call, and no recording of a node shows what becomes of that; the embedded
node refuses it. What differs in `tenth` is a VM each time.

Requests are counted at the node. Each command is a process that begins with nothing; the agent as
it is meant to run, a daemon, is what `benchmarks.fleet` measures.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fleet import spoilt
from benchmarks.measure import Row, command
from benchmarks.node import FIRST, Fleet, Remote, declared, kind_of, served
from benchmarks.peerenv import NotInstalled, installed

CASES = ("calm", "tenth")
_DEADLINE = 900.0


@dataclass(frozen=True)
class _Tool:
    """A tool as one command: its words per case, and what it finds in its environment."""

    name: str
    words: Mapping[str, list[str]]
    environment: Mapping[str, str]


def _ours(node: Remote, directory: Path) -> _Tool:
    del directory
    agent = [sys.executable, "-m", "felhom_agent", "--config", str(node.config)]
    return _Tool("felhom-agent", {"calm": [*agent, "plan"], "tenth": [*agent, "run", "--once"]}, {})


def _proxctl(node: Remote, directory: Path) -> _Tool:
    proxmox, secret = _access(node)
    manifests = directory / "guests.yaml"
    guests = range(FIRST, FIRST + node.fleet.guests)
    manifests.write_text("\n---\n".join(json.dumps(_manifest(vmid)) for vmid in guests))
    # It knows no CA but those that it was built with.
    apply = [str(installed("proxctl") / "proxctl"), "--insecure", "apply", "-f", str(manifests)]
    environment = {
        "PROXMOX_HOST": proxmox["endpoint"].removeprefix("https://"),
        "PROXMOX_TOKEN": f"{proxmox['token_id']}={secret}",
        "PROXMOX_NODE": proxmox["node"],
    }
    return _Tool("proxctl", {"calm": [*apply, "--dry-run"], "tenth": [*apply, "-y"]}, environment)


def _manifest(vmid: int) -> dict[str, Any]:
    """Return a guest as `proxctl export --include-state` writes it."""
    kind = "container" if kind_of(vmid) == "lxc" else "vm"
    config = {key: str(value) for key, value in declared(vmid).items()}
    if kind == "container":
        # As a container's description reads back; without it each would be found changed.
        config["description"] += "\n"
    named = {"kind": kind, "name": f"guest{vmid}", "vmid": vmid, "node": "pve1"}
    return {**named, "state": "running", "config": config}


def _ansible(node: Remote, directory: Path) -> _Tool:
    proxmox, secret = _access(node)
    user, _, token = proxmox["token_id"].partition("!")
    host, _, port = proxmox["endpoint"].removeprefix("https://").rpartition(":")
    playbook = directory / "playbook.yaml"
    playbook.write_text(json.dumps(_playbook(node.fleet.guests)))
    environment = {
        "PROXMOX_HOST": host, "PROXMOX_PORT": port, "PROXMOX_USER": user,
        "PROXMOX_TOKEN_ID": token, "PROXMOX_TOKEN_SECRET": secret,
        "PROXMOX_VALIDATE_CERTS": "false", "ANSIBLE_HOME": str(directory / "ansible"),
        "PYTHONWARNINGS": "ignore", "PYTHONPATH": "",
    }  # fmt: skip
    run = [str(installed("ansible") / "ansible-playbook"), "-i", "localhost,", str(playbook)]
    return _Tool("Ansible", {"calm": run, "tenth": run}, environment)


def _playbook(guests: int) -> list[dict[str, Any]]:
    vmids = range(FIRST, FIRST + guests)
    vms = [vmid for vmid in vmids if kind_of(vmid) == "qemu"]
    containers = [vmid for vmid in vmids if kind_of(vmid) == "lxc"]
    named = {"vmid": "{{ item }}", "node": "pve1"}
    options = {"cores": 2, "memory": 512, "onboot": True, "name": "guest{{ item }}"}
    options["description"] = "Guest {{ item }} of the benchmark"
    vm, container = "community.proxmox.proxmox_kvm", "community.proxmox.proxmox"
    tasks = [
        {"name": "VM options", vm: {**named, **options, "update": True}, "loop": vms},
        {"name": "VM runs", vm: {**named, "state": "started"}, "loop": vms},
        {"name": "container runs", container: {**named, "state": "started"}, "loop": containers},
    ]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    return [{**play, "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}}]


def _access(node: Remote) -> tuple[dict[str, Any], str]:
    proxmox = tomllib.loads(node.config.read_text())["proxmox"]
    return proxmox, Path(proxmox["token_file"]).read_text().strip()


TOOLS = {"felhom-agent": _ours, "proxctl": _proxctl, "ansible": _ansible}


def run(case: str, fleet: Fleet, names: list[str]) -> list[Row]:
    """Given a case, a fleet and the tools' names, return what each cost, the agent's first."""
    found: list[Row] = []
    with served(fleet) as node:
        for name in ["felhom-agent", *(name for name in names if name != "felhom-agent")]:
            try:
                tool = TOOLS[name](node, node.config.parent)
            except NotInstalled as error:
                print(f"skipped: {error}", file=sys.stderr)
                continue
            found.append(_measured(node, tool, case))
    return [_beside(row, found[0]) for row in found]


def _measured(node: Remote, tool: _Tool, case: str) -> Row:
    node.tell("spoil", **spoilt(case, node.fleet.guests))
    node.tell("requests")
    ended = command(tool.words[case], tool.environment, _DEADLINE)
    if ended.code:
        print(f"{tool.name} ended with {ended.code}: {ended.said[-2000:]}", file=sys.stderr)
    asked = node.tell("requests")
    return {
        "wall": ended.wall, "cpu": ended.cpu, "rss": ended.rss, "requests": asked["all"],
        "writes": asked["writes"], "left": node.tell("differ")["guests"], "code": ended.code,
        "tool": tool.name, "case": case, "guests": node.fleet.guests,
    }  # fmt: skip


def _beside(row: Row, ours: Row) -> Row:
    """Return a row with its ratios to the agent's in front."""
    named = {"table": "peers", **{key: row[key] for key in ("case", "guests", "tool")}}
    return {**named, **{f"ratio_{k}": row[k] / ours[k] for k in ("wall", "requests", "cpu")}, **row}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("guests", type=int)
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--delay", type=float, default=0.015)
    parser.add_argument("--start", type=float, default=2.0)
    given = parser.parse_args()
    fleet = Fleet(given.guests, given.delay, given.start)
    print(json.dumps(run(given.case, fleet, given.tools.split(","))))


if __name__ == "__main__":
    main()
