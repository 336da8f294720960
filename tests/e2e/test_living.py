"""Living with the installed agent: restarts, wrong files, root's own commands, repairs."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import AGENT, AGENT_TOML, Host

pytestmark = pytest.mark.e2e

GUESTS = "/etc/felhom-agent/guests.d"
JOURNAL = "/var/lib/felhom-agent/journal"


def test_what_is_in_force_survives_a_restart_and_is_told_with_its_time(running: Host) -> None:
    machine = running.machine
    machine.shell(f"sed -i s/cores/corse/ {GUESTS}/guests.toml")
    running.wait_for("corse")
    machine.run("systemctl", "restart", AGENT)
    running.wait_for("its guests are in force by its last good version, of ")
    running.hands("stop", 100)
    running.wait_for("done: start", times=2)
    for command in ("status", "plan", "check"):
        told = machine.run(AGENT, command, check=False)
        said = " ".join((told.stdout + told.stderr).split())
        assert "guests.toml:4" in said, command
        assert "its guests: last good version of " in said, command
    modes = machine.shell(f"stat -c '%U %a' {JOURNAL}/guest-files {JOURNAL}/guest-files/*.good")
    assert modes.split("\n")[:2] == ["felhom-agent 700", "felhom-agent 600"]


def test_a_file_that_the_service_may_not_read_is_told_with_what_to_do(running: Host) -> None:
    machine = running.machine
    machine.shell(f"umask 027; cp {GUESTS}/guests.toml {GUESTS}/b.toml; "
                  f"sed -i s/100/101/ {GUESTS}/b.toml")  # fmt: skip
    running.wait_for("guest 101")
    machine.shell(f"chmod 600 {GUESTS}/guests.toml")
    running.wait_for(
        f"as root: chgrp felhom-agent {GUESTS}/guests.toml; chmod g+r {GUESTS}/guests.toml"
    )


def test_what_root_types_runs_as_the_services_user(running: Host) -> None:
    machine = running.machine
    machine.run("systemctl", "stop", AGENT)
    running.hands("stop", 100)
    assert "start" in machine.run(AGENT, "apply", "--yes").stdout
    assert running.hands("running", 100)
    assert machine.shell(f"find /var/lib/felhom-agent -not -user {AGENT}") == ""
    running.start()
    machine.wait_until(lambda: len(running.said("FELHOM_EVENT=agent-started")) == 2, "it is back")


def test_who_repairs_something_is_not_locked_out_by_a_handful_of_starts(host: Host) -> None:
    host.write_demo(AGENT_TOML.replace("[reconcile]", "[recncile]"))
    machine = host.machine
    for _ in range(6):
        assert machine.run("systemctl", "start", AGENT, check=False).returncode != 0
    machine.write("/etc/felhom-agent/agent.toml", AGENT_TOML)
    host.start()
    host.wait_for("guest 100")


def test_after_a_new_certificate_one_command_is_the_remedy(running: Host) -> None:
    machine = running.machine
    machine.shell(
        "sed -i 's/^\\[proxmox\\]$/&\\nfingerprint = \"" + ":".join(["AB"] * 32) + "\"/' "
        "/etc/felhom-agent/agent.toml; systemctl restart felhom-agent"
    )
    running.wait_for("felhom-agent trust")
    before = machine.shell("stat -c '%U:%G %a' /etc/felhom-agent/agent.toml")
    pid = running.pid()
    assert "The running agent was told to take it" in machine.run(AGENT, "trust", "--yes").stdout
    assert machine.shell("stat -c '%U:%G %a' /etc/felhom-agent/agent.toml") == before
    running.hands("stop", 100)
    running.wait_for("done: start", times=2)
    assert running.pid() == pid, "one command, and no restart"


def test_the_start_up_order_of_the_host_goes_first(running: Host) -> None:
    machine = running.machine
    machine.run("systemctl", "stop", AGENT)
    running.hands("stop", 100)
    running.hands("add", "qemu", 105, {"name": "slow", "onboot": 1})
    running.hands("behave", 105, {"start_seconds": 8.0})
    running.hands("bulk", "startall")
    running.start()
    running.wait_for("the node's task startall runs; nothing is changed until it has ended")
    assert not running.hands("running", 100)
    running.wait_for("the node's task startall has ended")
    running.wait_for("done: start", times=2)
