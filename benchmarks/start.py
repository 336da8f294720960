"""What a start costs: seconds and processor time until the agent says that it is ready, and its
memory when it is idle.

`python -m benchmarks.start` runs the daemon as the service manager does, against an embedded node
in a process of its own, and a few commands that ask nobody, each some times. The least counts; the
first time of each compiles the code, as an installation does.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.node import Fleet, served

_DEADLINE = 60.0
_PROGRAM = [sys.executable, "-m", "felhom_agent"]


def daemon(config: Path, idle: float, environment: Mapping[str, str]) -> dict[str, float]:
    """Given an agent.toml, start the daemon, let it idle that many seconds, and stop it.

    Return the seconds until it was ready, and its resident memory at the end in MiB.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard,
    ):
        heard.bind(f"{name}/notify")
        heard.settimeout(_DEADLINE)
        begin = time.monotonic()
        process = subprocess.Popen(  # noqa: S603  # this very program
            [*_PROGRAM, "--config", str(config), "run"],
            env={**environment, "NOTIFY_SOCKET": f"{name}/notify"},
            stderr=subprocess.DEVNULL,
        )
        try:
            while b"READY=1" not in heard.recv(4096):
                pass
            ready = time.monotonic() - begin
            time.sleep(idle)
            memory = _rss(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_DEADLINE)
    return {"ready s": ready, "idle MiB": memory}


def command(environment: Mapping[str, str], *words: str) -> dict[str, float]:
    """Given a command line, run it; return the processor seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(  # noqa: S603  # this very program
        [*_PROGRAM, *words], stdout=subprocess.DEVNULL, check=True, env=environment
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def least(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the least of each figure."""
    return {name: round(min(r[name] for r in rounds), 3) for name in rounds[0]}


def _rss(pid: int) -> float:
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) / 1024 for row in rows if row.startswith("VmRSS:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--guests", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=float, default=2.0, metavar="SECONDS")
    given = parser.parse_args()
    turns = range(given.rounds)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as cache,
        served(Fleet(given.guests, delay=0.0)) as node,
    ):
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        figures = {"run": least([daemon(node.config, given.idle, env) for _ in turns])}
        for words in (("--version",), ("history", "--help"), ("plan", "--help")):
            figures[" ".join(words)] = least([command(env, *words) for _ in turns])
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
