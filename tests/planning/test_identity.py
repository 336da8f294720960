"""Which guest it is: witnesses, confirmations, and the node's task list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import pytest

from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.devnode import World
from felhom_agent.devnode.world.tasks import Task
from felhom_agent.devnode.world.worker import Steps
from felhom_agent.model import (
    ActualGuest,
    Blocked,
    DesiredGuest,
    History,
    Kind,
    Known,
    RunState,
)
from felhom_agent.planning.identity import identity_mismatch, identity_of, is_witness, known_now
from tests.conftest import Clock, Site

UUID, OTHER = "6f6b1d0e-7b6c-4b6b-8f62-1d4f8a1c0100", "00000000-7b6c-4b6b-8f62-1d4f8a1c0100"
CARD = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01"
OTHER_CARD = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:99"
VOLUME, OTHER_VOLUME = "local-lvm:vm-101-disk-0,size=8G", "nfs:101/vm-101-disk-0.raw,size=8G"


def vm(uuid: str = UUID, ctime: int = 1) -> ActualGuest:
    config = {"smbios1": f"uuid={uuid}", "meta": f"creation-qemu=9.2,ctime={ctime}"}
    return ActualGuest(101, Kind.QEMU, "pve1", RunState.STOPPED, config=config)


def ct(rootfs: str = VOLUME, *cards: str) -> ActualGuest:
    config = {"rootfs": rootfs} | {f"net{n}": card for n, card in enumerate(cards)}
    return ActualGuest(101, Kind.LXC, "pve1", RunState.STOPPED, config=config)


def listed(born: int | None) -> History:
    """Return a history whose latest creation of guest 101 is `born`; None: it cannot be read."""
    latest = {101: born} if born else {}
    return History(MappingProxyType(latest), readable=born is not None)


SAME, OTHER_GUEST, A_PERSON_MUST = "", "was given to another guest", "cannot tell"


@pytest.mark.parametrize(
    ("before", "now", "born_before", "born_now", "gone", "verdict"),
    [
        # All witnesses agree, and all differ.
        (vm(), vm(), 5, 5, False, SAME),
        (vm(), vm(OTHER, 2), 5, 5, False, OTHER_GUEST),
        (vm(), vm(OTHER, 2), None, None, False, OTHER_GUEST),
        (ct(VOLUME, CARD), ct(VOLUME, CARD), 5, 5, False, SAME),
        (ct(VOLUME, CARD), ct(OTHER_VOLUME, OTHER_CARD), 5, 5, False, OTHER_GUEST),
        # A VM's uuid is kept by a restore over the VM that was there.
        (vm(), vm(), 5, 9, False, SAME),
        # PVE gives a container that is created again the same volume, and perhaps the same cards.
        (ct(VOLUME, CARD), ct(VOLUME, CARD), 5, 9, False, OTHER_GUEST),
        (ct(VOLUME), ct(VOLUME), 5, 9, False, OTHER_GUEST),
        (ct(VOLUME, CARD), ct(VOLUME, CARD), None, None, False, SAME),
        # Witnesses that disagree: the list decides, and where it cannot, a person.
        (ct(VOLUME, CARD), ct(VOLUME, OTHER_CARD), 5, 9, False, OTHER_GUEST),
        (ct(VOLUME, CARD), ct(VOLUME, OTHER_CARD), 5, 5, False, SAME),
        (ct(VOLUME, CARD), ct(VOLUME, OTHER_CARD), 5, None, False, A_PERSON_MUST),
        (ct(VOLUME, CARD), ct(VOLUME, OTHER_CARD), None, 5, False, A_PERSON_MUST),
        (ct(VOLUME, CARD), ct(OTHER_VOLUME, CARD), 5, 5, False, SAME),
        (ct(VOLUME, CARD), ct(OTHER_VOLUME, CARD), 5, 9, False, OTHER_GUEST),
        # Without a card the volume is all that there is: moved, or of another container.
        (ct(VOLUME), ct(OTHER_VOLUME), 5, 5, False, SAME),
        (ct(VOLUME), ct(OTHER_VOLUME), 5, 9, False, OTHER_GUEST),
        (ct(VOLUME), ct(OTHER_VOLUME), 5, None, False, OTHER_GUEST),
        (ct(VOLUME), ct(OTHER_VOLUME), None, 5, False, OTHER_GUEST),
        # Its card came or went while its volume was moved: again the volume is all there is.
        (ct(VOLUME, CARD), ct(OTHER_VOLUME), 5, 5, False, SAME),
        (ct(VOLUME, CARD), ct(OTHER_VOLUME), 5, None, False, OTHER_GUEST),
        (ct(VOLUME), ct(OTHER_VOLUME, CARD), 5, 5, False, SAME),
        (vm(), vm(OTHER, 1), 5, 5, False, SAME),
        (vm(), vm(OTHER, 1), 5, 9, False, OTHER_GUEST),
        (vm(), vm(UUID, 2), 5, None, False, A_PERSON_MUST),
        # One card of two is the same.
        (ct(VOLUME, CARD, OTHER_CARD), ct(VOLUME, OTHER_CARD), 5, 5, False, SAME),
        # Seen gone in between: nothing that agrees is proof.
        (vm(), vm(), 5, 5, True, SAME),
        (vm(), vm(), 5, 9, True, OTHER_GUEST),
        (vm(), vm(), 5, None, True, A_PERSON_MUST),
        (ct(VOLUME, CARD), ct(VOLUME, CARD), 5, None, True, A_PERSON_MUST),
    ],
)
def test_witnesses_and_the_task_list_tell_who_it_is(
    before: ActualGuest,
    now: ActualGuest,
    born_before: int | None,
    born_now: int | None,
    gone: bool,
    verdict: str,
) -> None:
    known = Known(identity_of(before), born_before, gone)
    why = identity_mismatch(DesiredGuest(101), now, known, listed(born_now))
    assert (verdict in why) if verdict else why == ""
    if why:
        assert f'identity = "{identity_of(now)}"' in why


@pytest.mark.parametrize(
    "confirmation",
    [
        f"uuid={UUID}",
        f"uuid={UUID.upper()}",
        f"UUID={UUID}",
        f"uuid={UUID};ctime=1",
        f" ctime=1 ; uuid={UUID} ",
    ],
)
def test_a_confirmation_counts_in_any_case_and_order(confirmation: str) -> None:
    known = known_now(vm(OTHER, 2), listed(5))
    desired = DesiredGuest(101, identity=confirmation)
    assert identity_mismatch(desired, vm(), known, listed(9)) == ""


@pytest.mark.parametrize(
    "confirmation", [f"uuid={OTHER}", "uuid=", "nonsense", f"uuid={UUID};ctime=2"]
)
def test_a_confirmation_that_is_not_of_the_guest_confirms_nothing(confirmation: str) -> None:
    desired = DesiredGuest(101, identity=confirmation)
    assert identity_mismatch(desired, vm(), Known(), listed(5))


def test_a_guest_that_nobody_knew_is_taken_for_the_one_that_is_meant() -> None:
    assert identity_mismatch(DesiredGuest(101), vm(), Known(), listed(5)) == ""


def test_a_guest_with_nothing_to_know_it_by_is_not_withheld() -> None:
    bare = ActualGuest(101, Kind.QEMU, "pve1", RunState.STOPPED, config={})
    assert identity_of(bare) == ""
    assert identity_mismatch(DesiredGuest(101), bare, Known(f"uuid={UUID}"), listed(5)) == ""


@pytest.mark.parametrize("again", [CARD, OTHER_CARD])
@pytest.mark.parametrize("watched", [True, False])
def test_a_container_that_was_created_again_is_not_touched(
    site: Site, clock: Clock, again: str, watched: bool
) -> None:
    """With the same volume and perhaps the same cards, between two passes or while away."""
    config = {"hostname": "dns", "rootfs": VOLUME, "net0": CARD}
    site.world.add("lxc", 205, config)
    site.declare("[guest.205.config]\nonboot = true\n")
    with assembled(site.config(), clock) as parts:
        assert Daemon(site.config(), parts).run_pass()
        clock.pass_by(60)
        site.world.remove(205)
        clock.pass_by(60)
        site.world.create("lxc", 205, {**config, "hostname": "other", "net0": again})
        if watched:
            look(site, clock, Daemon(site.config(), parts))
    if not watched:
        with assembled(site.config(), clock) as parts:
            look(site, clock, Daemon(site.config(), parts))


def look(site: Site, clock: Clock, daemon: Daemon) -> None:
    before = len(site.devnode.mutations)
    clock.pass_by(60)
    assert not daemon.run_pass()
    assert "was given to another guest" in str(daemon._scheduler.statuses[205].outcome)
    assert len(site.devnode.mutations) == before
    assert "onboot" not in site.world.config(205)


@pytest.mark.parametrize(
    "change",
    [{"rootfs": OTHER_VOLUME}, {"net0": OTHER_CARD}],
    ids=["the root volume was moved", "the card was replaced"],
)
def test_a_container_that_a_person_changed_is_still_the_same(
    site: Site, clock: Clock, change: dict[str, str]
) -> None:
    site.world.add("lxc", 205, {"hostname": "dns", "rootfs": VOLUME, "net0": CARD})
    site.declare("[guest.205.config]\nonboot = true\n")
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        assert daemon.run_pass()
        site.world.edit(205, {**change, "onboot": 0})
        assert daemon.run_pass()
        site.world.edit(205, {"onboot": 0})
        assert daemon.run_pass()
    assert site.world.config(205)["onboot"] == 1


def test_a_guest_that_was_seen_gone_and_came_back_needs_the_task_list_or_a_person(
    make_site: Callable[..., Site], clock: Clock
) -> None:
    """This token may not read the tasks of others, so that the list cannot tell."""
    site = make_site(privileges={"/vms": ["VM.Audit", "VM.Config.Options"]})
    site.world.add("qemu", 100, {"smbios1": f"uuid={UUID}"})
    site.declare("[guest.100.config]\nonboot = true\n")
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        assert daemon.run_pass()
        site.world.remove(100)
        assert not daemon.run_pass()
        site.world.create("qemu", 100, {"smbios1": f"uuid={UUID}"})
        assert not daemon.run_pass()
        outcome = daemon._scheduler.statuses[100].outcome
        assert isinstance(outcome, Blocked)
        assert "the node's task list cannot tell" in outcome.why
        site.declare(f'[guest.100]\nidentity = "uuid={UUID}"\n[guest.100.config]\nonboot = true\n')
        assert daemon.run_pass()
    assert site.world.config(100)["onboot"] == 1


def test_a_node_of_which_hundreds_of_guests_were_created_is_read_to_the_end(
    site: Site, clock: Clock
) -> None:
    """More tasks than one answer holds, between two passes."""
    site.world.add("lxc", 205, {"rootfs": VOLUME, "net0": CARD})
    site.declare("[guest.205.config]\nonboot = true\n")
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        assert daemon.run_pass()
        site.world.remove(205)
        site.world.create("lxc", 205, {"rootfs": VOLUME, "net0": CARD})
        for _ in range(600):
            site.world.start(100)
            site.world.stop(100)
        clock.pass_by(60)
        assert not daemon.run_pass()
    assert "onboot" not in site.world.config(205)


def test_a_restore_that_took_longer_than_what_came_after_it_is_seen(
    site: Site, clock: Clock
) -> None:
    """What PVE lists since a moment is what began since, whenever it ended."""
    site.world.add("lxc", 205, {"rootfs": VOLUME, "net0": CARD})
    site.declare('[guest.205.config]\nonboot = true\n[guest.200]\nstate = "running"\n')
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        assert daemon.run_pass()
        clock.pass_by(60)
        restore_over(site.world, 205, seconds=300)
        clock.pass_by(60)
        site.world.stop(200)
        assert not daemon.run_pass()
        assert site.world.running(200)
        clock.pass_by(300)
        look(site, clock, daemon)


def test_a_restore_that_is_listed_only_after_a_later_task_is_seen(site: Site, clock: Clock) -> None:
    """A node's list may lag behind, and its clock may be put back a little."""
    site.world.add("lxc", 205, {"rootfs": VOLUME, "net0": CARD})
    site.declare("[guest.205.config]\nonboot = true\n")
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        assert daemon.run_pass()
        site.world.start(200)
        site.world.edit(205, {"onboot": 0})
        assert daemon.run_pass()
        restore_over(site.world, 205, seconds=1).starttime -= 15
        look(site, clock, daemon)


def restore_over(world: World, vmid: int, seconds: float) -> Task:
    """Let a backup that looks alike be restored over a container; PVE locks it for so long."""

    def work(_: object) -> Steps:
        world.lock(vmid, "create")
        yield seconds
        world.edit(vmid, {}, delete=["lock", "onboot"])

    with world.guard:
        return world.tasks.start("vzrestore", vmid, "root@pam", work)


def test_the_reason_says_what_told_that_it_is_another_guest_and_how_to_confirm_it() -> None:
    now = ct(VOLUME, OTHER_CARD)
    known = Known(identity_of(ct(VOLUME, CARD)), 5)
    confirm = f'if this is the one you mean, confirm with identity = "{identity_of(now)}"'

    def why(known: Known, present: ActualGuest, born: int | None) -> str:
        return identity_mismatch(DesiredGuest(101), present, known, listed(born))

    assert "(it was created, restored or destroyed since it was last known)" in why(known, now, 9)
    elsewhere = ct(OTHER_VOLUME, OTHER_CARD)
    assert f"({known.identity} is now {identity_of(elsewhere)})" in why(known, elsewhere, 5)
    assert f"({known.identity} was known)" in why(known, now, None)
    gone = Known(identity_of(now), 5, gone=True)
    assert "(it was gone for a while)" in why(gone, now, None)
    for text in (why(known, now, 9), why(known, now, None)):
        assert confirm in text


@pytest.mark.parametrize(
    ("before", "now", "born", "named"),
    [
        (ct(VOLUME, CARD), ct(OTHER_VOLUME, OTHER_CARD), 5, "the root volume, the MAC addresses;"),
        (ct(VOLUME, CARD), ct(VOLUME, OTHER_CARD), 9, "; what differs: the MAC addresses;"),
        (ct(VOLUME, CARD), ct(OTHER_VOLUME, CARD), None, "; what differs: the root volume;"),
        (vm(), vm(OTHER, 1), None, "; what differs: the SMBIOS uuid;"),
        (vm(), vm(OTHER, 2), 5, "; what differs: the SMBIOS uuid, when it was made;"),
    ],
)
def test_the_reason_names_what_differs(
    before: ActualGuest, now: ActualGuest, born: int | None, named: str
) -> None:
    known = Known(identity_of(before), 5)
    assert named in identity_mismatch(DesiredGuest(101), now, known, listed(born))


@pytest.mark.parametrize(
    ("known", "born", "verdict"),
    [
        (ct(VOLUME, CARD), 5, SAME),
        # as it is remembered once it was seen moved
        (ct(OTHER_VOLUME, CARD), 5, SAME),
        (ct(VOLUME, CARD), 9, OTHER_GUEST),
        (ct(VOLUME, CARD), None, A_PERSON_MUST),
        # that one was not the one that is confirmed
        (ct(VOLUME, OTHER_CARD), 5, OTHER_GUEST),
    ],
)
def test_a_confirmed_container_whose_root_volume_was_moved_is_still_the_same(
    known: ActualGuest, born: int | None, verdict: str
) -> None:
    confirmed = DesiredGuest(101, identity=identity_of(ct(VOLUME, CARD)))
    why = identity_mismatch(
        confirmed, ct(OTHER_VOLUME, CARD), Known(identity_of(known), 5), listed(born)
    )
    assert (verdict in why) if verdict else why == ""


def test_a_confirmed_container_has_other_cards_and_another_volume_and_is_another() -> None:
    confirmed = DesiredGuest(101, identity=identity_of(ct(VOLUME, CARD)))
    known = Known(identity_of(ct(VOLUME, CARD)), 5)
    why = identity_mismatch(confirmed, ct(OTHER_VOLUME, OTHER_CARD), known, listed(5))
    assert OTHER_GUEST in why


def test_a_confirmed_container_is_told_by_its_cards_alone_only_where_its_birth_was_known() -> None:
    confirmed = DesiredGuest(101, identity=identity_of(ct(VOLUME, CARD)))
    known = Known(identity_of(ct(VOLUME, CARD)), None)
    why = identity_mismatch(confirmed, ct(OTHER_VOLUME, CARD), known, listed(None))
    assert OTHER_GUEST in why


def test_a_confirmed_container_that_nobody_knew_by_its_cards_is_not_taken_for_moved() -> None:
    confirmed = DesiredGuest(101, identity=identity_of(ct(VOLUME, CARD)))
    why = identity_mismatch(confirmed, ct(OTHER_VOLUME, CARD), Known(), listed(5))
    assert OTHER_GUEST in why
    assert "what differs: the root volume;" in why


def test_a_witness_without_a_value_neither_agrees_nor_differs() -> None:
    guest = ct(VOLUME, CARD)
    confirmed = DesiredGuest(101, identity=f"rootfs={VOLUME.partition(',')[0]};mac=")
    assert identity_mismatch(confirmed, guest, Known("", None), listed(5)) == ""


@pytest.mark.parametrize(("born", "why"), [(5, SAME), (9, OTHER_GUEST), (None, A_PERSON_MUST)])
def test_of_a_guest_of_which_nothing_can_be_compared_the_task_list_tells(
    born: int | None, why: str
) -> None:
    """It lost the one witness that was known, and has another one now."""
    without = replace(vm(), config={"meta": "creation-qemu=9.2,ctime=1"})
    known = Known(f"uuid={UUID}", 5)
    found = identity_mismatch(DesiredGuest(101), without, known, listed(born))
    assert (why in found) if why else found == ""


NOTHING = ActualGuest(101, Kind.QEMU, "pve1", RunState.STOPPED, config={"cores": 1})


@pytest.mark.parametrize("born", [5, 9, None])
@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize(
    ("before", "now", "named"),
    [
        (
            vm(),
            ct(VOLUME, CARD),
            "the kind (it was a VM and is a container), the root volume, the MAC addresses",
        ),
        (vm(), ct(VOLUME), "the kind (it was a VM and is a container), the root volume"),
        (
            ct(VOLUME, CARD),
            vm(),
            "the kind (it was a container and is a VM), the SMBIOS uuid, when it was made",
        ),
        (ct(VOLUME), NOTHING, "the kind (it was a container and is a VM)"),
    ],
)
def test_a_guest_of_the_other_kind_is_another_one_whatever_the_task_list_says(
    before: ActualGuest, now: ActualGuest, named: str, gone: bool, born: int | None
) -> None:
    known = Known(identity_of(before), 5, gone)
    why = identity_mismatch(DesiredGuest(101), now, known, listed(born))
    assert OTHER_GUEST in why
    assert f"; what differs: {named}; " in why


def test_a_confirmation_of_the_other_kind_confirms_nothing() -> None:
    known = Known(identity_of(vm()), 5)
    for confirmed in (identity_of(vm()), f"{identity_of(ct(VOLUME))};{identity_of(vm())}"):
        desired = DesiredGuest(101, identity=confirmed)
        assert OTHER_GUEST in identity_mismatch(desired, ct(VOLUME, CARD), known, listed(5))


def test_a_container_under_a_vms_number_is_not_touched_by_a_token_that_may_not_see_tasks(
    make_site: Callable[..., Site], clock: Clock
) -> None:
    site = make_site(privileges={"/vms": ["VM.Audit", "VM.PowerMgmt"]})
    site.world.create("qemu", 101, {"smbios1": f"uuid={UUID}"})
    site.declare('[guest.101]\nstate = "running"\n')
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        assert daemon.run_pass()
        with site.world.guard:
            site.world.remove(101)
            site.world.create("lxc", 101, {"rootfs": VOLUME, "net0": CARD})
        clock.pass_by(3600)
        assert not daemon.run_pass()
        assert "it was a VM and is a container" in str(daemon._scheduler.statuses[101].outcome)
    assert not site.world.running(101)


def test_a_guest_whose_configuration_was_not_read_is_known_by_nothing() -> None:
    assert identity_of(ActualGuest(101, Kind.QEMU, "pve1", RunState.STOPPED)) == ""


@pytest.mark.parametrize(
    ("key", "tells"),
    [
        *((key, True) for key in ("net0", "net12", "rootfs", "smbios1", "meta")),
        *((key, False) for key in ("cores", "nets0", "mp0", "hostname")),
    ],
)
def test_the_options_that_a_guest_is_known_by(key: str, tells: bool) -> None:
    assert is_witness(key) is tells
