"""What root is shown as declared is what the agent has in force, whatever root may read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent import __version__
from felhom_agent.config.agentfile import load
from felhom_agent.daemon.assembly import provider_for
from felhom_agent.printable import moment_text
from tests.cli.agents import answering
from tests.cli.hosts import NOBODY, Host, needs_root, opened_host
from tests.commands import Felhom, typed
from tests.conftest import Site

IN_FORCE = "[guest.100.config]\ncores = 1\n"
EDITED = "[guest.100.config]\ncores = 3\n[guest.200.config]\ncores = 3\n"


@pytest.fixture
def host(site: Site, capsys: pytest.CaptureFixture[str]) -> Iterator[Host]:
    yield from opened_host(site, capsys)


@pytest.fixture
def felhom(host: Host, capsys: pytest.CaptureFixture[str]) -> Felhom:
    return typed(host.directory / "agent.toml", capsys)


def come_into_force(host: Host) -> None:
    """Keep what is declared now as an agent does that has it in force."""
    provider_for(load(host.directory / "agent.toml")).load()
    for path in (host.directory / "journal").rglob("*"):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)


def status(looked: float, *problems: dict[str, object]) -> dict[str, object]:
    """Return what a running agent tells that looked at that time."""
    return {
        "schema": 1, "version": __version__, "node": "pve1", "guests": [],
        "problems": list(problems), "last_pass": {"at": moment_text(looked)},
    }  # fmt: skip


@pytest.fixture
def edited(host: Host) -> Path:
    """Return a file whose last text the service's user cannot read."""
    host.declare(IN_FORCE)
    come_into_force(host)
    path = host.declare(EDITED)
    path.chmod(0o600)
    return path


@needs_root
def test_a_plan_goes_by_the_last_good_version_of_what_the_service_cannot_read(
    edited: Path, felhom: Felhom
) -> None:
    code, out, err = felhom("plan", "100")
    assert code == 1
    assert "Plan: 1 as declared" in out
    assert f"{edited}: cannot be read: user nobody may not read {edited} (mode 0600" in err
    assert "; as root: chgrp " in err
    assert "last good version of " in err


@needs_root
def test_an_apply_of_it_changes_nothing_and_does_not_say_done(
    site: Site, host: Host, edited: Path, felhom: Felhom
) -> None:
    with answering(host.directory / "control.sock", status=status(time.time())):
        code, out, err = felhom("apply", "100", "--yes")
    assert code == 1
    assert out.splitlines()[-1] == "Nothing is to be done."
    assert f"user nobody may not read {edited}" in err
    assert site.devnode.mutations == ()


@needs_root
def test_a_guest_that_only_the_unread_text_declares_is_none_that_is_declared(
    edited: Path, felhom: Felhom
) -> None:
    code, _, err = felhom("plan", "200")
    assert code == 1
    assert "not declared: 200; a guest file has an error: " in err
    assert str(edited) in err
    code, out, _ = felhom("adopt", "100", "200", "-o", "-")
    assert code == 0
    assert "[guest.200" in out
    assert "[guest.100" not in out


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o744, 0o711])
def test_a_directory_that_the_service_cannot_list_leaves_all_in_force(
    host: Host, felhom: Felhom, mode: int
) -> None:
    host.declare(IN_FORCE)
    come_into_force(host)
    host.declare(EDITED)
    host.guests.chmod(mode)
    code, out, err = felhom("plan", "100")
    assert code == 1
    assert "Plan: 1 as declared" in out
    assert f"{host.guests}" in err
    assert f"user nobody may not {'enter' if mode == 0o744 else 'read'}" in err
    assert "last good version of " in err


@needs_root
def test_a_file_that_was_never_in_force_declares_nothing(host: Host, felhom: Felhom) -> None:
    path = host.declare(IN_FORCE)
    path.chmod(0o600)
    code, out, err = felhom("plan")
    assert code == 1
    assert "no guest is declared" in out or "not declared" in out
    assert str(path) in err
    code, _, err = felhom("adopt", "200", "-o", "-")
    assert code == 1
    assert "mend it first: nobody knows which guests it declares" in err


@needs_root
def test_check_tells_the_last_good_version_where_no_agent_runs(edited: Path, host: Host) -> None:
    (fault,) = (text for text in host.faults() if str(edited) in text)
    assert "; its last good version of " in fault


def test_what_a_running_agent_could_not_read_counts_as_unread_until_it_is_touched(
    host: Host, felhom: Felhom
) -> None:
    path = host.declare("[guest.100.config]\ncores = 3\n")
    row = {"file": str(path), "line": 0, "text": "cannot be read: Permission denied"}

    with answering(host.directory / "control.sock", status=status(time.time() + 60, row)):
        code, out, err = felhom("plan")
    assert code == 1
    assert "cores" not in out
    assert f"{path}: cannot be read: so the running agent" in err
    with answering(host.directory / "control.sock", status=status(time.time() - 60, row)):
        assert "cores  1 -> 3" in felhom("plan")[1]
