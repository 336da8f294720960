"""What an administrator types on the installed host, and what the answers say."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import AGENT, AGENT_TOML, GUEST, Host

pytestmark = pytest.mark.e2e

OBSERVING = AGENT_TOML.replace("[reconcile]\n", '[reconcile]\nmode = "observe"\n')
JOURNAL = "/var/lib/felhom-agent/journal"


def typed(host: Host, line: str, code: int = 0) -> str:
    """Return what a command prints, which ends with that code."""
    done = host.machine.run("sh", "-c", f"felhom-agent {line}", check=False)
    assert done.returncode == code, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


def test_in_observe_mode_a_person_looks_applies_and_reads_what_was_done(host: Host) -> None:
    host.write_demo(OBSERVING)
    host.start()
    host.wait_for("guest 100 web: differs: ")
    assert "1 differs" in typed(host, "status", code=3) or "observed" in typed(host, "status", 3)
    shown = typed(host, "plan", code=2)
    assert "100 qemu web" in shown
    assert "  ~ cores  1 -> 2" in shown
    assert "the agent only observes" in shown
    done = typed(host, "apply 100 --yes")
    assert done.splitlines()[-1].split() == ["100", "web", "done"]
    assert host.hands("running", 100)
    assert host.hands("config", 100)["cores"] == 2
    host.machine.wait_until(
        lambda: "1 as declared" in host.machine.run("felhom-agent", "status", check=False).stdout,
        "the status says that it is as declared",
    )
    history = typed(host, "history 100")
    assert "100 web" in history
    assert "set cores: 1 -> 2" in history
    assert "start" in history.splitlines()[-1]
    assert "guest-changed" in typed(host, "events 100")
    (told,) = host.said("FELHOM_EVENT=control-asked")
    assert "1 guest is applied: 100" in told["MESSAGE"]
    assert "by the word of root" in told["MESSAGE"]


def test_the_answers_of_all_that_looks_are_there_for_programs(running: Host) -> None:
    for command in ("plan", "status", "history", "events", "check"):
        assert json.loads(typed(running, f"{command} --json"))["schema"] == 1


def test_check_as_root_tells_what_the_service_may_not_read(running: Host) -> None:
    path = "/etc/felhom-agent/guests.d/dns.toml"
    assert "FAIL" not in typed(running, "check")
    running.machine.write(path, GUEST.replace("100", "101"), mode="600")
    running.wait_for("dns.toml: cannot be read")
    lines = typed(running, "check", code=1).splitlines()
    (fault,) = (line for line in lines if line.startswith("FAIL"))
    assert f"user felhom-agent may not read {path} (mode 0600, root:" in fault
    assert "nothing of it is in force" in fault
    at = lines.index(fault) + 1
    remedy = [line.strip() for line in lines[at:] if line.startswith("        ")]
    running.machine.shell(next(line for line in remedy if line.startswith("chmod")))
    typed(running, "reconcile")
    running.wait_for("guest 101 dns: done: start")
    assert "FAIL" not in typed(running, "check")


def test_check_before_the_first_start_judges_by_the_user_of_the_unit(host: Host) -> None:
    host.write_demo()
    path = "/etc/felhom-agent/guests.d/guests.toml"
    host.machine.shell(f"chmod 600 {path}")
    assert f"user felhom-agent may not read {path}" in typed(host, "check", code=1)


def test_check_tells_of_a_service_that_failed(host: Host) -> None:
    host.write_demo(AGENT_TOML.replace("[reconcile]", "[recncile]"))
    host.machine.run("systemctl", "start", AGENT, check=False)
    typed(host, "check", code=78)
    host.write_demo()
    shown = typed(host, "check", code=1)
    assert "the service has failed (exit-code, exit code 78)" in shown


def test_where_the_service_is_stopped_root_applies_and_leaves_nothing_of_its_own(
    running: Host,
) -> None:
    machine = running.machine
    machine.run("systemctl", "stop", AGENT)
    running.hands("stop", 100)
    done = machine.run("felhom-agent", "apply", "--yes")
    assert "no agent runs here" in done.stderr
    assert running.hands("running", 100)
    owners = machine.shell(f"stat -c %U {JOURNAL} {JOURNAL}/*").split()
    assert set(owners) == {"felhom-agent"}
    # The directories of the hints and of notifications are the package's.
    packaged = "! -name felhom-agent-hints ! -name felhom-agent-notify"
    left = f"find /run -maxdepth 1 -name 'felhom-agent-*' {packaged}"
    assert machine.shell(left) == ""
    running.start()
    running.wait_for("felhom-agent 0.1.0 keeps 1 guest")


def test_a_paused_guest_is_told_as_paused_everywhere(running: Host) -> None:
    typed(running, 'pause 100 --for 2h --why "disk swap"')
    running.hands("stop", 100)
    running.machine.wait_until(
        lambda: running.machine.run("felhom-agent", "status", check=False).returncode == 3,
        "the status says that it is not as declared",
    )
    assert "paused" in typed(running, "status", code=3)
    assert "disk swap" in typed(running, "status", code=3)
    assert "disk swap" in typed(running, "plan", code=3)
    assert "disk swap" in typed(running, "apply --yes", code=3)
    assert not running.hands("running", 100)
    typed(running, "resume 100")
    running.wait_for("guest 100 web: done: start", times=2)


def test_a_mistake_in_a_guest_file_is_told_with_its_line_and_the_rest_goes_on(
    running: Host,
) -> None:
    path = "/etc/felhom-agent/guests.d/dns.toml"
    running.machine.write(path, "[guest.101.config]\ncorse = 2\n")
    running.machine.run("systemctl", "reload", AGENT)
    running.wait_for("dns.toml:2")
    shown = typed(running, "status", code=3)
    assert "files: 1 ERROR" in shown
    assert "did you mean 'cores'?" in shown
    assert "dns.toml:2" in running.machine.show(AGENT, "StatusText")["StatusText"]
    running.machine.write(path, GUEST.replace("100", "101"))
    running.machine.run("systemctl", "reload", AGENT)
    running.wait_for("guest 101 dns: done: start")
