"""What an earlier version left on a host is opened by this one: an upgrade loses nothing.

`python -m tools.released` adds the present version's at each release; those of versions that were
released are never written again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from felhom_agent import __version__
from felhom_agent.config.agentfile import load
from felhom_agent.desired.hub import HubProvider
from felhom_agent.durable.line import VERSION
from tests.commands import QUICK, Start, typed
from tests.conftest import Site
from tools.released import words

RELEASED = Path(__file__).parent / "data" / "released"
VERSIONS = sorted(path.name for path in RELEASED.iterdir())


@pytest.fixture(params=VERSIONS)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What one version left, as it is on a host."""
    place = Path(shutil.copytree(RELEASED / str(request.param), tmp_path / "left"))
    keep(place / "journal")
    return place


def keep(directory: Path) -> None:
    """Give a journal the rights that git does not keep."""
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


def test_this_version_has_left_its_own() -> None:
    """`python -m tools.released` writes it."""
    assert __version__ in VERSIONS


def test_a_word_that_it_would_take_for_damage_is_of_a_newer_format(left: Path) -> None:
    """Raise the journal's format; or, for a version that is not released, `tools.released`."""
    known = json.loads((left / "expected.json").read_text())["journal"]
    if known["format"] == VERSION:
        assert set(words()) <= set(known["words"])


def test_its_agent_toml_is_good_and_means_what_it_meant(left: Path) -> None:
    config = load(left / "agent.toml")
    assert config.proxmox.token_id == "felhom-agent@pve!agent"
    assert config.reconcile.backoff_first == 1
    assert config.hub.names(300)


def test_every_setting_that_it_knew_may_still_be_said(left: Path) -> None:
    load(left / "settings.toml")


def test_its_guest_files_are_good(left: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = typed(left / "agent.toml", capsys)("check", str(left / "guests.d"))
    assert (code, err) == (0, ""), out


def test_its_journal_is_whole_and_tells_the_same(
    left: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    felhom = typed(left / "agent.toml", capsys)
    assert felhom("journal", "verify")[0] == 0
    assert felhom("audit", "verify")[0] == 0
    expected = json.loads((left / "expected.json").read_text())
    rows = json.loads(felhom("history", "--json", "-n", "10000")[1])["operations"]
    assert of(rows, expected["operations"]) == expected["operations"]
    entries = json.loads(felhom("audit", "--json", "-n", "10000")[1])["entries"]
    assert of(entries, expected["decisions"]) == expected["decisions"]


def of(rows: list[dict[str, object]], like: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return of each row what the expected ones have."""
    return [{key: row[key] for key in like[0]} for row in rows]


def test_what_its_hub_asked_for_is_in_force(left: Path) -> None:
    desired = HubProvider(left / "journal", load(left / "agent.toml").hub, keeps=False).load()
    assert desired.problems == ()
    assert sorted(desired.guests) == list(range(300, 306))
    assert desired.guests[300].config == {"description": "set by the hub"}


def test_an_agent_starts_on_it_and_goes_on_with_what_it_says(
    left: Path, site: Site, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = site.directory / "journal"
    shutil.rmtree(journal, ignore_errors=True)
    shutil.copytree(left / "journal", journal)
    site.world.add("qemu", 101, {"name": "web", "memory": 512})
    site.declare('[guest.101]\nstate = "running"\n')
    agent = start(settings=f'{QUICK}[control]\nsocket = "control.sock"\n')
    agent.wait_for("guest 101 web: waits: ")
    felhom = typed(site.directory / "agent.toml", capsys)
    assert "disk swap" in felhom("status")[1], "the pause outlives the upgrade"
    agent.end()
    expected = json.loads((left / "expected.json").read_text())["operations"]
    rows = json.loads(felhom("history", "--json", "-n", "10000")[1])["operations"]
    assert of(rows, expected)[: len(expected)] == expected
    assert felhom("journal", "verify")[0] == 0
    assert felhom("audit", "verify")[0] == 0


def test_a_journal_of_a_later_version_is_left_as_it_is(
    left: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A downgrade over a change of the format: said, and nothing is done."""
    path = left / "journal" / "journal.jsonl"
    # That the digit alone was changed would be damage: the checksum tells.
    later = f'{{"v":{VERSION + 1},"number":'
    text = path.read_text().replace(f'{{"v":{VERSION},"n":', later)
    path.write_text(text)
    (left / "token").touch(mode=0o600)
    (left / "token").write_text("00000000-0000-0000-0000-000000000000")
    felhom = typed(left / "agent.toml", capsys)
    for typing in (("journal", "repair"), ("history",), ("run", "--once")):
        code, _, err = felhom(*typing)
        assert "written by a newer felhom-agent" in err, typing
        assert "install that version again" in err, typing
        assert code == 65, typing
    assert "; install that version again" in felhom("journal", "verify")[1]
    assert path.read_text() == text


def test_a_setting_of_a_later_version_is_named_and_nothing_is_begun(
    left: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (left / "agent.toml").open("a") as file:
        file.write("[of_a_later_version]\nx = 1\n")
    code, _, err = typed(left / "agent.toml", capsys)("run", "--once")
    assert code == 78
    assert "unknown section [of_a_later_version]" in err
