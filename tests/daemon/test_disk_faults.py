"""The disk under the journal fails: the agent stops changing things, says so, and looks on."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import STOP, Daemon
from felhom_agent.journal.content import NAME
from tests.conftest import Site
from tests.journal.disks import WatchedDisk, failing
from tests.process import SOON, Process, wait_until

SETTINGS = "[reconcile]\ninterval = 1\njitter = 0\nbackoff_first = 0.1\nbackoff_cap = 1\n"
# So long that a single change does not fit into what is left of a page.
DECLARED = f'[guest.100.config]\ncores = 1\ndescription = "{"long " * 1000}"\n'
ONLY_OBSERVED = "from now on guests are only observed"
BACK = "the journal can be written again"


def _may_mount() -> bool:
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True
    )
    return tried.returncode == 0


needs_mount = pytest.mark.skipif(not _may_mount(), reason="a file system of its own needs root")


class Disk:
    """A small file system under the journal of an agent that runs in a mount namespace."""

    def __init__(self, site: Site) -> None:
        self.directory = site.directory / "journal"
        self.directory.mkdir(mode=0o700)
        mount = 'mount -t tmpfs -o size=64k,mode=700 none "$1"; shift; exec "$@"'
        within = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", mount, "sh"]
        path = site.write_config(SETTINGS)
        self.agent = Process(path, within=[*within, str(self.directory)])

    def do(self, script: str) -> None:
        enter = ["nsenter", "--mount", f"--target={self.agent.pid}", "sh", "-ec", script, "sh"]
        subprocess.run([*enter, str(self.directory)], check=True)


@pytest.fixture
def disk(site: Site) -> Iterator[Disk]:
    site.declare(DECLARED)
    disk = Disk(site)
    yield disk
    if not disk.agent.is_over():
        disk.agent.end()


FILL = 'head -c 1M /dev/zero > "$1/filler" 2>&1 || true'


@needs_mount
def test_a_full_disk_ends_the_changes_until_there_is_room_again(site: Site, disk: Disk) -> None:
    agent = disk.agent
    site.world.edit(100, {"cores": "4"})
    agent.wait_for("done: set cores")
    disk.do(FILL)
    site.world.edit(100, {"description": "short"})
    disk.agent.wait_for(ONLY_OBSERVED)
    asked = len(site.devnode.mutations)
    site.world.edit(100, {"cores": "3"})
    agent.wait_for("would set cores: 3 -> 1")
    assert len(site.devnode.mutations) == asked, "nothing is changed without a journal"
    disk.do('rm "$1/filler"')
    agent.wait_for(BACK)
    wait_until(lambda: site.world.config(100)["cores"] == 1)
    assert agent.end() == 0
    assert agent.count(ONLY_OBSERVED) == 1
    assert any("No space left on device" in line for line in agent.lines if ONLY_OBSERVED in line)
    assert not agent.count("Traceback")
    begun_and_ended = (agent.count("felhom-agent 0"), agent.count(BACK), agent.count("stopped"))
    assert begun_and_ended == (1, 1, 1), "a process that goes on has neither stopped nor started"


@needs_mount
def test_an_agent_without_a_journal_stops_as_cleanly_as_any(site: Site, disk: Disk) -> None:
    disk.agent.wait_for("felhom-agent 0")
    disk.do(FILL)
    site.world.edit(100, {"description": "short"})
    disk.agent.wait_for(ONLY_OBSERVED)
    assert disk.agent.end() == 0


@contextmanager
def running(site: Site, disk: WatchedDisk) -> Iterator[threading.Thread]:
    config = site.config(interval=0.05)
    with assembled(config, disk=disk) as parts:
        daemon = Daemon(config, parts)
        thread = threading.Thread(target=daemon.run)
        thread.start()
        try:
            yield thread
        finally:
            daemon.send(STOP)
            thread.join(SOON)


def test_a_failed_sync_is_not_tried_again_and_nothing_is_asked_of_pve(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    site.declare(DECLARED)
    disk = WatchedDisk()
    with running(site, disk) as thread:
        wait_until(lambda: any("resources" in r.path for r in site.devnode.requests))
        asked = []

        def broken(call: str) -> None:
            if call == "sync":
                asked.append(len(site.devnode.mutations))
            if call in ("sync", "create"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        disk.before = broken
        site.world.edit(100, {"cores": "4"})
        wait_until(lambda: ONLY_OBSERVED in caplog.text)
        passes = len(site.devnode.requests)
        wait_until(lambda: len(site.devnode.requests) > passes + 10)
        assert asked == [len(site.devnode.mutations)], "one sync, and nothing after it"
        disk.before = lambda call: None
        thread.join(SOON)
        assert not thread.is_alive(), "it ends so that the agent is put together again"
    assert caplog.text.count(ONLY_OBSERVED) == 1


def test_a_journal_that_cannot_be_made_smaller_costs_a_warning_and_nothing_else(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.declare(DECLARED)
    disk = WatchedDisk()
    config = site.config(interval=0.05)
    with assembled(config, site.clock, disk, monotonic=site.clock) as parts:
        daemon = Daemon(config, parts)
        site.world.edit(100, {"cores": "4"})
        assert daemon.run_pass()
        disk.before = failing("create", errno.ENOSPC)
        site.clock.pass_by(90_000)
        thread = threading.Thread(target=daemon.run)
        thread.start()
        wait_until(lambda: "grows on" in caplog.text)
        site.world.edit(100, {"cores": "4"})
        wait_until(lambda: site.world.config(100)["cores"] == 1)
        daemon.send(STOP)
        thread.join(SOON)
    assert ONLY_OBSERVED not in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_journal_of_another_user_is_refused_with_both_names(site: Site) -> None:
    path = site.write_config()
    journal = site.directory / "journal"
    journal.mkdir()
    os.chown(journal, 65534, 65534)
    agent = Process(path)
    assert agent.end(None) == 1
    (said,) = (line for line in agent.lines if line != "(end)")
    assert f"{journal}" in said
    assert "it belongs to user nobody, and this is user root; run as its owner" in said
    assert list(journal.iterdir()) == [], "nothing is left behind that locks the owner out"


@needs_mount
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ('head -c 1M /dev/zero > "$D/filler" 2>&1 || true', "No space left on device"),
        ('mount -o remount,ro "$D"', "Read-only file system"),
    ],
    ids=["full", "read-only"],
)
def test_a_start_on_a_disk_that_takes_nothing_is_refused_and_leaves_the_journal_as_it_was(
    site: Site, spoil: str, why: str
) -> None:
    site.declare("")
    path = site.write_config()
    script = (
        'mount -t tmpfs -o size=64k,mode=700 none "$1"; D="$1"; B="$2"; shift 2; "$@"; '
        f'cp "$D/journal.jsonl" "$B"; {spoil}; if "$@"; then exit 99; fi; '
        'cmp "$D/journal.jsonl" "$B"'
    )
    journal = site.directory / "journal"
    journal.mkdir(mode=0o700)
    places = [str(journal), str(site.directory / "before")]
    within = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]
    agent = Process(path, "--once", within=[*within, *places])
    assert agent.end(None) == 0, agent.lines
    assert agent.count(f"cannot be opened: {why}") == 1


@needs_mount
def test_a_service_on_a_full_disk_waits_for_room_and_begins(site: Site) -> None:
    site.declare(DECLARED)
    site.world.edit(100, {"cores": "4"})
    journal = site.directory / "journal"
    journal.mkdir(mode=0o700)
    script = (
        'mount -t tmpfs -o size=64k,mode=700 none "$1"; D="$1"; shift; "$@" --once; '
        'head -c 1M /dev/zero > "$D/filler" 2>&1 || true; exec "$@"'
    )
    within = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]
    agent = Process(site.write_config(SETTINGS), within=[*within, str(journal)])
    agent.wait_for("cannot be opened: No space left on device; trying on, and nothing is done")
    site.world.edit(100, {"cores": "4"})
    enter = ["nsenter", "--mount", f"--target={agent.pid}", "rm", str(journal / "filler")]
    subprocess.run(enter, check=True)
    agent.wait_for("done: set cores", times=2)
    assert agent.end() == 0


def test_what_root_cannot_open_is_told_with_its_reason(site: Site) -> None:
    path = site.write_config()
    (site.directory / "journal").mkdir(mode=0o700)
    (site.directory / "journal" / NAME).mkdir()
    agent = Process(path, "--once")
    assert agent.end(None) == 1
    assert agent.count("journal.jsonl: cannot be opened: it is a directory and no regular") == 1


def test_the_lock_tells_who_has_the_journal(site: Site) -> None:
    site.declare("")
    path = site.write_config(SETTINGS)
    first = Process(path)
    first.wait_for("felhom-agent 0")
    refused = Process(path)
    assert refused.end(None) == 75
    assert refused.count(f"another felhom-agent (pid {first.pid}) works with") == 1
    assert Path(site.directory / "journal" / "lock").read_text() == f"{first.pid}\n"
    assert first.end() == 0
