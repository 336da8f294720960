"""What the daemon costs as a process: its start, and a minute in which nothing happens.

`python -m benchmarks.process [--guests N] [--seconds S]` prints one row as JSON. The daemon is
started as systemd starts it, with a socket that hears READY and STATUS; the node is a process of
its own. The minute begins once the first pass has told how it went, so one pass falls into it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measure import Row, cpu_of, memory
from benchmarks.node import Fleet, Remote, served

_SOON = 60.0
_EXTRA = "\n[reconcile]\ninterval = {interval}\njitter = 0\n"


def run(guests: int, seconds: float, delay: float) -> list[Row]:
    """Given how many guests there are, how long to watch and the seconds per answer, return what
    the daemon cost; nothing where it has no way to say that it is ready.
    """
    if find_spec("systemd") is None:
        print("python3-systemd is not there: no start-up, no idle minute", file=sys.stderr)
        return []
    with served(Fleet(guests, delay)) as node, tempfile.TemporaryDirectory() as name:
        with node.config.open("a") as config:
            config.write(_EXTRA.format(interval=max(1.0, seconds)))
        return [_measured(node, Path(name) / "notify", guests, seconds)]


def _measured(node: Remote, address: Path, guests: int, seconds: float) -> Row:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(address))
        told.settimeout(_SOON)
        begun = time.monotonic()
        with daemon(node, address) as pid:
            await_word(told, "READY=1")
            ready = time.monotonic() - begun
            await_word(told, "STATUS=", f"{guests} guests as declared")
            first_pass, used = time.monotonic() - begun, cpu_of(pid)
            node.tell("requests")
            time.sleep(seconds)
            idle = (cpu_of(pid) - used) * 60 / seconds
            rss, peak = memory(pid)
            asked = node.tell("requests")["all"] * 60 / seconds
    return {
        "table": "process", "guests": guests, "ready": ready, "first_pass": first_pass,
        "begin_cpu": used, "idle_cpu": idle, "idle_requests": asked, "rss": rss, "peak": peak,
    }  # fmt: skip


@contextmanager
def daemon(node: Remote, address: Path) -> Iterator[int]:
    """Hold a running daemon for the length of a block; yield its process id."""
    process = subprocess.Popen(  # noqa: S603  ourselves
        [sys.executable, "-m", "felhom_agent", "--config", str(node.config), "run"],
        env={**os.environ, "NOTIFY_SOCKET": str(address)},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_SOON)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_word(told: socket.socket, word: str, text: str = "") -> None:
    """Return once the daemon says that word with that text. Raise TimeoutError if it is silent."""
    end = time.monotonic() + _SOON
    while True:
        lines = told.recv(4096).decode().splitlines()
        if any(line.startswith(word) and text in line for line in lines):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"the daemon did not say {word}{text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--guests", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--delay", type=float, default=0.015)
    given = parser.parse_args()
    print(json.dumps(run(given.guests, given.seconds, given.delay)))


if __name__ == "__main__":
    main()
