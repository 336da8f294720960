"""`felhom-agent demohub`: what it leaves behind with a signal, and what `--keep` lets a person do.

Excluded: that the demo heals both guests is its own exit code, which `make demo-hub` returns; here
the whole of it is run once, with `--keep`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.process import SOON

WHOLE = 200.0
"""Deadline, in seconds, of the demo: its agents ask the hub once a minute."""


class Demo:
    """A demo that runs in a directory for temporary files of its own; `said` is what it printed."""

    def __init__(self, tmp: Path, *words: str) -> None:
        self.said = ""
        self.tmp = tmp
        self.process = subprocess.Popen(
            [sys.executable, "-m", "felhom_agent", "demohub", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp)},
        )

    def read_to(self, words: str, seconds: float = SOON) -> None:
        """Read until a line with these words was said."""
        deadline = threading.Timer(seconds, self.process.kill)
        deadline.start()
        try:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                self.said += line
                if words in line:
                    return
        finally:
            deadline.cancel()
        raise AssertionError(f"not said: {words}\n{self.said}")

    def agents(self) -> list[str]:
        """Return the process ids of agents that run on its sites."""
        found = Path("/proc").iterdir()
        return [p.name for p in found if p.name.isdigit() and self._is_ours(p)]

    def _is_ours(self, process: Path) -> bool:
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return False
        return str(self.tmp) in words and "\0run\0" in words

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=2 * SOON)
        self.said += rest
        return self.process.returncode


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    made: list[Demo] = []
    yield made
    for demo in made:
        demo.process.kill()
        demo.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words", [(), ("--keep",)])
def test_a_signal_before_its_end_ends_agents_and_nodes_and_leaves_no_file(
    tmp_path: Path, demos: list[Demo], words: tuple[str, ...], number: signal.Signals
) -> None:
    demos.append(demo := Demo(tmp_path, *words))
    demo.read_to("Two agents start")
    demo.read_to("keeps ")
    assert demo.agents()
    assert demo.end(number) == 130, demo.said
    assert "Traceback" not in demo.said
    assert demo.agents() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.minute
def test_kept_the_page_opens_with_the_printed_key_drift_is_put_back_and_a_signal_ends_it(
    tmp_path: Path, demos: list[Demo]
) -> None:
    demos.append(demo := Demo(tmp_path, "--keep"))
    demo.read_to("All of them go on until Ctrl-C", WHOLE)
    demo.read_to("its agent puts it back at once")
    demo.read_to("curl ")
    demo.read_to("curl ")
    url, key = re.search(r"page +(http\S+)/\n.*password +(\S+)", demo.said, re.S).groups()  # type: ignore[union-attr]
    you = ("operator", key)
    page = requests.get(f"{url}/", auth=you, timeout=SOON)
    assert ("pve-north" in page.text, "pve-south" in page.text) == (True, True)
    for curl in re.findall(r"^ +(curl .*)$", demo.said, re.M):
        subprocess.run(["bash", "-c", curl], check=True, timeout=SOON, capture_output=True)
    demo.read_to("done: start", SOON)
    assert demo.end(signal.SIGTERM) == 0, demo.said
    assert "Traceback" not in demo.said
    assert demo.agents() == []
    assert list(tmp_path.iterdir()) == []
