"""Declarations against a real HTTPS node: PVE's parts stay, what is root's holds nothing up."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from felhom_agent.daemon.assembly import Parts, assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.model import Blocked, Converged, DeclaredValue, Desired, DesiredGuest, Outcome
from tests.conftest import Open, Site

SOON = 30.0
UUID = "11111111-2222-3333-4444-555555555555"


def reconciled(parts: Parts, **config: DeclaredValue) -> Outcome:
    guest = DesiredGuest(100, config=MappingProxyType(config))
    parts.planner.others = {}  # as after a pass
    parts.engine.desired = Desired(MappingProxyType({100: guest}))
    return parts.engine.reconcile(100).result(SOON).outcome


def writes(site: Site) -> int:
    return sum(r.method in {"PUT", "POST"} for r in site.devnode.requests)


def test_a_vm_keeps_its_uuid_and_what_a_newer_pve_added(site: Site, agent: Open) -> None:
    site.world.newer_parts = frozenset({"newpart"})
    site.world.edit(
        100,
        {
            "smbios1": f"uuid={UUID}",
            "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0,newpart=7",
            "scsi0": "local:100/vm-100-disk-0.raw,newpart=7,size=1G",
        },
    )
    with agent() as parts:
        outcome = reconciled(
            parts,
            smbios1="serial=A",
            net0="virtio,bridge=vmbr0,firewall=1",
            scsi0="local:100/vm-100-disk-0.raw,backup=0",
        )
    assert outcome == Converged()
    config = site.world.config(100)
    assert config["smbios1"] == f"serial=A,uuid={UUID}"
    assert config["net0"] == "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,newpart=7"
    assert config["scsi0"] == "local:100/vm-100-disk-0.raw,backup=0,newpart=7,size=1G"


def test_a_raw_device_stays_and_the_other_options_are_enforced(site: Site, agent: Open) -> None:
    site.world.edit(100, {"usb0": "host=1234:5678", "cores": 1})
    with agent() as parts:
        outcome = reconciled(parts, usb0="mapping=stick", cores=2)
        assert site.world.config(100)["cores"] == 2
        assert site.world.config(100)["usb0"] == "host=1234:5678"
        assert isinstance(outcome, Blocked)
        assert "as root: qm set 100 --usb0 mapping=stick" in outcome.why
        before = writes(site)
        reconciled(parts, usb0="mapping=stick", cores=2)
        assert writes(site) == before


def test_no_disk_is_made_again_after_a_person_took_it_off(site: Site, agent: Open) -> None:
    with agent() as parts:
        for _ in range(2):
            outcome = reconciled(parts, scsi1="local:1")
            assert isinstance(outcome, Blocked)
            assert "the agent creates no volumes" in outcome.why
    assert "scsi1" not in site.world.config(100)
    assert writes(site) == 0


@pytest.mark.parametrize("running", [False, True])
def test_lines_of_lxc_itself_are_compared_and_hold_nothing_else_up(
    site: Site, running: bool
) -> None:
    """PVE answers with them as pairs, and leaves them out of what it tells of a running guest."""
    lines = [["lxc.cap.drop", "sys_time"], ["lxc.apparmor.profile", "generated"]]
    site.world.add("lxc", 205, {"cores": 1, "lxc": lines}, running=running)
    site.declare('[guest.205.config]\ncores = 2\n"lxc.cap.drop" = "sys_time"\n')
    with assembled(site.config(), site.clock) as parts:
        daemon = Daemon(site.config(), parts)
        assert daemon.run_pass()
        assert site.world.config(205)["cores"] == 2
        site.declare('[guest.205.config]\ncores = 3\n"lxc.cap.drop" = "sys_admin"\n')
        assert not daemon.run_pass()
        outcome = daemon._scheduler.statuses[205].outcome
        assert isinstance(outcome, Blocked)
        assert "lxc.cap.drop" in outcome.why
        assert site.world.config(205)["cores"] == 3
