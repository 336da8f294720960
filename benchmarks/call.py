"""What one API call costs this process: its processor time, layer by layer.

`python -m benchmarks.call` asks an embedded node in a process of its own, which answers at once,
through the agent's client, through proxmoxer, through `requests` and through urllib3 alone. Each
is asked by turns, so that what else the machine does meets all of them; the least of the rounds
counts, since nothing makes a call cheaper than it is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import requests
import urllib3
from proxmoxer import ProxmoxAPI

from benchmarks.node import FIRST, Fleet, served
from felhom_agent.config.agentfile import load
from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.proxmox.client import Client

PATH = ("nodes", "pve1", "qemu", FIRST, "config")


def callers(config: ProxmoxConfig) -> dict[str, Callable[[], object]]:
    """Given how a node is reached, return what asks it for one configuration, by name."""
    secret = config.token_file.read_text().strip()
    user, _, name = config.token_id.partition("!")
    url = f"{config.endpoint}/api2/json/{'/'.join(map(str, PATH))}"
    head = {"Authorization": f"PVEAPIToken={config.token_id}={secret}"}
    host, _, port = config.endpoint.removeprefix("https://").rpartition(":")
    client = Client(config, Secret(secret))
    api = ProxmoxAPI(
        host,
        port=int(port),
        user=user,
        token_name=name,
        token_value=secret,
        verify_ssl=str(config.ca_file),
        backend="https",
    )
    session = requests.Session()
    session.trust_env = False
    session.verify = str(config.ca_file)
    session.headers.update(head)
    pool = urllib3.HTTPSConnectionPool(host, int(port), ca_certs=str(config.ca_file), headers=head)
    path = url.removeprefix(config.endpoint)
    return {
        "felhom-agent": lambda: client.get(*PATH),
        "proxmoxer": lambda: api("/".join(map(str, PATH))).get(),
        "requests": lambda: session.get(url).json()["data"],
        "urllib3": lambda: json.loads(pool.request("GET", path).data)["data"],
    }


def measure(callers: dict[str, Callable[[], object]], calls: int, rounds: int) -> dict[str, float]:
    """Return the microseconds of processor time per call, by name."""
    best = dict.fromkeys(callers, float("inf"))
    for _ in range(rounds):
        for name, call in callers.items():
            begin = time.process_time()
            for _ in range(calls):
                call()
            best[name] = min(best[name], (time.process_time() - begin) / calls * 1e6)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=500, help="per round")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true", help="one JSON object, no table")
    given = parser.parse_args()
    with served(Fleet(2, delay=0.0)) as node:
        best = measure(callers(load(node.config).proxmox), given.calls, given.rounds)
    if given.json:
        print(json.dumps({name: round(micros, 1) for name, micros in best.items()}))
        return
    print(f"{'':14}{'us per GET':>12}{'of urllib3':>12}")
    for name, micros in best.items():
        print(f"{name:14}{micros:12.0f}{micros / best['urllib3']:12.2f}")


if __name__ == "__main__":
    main()
