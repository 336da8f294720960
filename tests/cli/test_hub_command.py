"""`felhom-agent hub`: what is kept of the hub, and the owner's word over it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import HubConfig
from felhom_agent.desired.claims import Claims
from felhom_agent.desired.hub import NAME, HubProvider, HubState
from felhom_agent.journal import lock
from tests.commands import Felhom, typed
from tests.conftest import Site

STATE = {"guest": {"100": {"state": "running"}, "300": {}}}


@pytest.fixture
def path(site: Site) -> Path:
    return site.write_config(
        '[hub]\nurl = "https://hub.example"\nhost_id = "north"\nguests = ["100-199"]\n'
    )


@pytest.fixture
def felhom(path: Path, capsys: pytest.CaptureFixture[str]) -> Felhom:
    return typed(path, capsys, "hub")


@pytest.fixture
def directory(path: Path) -> Path:
    """Where a hub has a generation in force, and blocks the host."""
    directory = load(path).journal.directory
    hub = HubProvider(directory, load(path).hub)
    hub.accept(7, STATE)
    hub.block(blocked=True)
    Claims(directory).share([200], [], complete=True)
    return directory


def kept(directory: Path) -> HubState:
    return HubProvider(directory, HubConfig(), keeps=False).kept


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_status_tells_what_is_kept_and_changes_nothing(directory: Path, felhom: Felhom) -> None:
    before = {p.name: p.read_bytes() for p in directory.iterdir()}
    with lock.held(directory):
        code, out, _ = felhom("status")
    assert code == 0
    assert out.splitlines() == [
        "Hub: https://hub.example as north",
        "  generation in force: 7",
        "  guests that it declares and may speak for: 100",
        "  guests that files on this host declare, or did: 200",
        "  blocks this host: yes",
        "  may block this host: yes",
        "  problem: generation 7 of the hub: ignored: [hub] guests in agent.toml does not name 300",
    ]
    assert {n: b for n, b in before.items() if n != "lock"} == {
        p.name: p.read_bytes() for p in directory.iterdir() if p.name != "lock"
    }


def test_status_where_nothing_is_kept_makes_nothing(path: Path, felhom: Felhom) -> None:
    code, out, _ = felhom("status")
    assert (code, "generation in force: none" in out) == (0, True)
    assert not load(path).journal.directory.exists()


@pytest.mark.parametrize("what", ["forget", "unblock", "trust"])
def test_beside_a_running_agent_nothing_is_changed(
    directory: Path, felhom: Felhom, what: str
) -> None:
    before = kept(directory)
    with lock.held(directory):
        code, out, err = felhom(what, "--yes")
    assert (code, out) == (75, "")
    assert "another felhom-agent (pid" in err
    assert "stop it first" in err
    assert kept(directory) == before


def test_what_is_forgotten_frees_a_channel_that_was_shut(directory: Path, felhom: Felhom) -> None:
    code, out, _ = felhom("forget", "--yes")
    assert (code, out) == (0, "Forgotten. The hub is asked again when the agent starts.\n")
    assert kept(directory) == HubState(blocked=True)
    assert felhom("forget", "--yes")[1] == "It is so already; nothing was changed.\n"


def test_a_block_ends_and_none_is_allowed_until_the_hub_is_trusted_again(
    directory: Path, felhom: Felhom
) -> None:
    code, out, _ = felhom("unblock", "--yes")
    assert (code, "cannot until `felhom-agent hub trust`" in out) == (0, True)
    assert (kept(directory).blocked, kept(directory).may_block) == (False, False)
    assert "may block this host: no" in felhom("status")[1]
    assert felhom("unblock", "--yes")[1] == "It is so already; nothing was changed.\n"
    assert felhom("trust", "--yes")[:2] == (0, "The hub may block this host again.\n")
    assert kept(directory).may_block


@pytest.mark.parametrize(("answer", "done"), [("y\n", True), ("YES\n", True), ("\n", False),
                                              ("n\n", False), ("", False)])  # fmt: skip
def test_it_asks_on_a_terminal(
    directory: Path, felhom: Felhom, monkeypatch: pytest.MonkeyPatch, answer: str, done: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    code, out, _ = felhom("forget")
    assert "This forgets generation 7" in out
    assert "Do this? [y/N]" in out
    assert (code == 0, "Nothing was changed." in out) == (done, not done)
    assert (kept(directory).generation == 0) == done


def test_where_nobody_can_be_asked_it_wants_a_yes(
    directory: Path, felhom: Felhom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code, _, err = felhom("forget")
    assert (code, "say --yes" in err) == (1, True)
    assert kept(directory).generation == 7


def test_what_is_damaged_is_told(directory: Path, felhom: Felhom) -> None:
    (directory / NAME).write_bytes(b"garbage")
    code, out, _ = felhom("status")
    assert (code, "is damaged; the agent sets it aside" in out) == (0, True)
    code, _, err = felhom("unblock", "--yes")
    assert (code, "is set aside as hub.json.damaged" in err) == (0, True)
    assert not kept(directory).may_block


def test_what_cannot_be_read_is_told_and_nothing_foretold(directory: Path, felhom: Felhom) -> None:
    (directory / NAME).unlink()
    (directory / NAME).symlink_to(directory / NAME)
    problem = felhom("status")[1].splitlines()[-1]
    assert problem.endswith("hub.json: cannot be read: Too many levels of symbolic links")
