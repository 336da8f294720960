"""What PVE's worker left behind when it died of one key: over real HTTPS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from felhom_agent.devnode import Behaviour, World
from felhom_agent.model import Converged, DesiredGuest, Outcome, RunState
from tests.conftest import Site, TickingClock
from tests.reconcile.test_denials import SEEING, opened, why
from tests.reconcile.test_reconciliation import turn, wanted

RIGHTS = [*SEEING, "VM.PowerMgmt", "VM.Config.Options", "VM.Config.HWType", "VM.Config.Memory"]
SHUT = {"/": RIGHTS, "/mapping": ["Mapping.Use"], "/mapping/usb/stick": []}
DENIED = "403 Permission check failed (/mapping/usb/stick, Mapping.Use)"
VERSIONS = ["9.1.7", "9.2.11"]


def shut(make_site: Callable[..., Site], version: str, *, running: bool = False) -> Site:
    """A node that denies a mapped USB device: PVE lists no path on which nothing is left."""
    site = make_site(World(node="pve1", version=version), privileges=SHUT)
    site.world.add("qemu", 100, {"memory": "1024"}, running=running)
    return site


def in_effect(site: Site) -> dict[str, str]:
    conf = site.world.guests[100].conf
    assert (conf.pending, conf.unset) == ({}, set())
    return dict(conf.values)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("looked", [False, True])
def test_a_denial_in_the_worker_is_told_with_its_path_and_the_other_keys_take_effect(
    make_site: Callable[..., Site], version: str, *, looked: bool
) -> None:
    site = shut(make_site, version)
    guest = wanted(100, usb0="mapping=stick", protection=True, onboot=True, memory=2048)
    with opened(site, looked=looked) as parts:
        told = why(turn(parts, guest))
        assert why(turn(parts, guest)) == told
    assert "usb0: the token lacks Mapping.Use on /mapping/usb/stick" in told
    assert "pveum" in told
    found = in_effect(site)
    assert "usb0" not in found
    assert [found[key] for key in ("protection", "onboot", "memory")] == ["1", "1", "2048"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_tag_that_is_denied_in_the_worker_leaves_the_other_keys_in_effect(
    make_site: Callable[..., Site], version: str
) -> None:
    site = make_site(World(node="pve1", version=version), privileges={"/": RIGHTS})
    site.world.add("qemu", 100, {"memory": "1024", "onboot": 1})
    site.world.user_allow = "none"
    guest = wanted(100, tags="new", description="mine", memory=2048, onboot=False)
    with opened(site, looked=False) as parts:
        told = why(turn(parts, guest))
    assert "tags: the token lacks Sys.Modify on /" in told
    found = in_effect(site)
    assert (found["description"].strip(), found["memory"]) == ("mine", "2048")
    assert found.get("onboot", "0") == "0"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_denial_that_comes_as_the_tasks_end_is_the_same(
    make_site: Callable[..., Site], version: str
) -> None:
    """PVE answers with a UPID where the change takes longer than its delay."""
    site = make_site(World(node="pve1", now=TickingClock(), version=version), privileges=SHUT)
    site.world.add("qemu", 100, {"memory": "1024"})
    site.world.behave(100, Behaviour(config_seconds=3.0))
    guest = wanted(100, usb0="mapping=stick", onboot=True, memory=2048)
    with opened(site, looked=False) as parts:
        told = why(turn(parts, guest))
    assert "usb0: the token lacks Mapping.Use on /mapping/usb/stick" in told
    found = in_effect(site)
    assert (found["onboot"], found["memory"]) == ("1", "2048")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_guest_that_runs_waits_for_a_restart_only_with_what_needs_one(
    make_site: Callable[..., Site], version: str
) -> None:
    site = shut(make_site, version, running=True)
    guest = wanted(100, usb0="mapping=stick", onboot=True, memory=2048)
    with opened(site, looked=False) as parts:
        told = why(turn(parts, guest))
    assert "usb0: the token lacks Mapping.Use on /mapping/usb/stick" in told
    assert "needs a restart: memory" in told
    conf = site.world.guests[100].conf
    assert (conf.values["onboot"], conf.pending) == ("1", {"memory": "2048"})


@pytest.mark.parametrize("state", [None, RunState.STOPPED])
def test_a_value_that_waits_on_a_stopped_vm_is_written_again(
    make_site: Callable[..., Site], state: RunState | None
) -> None:
    """PVE applies what waits with the next write of a VM that is off, of the same value, too."""
    site = make_site()
    site.world.add("qemu", 100, {"memory": "1024", "vga": "std"})
    conf = site.world.guests[100].conf
    conf.stage("memory", "2048")
    conf.stage_drop("vga")
    guest = wanted(100, state=state, memory=2048)
    assert turned(site, replace(guest, unset=frozenset({"vga"}))) == Converged()
    found = in_effect(site)
    assert found["memory"] == "2048"
    assert "vga" not in found


def test_what_waits_on_a_vm_that_is_to_be_started_takes_effect_with_its_start(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    site.world.add("qemu", 100, {"memory": "1024"})
    site.world.guests[100].conf.stage("memory", "2048")
    assert turned(site, wanted(100, state=RunState.RUNNING, memory=2048)) == Converged()
    assert in_effect(site)["memory"] == "2048"
    assert [m.path.rpartition("/")[2] for m in site.devnode.mutations] == ["start"]


def test_a_disk_that_waits_to_be_removed_from_a_stopped_vm_is_left_as_it_is(
    make_site: Callable[..., Site],
) -> None:
    """A snapshot has its volume, so that PVE keeps it (recorded: 100-snapshots-qemu/238)."""
    site = make_site()
    site.world.add("qemu", 100, {"scsi1": "local:100/vm-100-disk-1.raw,size=1G"})
    conf = site.world.guests[100].conf
    conf.stage_drop("scsi1", force=True)
    with opened(site, looked=True) as parts:
        outcome = turn(parts, replace(wanted(100), unset=frozenset({"scsi1"})))
    assert "scsi1: it would take local:100/vm-100-disk-1.raw away" in str(outcome)
    assert (conf.unset, conf.forced) == ({"scsi1"}, {"scsi1"})
    assert not site.devnode.mutations


def test_an_option_of_a_drive_that_waits_on_a_stopped_vm_is_written_again(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    disk = "local:100/vm-100-disk-1.raw"
    site.world.add("qemu", 100, {"scsi1": f"{disk},size=1G"})
    site.world.guests[100].conf.stage("scsi1", f"{disk},discard=on,size=1G")
    assert turned(site, wanted(100, scsi1=f"{disk},discard=on")) == Converged()
    assert in_effect(site) == {"scsi1": f"{disk},discard=on,size=1G"}


def test_what_waits_undeclared_on_a_stopped_vm_is_none_of_ours(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    site.world.add("qemu", 100, {"memory": "1024", "cores": 1})
    site.world.guests[100].conf.stage("memory", "2048")
    assert turned(site, wanted(100, cores=1)) == Converged()
    assert site.world.guests[100].conf.pending == {"memory": "2048"}


def turned(site: Site, guest: DesiredGuest) -> Outcome:
    with opened(site, looked=True) as parts:
        parts.planner.others = {}
        return turn(parts, guest)
