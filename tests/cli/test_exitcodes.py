"""One table of exit codes holds for every command: what went wrong decides, not who tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import Felhom
from tests.conftest import Site

ASK_THE_NODE = (
    "plan", "plan 100", "adopt --all -o -", "adopt 100 -o -", "apply --yes", "apply 100 --yes",
    "check", "selftest read", "selftest task --vmid 100 --yes", "trust --yes", "trust",
    "run --once", "run --once --dry-run",
)  # fmt: skip
READ_THE_JOURNAL = (
    "plan", "apply --yes", "check", "selftest read", "selftest task --vmid 100 --yes",
    "run --once", "run --once --dry-run", "history", "history 100", "history --json",
    "journal verify", "jobs",
)  # fmt: skip
READ_THE_SETTINGS = sorted({
    *ASK_THE_NODE, *READ_THE_JOURNAL, "journal repair", "audit", "audit verify", "run",
    "hub status", "notify test",
})  # fmt: skip
ASK_THE_AGENT = (
    "status", "pause 100", "resume 100", "freeze --why x", "thaw", "approve x", "events", "metrics",
    "reconcile",
)  # fmt: skip
"""These read no more of the settings than where the agent is to be asked."""


@pytest.fixture
def drifted(site: Site) -> Path:
    site.declare("[guest.100.config]\ncores = 2\n")
    return site.write_config()


@pytest.mark.parametrize("line", ASK_THE_NODE)
def test_a_node_that_cannot_be_reached_is_75(
    line: str, drifted: Path, felhom: Felhom, site: Site
) -> None:
    text = drifted.read_text().replace(site.devnode.endpoint, "https://127.0.0.1:9")
    drifted.write_text(text)
    code, out, said = felhom(*line.split())
    assert "https://127.0.0.1:9" in out + said
    assert code == 75


@pytest.mark.parametrize("line", READ_THE_JOURNAL)
def test_a_journal_that_is_damaged_is_65(
    line: str, drifted: Path, felhom: Felhom, site: Site
) -> None:
    assert felhom("run", "--once")[0] == 0
    path = site.directory / "journal" / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"x" + lines[2][1:], *lines[3:]]))
    code, out, said = felhom(*line.split())
    assert "damaged" in out + said or "is not" in out + said
    assert code == 65


@pytest.mark.parametrize("line", READ_THE_SETTINGS)
def test_settings_that_are_wrong_are_78(line: str, drifted: Path, felhom: Felhom) -> None:
    drifted.write_text(drifted.read_text() + "[reconcil]\n")
    code, out, said = felhom(*line.split())
    assert (code, out) == (78, "")
    assert said.startswith(f"felhom-agent: {drifted}:")


@pytest.mark.parametrize("line", [*READ_THE_SETTINGS, *ASK_THE_AGENT])
def test_settings_that_are_no_toml_are_78(line: str, drifted: Path, felhom: Felhom) -> None:
    drifted.write_text(drifted.read_text() + "[reconcile\n")
    code, out, said = felhom(*line.split())
    assert (code, out) == (78, "")
    assert said.startswith(f"felhom-agent: {drifted}:")


@pytest.mark.parametrize("line", ASK_THE_AGENT)
def test_where_no_agent_runs_it_is_1(line: str, drifted: Path, felhom: Felhom) -> None:
    code, _, said = felhom(*line.split())
    assert code == 1
    assert "no agent runs here" in said
