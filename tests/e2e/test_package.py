"""The packages: what each brings, what an upgrade keeps, what a purge leaves."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import AGENT, Host
from tests.e2e.machine import Machine

pytestmark = pytest.mark.e2e

PLACES = "/etc /usr /var/lib /lib/systemd /run"


def test_it_is_installed_and_not_begun(host: Host) -> None:
    """It changes guests, so a person begins."""
    state = host.machine.run("systemctl", "is-enabled", AGENT, check=False).stdout.strip()
    assert state == "disabled"
    assert host.machine.show(AGENT, "ActiveState")["ActiveState"] == "inactive"
    assert host.machine.run("dpkg", "--verify", AGENT).stdout == ""


def test_what_it_brings_is_where_an_administrator_looks(host: Host) -> None:
    machine = host.machine
    assert machine.shell("stat -c '%U:%G %a' /etc/felhom-agent/guests.d").split() == [
        "root:felhom-agent",
        "2750",
    ]
    assert "/nologin" in machine.run("getent", "passwd", AGENT).stdout
    listed = machine.run("dpkg", "-L", AGENT).stdout
    for path in ("man1/felhom-agent.1.gz", "man5/felhom-agent.toml.5.gz",
                 "vendor-completions/_felhom-agent", "completions/felhom-agent",
                 "catalog/felhom-agent.catalog", "sysusers.d/felhom-agent.conf"):  # fmt: skip
        assert path in listed
    conffiles = machine.run("dpkg-query", "-W", "-f=${Conffiles}", AGENT).stdout
    assert conffiles.split()[0] == "/etc/felhom-agent/agent.toml"
    machine.shell("bash -c '. /usr/share/bash-completion/completions/felhom-agent; "
                  "complete -p felhom-agent'")  # fmt: skip


def test_a_host_gets_no_node_to_play_with_and_is_told_which_package_has_it(bare: Host) -> None:
    machine = bare.machine
    machine.shell("apt-get -q install /mnt/deb/felhom-agent_*.deb")
    listed = machine.run("dpkg", "-L", AGENT).stdout
    assert "/felhom_agent/daemon/" in listed
    for name in ("devnode", "devhub", "demo"):
        assert name not in listed
    refused = machine.run(AGENT, "devnode", check=False)
    assert refused.returncode == 69
    assert "devnode is not installed; it is in the package felhom-agent-dev" in refused.stderr
    machine.shell("apt-get -q install /mnt/deb/felhom-agent-dev_*.deb")
    assert "PVE node" in machine.run(AGENT, "devnode", "--help").stdout
    machine.run("apt-get", "-q", "remove", f"{AGENT}-dev")
    assert machine.run(AGENT, "devnode", check=False).returncode == 69


def test_the_configuration_it_brings_is_good_as_it_stands(host: Host) -> None:
    host.trust()
    host.machine.shell("install -m 600 /srv/site/token /etc/felhom-agent/token")
    assert "agent.toml is good" in host.machine.run("felhom-agent", "check").stdout


def test_an_upgrade_restarts_it_once_and_loses_nothing(running: Host) -> None:
    machine = running.machine
    before = machine.shell("cat /etc/felhom-agent/agent.toml")
    operations = _history(machine)
    first = running.pid()
    machine.shell("apt-get -q install /mnt/newer/*.deb")
    assert running.pid() not in (0, first)
    running.machine.wait_until(lambda: len(running.said("FELHOM_EVENT=agent-started")) == 2, "up")
    assert machine.shell("cat /etc/felhom-agent/agent.toml") == before
    assert _history(machine)[: len(operations)] == operations
    running.hands("stop", 100)
    running.wait_for("guest 100 web: done: start", times=2)
    assert machine.run("systemctl", "is-enabled", AGENT, check=False).stdout.strip() == "disabled"


def test_an_upgrade_does_not_start_what_a_person_stopped(running: Host) -> None:
    running.machine.run("systemctl", "stop", AGENT)
    running.machine.shell("apt-get -q install /mnt/newer/*.deb")
    assert running.machine.show(AGENT, "ActiveState")["ActiveState"] == "inactive"


def test_a_removal_stops_it_and_keeps_what_it_knows(running: Host) -> None:
    running.machine.run("apt-get", "-q", "remove", AGENT)
    assert running.machine.show(AGENT, "ActiveState")["ActiveState"] == "inactive"
    running.machine.run("test", "-s", "/var/lib/felhom-agent/journal/journal.jsonl")
    running.machine.run("test", "-s", "/etc/felhom-agent/token")


def test_a_purge_keeps_the_guest_files_and_says_where(running: Host) -> None:
    machine = running.machine
    guests = "/etc/felhom-agent/guests.d"
    text = machine.shell(f"cat {guests}/guests.toml")
    printed = machine.run("apt-get", "-q", "purge", AGENT)
    assert f"the guest files stay in {guests}" in printed.stdout + printed.stderr
    assert machine.shell("ls -A /etc/felhom-agent").split() == ["guests.d"]
    assert machine.shell(f"cat {guests}/guests.toml") == text
    assert machine.shell(f"stat -c '%U:%G %a' {guests}; find {guests} -not -group root") == (
        "root:root 750\n"
    )
    machine.shell("apt-get -q install /mnt/deb/*.deb")
    assert (
        machine.shell(f"stat -c '%U:%G' {guests} {guests}/guests.toml").split()
        == ["root:felhom-agent"] * 2
    )
    read = machine.run("runuser", "-u", AGENT, "--", "cat", f"{guests}/guests.toml")
    assert read.stdout == text


def test_a_purge_leaves_nothing_else(running: Host) -> None:
    machine = running.machine
    machine.shell("rm /etc/felhom-agent/guests.d/*")
    machine.shell(f"rm -r /etc/systemd/system/{AGENT}.service.d; systemctl daemon-reload")
    printed = machine.run("apt-get", "-q", "purge", AGENT)
    assert "warning" not in (printed.stdout + printed.stderr).lower()
    assert machine.run("getent", "passwd", AGENT, check=False).returncode == 2
    left = machine.shell(f"find {PLACES} -xdev -iname '*felhom*' 2>/dev/null || true")
    assert left == ""
    assert machine.show(AGENT, "LoadState")["LoadState"] == "not-found"


def test_lintian_has_nothing_to_say(shared: Path) -> None:
    packages = sorted((shared / "deb").glob("*.deb"))
    assert len(packages) == 2
    said = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "warning", "--tag-display-limit", "0", *packages],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stdout) == (0, ""), said.stdout


def _history(machine: Machine) -> list[Any]:
    found = json.loads(machine.run("felhom-agent", "history", "--json").stdout)
    operations: list[Any] = found["operations"]
    return operations
