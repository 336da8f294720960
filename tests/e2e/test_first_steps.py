"""The README's first steps, as they stand there, from the package to the first healed guest."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import ROOT, SITE, Host

pytestmark = pytest.mark.e2e


def steps() -> list[str]:
    """Return the commands of the README's first steps, in order, each with what it reads."""
    text = (ROOT / "README.md").read_text()
    section = text.partition("## First steps on a Proxmox VE host")[2].partition("\n## ")[0]
    blocks = re.findall(r"^   ```sh\n(.*?)^   ```$", section, re.MULTILINE | re.DOTALL)
    commands: list[str] = []
    for line in re.sub(r"^   ", "", "".join(blocks), flags=re.MULTILINE).splitlines():
        if commands and "<<'END'" in commands[-1] and not commands[-1].endswith("\nEND"):
            commands[-1] += f"\n{line}"
        else:
            commands.append(line)
    return commands


def test_the_first_steps_lead_from_the_package_to_a_healed_guest(bare: Host) -> None:
    machine = bare.machine
    machine.shell("cp /mnt/deb/*.deb /root/")
    printed = {}
    for command in steps():
        if command.startswith("install -m 600"):
            # The node that plays Proxmox VE comes with the package, so it is begun only now.
            machine.shell("apt-get -q install python3-trustme")
            bare.begin_node()
            bare.trust()
        token = machine.run("cat", f"{SITE}/token", check=False).stdout
        done = machine.run("sh", "-c", f"cd /root; {command}", given=token, check=False)
        # `plan` tells by 2 that there is something to do.
        wanted = 2 if command == "felhom-agent plan" else 0
        assert done.returncode == wanted, f"{command}: {done.stdout}{done.stderr}"
        printed[command] = done.stdout
        if command.startswith("systemctl enable"):
            bare.wait_for("guest 101 dns: done: start")
    assert bare.hands("running", 101)
    assert bare.hands("config", 101)["cores"] == 2
    assert "~ cores        1 -> 2" in printed["felhom-agent plan"]
    assert "guest 101 dns: done: start" in printed["journalctl -u felhom-agent VMID=101"]
    assert " start " in printed["felhom-agent history 101"]
    assert "Active: active (running)" in printed["systemctl status felhom-agent"]


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
