"""What a quiet host costs where it tells of what happens, and how soon something is put back.

`python -m benchmarks.quiet [--guests N] [--seconds S] [--settle S]` prints one row as JSON. The
daemon and the helper of its hints are processes of their own; what pmxcfs and the kernel tell is
written into directories as they do it. The minutes are counted once the first pass is over.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import felhom_agent
from benchmarks.measure import Row, cpu_of
from benchmarks.node import FIRST, Fleet, Remote, kind_of, served
from benchmarks.process import await_word, daemon

_SOON = 60.0
_POLL = 0.05
_SETTINGS = """
[reconcile]
jitter = 0
[hints]
directory = "{copies}"
cgroups = "{cgroups}"
settle = {settle}
"""


class ToldHost:
    """The files by which a host tells, under one directory."""

    def __init__(self, directory: Path, guests: int) -> None:
        self.pmxcfs, self.copies = directory / "pve", directory / "copies"
        self.cgroups = directory / "cgroup"
        self._version = 1
        self._ids = {
            str(v): {"node": "pve1", "type": kind_of(v), "version": 1}
            for v in range(FIRST, FIRST + guests)
        }
        self.pmxcfs.mkdir()
        self.copies.mkdir(mode=0o750)
        for vmid in range(FIRST, FIRST + guests):
            self._group(vmid).mkdir(parents=True)
        (self.cgroups / "cgroup.controllers").write_text("cpu memory\n")
        self._write()

    def written(self, vmid: int) -> None:
        """Tell that a guest's configuration was written."""
        self._version += 1
        self._ids[str(vmid)]["version"] = self._version
        self._write()

    def stopped(self, vmid: int) -> None:
        """Tell that a guest's process is gone."""
        self._group(vmid).rmdir()

    def _group(self, vmid: int) -> Path:
        if kind_of(vmid) == "lxc":
            return self.cgroups / "lxc" / str(vmid)
        return self.cgroups / "qemu.slice" / f"{vmid}.scope"

    def _write(self) -> None:
        told = {"version": self._version, "ids": self._ids}
        counters = {"starttime": 1_790_000_000, "vmlist": self._version}
        for name, data in ((".vmlist", told), (".version", counters)):
            new = self.pmxcfs / f"{name}.new"
            new.write_text(json.dumps(data))
            new.rename(self.pmxcfs / name)


def run(guests: int, seconds: float, delay: float, settle: float) -> list[Row]:
    """Given how many guests there are, how long to watch, the seconds per answer and for how long a
    stopped guest is left alone, return what the quiet costs and how soon it ends.
    """
    if find_spec("systemd") is None:
        print("python3-systemd is not there: no quiet minutes", file=sys.stderr)
        return []
    with served(Fleet(guests, delay)) as node, tempfile.TemporaryDirectory() as name:
        host = ToldHost(Path(name), guests)
        with node.config.open("a") as config:
            config.write(_SETTINGS.format(copies=host.copies, cgroups=host.cgroups, settle=settle))
        with _helper(host) as helper:
            return [_measured(node, host, helper, Path(name) / "notify", seconds, settle)]


def _measured(
    node: Remote, host: ToldHost, helper: int, address: Path, seconds: float, settle: float
) -> Row:
    guests = node.fleet.guests
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(address))
        told.settimeout(_SOON)
        with daemon(node, address) as pid:
            await_word(told, "STATUS=", f"{guests} guests as declared")
            time.sleep(min(5.0, seconds))  # until what the first pass began is over
            node.tell("requests")
            own, helps = cpu_of(pid), cpu_of(helper)
            time.sleep(seconds)
            own, helps = cpu_of(pid) - own, cpu_of(helper) - helps
            asked = node.tell("requests")["all"]
            changed, stopped = FIRST, FIRST + 1
            node.tell("spoil", configs=[changed], states=[])
            host.written(changed)
            change = _until_healed(node)
            node.tell("spoil", configs=[], states=[stopped])
            host.stopped(stopped)
            stop = _until_healed(node)
    minutes = seconds / 60
    return {
        "table": "quiet", "guests": guests, "seconds": seconds, "requests": asked / minutes,
        "cpu": (own + helps) / minutes, "helper": helps / minutes, "change": change,
        "settle": settle, "stop": stop,
    }  # fmt: skip


def _until_healed(node: Remote) -> float:
    return _until(lambda: node.tell("differ")["guests"] == 0)


def _until(done: Callable[[], bool]) -> float:
    """Return after how many seconds something is so. Raise TimeoutError if it never is."""
    begun = time.monotonic()
    while not done():
        if time.monotonic() - begun > 10 * _SOON:
            raise TimeoutError("nothing was put back")
        time.sleep(_POLL)
    return time.monotonic() - begun


@contextmanager
def _helper(host: ToldHost) -> Iterator[int]:
    """Hold the helper of the hints for the length of a block; yield its process id."""
    # As its unit runs it: by its path, since it needs nothing of the package.
    words = [sys.executable, "-I", str(Path(felhom_agent.__file__).parent / "hintshelper.py")]
    process = subprocess.Popen(  # noqa: S603  ourselves
        [*words, str(host.pmxcfs), str(host.copies)], stderr=subprocess.DEVNULL
    )
    try:
        _until((host.copies / ".version").exists)
        yield process.pid
    finally:
        process.terminate()
        process.wait(_SOON)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--guests", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--delay", type=float, default=0.015)
    parser.add_argument("--settle", type=float, default=30.0)
    given = parser.parse_args()
    print(json.dumps(run(given.guests, given.seconds, given.delay, given.settle)))


if __name__ == "__main__":
    main()
