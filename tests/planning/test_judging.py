"""Whether a changed key is in effect at once, and what a person is told if it is not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from felhom_agent.model import ABSENT, Change, Facts, Kind
from felhom_agent.planning.effects import Effect, effect_of

NOW, RESTART, UNSURE = Effect.NOW, Effect.RESTART, Effect.UNSURE
ALL = {"hotplug": "network,disk,usb,cpu,memory,cloudinit"}
NONE = {"hotplug": "0"}
DISK, OTHER = "local:101/vm-101-disk-0.raw", "local:101/vm-101-disk-1.raw"
CARD = "virtio=BC:24:11:00:00:01,bridge=vmbr0"


def judged(
    key: str,
    before: str | None,
    after: str | None,
    present: Mapping[str, str],
    *,
    kind: Kind = Kind.QEMU,
    version: tuple[int, ...] = (9, 1),
) -> tuple[Effect, str]:
    change = Change(key, ABSENT if before is None else before, ABSENT if after is None else after)
    held = dict(present) if before is None else {**present, key: before}
    found = effect_of(kind, change, held, Facts(version))
    return found.effect, found.why


@pytest.mark.parametrize(
    ("key", "before", "after", "present", "effect", "why"),
    [
        ("ciuser", None, "anna", ALL, NOW, ""),
        ("ciuser", None, "anna", {}, NOW, "its cloud-init drive has it from the next start"),
        # Processors: up to what is there, and down only if the guest lets go.
        ("vcpus", "1", "2", {**ALL, "cores": "2"}, NOW, ""),
        ("vcpus", "1", "3", {**ALL, "cores": "2"}, RESTART, "only 2 processors"),
        ("vcpus", "2", "1", {**ALL, "cores": "2"}, UNSURE, "lets go of a processor"),
        ("vcpus", None, "2", {**ALL, "cores": "2"}, NOW, ""),
        ("vcpus", None, "1", {**ALL, "cores": "2"}, UNSURE, "lets go of a processor"),
        ("vcpus", "1", None, {**ALL, "cores": "2"}, NOW, ""),
        ("vcpus", "1", "2", {"cores": "2"}, RESTART, '"cpu" is not in hotplug'),
        # Memory: a running VM keeps some.
        ("memory", "1024", "2048", ALL, NOW, ""),
        ("memory", "2048", "1024", ALL, UNSURE, "lets go of the memory"),
        ("memory", "2048", "1024", {**ALL, "hugepages": "1024"}, UNSURE, "the memory"),
        ("memory", "2048", "1024", {**ALL, "hugepages": "1024", "sockets": "2"}, RESTART, "2048"),
        ("memory", "4096", "2048", {**ALL, "hugepages": "1024", "sockets": "2"}, UNSURE, ""),
        ("memory", "2048", "1024", {**ALL, "hugepages": "2", "sockets": "2"}, UNSURE, ""),
        ("memory", None, "512", ALL, NOW, ""),
        ("memory", "2048", "512", ALL, RESTART, "at least 1024 MiB"),
        # A card that comes, goes, or keeps what it cannot change.
        ("net0", CARD, f"{CARD},tag=7", NONE, NOW, ""),
        ("net0", CARD, f"{CARD},queues=2", NONE, RESTART, '"network" is not in hotplug'),
        ("net0", CARD, f"{CARD},queues=2", ALL, UNSURE, "the network card"),
        ("net0", CARD, CARD.partition(",")[0], ALL, UNSURE, "the network card"),
        ("net0", None, CARD, ALL, NOW, ""),
        ("net0", CARD, None, ALL, UNSURE, "the network card"),
        ("net0", None, CARD, NONE, RESTART, '"network" is not in hotplug'),
        # A drive.
        ("scsi1", None, DISK, ALL, NOW, ""),
        ("scsi1", None, DISK, NONE, RESTART, '"disk" is not in hotplug'),
        ("scsi1", DISK, None, ALL, UNSURE, "the disk"),
        ("scsi1", DISK, OTHER, ALL, UNSURE, "the disk"),
        ("scsi1", DISK, None, {**ALL, "boot": "order=scsi1"}, RESTART, "a boot disk"),
        ("scsi1", DISK, None, {**ALL, "boot": "order=scsi0"}, UNSURE, "the disk"),
        ("sata1", None, DISK, ALL, RESTART, "does not plug sata1"),
        ("scsi1", DISK, f"{DISK},backup=0", ALL, NOW, ""),
        ("scsi1", DISK, f"{DISK},ssd=1", ALL, RESTART, "ssd is set when the disk is attached"),
        ("scsi1", DISK, f"{DISK},ssd=1,cache=none", ALL, RESTART, "cache, ssd are set when"),
        ("scsi1", "none,media=cdrom", "local:iso/a.iso,media=cdrom", ALL, NOW, ""),
        ("scsi1", DISK, "none,media=cdrom", ALL, RESTART, "no CD drive of a disk of a running VM"),
        # The guest's agent.
        ("agent", None, "1", ALL, RESTART, "added or removed at a start"),
        ("agent", "1", None, ALL, RESTART, "added or removed at a start"),
        ("agent", "1", "1,fstrim_cloned_disks=1", ALL, NOW, ""),
        ("agent", "1", "1,type=isa", ALL, RESTART, "type is set at a start"),
        ("agent", "1", "0", ALL, RESTART, "enabled is set at a start"),
        ("agent", "1,type=isa", "0", ALL, RESTART, "enabled, type are set at a start"),
        ("hotplug", "disk", "disk,cpu", {}, RESTART, "put in hotplug"),
        ("hotplug", "memory", "disk", {}, RESTART, "put in hotplug"),
        ("hotplug", "disk", "usb", {}, NOW, ""),
        ("tablet", "1", "0", {}, NOW, ""),
        ("tablet", "1", "0", NONE, RESTART, '"usb" is not in hotplug'),
        ("balloon", None, "0", {}, RESTART, "neither added nor removed"),
        ("balloon", "0", "512", {}, RESTART, "neither added nor removed"),
        ("balloon", "1024", "512", {}, NOW, ""),
        ("unused0", DISK, None, {}, NOW, ""),
        ("unused0", DISK, OTHER, {}, RESTART, "does not change unused0"),
    ],
)  # fmt: skip
def test_what_a_change_does_to_a_running_vm(
    key: str,
    before: str | None,
    after: str | None,
    present: Mapping[str, str],
    effect: Effect,
    why: str,
) -> None:
    found, words = judged(key, before, after, present)
    assert found is effect, words
    assert why in words
    assert bool(words) or effect is NOW
    assert why or not words or effect is not NOW


@pytest.mark.parametrize(
    ("key", "before", "after", "version", "effect"),
    [
        ("net9", "name=eth9", None, (9, 1), NOW),
        ("net10", "name=eth10", None, (9, 1), RESTART),
        ("net10", None, "name=eth10", (9, 1), NOW),
        ("net10", "name=eth10", "name=eth10,tag=7", (9, 1), NOW),
        ("mp0", None, "local:x,mp=/a", (9, 1), NOW),
        ("mp0", "local:x,mp=/a", None, (9, 1), RESTART),
        ("mp0", "local:x,mp=/a", "local:x,mp=/b", (9, 1), RESTART),
        ("dev0", None, "/dev/ttyS0", (9, 0), NOW),
        ("dev0", None, "/dev/ttyS0", (8, 4), RESTART),
        ("dev0", None, "/dev/ttyS0", (), NOW),
        ("dev0", "/dev/ttyS0", None, (9, 0), RESTART),
    ],
)
def test_what_a_change_does_to_a_running_container(
    key: str, before: str | None, after: str | None, version: tuple[int, ...], effect: Effect
) -> None:
    found, words = judged(key, before, after, {}, kind=Kind.LXC, version=version)
    assert (found, bool(words)) == (effect, effect is RESTART), words


@pytest.mark.parametrize(
    ("kind", "value", "effect"),
    [
        (Kind.QEMU, None, NOW),
        (Kind.QEMU, "other", NOW),
        (Kind.LXC, "debian", NOW),
        # A container keeps what waits where its absence is wished for.
        (Kind.LXC, None, RESTART),
    ],
)
def test_what_is_in_effect_already_takes_back_what_waits(
    kind: Kind, value: str | None, effect: Effect
) -> None:
    found, why = judged("ostype", value, value, {}, kind=kind)
    assert found is effect
    assert why.startswith("it takes back a change" if effect is NOW else "PVE does not change it")
