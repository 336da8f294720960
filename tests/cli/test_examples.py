"""Each example of the manual pages and of `--help` does what it says, typed as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from felhom_agent.cli.main import parsed_words, parsers
from tests.cli.pty_of import with_yes
from tests.process import SOON, Process

MAN = Path(__file__).parent.parent.parent / "packaging" / "man"

BEFORE = {
    "check": 0,
    "plan 101": 2,
    "plan 101 --json": 2,
    'explain qemu tags "b;A" "a;b"': 0,
    "trust": 0,
    "adopt 101 200-210 --observe": 0,
    "run --once --dry-run": 2,
    "selftest task --vmid 101": 0,
    "hub status": 0,
    "apply 101": 0,
}
"""Before an agent runs, in this order: the examples, and the exit code of each."""
WITH_AGENT = {
    'pause 101 --for 2h --why "disk swap"': 0,
    "resume 101": 0,
    'freeze --ttl 2h --why "the storage is moved"': 0,
    "thaw": 0,
    "reconcile": 0,
    "approve 3f9c2a71": 1,  # nothing is held under that name
    "history 101 --since 2d --failed": 0,
    "journal verify": 0,
    "jobs": 0,
    "audit verify": 0,
    "metrics": 0,
}
"""Beside a running agent, in this order."""
ENDLESS = {"status --watch", "events -f 101"}
"""They go on until Ctrl-C."""
APART = {
    "init --pool homelab": "it needs root on a Proxmox VE host; its own tests run it",
    "demo": "test_commands runs it",
    "demohub": "test_demohub runs it, for it takes a minute",
    "devnode --dir /tmp/site": "all others run on it",
    "devhub --port 8080 --db /tmp/hub.sqlite --host pve1": "test_devhub_command runs it",
    "signers init --key anna.pub": "test_signed_page types it, as the next three",
    "request rollback 101 before-upgrade -o web.request": "as above",
    "sign web.request --key ~/.ssh/id_ed25519": "as above",
    "submit web.job web.job.sig": "as above",
    "verify web.job web.job.sig": "test_verify runs it",
    "notify test": "test_notify runs it, for it takes a receiver",
    "--config /tmp/site/agent.toml plan": "all others run so",
}
"""Of these only the words are tried."""


def examples() -> set[str]:
    """Return the words of all examples, as they are typed after `felhom-agent`."""
    top, commands = parsers()
    text = "\n".join(str(parser.epilog) for parser in (top, *commands.values()))
    for page in MAN.iterdir():
        plain = re.sub(r"\\\(ga", "`", page.read_text().replace("\\-", "-"))
        text += "\n" + "\n".join(
            line for line in plain.splitlines() if re.match(r"(Example: | +)felhom-agent ", line)
        )
    found = re.findall(r"felhom-agent (.*?)(?=   \(|\)$|$)", text, re.MULTILINE)
    return {each.strip() for each in found}


def test_each_example_is_accounted_for() -> None:
    assert examples() == BEFORE.keys() | WITH_AGENT.keys() | ENDLESS | APART.keys()


@pytest.mark.parametrize("words", APART)
def test_the_words_of_what_is_shown_elsewhere_are_understood(words: str) -> None:
    assert parsed_words(shlex.split(words)).run


@dataclass
class Desk:
    """A devnode with its site, and a person's terminal."""

    config: Path

    def type(self, words: str, *, until_said: bool = False) -> tuple[int, str]:
        """Run a command at a terminal at which yes is said; return its exit code and all that it
        said. With `until_said` it is interrupted once it has said something.
        """
        command = [sys.executable, "-m", "felhom_agent", "--config", str(self.config)]
        return with_yes([*command, *shlex.split(words)], os.environ, until_said=until_said)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "felhom_agent", "devnode", "--dir", str(site)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("A PVE node listens on ")
        yield Desk(site / "agent.toml")
        process.terminate()
        assert process.wait(SOON) == 0


def test_each_example_does_what_it_says(desk: Desk) -> None:
    ended = {words: desk.type(words) for words in BEFORE}
    assert {words: code for words, (code, _) in ended.items()} == BEFORE, ended
    agent = Process(desk.config)
    try:
        agent.wait_for("felhom-agent 0")
        agent.wait_for("done: ")
        ended = {words: desk.type(words) for words in WITH_AGENT}
        assert {words: code for words, (code, _) in ended.items()} == WITH_AGENT, ended
        for words in sorted(ENDLESS):
            code, said = desk.type(words, until_said=True)
            assert (code in (0, 130), bool(said.strip())) == (True, True), (words, said)
    finally:
        agent.end()
