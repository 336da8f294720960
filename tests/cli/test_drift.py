"""How to cause drift in a devnode: the printed lines work as they stand, pasted into a shell."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process import SOON, Process

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


@contextmanager
def devnode(site: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Hold a devnode for the length of a block, also of one that fails."""
    command = [sys.executable, "-m", "felhom_agent", "devnode", "--dir", str(site), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as node:
        try:
            yield node
        finally:
            node.kill()


def said_by(node: subprocess.Popen[str], curls: int) -> str:
    assert node.stdout is not None
    said = ""
    while said.count("  curl ") < curls and (line := node.stdout.readline()):
        said += line
    return said


def pasted(line: str) -> None:
    """Run a line as if it were typed: with `!` expanded, and a proxy that does not answer."""
    subprocess.run(
        ["bash"],
        input=f"set -o history; set -H\n{line}\n",
        text=True,
        check=True,
        capture_output=True,
        timeout=SOON,
        env={**os.environ, "https_proxy": "http://127.0.0.1:9", "HISTFILE": "/dev/null"},
    )


@pytest.mark.parametrize("name", ["site", "a site's, with $HOME and !x"])
def test_the_printed_lines_cause_drift_that_a_running_agent_puts_back(
    tmp_path: Path, name: str
) -> None:
    site = tmp_path / name
    with devnode(site) as node:
        said = said_by(node, 2)
        assert (site / "token").read_text().strip() not in said
        agent = Process(site / "agent.toml")
        agent.wait_for("guest 200 dns: done: set")
        agent.wait_for("guest 101 web: done: set")
        value, stop = (line for line in said.splitlines() if line.startswith("  curl "))
        pasted(value)
        agent.wait_for("guest 101 web: done: set description: 'out of order' -> ")
        pasted(stop)
        agent.wait_for("guest 200 dns: done: start")
        assert agent.end() == 0
        node.send_signal(signal.SIGINT)
        assert node.wait(SOON) == 0


@pytest.mark.parametrize(("guests", "lines"), [(1, 1), (2, 2), (12, 2)])
def test_only_guests_that_are_there_are_named(tmp_path: Path, guests: int, lines: int) -> None:
    with devnode(tmp_path / "site", "--guests", str(guests)) as node:
        said = said_by(node, lines)
        node.terminate()
        assert node.wait(SOON) == 0
        assert node.stdout is not None
        rest = node.stdout.read()
    curls = [line for line in (said + rest).splitlines() if line.startswith("  curl ")]
    assert len(curls) == lines
    vmids = {int(line.split("/nodes/pve1/")[1].split("/")[1]) for line in curls}
    assert vmids <= ({100, 101, 102, 103, 200, 201, 202, 203} if guests > 4 else {100, 101})
