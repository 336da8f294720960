"""What planning a guest costs: at first, and when neither it nor its declaration has changed.

`python -m benchmarks.planner [--short]` prints rows as JSON: microseconds per guest, for guests
that are as declared, half of them VMs and half containers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.measure import Row
from felhom_agent.journal.identities import Identities
from felhom_agent.journal.log import JournalLog
from felhom_agent.model import (
    Actual,
    ActualGuest,
    Desired,
    DesiredGuest,
    GuestPlan,
    History,
    Kind,
    RunState,
)
from felhom_agent.planning.plan import plan
from felhom_agent.reconcile.planner import Planner


def _options(vmid: int, count: int) -> dict[str, Any]:
    """Return that many options of a guest, as they are declared and as PVE answers with them."""
    lxc = vmid % 2
    mac = f"BC:24:11:00:{vmid // 256:02X}:{vmid % 256:02X}"
    card = f"name=eth0,bridge=vmbr0,hwaddr={mac},type=veth" if lxc else f"virtio={mac},bridge=vmbr0"
    options: dict[str, Any] = {
        "hostname" if lxc else "name": f"guest{vmid}",
        "cores": 2,
        "memory": 512,
        "onboot": 1,
        "tags": "bench;web",
        "net0": card,
        "ostype": "debian" if lxc else "l26",
        "startup": "order=2,up=10",
        "protection": 1,
        "cpuunits": 200,
    }
    return dict(list(options.items())[:count])


def _fleet(guests: int, count: int) -> tuple[Desired, Callable[[], Actual]]:
    """Return what is declared, and a function that observes it anew each time."""
    kinds = {vmid: Kind.LXC if vmid % 2 else Kind.QEMU for vmid in range(100, 100 + guests)}
    desired = Desired(
        {
            vmid: DesiredGuest(
                vmid, kind, RunState.RUNNING, config=MappingProxyType(_options(vmid, count))
            )
            for vmid, kind in kinds.items()
        }
    )

    def observe() -> Actual:
        return Actual("pve1", {vmid: _guest(vmid, kind, count) for vmid, kind in kinds.items()})

    return desired, observe


def _guest(vmid: int, kind: Kind, count: int) -> ActualGuest:
    config = {**_options(vmid, count), "digest": f"{vmid:040x}"}
    return ActualGuest(vmid, kind, "pve1", RunState.RUNNING, config=config, digest=config["digest"])


def measured(guests: int, count: int, repeats: int) -> Row:
    """Given how many guests with how many options, return what planning one of them costs."""
    desired, observe = _fleet(guests, count)
    first = min(_timed(lambda actual: plan(desired, actual), observe) for _ in range(repeats))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        log, records = JournalLog.open(Path(name))
        planner = Planner(Identities(log, records))
        planner.history = History({}, readable=True)
        planner.remember(desired.guests, observe())
        planner.plans(desired, observe())
        again = min(
            _timed(lambda actual: planner.plans(replace(desired), actual), observe)
            for _ in range(repeats)
        )
        log.close()
    row = {"table": "planner", "options": count, "ratio": again / first}
    return {**row, "first": first / guests * 1e6, "unchanged": again / guests * 1e6}


def _timed(work: Callable[[Actual], dict[int, GuestPlan]], observe: Callable[[], Actual]) -> float:
    actual = observe()
    begun = time.perf_counter()
    plans = work(actual)
    took = time.perf_counter() - begun
    if wrong := [found for found in plans.values() if found.drifted or found.withheld]:
        raise RuntimeError(f"a guest is not as declared: {wrong[0]}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true")
    guests, repeats = (10, 1) if parser.parse_args().short else (1000, 7)
    print(json.dumps([measured(guests, count, repeats) for count in (5, 10)]))


if __name__ == "__main__":
    main()
