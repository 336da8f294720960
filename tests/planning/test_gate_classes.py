"""No spelling of an action that takes a volume away passes for one that can be undone."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felhom_agent.devnode import World
from felhom_agent.errors import PveError
from felhom_agent.irreversible import DeleteSnapshot, Destroy, PullPlug, Rollback
from felhom_agent.model import (
    ABSENT,
    Change,
    Kind,
    SetConfig,
    Start,
    Stop,
    StopPolicy,
    TypeOfAbsent,
)
from felhom_agent.options import Option, PropertyString
from felhom_agent.options.declaration import TABLES
from felhom_agent.planning.gate import (
    DESTRUCTIVE,
    LOCAL,
    REVERSIBLE,
    UNKNOWN,
    Classification,
    classify,
    is_reversible,
)
from tests.conftest import Clock, opened_site
from tests.permits import ask

QEMU, LXC = Kind.QEMU, Kind.LXC
OLD = "local:100/vm-100-disk-0.raw"
NEW = "local:100/vm-100-disk-7.raw"
ISO = "local:iso/a.iso,media=cdrom,size=4M"
CLOUDINIT = "local:100/vm-100-cloudinit.qcow2,media=cdrom"


def set_config(kind: Kind, key: str, before: object, after: object) -> SetConfig:
    change = Change(key, before, after)  # type: ignore[arg-type]
    return SetConfig(100, kind, (change,), "digest")


def classified(kind: Kind, key: str, before: object, after: object) -> Classification:
    return classify(set_config(kind, key, before, after), source=LOCAL)


def volume_options() -> Iterator[tuple[Kind, Option]]:
    """Yield every option whose text can name a volume."""
    for kind in Kind:
        for option in TABLES[kind].options:
            parts = option.type.keys if isinstance(option.type, PropertyString) else {}
            if {"file", "volume"} & set(parts):
                yield kind, option


KEYS = [
    (kind, f"{option.family}{number}" if option.count else option.name)
    for kind, option in volume_options()
    for number in range(option.count or 1)
    # Another name of ide2, which has tests of its own.
    if option.name != "cdrom"
]
ALL_BUT_UNUSED = [(kind, key) for kind, key in KEYS if not key.startswith("unused")]
DRIVES = [key for kind, key in KEYS if kind is QEMU and key.startswith(("ide", "scsi", "sata"))]


def test_every_option_with_a_volume_is_known_to_these_tests() -> None:
    assert {(str(kind), option.name) for kind, option in volume_options()} == {
        *itertools.product(
            ["qemu"],
            [
                "cdrom",
                "efidisk0",
                "ide[n]",
                "sata[n]",
                "scsi[n]",
                "tpmstate0",
                "unused[n]",
                "virtio[n]",
            ],
        ),
        *itertools.product(["lxc"], ["mp[n]", "rootfs", "unused[n]"]),
    }
    assert len(KEYS) == 1 + 4 + 6 + 31 + 1 + 256 + 16 + 256 + 1 + 256


AWAY = [
    ABSENT,
    "",
    " ",
    "none",
    "none,media=cdrom",
    "cdrom",
    "local:4",
    "local:0.5",
    "local:cloudinit",
    "local:0,import-from=local:100/vm-100-disk-9.raw",
    f"{OLD},import-from=local:100/vm-100-disk-9.raw",
    NEW,
    f"file={NEW}",
    f"volume={NEW}",
    f"size=1G,{NEW}",
    OLD.upper(),
    f" {OLD}",
    f"{OLD} ",
    f"FILE={OLD}",
    f"File={OLD}",
    f"VOLUME={OLD}",
    f"file= {OLD}",
    f"{OLD},{OLD}",
    f"{OLD},file={OLD},volume={NEW}",
    f"{NEW},file={OLD},volume={OLD}",
    "size=1G",
    "=",
    f"{OLD},=",
    "local:iso/a.iso,media=cdrom",
    "/dev/sdb",
    "/srv/data",
]


@pytest.mark.parametrize("after", AWAY, ids=repr)
def test_whatever_takes_a_volume_from_any_key_is_a_disk_detach(after: object) -> None:
    for kind, key in KEYS:
        for before in (
            OLD,
            f"{OLD},size=32G",
            f"size=32G,{'file' if kind is QEMU else 'volume'}={OLD}",
        ):
            found = classified(kind, key, before, after)
            assert (found.name, found.reversible) == ("disk_detach", False), (kind, key, before)
            assert OLD in str(found)
            assert key in str(found)
            assert "guest 100" in str(found)


@pytest.mark.parametrize("after", AWAY, ids=repr)
def test_what_pve_has_counts_and_not_what_an_action_says_it_replaces(after: object) -> None:
    for kind, key in KEYS:
        for claimed in (ABSENT, "none", "local:iso/a.iso,media=cdrom"):
            action = set_config(kind, key, claimed, after)
            found = classify(action, source=LOCAL, present={key: f"{OLD},size=32G"})
            assert found.name == "disk_detach", (kind, key, claimed)


def test_a_claim_to_replace_a_volume_counts_too() -> None:
    action = set_config(QEMU, "scsi0", OLD, NEW)
    assert not classify(action, source=LOCAL, present={}).reversible


@pytest.mark.parametrize(
    "parts", ["", ",size=32G", ",backup=0", ",size=1G,ro=1", ",cache=none,discard=on,replicate=0"]
)
def test_settings_of_the_same_volume_can_be_undone(parts: str) -> None:
    for kind, key in ALL_BUT_UNUSED:
        named = "file" if kind is QEMU else "volume"
        for after in (OLD + parts, f"{named}={OLD}{parts}", f"replicate=1,{named}={OLD}"):
            found = classified(kind, key, f"{OLD},size=32G", after)
            assert found == Classification("set_config", 100, reversible=True), (key, after)


def test_a_volume_in_an_empty_key_can_be_undone() -> None:
    for kind, key in ALL_BUT_UNUSED:
        assert classified(kind, key, ABSENT, OLD).reversible
        assert classified(kind, key, "", "local:4").reversible


@pytest.mark.parametrize("key", DRIVES)
@pytest.mark.parametrize(
    "before", ["none,media=cdrom", "cdrom", "media=cdrom,file=none", ISO, CLOUDINIT]
)
@pytest.mark.parametrize(
    "after", [ABSENT, "none,media=cdrom", "local:cloudinit", "local:iso/b.iso,media=cdrom", OLD]
)
def test_a_cd_and_a_cloudinit_drive_may_go_from_a_vms_drive(
    key: str, before: str, after: object
) -> None:
    assert classified(QEMU, key, before, after).reversible


@pytest.mark.parametrize(
    ("kind", "key", "before"),
    [
        # Named like what PVE makes again, where it makes nothing.
        (LXC, "mp0", "local:200/vm-200-cloudinit.raw,mp=/data"),
        (LXC, "rootfs", "local:200/vm-200-cloudinit.raw"),
        (LXC, "mp0", "none,mp=/data"),
        (QEMU, "efidisk0", "local:100/vm-100-cloudinit.qcow2"),
        (QEMU, "tpmstate0", "local:100/vm-100-cloudinit.qcow2"),
        (QEMU, "unused0", "local:100/vm-100-cloudinit.qcow2"),
        # A volume in a CD drive is no image of a CD, and PVE forgets it.
        (QEMU, "ide2", f"{OLD},media=cdrom"),
        (QEMU, "scsi1", "local:iso/a.iso,size=4M"),
        (QEMU, "scsi1", "local:iso/a.img,media=disk"),
        # What only root could put back.
        (QEMU, "ide2", "/srv/a.iso,media=cdrom"),
        (QEMU, "scsi1", "/dev/sdb"),
        (LXC, "mp0", "/srv/data,mp=/data"),
        # What cannot be taken apart might hold anything.
        (QEMU, "scsi1", f"{OLD},{NEW}"),
        (QEMU, "scsi1", "size=4G"),
        (QEMU, "scsi1", "none,file=none"),
    ],
)
@pytest.mark.parametrize("after", [ABSENT, "none,media=cdrom", NEW])
def test_what_only_looks_as_if_it_could_be_made_again_is_kept(
    kind: Kind, key: str, before: str, after: object
) -> None:
    assert classified(kind, key, before, after).name == "disk_detach"


@pytest.mark.parametrize("media", ["cdrom", "CDROM", "x"])
def test_a_disk_does_not_become_a_cd(media: str) -> None:
    assert classified(QEMU, "scsi0", OLD, f"{OLD},media={media}").name == "disk_detach"
    assert classified(QEMU, "scsi0", f"{OLD},media={media}", OLD).name == "disk_detach"
    assert classified(QEMU, "scsi0", OLD, f"{OLD},media=disk").reversible


@pytest.mark.parametrize(("kind", "key"), [(QEMU, "scsi0"), (LXC, "mp0"), (LXC, "rootfs")])
def test_a_request_for_a_volume_makes_another_one_also_where_it_reads_as_before(
    kind: Kind, key: str
) -> None:
    """recorded: 121-disks-lxc/062: a container may have `local:1` in its file as it is."""
    assert classified(kind, key, "local:1", "local:1").name == "disk_detach"


def test_the_saved_memory_of_a_vm_is_a_volume_too() -> None:
    assert classified(QEMU, "vmstate", "local:100/vm-100-state-a.raw", ABSENT).name == "disk_detach"


@pytest.mark.parametrize("after", [ABSENT, "none", NEW])
def test_the_old_name_of_ide2_stands_for_what_ide2_holds(after: object) -> None:
    action = set_config(QEMU, "cdrom", ABSENT, after)
    for present in (None, {"ide2": OLD}, {"ide2": f"{OLD},media=cdrom"}):
        assert classify(action, source=LOCAL, present=present).name == "disk_detach"
    for present in ({}, {"ide2": "none,media=cdrom"}, {"ide2": ISO}, {"ide0": OLD}):
        assert classify(action, source=LOCAL, present=present).reversible


@pytest.mark.parametrize(
    "key",
    ["delete", "force", "revert", "skiplock", "digest", "scsi0,scsi1", "onboot;scsi0", "scsi0 ",
     "SCSI0", "scsi31", "scsi00", "scsi[n]", "", "nosuch", "unused0", "meta", "lock",
     "a\nb", "x" * 1000],
)  # fmt: skip
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("after", ["scsi0", ABSENT])
def test_a_key_that_is_no_option_to_be_set_is_destructive(
    kind: Kind, key: str, after: object
) -> None:
    found = classified(kind, key, ABSENT, after)
    assert (found.name, found.reversible) == (UNKNOWN, False)
    assert len(str(found)) < 200
    assert str(found).isprintable()


def test_one_change_that_takes_a_volume_away_makes_the_whole_action_destructive() -> None:
    fine, wrong = Change("cores", "1", "2"), Change("scsi1", OLD, ABSENT)
    for changes in itertools.permutations([fine, wrong, Change("memory", "1", "2")]):
        found = classify(SetConfig(100, QEMU, changes), source=LOCAL)
        assert str(found) == f"disk_detach of guest 100: scsi1 would lose {OLD}"
    assert classify(SetConfig(100, QEMU, (fine,)), source=LOCAL).reversible


def test_a_volume_that_moves_to_another_key_is_taken_from_its_own() -> None:
    changes = (Change("scsi1", OLD, ABSENT), Change("virtio1", ABSENT, OLD))
    assert not classify(SetConfig(100, QEMU, changes), source=LOCAL).reversible


@pytest.mark.parametrize("kind", Kind)
def test_start_stop_and_restart_can_be_undone_whoever_asks(kind: Kind) -> None:
    for source in (LOCAL, "hub", ""):
        names = [
            classify(action, source=source)
            for action in (Start(100, kind), Stop(100, kind), Stop(100, kind, restart=True))
        ]
        assert [(c.name, c.reversible, c.lost) for c in names] == [
            (name, True, ()) for name in ("start", "stop", "restart")
        ]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("source", [LOCAL, "hub", "git", "job", "", "FILE", " file"])
@pytest.mark.parametrize("stop", StopPolicy)
def test_the_plug_is_pulled_only_where_the_guests_local_file_allows_it(
    stop: StopPolicy, source: str, restart: bool
) -> None:
    action = Stop(100, QEMU, StopPolicy.POWER_OFF, restart=restart)
    found = classify(action, source=source, stop=stop)
    assert found.name == "force_stop"
    assert found.reversible is (source == LOCAL and stop is StopPolicy.POWER_OFF)
    assert str(found) == ("force_stop of guest 100: what it has not written to its disks yet")


def test_a_stop_in_a_way_that_nobody_knows_is_a_force_stop() -> None:
    odd = Stop(100, QEMU, "gently")  # type: ignore[arg-type]
    assert classify(odd, source=LOCAL, stop=StopPolicy.GRACEFUL).name == "force_stop"


@dataclass(frozen=True)
class Wipe:
    """An action of a kind that no version knows yet."""

    vmid: int = 100


@pytest.mark.parametrize("action", [Wipe(), None, "start", 7])
def test_an_action_of_an_unknown_kind_is_destructive(action: object) -> None:
    found = classify(action, source=LOCAL)
    assert (found.name, found.reversible) == (UNKNOWN, False)


@pytest.mark.parametrize(
    ("action", "name"),
    [
        (Destroy(101, QEMU), "guest_destroy"),
        (Rollback(101, QEMU, "before"), "snapshot_rollback"),
        (DeleteSnapshot(101, QEMU, "before"), "snapshot_delete"),
        (PullPlug(101, QEMU), "force_stop"),
    ],
)
def test_what_a_signature_is_for_is_destructive_whatever_the_file_allows(
    action: object, name: str
) -> None:
    found = classify(action, source=LOCAL, stop=StopPolicy.POWER_OFF)
    assert (found.name, found.vmid, found.reversible) == (name, 101, False)


def test_of_what_is_not_known_the_guest_is_told_if_it_has_one_and_the_key_within_bounds() -> None:
    assert [classify(odd, source=LOCAL).vmid for odd in (Wipe(), None)] == [100, 0]
    (told,) = classified(QEMU, "x" * 61, ABSENT, "1").lost
    assert told == f"what writing {'x' * 60!r} does is not known"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (f"{OLD},size=1G", ABSENT, f"scsi0 would lose {OLD}"),
        (f"{OLD},size=1G", NEW, f"scsi0 would lose {OLD} to {NEW}"),
        # It cannot be taken apart, so all of it is told.
        ("size=1G", ABSENT, "scsi0 would lose size=1G"),
    ],
)
def test_what_would_be_lost_is_told_by_its_volume(before: str, after: object, told: str) -> None:
    assert classified(QEMU, "scsi0", before, after).lost == (told,)


def test_the_classes_are_two_and_what_is_in_neither_is_destructive() -> None:
    assert not REVERSIBLE & DESTRUCTIVE
    assert all(map(is_reversible, REVERSIBLE))
    assert not any(map(is_reversible, [*DESTRUCTIVE, UNKNOWN, "", "START", "start ", "x"]))


VOLUMES = st.sampled_from(
    [OLD, NEW, OLD.upper(), f" {OLD}", "none", "cdrom", "local:4", "local:0.5", "local:cloudinit",
     "local:100/vm-100-cloudinit.qcow2", "local:iso/a.iso", "local:1", ""]
)  # fmt: skip
NAMES = st.sampled_from(["", "", "file=", "volume=", "FILE=", "file =", "Volume="])
EXTRAS = st.sampled_from(
    ["size=1G", "media=cdrom", "media=disk", "backup=0", "cache=none", "ssd=1", "format=raw",
     "mp=/data", "ro=1", "import-from=local:1", "x=y", "", " ", "=", "garbage", "snapshot=1"]
)  # fmt: skip


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A property string of a drive or mount point, or what looks like one."""
    lead = [draw(NAMES) + draw(VOLUMES) for _ in range(draw(st.sampled_from([1, 1, 1, 0, 2])))]
    parts = draw(st.permutations(lead + draw(st.lists(EXTRAS, max_size=3))))
    return ",".join(parts)


def plain_volumes(kind: Kind, text: str) -> list[str]:
    """Return what a text names as volume, read as plainly as can be: all words that might be."""
    names = ("file", "volume") if kind is QEMU else ("volume",)
    words = [part.partition("=") for part in text.split(",") if part.strip()]
    return [v if eq else k for k, eq, v in words if not eq or k in names]


@settings(deadline=None, max_examples=600)
@given(place=st.sampled_from(ALL_BUT_UNUSED), before=texts(), after=texts() | st.just(ABSENT))
def test_what_can_be_undone_names_the_same_one_volume_as_before(
    place: tuple[Kind, str], before: str, after: object
) -> None:
    kind, key = place
    if not classified(kind, key, before, after).reversible:
        return
    held = plain_volumes(kind, before)
    if not before.strip() or (kind is QEMU and held in (["none"], ["cdrom"])):
        return
    made_again = len(held) == 1 and ("cloudinit" in held[0] or "iso/" in held[0])
    if made_again and kind is QEMU and not key.startswith(("efidisk", "tpmstate")):
        return
    assert len(held) == 1
    assert plain_volumes(kind, str(after)) == held
    assert held[0] not in ("local:4", "local:0.5", "local:1", "local:cloudinit")
    assert ("import-from" in str(after)) == ("import-from" in before)
    assert ("media=cdrom" in str(after)) == ("media=cdrom" in before)


NODE_KEYS = [(QEMU, "scsi0"), (QEMU, "ide2"), (QEMU, "virtio3"), (LXC, "rootfs"), (LXC, "mp0")]


def test_whatever_passes_leaves_the_volume_where_it_was_on_a_node() -> None:
    """The node is asked for everything; what it does tells which answers of the gate were right."""
    clock = Clock()
    world = World(node="pve1", now=clock)
    vmids, reversible, lost = itertools.count(100), 0, 0
    with (
        tempfile.TemporaryDirectory(prefix="gate-") as directory,
        opened_site(Path(directory), world, clock) as site,
    ):
        node = site.connect()

        @settings(deadline=None, max_examples=150)
        @given(place=st.sampled_from(NODE_KEYS), after=texts() | st.just(ABSENT))
        def try_one(place: tuple[Kind, str], after: str | TypeOfAbsent) -> None:
            nonlocal reversible, lost
            kind, key = place
            vmid = next(vmids)
            held = f"local:{vmid}/vm-{vmid}-disk-0.raw"
            spelled = after if after is ABSENT else after.replace("100", str(vmid))
            config = {key: f"{held},mp=/data,size=1G" if key == "mp0" else f"{held},size=1G"}
            world.add(str(kind), vmid, config)
            before = str(world.config(vmid)[key])
            digest = str(world.config(vmid)["digest"])
            action = SetConfig(vmid, kind, (Change(key, before, spelled),), digest)
            with contextlib.suppress(PveError):
                ask(node, action)
            stayed = held in str(world.config(vmid).get(key, ""))
            if classify(action, source=LOCAL).reversible:
                reversible += 1
                assert stayed, (place, spelled)
            lost += not stayed

        try_one()
    assert reversible
    assert lost
