"""A declared boot order stays, though PVE adds each CD drive that is written to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from felhom_agent.devnode import World
from felhom_agent.model import (
    ABSENT,
    Actual,
    ActualGuest,
    Change,
    Converged,
    Facts,
    Kind,
    RunState,
    SetConfig,
)
from felhom_agent.planning.bootorder import order_after, writes_cd
from felhom_agent.planning.effects import Effect
from felhom_agent.planning.foresight import foresee
from felhom_agent.planning.plan import plan_guest
from tests.conftest import Clock, Site
from tests.planning.test_foresight import declared, there
from tests.reconcile.test_reconciliation import ends, turn, wanted
from tests.reconcile.test_refused_changes import agent_on

CD, ISO = "none,media=cdrom", "local:iso/a.iso,media=cdrom"
NET: dict[str, Any] = {f"net{n}": f"virtio=BC:24:11:00:00:0{n},bridge=vmbr0" for n in (1, 2)}


@pytest.mark.parametrize(
    ("key", "after", "writes"),
    [
        ("ide2", CD, True),
        ("scsi3", ISO, True),
        ("ide2", "file=none,media=cdrom", True),
        ("ide2", "local:100/vm-100-cloudinit.qcow2,media=cdrom", False),
        ("ide2", "local-lvm:vm-100-cloudinit,media=cdrom", False),
        ("scsi1", "local:100/vm-100-disk-1.raw", False),
        ("efidisk0", CD, False),
        ("ide2", None, False),
    ],
)
def test_which_drives_pve_boots_from_besides(key: str, after: str | None, writes: bool) -> None:
    assert writes_cd(Change(key, ABSENT, after or ABSENT)) is writes


@pytest.mark.parametrize(
    ("boot", "pending", "changes", "order"),
    [
        ("order=net1", {}, {"ide2": CD}, "order=net1;ide2"),
        ("order=net1", {}, {"ide2": CD, "net1": None}, "order=ide2"),
        ("order=net1;ide2", {}, {"ide2": CD}, ""),
        ("order=net1,ide2", {}, {"ide3": CD, "ide2": ISO}, "order=net1;ide2;ide3"),
        ("order=net1;ide2", {"boot": "order=net1"}, {"ide2": CD}, "order=net1;ide2"),
        ("order=net1", {"boot": None}, {"ide2": CD}, ""),
        ("cdn", {}, {"ide2": CD}, ""),
        ("order=net1", {}, {"scsi1": "local:100/vm-100-disk-1.raw"}, ""),
    ],
)
def test_which_order_pve_makes_of_what_is_written(
    boot: str, pending: dict[str, str | None], changes: dict[str, str | None], order: str
) -> None:
    guest = replace(there(boot=boot), pending=pending)
    made = [Change(key, ABSENT, after or ABSENT) for key, after in changes.items()]
    assert order_after(guest, made) == order


def changes_of(guest: ActualGuest, **config: Any) -> dict[str, tuple[object, object]]:
    found = plan_guest(declared(**config), Actual("pve1", {100: guest}))
    changes = [c for a in found.actions if isinstance(a, SetConfig) for c in a.changes]
    return {change.key: (change.before, change.after) for change in changes}


@pytest.mark.parametrize("state", RunState)
def test_a_declared_order_is_planned_again_beside_the_drive(state: RunState) -> None:
    guest = there(state, boot="order=net1", **NET)
    found = changes_of(guest, boot="order=net1", ide2=CD)
    assert found == {"ide2": (ABSENT, CD), "boot": ("order=net1;ide2", "order=net1")}
    assert changes_of(guest, ide2=CD) == {"ide2": (ABSENT, CD)}
    named = changes_of(guest, boot="order=net1;ide2", ide2=CD)
    assert named["boot"] == ("order=net1", "order=net1;ide2")


def test_it_is_said_why_and_that_it_needs_no_restart() -> None:
    guest = there(boot="order=net1", ide2=CD, **NET)
    desired = declared(boot="order=net1", ide2=ISO)
    plan = plan_guest(desired, Actual("pve1", {100: guest}))
    found = {f.change.key: f for f in foresee(desired, guest, plan, Facts()).changes}
    assert found["boot"].effect is Effect.NOW
    assert found["boot"].why == "PVE adds the CD drive to the boot order"


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("before", [{}, {"ide2": ISO}], ids=["a new drive", "another CD"])
@pytest.mark.parametrize("order", ["net1", "net2", "net1;ide2", "ide2;net2"])
def test_the_guest_ends_with_the_order_that_is_declared(
    make_site: Callable[..., Site], running: bool, before: dict[str, str], order: str
) -> None:
    site = make_site(World(node="pve1", now=Clock()))
    site.world.add("qemu", 100, {"boot": "order=net1", **NET, **before}, running=running)
    state = RunState.RUNNING if running else RunState.STOPPED
    guest = wanted(100, state, boot=f"order={order}", ide2=CD)
    with agent_on(site) as parts:
        parts.planner.others = {}  # as after a pass
        outcome = turn(parts, guest)
    conf = site.world.guests[100].conf
    assert conf.merged()["boot"] == f"order={order}"
    assert conf.merged()["ide2"] == CD
    if not running:
        assert outcome == Converged()
    assert all(str(state) == "succeeded" for _, state in ends(site))


def test_a_container_has_no_boot_order() -> None:
    guest = there(kind=Kind.LXC, boot="order=net1")
    assert order_after(guest, [Change("ide2", ABSENT, CD)]) == ""
