"""`check` tells what is wrong with the journal, its disk, and what was left behind."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.cli import healthhost
from felhom_agent.cli.health import Level
from felhom_agent.cli.main import main
from felhom_agent.cli.serviceuser import Service, User
from felhom_agent.config.settings import JournalConfig
from felhom_agent.journal.content import NAME
from tests.cli.hosts import Host, needs_root, opened_host
from tests.conftest import Site
from tests.daemon.test_disk_faults import needs_mount

GOOD = "[guest.100.config]\ncores = 2\n"
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def host(site: Site, capsys: pytest.CaptureFixture[str]) -> Iterator[Host]:
    yield from opened_host(site, capsys)


def passed(site: Site) -> Path:
    """Let an agent change a guest; return its journal's file."""
    site.declare(GOOD)
    assert main(["--config", str(site.write_config()), "run", "--once"]) == 0
    return site.directory / "journal" / NAME


def faults(site: Site, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    main(["--config", str(site.directory / "agent.toml"), "check"])
    lines = capsys.readouterr().out.splitlines()
    return [line.removeprefix("FAIL  ") for line in lines if line.startswith("FAIL")]


def test_a_damaged_journal_is_told_with_its_line_and_the_command(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    path = passed(site)
    assert faults(site, capsys) == []
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"x" * 40 + b"\n" + b"".join(lines[1:]))
    (fault,) = faults(site, capsys)
    assert fault.startswith(f"{path}:2: ")
    assert "felhom-agent journal repair" in fault


@needs_root
def test_what_root_left_in_the_journal_is_told_with_what_mends_it(host: Host) -> None:
    host.declare("")
    for name in ("lock", NAME):
        (host.directory / "journal" / name).touch(mode=0o600)
    code, findings = host.check()
    (fault,) = (f for f in findings if f["level"] == "bad")
    assert code == 1
    assert "belong to root, and the agent runs as user nobody: " in fault["text"]
    for line in fault["remedy"]:
        subprocess.run(["sh", "-ec", line], check=True)
    assert host.faults() == []


@needs_root
def test_a_journal_whose_directory_its_owner_cannot_write_is_told(host: Host) -> None:
    host.declare("")
    (host.directory / "journal").chmod(0o500)
    (fault,) = host.faults()
    assert "user nobody may not write" in fault


@needs_root
def test_who_may_not_look_into_the_journal_is_told_so_and_of_no_fault_of_it(host: Host) -> None:
    daemon = pwd.getpwnam("daemon")
    host.declare("")
    (host.directory / "journal").chmod(0o700)
    os.chown(host.directory / "token", daemon.pw_uid, daemon.pw_gid)
    # As root first, which loads all that it needs: this Python may be closed to others.
    script = (
        "import contextlib, io, os, sys; from felhom_agent.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()): main(sys.argv[3:])\n"
        "uid, gid = map(int, sys.argv[1:3]); os.setgroups([]); os.setgid(gid); os.setuid(uid)\n"
        "sys.exit(main(sys.argv[3:]))"
    )
    ids = [str(daemon.pw_uid), str(daemon.pw_gid)]
    words = ["--config", str(host.directory / "agent.toml"), "check"]
    command = [sys.executable, "-c", script, *ids, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "note  this is neither root nor the agent's user" in done.stdout
    assert f"the journal in {host.directory}/journal is not ours to read" in done.stdout


WITHIN = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]


@needs_mount
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ('head -c 9M /dev/zero > "$1/filler" 2>&1 || true', "is full: "),
        ('mount -o remount,ro "$1"', "is read-only"),
        ('i=0; while touch "$1/$i" 2>/dev/null; do i=$((i+1)); done', "takes no more files"),
    ],
    ids=["full", "read-only", "no-inodes"],
)
def test_a_disk_that_takes_nothing_is_told(site: Site, spoil: str, words: str) -> None:
    site.declare("")
    path = site.write_config()
    (site.directory / "journal").mkdir(mode=0o700)
    mount = 'mount -t tmpfs -o size=8m,nr_inodes=50,mode=700 none "$1"'
    script = f'{mount}; {spoil}; shift; exec "$@"'
    command = [sys.executable, "-m", "felhom_agent", "--config", str(path), "check"]
    done = subprocess.run(
        [*WITHIN, script, "sh", str(site.directory / "journal"), *command],
        capture_output=True,
        text=True,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(found) == 1
    assert words in found[0]
    assert "without a journal the agent changes nothing" in found[0]


@needs_mount
def test_a_disk_that_is_nearly_full_is_a_note(site: Site) -> None:
    site.declare("")
    path = site.write_config()
    (site.directory / "journal").mkdir(mode=0o700)
    script = 'mount -t tmpfs -o size=8m,mode=700 none "$1"; shift; exec "$@"'
    command = [sys.executable, "-m", "felhom_agent", "--config", str(path), "check"]
    done = subprocess.run(
        [*WITHIN, script, "sh", str(site.directory / "journal"), *command],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "has 8 MB left; the journal may need 16 MB" in done.stdout


def test_what_crashed_commands_left_is_noted(site: Site) -> None:
    config = site.config()
    copies = site.directory / "run"
    old = copies / "felhom-agent-abc"
    for path in (old, copies / "felhom-agent-new", site.directory / "journal"):
        path.mkdir(parents=True)
    left = site.guests_directory / ".a.toml.4711.new"
    cut = site.directory / "journal" / "journal.jsonl.broken"
    for path in (left, cut):
        path.touch()
    for path in (left, old):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    found = list(healthhost.of_leftovers(config, copies))
    assert {finding.level for finding in found} == {Level.NOTE}
    assert [finding.remedy for finding in found] == [
        (f"rm -r {old}",), (f"rm {left}",), (f"rm {cut}",),
    ]  # fmt: skip


def test_nothing_is_left_behind_where_nothing_was(site: Site) -> None:
    assert list(healthhost.of_leftovers(site.config(), site.directory / "run")) == []


def of_journal_of(site: Site, directory: Path, unit: dict[str, str]) -> list[str]:
    config = replace(site.config(), journal=JournalConfig(directory))
    user = User("nobody", NOBODY.pw_uid, frozenset({NOBODY.pw_gid}), "nogroup")
    found = healthhost.of_journal(config, Service(user, unit))
    return [finding.text for finding in found if not finding.good]


UNIT = {"ProtectSystem": "strict", "StateDirectory": "felhom-agent"}


@needs_root
def test_a_journal_that_systemd_makes_needs_no_directory_yet(site: Site) -> None:
    assert of_journal_of(site, Path("/var/lib/felhom-agent-none/journal"), {}) != []
    made = {**UNIT, "StateDirectory": "felhom-agent-none"}
    assert of_journal_of(site, Path("/var/lib/felhom-agent-none/journal"), made) == []


def test_a_journal_where_the_unit_lets_nothing_be_written_is_told(site: Site) -> None:
    (fault,) = of_journal_of(site, Path("/srv/journal"), UNIT)
    assert "is read-only for the service (ProtectSystem=strict of its unit)" in fault


def test_this_hosts_clock_is_asked_and_left_as_it_is() -> None:
    assert all(finding.level is Level.NOTE for finding in healthhost.of_clock())
