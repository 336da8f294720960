"""The first steps of docs/install.md, from the package to the first healed guest."""

from __future__ import annotations

import json
import time

import pytest

from tests.e2e.conftest import Host
from tests.pages import blocks, commands

pytestmark = pytest.mark.e2e

PAGE = "docs/install.md"


def under(*headings: str) -> list[str]:
    """Return the commands under these headings of the page, in their order."""
    found = [b for b in blocks(PAGE) if b.language == "sh" and b.heading in headings]
    return [line for block in found for line in block.lines]


BY_HAND = under("By hand")
IN_A_MINUTE = under("In a minute")
HINTS = under("Hints: hear of each change at once")


def test_these_are_all_commands_of_the_page() -> None:
    assert commands(PAGE) == [*IN_A_MINUTE, *BY_HAND, *HINTS]


def test_the_first_steps_lead_from_the_package_to_a_healed_guest(bare: Host) -> None:
    bare.play_pve()
    printed: dict[str, str] = {}
    token = ""
    for command in [*BY_HAND, *HINTS]:
        # `plan` tells by 2 that there is something to do.
        wanted = 2 if command == "felhom-agent plan 101" else 0
        if command.startswith("felhom-agent status"):
            bare.wait_for("guest 101 dns: done: set cores: 1 -> 2")
            bare.machine.wait_until(
                lambda: bare.machine.run("felhom-agent", "status", check=False).returncode == 0,
                "all is as declared",
            )
        done = bare.machine.run("sh", "-c", f"cd /root; {command}", given=token, check=False)
        assert done.returncode == wanted, f"{command}: {done.stdout}{done.stderr}"
        printed[command] = done.stdout
        if command.startswith("pveum user token add"):
            token = json.loads(done.stdout)["value"] + "\n"
    assert bare.hands("config", 101)["cores"] == 2
    assert "1 as declared" in printed["felhom-agent plan"]
    assert "  ~ cores  1 -> 2" in printed["felhom-agent plan 101"]
    assert "1 as declared" in printed["felhom-agent status"]
    assert "guest 101 dns: done: set cores" in printed["journalctl -u felhom-agent VMID=101"]
    assert "set cores: 1 -> 2" in printed["felhom-agent history 101"]
    assert bare.machine.show("felhom-agent-hints", "ActiveState")["ActiveState"] == "active"


def test_init_leads_from_the_package_to_a_watched_host(bare: Host) -> None:
    bare.play_pve()
    machine = bare.machine
    before = [bare.hands("config", vmid) for vmid in (100, 101)]

    def typed(line: str, code: int = 0) -> str:
        began = time.monotonic()
        done = machine.run("sh", "-c", f"cd /root; {line}", check=False)
        print(f"{time.monotonic() - began:6.2f} s  {line}")
        assert done.returncode == code, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    install, init, status = IN_A_MINUTE
    typed(install)
    shown = typed(f"{init} --yes --state")
    assert "pveum user token add felhom-agent@pve agent --privsep 1" in shown
    assert "all 2 as declared" in shown
    assert machine.shell("stat -c '%a %U' /etc/felhom-agent/token") == "600 root\n"
    assert "2 as declared" in typed(status)
    typed("felhom-agent check")
    typed("felhom-agent plan")
    assert [bare.hands("config", vmid) for vmid in (100, 101)] == before
    assert bare.hands("asked") == []
    # A person takes it from here: one value by hand, and the agent is told to bring it back.
    bare.hands("edit", 100, {"cores": 4})
    typed('felhom-agent pause 101 --for 2h --why "disk swap"')
    assert "cores  4 -> 1" in typed("felhom-agent plan", 2)
    typed("felhom-agent apply 100 --yes")
    assert bare.hands("config", 100)["cores"] == 1
    assert "set cores: 4 -> 1" in typed("felhom-agent history")
    assert "left as it is" in typed("felhom-agent init --yes")


def test_without_the_package_make_install_puts_the_same_service_in_place(bare: Host) -> None:
    machine = bare.machine
    machine.shell(
        "apt-get -q install python3-proxmoxer python3-requests python3-systemd python3-tomli "
        "python3-trustme; cp -r /mnt/source /root/; /root/source/packaging/install-files install"
    )
    # Its library is not where Python looks by itself; the node's program needs it, too.
    machine.shell("ln -s /usr/local/lib/felhom-agent/felhom_agent /usr/lib/python3/dist-packages/")
    bare.begin_node()
    bare.write_demo()
    bare.start()
    bare.wait_for("guest 100 web: done: start")
    explained = machine.run("journalctl", "-x", "-u", "felhom-agent", "--no-pager").stdout
    assert "Subject: A guest was changed" in explained
    machine.shell("/root/source/packaging/install-files uninstall")
    assert machine.show("felhom-agent", "LoadState")["LoadState"] == "not-found"
    machine.run("test", "-s", "/var/lib/felhom-agent/journal/journal.jsonl")
