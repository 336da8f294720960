"""The root helper in a booted Debian, and what the agent hears in its sandbox."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import AGENT, Host
from tests.pmxcfs import Pmxcfs

pytestmark = pytest.mark.e2e

HINTS = "felhom-agent-hints"
COPIES = f"/run/{HINTS}"
KEY = "/etc/pve/local/pve-ssl.key"

# The sandbox is the agent's own unit; only what it runs is another program.
LISTENER = f"""\
import threading
from pathlib import Path
from felhom_agent.proxmox.hints import Heard, Hints
hints, last = Hints(Path("{COPIES}"), "pve1"), None
while True:
    heard = hints.look()
    told = heard.written or heard.power or heard.everything
    if told or last is None or heard.working != last.working:
        print(sorted(heard.written), sorted(heard.power), heard.everything, heard.working,
              sep="|", flush=True)
    last = heard
    threading.Event().wait(0.2)
"""
DROP_IN = """\
[Service]
Type=exec
WatchdogSec=0
ExecStart=
ExecStart=/usr/bin/python3 -B /srv/listener.py
"""


class Pve:
    """A pmxcfs that is mounted at /etc/pve of a machine, and the helper beside it."""

    def __init__(self, host: Host, path: Path) -> None:
        self.machine = host.machine
        self.files = Pmxcfs(path / "pve")
        self.files.create(100)
        self.files.create(200, kind="lxc")
        self.mount()

    def mount(self) -> None:
        """As pmxcfs has it: the lists are for root and www-data, and so are the keys."""
        self.machine.shell(
            "mkdir -p /etc/pve; mount -t tmpfs -o mode=755 pmxcfs /etc/pve; mkdir /etc/pve/local; "
            f"umask 137; echo KEY > {KEY}; chgrp www-data /etc/pve /etc/pve/local {KEY}"
        )
        self.put()

    def put(self) -> None:
        for name, text in ((".vmlist", self.files.vmlist), (".version", self.files.version)):
            path = f"/etc/pve/{name}"
            self.machine.write(f"{path}.tmp", text, "440")
            self.machine.shell(f"chgrp www-data {path}.tmp; mv -T {path}.tmp {path}")

    def write(self, vmid: int) -> None:
        self.files.write(vmid)
        self.put()

    def copied(self) -> bool:
        """Whether the copy of the list is as the list is now."""
        return self.copy(".vmlist") == self.files.vmlist

    def copy(self, name: str) -> str:
        return self.machine.run("cat", f"{COPIES}/{name}", check=False).stdout

    def wait_until_copied(self) -> None:
        self.machine.wait_until(self.copied, "the copy is as the list is")

    def wait_until_away(self) -> None:
        self.machine.wait_until(
            lambda: self.machine.shell(f"ls -A {COPIES} | grep -vx clock || true") == "",
            "the copies are away",
        )


@pytest.fixture
def pve(host: Host, tmp_path: Path) -> Pve:
    """A host whose helper has copied what pmxcfs shows."""
    pve = Pve(host, tmp_path)
    host.machine.run("systemctl", "start", HINTS)
    pve.wait_until_copied()
    return pve


def test_it_is_installed_and_not_begun_and_its_directory_is_there(host: Host) -> None:
    machine = host.machine
    state = machine.run("systemctl", "is-enabled", HINTS, check=False).stdout.strip()
    assert state == "disabled"
    assert machine.shell(f"stat -c '%U:%G %a' {COPIES}") == "root:felhom-agent 750\n"


def test_off_a_pve_host_it_does_not_begin_and_that_is_no_fault(host: Host) -> None:
    host.machine.shell(f"rm -rf /etc/pve; systemctl start {HINTS}")
    state = host.machine.show(HINTS, "ActiveState", "ConditionResult")
    assert state == {"ActiveState": "inactive", "ConditionResult": "no"}


def test_the_service_reads_the_copies_and_neither_the_lists_nor_the_keys(pve: Pve) -> None:
    machine = pve.machine
    shown = machine.shell(f"stat -c '%n %U:%G %a' {COPIES} {COPIES}/.vmlist {COPIES}/.version")
    assert [line.split()[1:] for line in shown.splitlines()] == [
        ["root:felhom-agent", "750"],
        ["root:felhom-agent", "640"],
        ["root:felhom-agent", "640"],
    ]
    by_service = ("runuser", "-u", AGENT, "--")
    assert machine.run(*by_service, "cat", f"{COPIES}/.vmlist").stdout == pve.files.vmlist
    for path in ("/etc/pve/.vmlist", "/etc/pve/.version", KEY):
        refused = machine.run(*by_service, "cat", path, check=False)
        assert "Permission denied" in refused.stderr, path
    for name in (".vmlist", ".version", "mine"):
        refused = machine.run(*by_service, "sh", "-c", f"echo > {COPIES}/{name}", check=False)
        assert "Permission denied" in refused.stderr, name
    refused = machine.run("runuser", "-u", "nobody", "--", "ls", COPIES, check=False)
    assert "Permission denied" in refused.stderr


def test_a_link_or_a_huge_file_is_not_copied_and_the_next_good_one_is(pve: Pve) -> None:
    machine = pve.machine
    for spoil in (
        f"rm /etc/pve/.vmlist; ln -s {KEY} /etc/pve/.vmlist",
        f"rm /etc/pve/.version; ln -s {KEY} /etc/pve/.version",
        "head -c 3000000 /dev/zero | tr '\\0' ' ' >> /etc/pve/.vmlist",
    ):
        machine.shell(spoil)
        pve.wait_until_away()
        pve.write(100)
        pve.wait_until_copied()
    assert "KEY" not in machine.run("journalctl", "--no-pager", "-u", HINTS).stdout
    assert machine.show(HINTS, "NRestarts")["NRestarts"] == "0"


def test_a_pmxcfs_that_goes_and_is_mounted_anew_is_seen_again(pve: Pve) -> None:
    machine = pve.machine
    for _ in range(2):
        # Not busy: the helper holds nothing of it.
        machine.run("umount", "/etc/pve")
        pve.wait_until_away()
        pve.files.begin_again()
        pve.mount()
        pve.wait_until_copied()
    assert machine.show(HINTS, "NRestarts")["NRestarts"] == "0"


def test_a_stop_takes_the_copies_away_and_leaves_the_directory(pve: Pve) -> None:
    pve.machine.run("systemctl", "stop", HINTS)
    assert pve.machine.shell(f"ls -A {COPIES}; stat -c '%U:%G %a' {COPIES}") == (
        "root:felhom-agent 750\n"
    )
    assert pve.machine.show(HINTS, "Result")["Result"] == "success"


def test_it_has_no_capability_no_network_and_writes_nowhere_else(pve: Pve) -> None:
    machine = pve.machine
    pid = machine.show(HINTS, "MainPID")["MainPID"]
    status = machine.shell(f"cat /proc/{pid}/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {facts[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    inside = ("nsenter", f"--target={pid}", "--mount", "--net", "--")
    cards = machine.run(*inside, "cat", "/proc/self/net/dev", check=False).stdout
    assert [line.split(":")[0].strip() for line in cards.splitlines()[2:]] in ([], ["lo"])
    # `systemd` holds nothing but systemd's own place for mounts that come later.
    assert machine.run(*inside, "ls", "/run").stdout.split() == [HINTS, "systemd"]
    assert machine.run(*inside, "ls", "/run/systemd").stdout.split() in ([], ["incoming"])
    for directory in ("/etc", "/usr/bin", "/var/lib", "/run", "/etc/pve"):
        refused = machine.run(*inside, "touch", f"{directory}/x", check=False)
        assert "Read-only file system" in refused.stderr, directory
    machine.run("systemd-analyze", "security", "--threshold=10", "--no-pager", HINTS)
    verify = machine.run("systemd-analyze", "verify", "--man=no", f"{HINTS}.service")
    assert (verify.stdout, verify.stderr) == ("", "")


def test_the_agents_sandbox_hears_of_writes_and_of_guests_that_come_and_go(
    pve: Pve, host: Host
) -> None:
    machine = host.machine
    machine.write("/srv/listener.py", LISTENER)
    machine.write(f"/etc/systemd/system/{AGENT}.service.d/listener.conf", DROP_IN)
    machine.run("systemctl", "daemon-reload")
    host.start()
    host.wait_for("[]|[]|the first look|True")
    pve.write(200)
    host.wait_for("[200]|[]||True")
    for times in (1, 2):
        # With the last VM qemu.slice goes, and comes again with the next.
        machine.shell(
            "systemd-run --quiet --scope --collect --unit=100 --slice=qemu.slice sleep 1000 "
            "< /dev/null > /dev/null 2>&1 & "
        )
        host.wait_for("[]|[100]|", times=2 * times - 1)
        machine.run("systemctl", "kill", "--signal=KILL", "100.scope")
        host.wait_for("[]|[100]|", times=2 * times)
        machine.wait_until(
            lambda: machine.run("systemctl", "is-active", "100.scope", check=False).returncode,
            "the scope has gone",
        )
    machine.shell("mkdir -p /sys/fs/cgroup/lxc/200/ns /sys/fs/cgroup/lxc.monitor/200")
    host.wait_for("[]|[200]|")
    machine.shell("rmdir /sys/fs/cgroup/lxc/200/ns /sys/fs/cgroup/lxc/200")
    host.wait_for("[]|[200]|", times=2)
    # The helper begins again: the sandbox has the same directory.
    machine.run("systemctl", "restart", HINTS)
    pve.write(100)
    host.wait_for("hints are back|True")
    pve.write(200)
    # With the write before it, if that came while the hints were away.
    host.wait_for("200]|[]||True", times=2)
    assert "Traceback" not in " ".join(str(entry["MESSAGE"]) for entry in host.said())


def test_what_the_kernel_says_of_the_clock_is_passed_on(pve: Pve) -> None:
    machine = pve.machine
    machine.wait_until(lambda: pve.copy("clock") != "", "the clock is told of")
    says = machine.run("timedatectl", "show", "--property=NTPSynchronized", "--value")
    expected = {"synchronised": says.stdout.strip() == "yes"}
    assert json.loads(pve.copy("clock")) == expected
    machine.run("systemctl", "stop", HINTS)
    assert machine.shell(f"ls -A {COPIES}") == ""
