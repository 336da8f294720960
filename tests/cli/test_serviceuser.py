"""As whom the agent runs is told by its unit, or by its journal's owner."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest

from felhom_agent.cli.serviceuser import group_name, service_of, unit_of, user_name
from felhom_agent.config.place import DEFAULT_PATH
from tests.cli.hosts import NOBODY, needs_root
from tests.conftest import Site

SHOWN = """\
Result=success
ExecMainStatus=0
ExecStart={ path=/usr/bin/felhom-agent ; argv[]=/usr/bin/felhom-agent run ; ignore_errors=no }
User=felhom-agent
Group=felhom-admin
SupplementaryGroups=felhom-agent
LoadState=loaded
ActiveState=active
ProtectHome=yes
"""


def test_the_unit_counts_for_the_agent_toml_that_it_runs_with_alone(tmp_path: Path) -> None:
    assert unit_of(SHOWN, DEFAULT_PATH)["User"] == "felhom-agent"
    assert unit_of(SHOWN, tmp_path / "agent.toml") == {}
    other = SHOWN.replace("felhom-agent run", f"felhom-agent --config {tmp_path}/agent.toml run")
    assert unit_of(other, tmp_path / "agent.toml")["ActiveState"] == "active"
    assert unit_of(other, DEFAULT_PATH) == {}


def test_a_unit_that_is_not_there_tells_nothing() -> None:
    assert unit_of(SHOWN.replace("loaded", "not-found"), DEFAULT_PATH) == {}
    assert unit_of("", DEFAULT_PATH) == {}


def test_where_no_unit_tells_the_agent_is_the_journals_owner(site: Site) -> None:
    user = service_of(site.config()).user
    assert user is not None
    assert user.uid == os.geteuid()


@needs_root
def test_the_user_of_the_unit_goes_before_the_journals_owner(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first start nobody but root has a journal, and `check` comes before it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    config = site.config()
    daemon = pwd.getpwnam("daemon")
    (programs / "systemctl").write_text(
        f"#!{sys.executable}\nprint('LoadState=loaded')\nprint('User=nobody')\n"
        f"print('Group={daemon.pw_gid}')\nprint('SupplementaryGroups=sys nosuch')\n"
        f"print('ExecStart=felhom-agent --config {config.path} run')\n"
    )
    (programs / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    service = service_of(config)
    assert service.is_other
    assert service.user is not None
    assert service.user.uid == NOBODY.pw_uid
    assert {NOBODY.pw_gid, daemon.pw_gid, pwd.getpwnam("sys").pw_gid} <= service.user.gids


def test_a_systemctl_that_fails_tells_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "systemctl").write_text(f"#!{sys.executable}\nraise SystemExit(1)\n")
    (programs / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    assert service_of(site.config()).unit == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert service_of(site.config()).unit == {}


def test_who_has_no_name_is_told_by_number() -> None:
    assert (user_name(0), group_name(0)) == ("root", "root")
    assert (user_name(4_000_000_000), group_name(4_000_000_000)) == ("4000000000", "4000000000")
