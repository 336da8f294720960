"""What one pass, and one healing of a fleet, costs: `python -m benchmarks.fleet CASE GUESTS`.

A case runs in a process of its own, against a node in another one, and prints one JSON object. The
agent is the real one, assembled as the daemon does it; its CPU time, memory and wall time are
those of this process. Beside the wall time stands the ideal: what the same delays and limits would
leave, did nothing else cost anything.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import time
from dataclasses import replace

from benchmarks.measure import Row, memory, own_cpu
from benchmarks.node import FIRST, Fleet, Remote, served
from felhom_agent.config.agentfile import load
from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.model import Facts
from felhom_agent.proxmox.client import READS, WRITES

CASES = ("calm", "tenth", "configs", "starts")
# What a pass asks one after the other: all guests, VMs, containers; then permissions, tasks.
_SERIAL = 5
# Of a changed configuration: one write, then the state and the configuration are read back.
_READ_BACK = 2
_WORKERS = Facts().max_workers


def ideal(case: str, fleet: Fleet, cap: int) -> float:
    """Given a case, a fleet and how many guests may be started at once, return the seconds that
    delays and limits alone would take.

    A change of configurations has its pass in it; starts count alone.
    """
    reads, writes = fleet.guests, len(spoilt(case, fleet.guests)["configs"])
    listings = _SERIAL * fleet.delay
    match case:
        case "calm":
            return math.ceil(reads / READS) * fleet.delay + listings
        case "configs":
            reads += _READ_BACK * writes
            return max(writes / WRITES, reads / READS) * fleet.delay + listings
    starts = len(spoilt(case, fleet.guests)["states"])
    return math.ceil(starts / (cap or _WORKERS)) * fleet.start


def run(case: str, fleet: Fleet, cap: int) -> Row:
    """Given a case, a fleet and how many guests may be started at once (0: as by default), return
    what it cost.
    """
    with served(fleet) as node:
        config = load(node.config)
        if cap:
            config = replace(config, reconcile=replace(config.reconcile, parallel=cap))
        with assembled(config) as parts:
            daemon = Daemon(config, parts)
            if not daemon.run_pass():
                raise RuntimeError("the fleet is not as declared")
            found = _measured(node, daemon, case)
    best = ideal(case, fleet, cap)
    limit = (cap or _WORKERS) if spoilt(case, fleet.guests)["states"] else None
    named = {"table": "fleet", "case": case, "guests": fleet.guests, "cap": limit}
    return {**named, "ratio": found["wall"] / best, "ideal": best, **found}


def _measured(node: Remote, daemon: Daemon, case: str) -> Row:
    guests = node.fleet.guests
    node.tell("spoil", **spoilt(case, guests))
    node.tell("requests")
    gc.collect()
    cpu, wall, since = own_cpu(), time.monotonic(), time.time()
    daemon.run_pass()
    wall, cpu = time.monotonic() - wall, own_cpu() - cpu
    asked = node.tell("requests")
    rss, peak = memory()
    return {
        "first": node.tell("first_change", since=since)["seconds"], "wall": wall, "cpu": cpu,
        "rss": rss, "peak": peak, "requests": asked["all"], "reads": asked["reads"],
        "writes": asked["writes"], "polls": asked["tasks"], "left": node.tell("differ")["guests"],
    }  # fmt: skip


def spoilt(case: str, guests: int) -> dict[str, list[int]]:
    """Given a case, return whose configurations are changed behind the agent's back, and who is
    stopped.
    """
    vmids = list(range(FIRST, FIRST + guests))
    match case:
        case "tenth":
            return {"configs": vmids[::20], "states": vmids[10::20]}
        case "configs":
            return {"configs": vmids, "states": []}
        case "starts":
            return {"configs": [], "states": vmids}
    return {"configs": [], "states": []}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("guests", type=int)
    parser.add_argument("--delay", type=float, default=0.015)
    parser.add_argument("--start", type=float, default=2.0)
    parser.add_argument("--cap", type=int, default=0)
    given = parser.parse_args()
    fleet = Fleet(given.guests, given.delay, given.start)
    print(json.dumps([run(given.case, fleet, given.cap)]))


if __name__ == "__main__":
    main()
