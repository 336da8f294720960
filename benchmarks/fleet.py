"""What one pass, and one healing of a fleet, costs: `python -m benchmarks.fleet CASE GUESTS`.

A case runs in a process of its own, against a node in another one, and prints one JSON object. The
agent is the real one, assembled as the daemon does it; its CPU time, memory and wall time are
those of this process.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.node import FIRST, Fleet, Remote, served
from felhom_agent.config.agentfile import load
from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon

CASES = ("calm", "tenth", "configs", "starts")


def run(case: str, guests: int, delay: float, cap: int) -> dict[str, Any]:
    """Given a case, how many guests there are, the seconds per answer and how many guests may be
    started at once, return what it cost.
    """
    with served(Fleet(guests, delay)) as node:
        config = load(node.config)
        if cap:
            config = replace(config, reconcile=replace(config.reconcile, parallel=cap))
        config = replace(config, desired=replace(config.desired, settle=0.0))
        with assembled(config) as parts:
            daemon = Daemon(config, parts)
            if not daemon.run_pass():
                raise RuntimeError("the fleet is not as declared")
            return _measured(node, daemon, case, guests)


def _measured(node: Remote, daemon: Daemon, case: str, guests: int) -> dict[str, Any]:
    node.tell("spoil", **_spoilt(case, guests))
    node.tell("requests")
    gc.collect()
    cpu, wall, since = _cpu(), time.monotonic(), time.time()
    daemon.run_pass()
    wall, cpu = time.monotonic() - wall, _cpu() - cpu
    asked = node.tell("requests")
    left = node.tell("differ")["guests"]
    first = node.tell("first_change", since=since)["seconds"]
    return {
        "case": case, "guests": guests, "wall": wall, "cpu": cpu, "rss": _rss(), "left": left,
        "requests": asked["all"], "reads": asked["reads"], "writes": asked["writes"],
        "polls": asked["tasks"], "first": first,
    }  # fmt: skip


def _spoilt(case: str, guests: int) -> dict[str, list[int]]:
    vmids = list(range(FIRST, FIRST + guests))
    match case:
        case "tenth":
            some = vmids[:: max(1, 10)]
            return {"configs": some[::2], "states": some[1::2]}
        case "configs":
            return {"configs": vmids, "states": []}
        case "starts":
            return {"configs": [], "states": vmids}
    return {"configs": [], "states": []}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _rss() -> float:
    """Return the resident memory now, in MiB."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) / 1024 for row in rows if row.startswith("VmRSS"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("guests", type=int)
    parser.add_argument("--delay", type=float, default=0.015)
    parser.add_argument("--cap", type=int, default=0)
    given = parser.parse_args()
    print(json.dumps(run(given.case, given.guests, given.delay, given.cap)))


if __name__ == "__main__":
    main()
