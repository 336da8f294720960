"""What pages tell a reader to type is run by a test, and what they name is there."""

from __future__ import annotations

import re
import shlex

import pytest

from felhom_agent.cli.commands import COMMANDS
from felhom_agent.cli.main import parsed_words
from tests.pages import ROOT, RUN_BY, blocks, commands, names, spans
from tools.site import parts

PAGES = names()
PROGRAMS = (
    "felhom-agent", "pveum", "pct", "qm", "systemctl", "journalctl", "apt", "curl", "make", "sed",
    "install", "mv", "export", "setfacl", "ssh-keygen",
)  # fmt: skip
LANGUAGES = {"sh", "bash", "toml", "text", "json", "ini", "mermaid"}
"""`bash` is a file with a script."""
PLACES = {
    "VMID": "101", "PLAN-ID": "3f9c2a71", "HEAD": 64 * "0", "JOBID": "web", "NAME": "web",
    "KIND": "qemu", "OPTION": "tags", "DESIRED": "a", "ACTUAL": "b", "FILE": "web", "DIR": "web",
    "...": "text",
}  # fmt: skip
"""What a page writes where a reader puts something of his own."""


def test_every_page_whose_commands_are_run_is_there() -> None:
    assert RUN_BY.keys() <= set(PAGES)
    assert [test for test in RUN_BY.values() if not (ROOT / test).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_page_with_commands_has_a_test_that_runs_them(page: str) -> None:
    assert bool(commands(page)) == (page in RUN_BY)


@pytest.mark.parametrize("page", PAGES)
def test_a_block_says_what_it_is_and_commands_stand_in_blocks_of_commands(page: str) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, block.text
        first = block.lines[0].split()[0]
        assert block.language == "sh" or first not in PROGRAMS or page in ("docs/commands.md",)
        if block.language == "sh":
            assert {line.split()[0] for line in block.lines} <= set(PROGRAMS), block.text


@pytest.mark.parametrize("page", PAGES)
def test_a_command_that_the_text_names_has_these_words(page: str) -> None:
    for span in spans(page):
        if span.startswith("felhom-agent ") and span.split()[1] in COMMANDS:
            words = [_put(word) for word in shlex.split(span)[1:]]
            if words[0] not in NEED_MORE or any(not word.startswith("-") for word in words[1:]):
                assert parsed_words(words).run, span


NEED_MORE = {
    "approve", "audit", "explain", "freeze", "hub", "journal", "notify", "pause", "request",
    "resume", "selftest", "sign", "signers", "submit", "verify",
}  # fmt: skip
"""Commands that a text may name alone, and that say what they lack if they are typed so."""


def _put(word: str) -> str:
    for place, value in PLACES.items():
        word = re.sub(rf"(?<![A-Z-]){re.escape(place)}(?![A-Z-])", value, word)
    return word


def test_each_page_of_docs_is_listed_once() -> None:
    listed = [
        name for page in parts((ROOT / "docs/index.md").read_text()).values() for name in page
    ]
    there = [name.removeprefix("docs/") for name in PAGES if name.startswith("docs/")]
    others = ["../CONTRIBUTING.md", "../SECURITY.md", "../CHANGELOG.md"]
    assert sorted(listed) == sorted([*others, *(name for name in there if name != "index.md")])
