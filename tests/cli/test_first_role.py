"""The roles of the first steps are enough for what docs/install.md says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

import pytest

from felhom_agent.cli.main import main
from felhom_agent.daemon.assembly import assembled
from felhom_agent.devnode.world.access import FIRST_PRIVILEGES
from felhom_agent.model import Converged, DeclaredValue, DesiredGuest
from tests.conftest import Site
from tests.pages import commands
from tests.reconcile.test_reconciliation import turn

PAGE = "docs/install.md"
MAC = "BC:24:11:00:00:01"
VM: Mapping[str, DeclaredValue] = {
    "name": "shop", "description": "Shop front", "tags": "dns;prod", "onboot": 1, "agent": "1",
    "cores": 2, "memory": 2048, "cpu": "host", "numa": 1, "balloon": 1024,
    "boot": "order=scsi0;ide2",
    "net0": f"virtio={MAC},bridge=vmbr0,firewall=1", "net1": f"virtio={MAC},bridge=vmbr0,tag=7",
    "scsi0": "local:101/vm-101-disk-0.raw,ssd=1", "ide2": "none,media=cdrom", "vga": "qxl",
    "nameserver": "192.0.2.1", "ciuser": "anna", "protection": 1, "serial0": "socket",
}  # fmt: skip
CT: Mapping[str, DeclaredValue] = {
    "hostname": "dns", "description": "DNS", "tags": "dns;prod", "onboot": 1, "cores": 2,
    "memory": 1024, "swap": 512, "startup": "order=1", "protection": 1, "nameserver": "192.0.2.1",
    "net0": f"name=eth0,bridge=vmbr0,hwaddr={MAC},ip=dhcp,type=veth", "timezone": "host",
}  # fmt: skip


def given(who: str) -> dict[str, list[str]]:
    """Return what the page's commands give to the user or the token, by path."""
    lines = [shlex.split(line) for line in commands(PAGE) if line.startswith("pveum")]
    roles = {
        words[3]: re.split(r"[ ,]+", words[5]) for words in lines if words[1:3] == ["role", "add"]
    }
    acls = [words for words in lines if words[1:3] == ["acl", "modify"] and who in words]
    return {words[3]: roles[words[words.index("--roles") + 1]] for words in acls}


def test_user_and_token_get_the_same() -> None:
    assert given("--users") == given("--tokens")


def test_the_embedded_node_gives_its_tokens_the_same() -> None:
    known = {path: sorted(names) for path, names in FIRST_PRIVILEGES.items()}
    assert {path: sorted(names) for path, names in given("--tokens").items()} == known


def test_they_give_nothing_that_could_destroy_or_reach_beyond_guests() -> None:
    held = {privilege for names in given("--tokens").values() for privilege in names}
    assert held.isdisjoint({"VM.Allocate", "Sys.Modify", "Sys.Console", "Permissions.Modify"})


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    site = make_site(privileges=given("--tokens"))
    disk = "local:101/vm-101-disk-0.raw"
    site.world.add("qemu", 101, {"name": "web", "memory": "512", "scsi0": f"{disk},size=16M"})
    site.world.guests[101].sizes[disk] = "16M"
    site.world.add("lxc", 200, {"hostname": "old", "memory": 512, "arch": "amd64"})
    return site


@pytest.mark.parametrize(
    ("vmid", "config", "writes"),
    # The boot order comes after a new CD drive, which PVE adds to it.
    [(101, VM, 2), (200, CT, 1)],
    ids=["vm", "ct"],
)
def test_the_roles_are_enough_for_what_the_agent_sets_by_itself(
    site: Site, vmid: int, config: Mapping[str, DeclaredValue], writes: int
) -> None:
    with assembled(site.config(), site.clock, monotonic=site.clock) as parts:
        parts.planner.others = parts.node.observer.snapshot((101, 200)).guests
        assert turn(parts, DesiredGuest(vmid, config=config)) == Converged()
    assert len(site.devnode.mutations) == writes


def test_check_says_that_the_roles_are_enough_for_the_first_guest(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(site.write_config())
    (line,) = (line for line in commands(PAGE) if line.startswith("felhom-agent adopt 101 "))
    assert main(["--config", path, *line.split()[1:]]) == 0
    capsys.readouterr()
    assert main(["--config", path, "check"]) == 0
    assert "the token has every privilege that is needed (1 guest)" in capsys.readouterr().out
