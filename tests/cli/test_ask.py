"""Commands that speak to the running agent: what they take, and what they say without one."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from felhom_agent.cli.ask import duration, socket_of
from felhom_agent.cli.main import main
from felhom_agent.config.place import DEFAULT_PATH
from felhom_agent.config.settings import ControlConfig
from felhom_agent.errors import ConfigError
from tests.conftest import Site

COMMANDS = [
    ["reconcile"],
    ["pause", "101"],
    ["pause", "--all", "--for", "2h"],
    ["resume", "101", "102"],
    ["freeze", "--why", "moving"],
    ["thaw"],
    ["approve", "3f9c2a71"],
]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400), ("366d", 366 * 86400)],
)
def test_a_time_is_told_in_seconds_minutes_hours_or_days(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "0", "0h", "-5", "+5", "1.5h", "2 h", "2H", "1w", "h", "1h30m", "367d", "\u0662h", "1_0",
     "9999999999", "999999999d"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no time like 90s"):
        duration(text)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_where_no_agent_runs_one_line_says_so_and_what_to_do(
    site: Site, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["--config", str(site.write_config()), *words]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"felhom-agent: no agent runs here ({site.directory}/control.sock); "
        f"systemctl start felhom-agent starts it\n"
    )


@pytest.mark.parametrize("command", ["pause", "resume"])
@pytest.mark.parametrize("words", [[], ["101", "--all"]])
def test_guests_are_named_or_all_are_meant(
    site: Site, capsys: pytest.CaptureFixture[str], command: str, words: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--config", str(site.write_config()), command, *words])
    assert caught.value.code == 64
    assert "name guests by their VMID, or say --all" in capsys.readouterr().err


def test_a_freeze_needs_its_reason(site: Site) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--config", str(site.write_config()), "freeze"])
    assert caught.value.code == 64


class TestSocket:
    def test_a_file_with_errors_elsewhere_still_names_it(self, tmp_path: Path) -> None:
        path = tmp_path / "agent.toml"
        path.write_text('[proxmox]\nendpont = 1\n[control]\nsocket = "a/b.sock"\n')
        assert socket_of(path) == tmp_path / "a" / "b.sock"

    def test_a_file_that_names_none_means_the_usual_one(self, tmp_path: Path) -> None:
        path = tmp_path / "agent.toml"
        path.write_text("[proxmox]\n")
        assert socket_of(path) == ControlConfig().socket

    @pytest.mark.parametrize("text", ["[control", '[control]\nsokcet = "x"\n', None])
    def test_where_it_cannot_be_told_the_file_is_named(
        self, tmp_path: Path, text: str | None
    ) -> None:
        path = tmp_path / "agent.toml"
        if text is not None:
            path.write_text(text)
        with pytest.raises(ConfigError):
            socket_of(path)

    @pytest.mark.skipif(DEFAULT_PATH.exists(), reason="an agent is installed here")
    def test_without_any_file_the_usual_agent_is_meant(self) -> None:
        assert socket_of(DEFAULT_PATH) == Path("/run/felhom-agent/control.sock")
