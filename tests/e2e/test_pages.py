"""What the pages tell root to type on a host does there what they say, line by line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import pytest

from tests.e2e.conftest import AGENT_TOML, GUEST, Host
from tests.pages import blocks, commands

pytestmark = pytest.mark.e2e

BOTH = GUEST + '[guest.101]\nstate = "running"\n[guest.101.config]\ncores = 1\n'


def typed(host: Host, line: str, code: int = 0, *, given: str = "") -> str:
    """Type a line in root's home; return what it printed. It must end with that exit code."""
    done = host.machine.run("sh", "-c", f"cd /root; {line}", given=given, check=False)
    assert done.returncode == code, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def asked(host: Host, line: str) -> str:
    """Type a line at a terminal, and yes to all that it asks; return what it printed."""
    # An end, too: a terminal whose input nobody reads blocks who writes.
    answers = "printf 'y\\n%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"
    script = f"{answers} | script --quiet --return --command {shlex.quote(line)} /dev/null"
    return typed(host, script)


def follow(
    host: Host, page: str, codes: Mapping[str, int], *, ask: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Type all that a page tells to; return what each line printed. `codes` has the exit codes that
    are not 0, `ask` the lines that ask something.
    """
    lines = commands(page)
    assert codes.keys() | ask <= set(lines)
    return {
        line: asked(host, line) if line in ask else typed(host, line, codes.get(line, 0))
        for line in lines
    }


@pytest.fixture
def both(host: Host) -> Host:
    """A host whose agent keeps both guests."""
    host.write_demo(guests=BOTH)
    host.start()
    host.wait_for("guest 100 web: done: start")
    host.wait_for("guest 101 dns: done: start")
    return host


def test_the_readme_leads_from_the_package_to_a_guest_that_was_paused(bare: Host) -> None:
    bare.play_pve()
    ask = frozenset({"felhom-agent init", "felhom-agent apply 101"})
    printed = follow(bare, "README.md", {}, ask=ask)
    assert "2 as declared" in printed["felhom-agent status"]
    assert "2 as declared" in printed["felhom-agent plan"]
    assert "disk swap" in typed(bare, "felhom-agent status --all")
    assert bare.hands("asked") == []


def test_the_day_by_day_page_looks_applies_pauses_and_freezes(both: Host) -> None:
    stopped = False
    for line in commands("docs/day-by-day.md"):
        if line == "pct shutdown 101":
            both.hands("stop", 101)
            both.wait_for("guest 101 dns: waits: ")
            stopped = True
        elif line == "felhom-agent apply 101":
            asked(both, line)
        else:
            typed(both, line)
        if line == "felhom-agent resume 101":
            assert stopped
            both.wait_for("guest 101 dns: done: start", times=2)
        if line.startswith("felhom-agent freeze"):
            assert "frozen by root" in typed(both, "felhom-agent status")
    assert "frozen: no" in typed(both, "felhom-agent status")


def test_the_page_on_guest_files_checks_them_and_has_them_read(both: Host) -> None:
    printed = follow(both, "docs/guest-files.md", {})
    assert "2 guests" in printed["felhom-agent check /etc/felhom-agent/guests.d"]
    for block in blocks("docs/guest-files.md"):
        if block.language == "toml":
            both.machine.write("/root/shown.toml", block.text)
            typed(both, "felhom-agent check /root/shown.toml")


def test_the_page_on_certificates_trusts_the_one_that_the_node_has_now(host: Host) -> None:
    host.write_demo()
    # The certificate that the node shows is of no CA that this host has.
    other = "import trustme; trustme.CA().cert_pem.write_to_path('/etc/pve/pve-root-ca.pem')"
    host.machine.run("python3", "-c", other)
    assert "FAIL" in typed(host, "felhom-agent check", code=1)
    (line,) = commands("docs/certificates.md")
    asked(host, line)
    assert "fingerprint = " in host.machine.shell("cat /etc/felhom-agent/agent.toml")
    host.start()
    host.wait_for("guest 100 web: done: start")
    assert "FAIL" not in typed(host, "felhom-agent check")


def test_the_page_on_notifications_tells_a_receiver_and_a_command(both: Host) -> None:
    lines = commands("docs/notifications.md")
    receiver, command = (b.text for b in blocks("docs/notifications.md") if b.language == "toml")
    settings = "/etc/felhom-agent/agent.toml"
    both.machine.write(settings, AGENT_TOML + receiver)
    token, *lines = lines
    typed(both, token, given="tk-0123456789\n")
    assert both.machine.shell("stat -c '%a %U' /etc/felhom-agent/notify-token") == "600 root\n"
    # The receiver of the page answers nobody, and the unit lets nobody but this host be asked.
    ends = {"felhom-agent notify test": 75, "felhom-agent check": 1}
    first, second = lines[:3], lines[3:]
    printed = {line: typed(both, line, ends.get(line, 0)) for line in first}
    assert "ntfy.example" in printed["felhom-agent check"]
    both.machine.write(settings, AGENT_TOML + command)
    (script,) = (b.text for b in blocks("docs/notifications.md") if b.language == "bash")
    # No mailer is on the machine; what stands in for one tells what it was given, and for whom.
    both.machine.shell("apt-get -q install jq")
    both.machine.write(
        "/usr/sbin/sendmail", '#!/bin/sh\nlogger -t mailed -- "to $1: $(cat)"\n', "755"
    )
    both.machine.write("/etc/felhom-agent/notify.d/mail", script, "755")
    for line in second:
        typed(both, line)
    typed(both, "felhom-agent notify test")
    both.machine.wait_until(
        lambda: (
            "to root: Subject: pve1: " in both.machine.shell("journalctl --output=cat -t mailed")
        ),
        "the mail is sent",
    )


def test_the_page_on_metrics_has_them_in_the_file_that_the_exporter_reads(both: Host) -> None:
    directory = "/var/lib/prometheus/node-exporter"
    both.machine.shell(f"mkdir -p {directory}")
    (settings,) = (b.text for b in blocks("docs/metrics.md") if b.language == "toml")
    for line in commands("docs/metrics.md"):
        if line.startswith("systemctl restart"):
            both.machine.write("/etc/felhom-agent/agent.toml", AGENT_TOML + settings)
        typed(both, line)
    file = f"{directory}/felhom-agent.prom"
    both.machine.wait_until(
        lambda: "felhom_guest_outcome" in both.machine.shell(f"cat {file} 2>/dev/null || true"),
        "the file has metrics",
    )
