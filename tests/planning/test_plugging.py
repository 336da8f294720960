"""What a running guest's values say about what can be plugged into it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from felhom_agent.model import Kind
from felhom_agent.planning.plugging import (
    boot_disks,
    changed_parts,
    cpus_in_effect,
    features,
    mebibytes,
    parts_of,
    takes_usb,
    whole,
)


@pytest.mark.parametrize(
    ("hotplug", "plugged"),
    [
        (None, {"network", "disk", "usb"}),
        ("1", {"network", "disk", "usb"}),
        ("0", set()),
        ("", set()),
        ("disk", {"disk"}),
        ("disk,;cpu usb\0memory", {"disk", "cpu", "usb", "memory"}),
    ],
)
def test_what_may_be_plugged(hotplug: str | None, plugged: set[str]) -> None:
    assert features(hotplug) == plugged


@pytest.mark.parametrize(
    ("present", "takes"),
    [
        ({"ostype": "l26"}, True),
        ({}, False),
        ({"ostype": "l24"}, False),
        ({"ostype": "win7"}, False),
        ({"ostype": "win8"}, False),
        ({"ostype": "win11"}, False),
        ({"ostype": "win11", "machine": "q35"}, False),
        ({"ostype": "win11", "machine": "viommu=virtio"}, False),
        ({"ostype": "win11", "machine": "pc-q35-7.1"}, True),
        ({"ostype": "win11", "meta": "creation-qemu=9.0.2,ctime=1700000000"}, False),
        ({"ostype": "win11", "meta": "ctime=1700000000"}, False),
        ({"ostype": "win11", "meta": "creation-qemu=9.1.0,ctime=1700000000"}, True),
        ({"ostype": "win8", "machine": "virt", "meta": "ctime=1,creation-qemu=10.0"}, True),
        ({"ostype": "win11", "machine": "pc-q35-6.2", "meta": "creation-qemu=9.2.0"}, False),
        ({"ostype": "win7", "meta": "creation-qemu=9.2.0"}, False),
        ({"ostype": "l26", "meta": "creation-qemu=6.0.0"}, True),
        ({"ostype": "l26", "machine": "q35"}, True),
        ({"ostype": "l26", "machine": "pc-i440fx-7.1"}, True),
        ({"ostype": "l26", "machine": "pc-i440fx-7.0"}, False),
        ({"ostype": "l26", "machine": "pc-q35-10.0"}, True),
        ({"ostype": "l26", "machine": "pc-q35-6.2"}, False),
        ({"ostype": "l26", "machine": "virt-8.1"}, True),
        ({"ostype": "l26", "machine": "pc-7.0"}, False),
    ],
)
def test_when_usb_is_plugged(present: Mapping[str, str], takes: bool) -> None:
    assert takes_usb(present) is takes


@pytest.mark.parametrize(
    ("present", "disks"),
    [
        ({}, set()),
        ({"bootdisk": "scsi0"}, {"scsi0"}),
        ({"boot": "order=scsi1;net0"}, {"scsi1", "net0"}),
        ({"boot": "order=scsi1", "bootdisk": "scsi0"}, {"scsi1"}),
        ({"boot": "cdn", "bootdisk": "scsi0"}, {"scsi0"}),
        ({"boot": "cdn"}, set()),
        ({"boot": "order="}, set()),
    ],
)
def test_which_devices_a_vm_boots_from(present: Mapping[str, str], disks: set[str]) -> None:
    assert boot_disks(present) == disks


@pytest.mark.parametrize(
    ("present", "cpus"),
    [
        ({}, 1),
        ({"cores": "3"}, 3),
        ({"sockets": "2"}, 2),
        ({"sockets": "2", "cores": "3"}, 6),
        ({"sockets": "", "cores": "odd"}, 1),
    ],
)
def test_how_many_processors_a_vm_can_have(present: Mapping[str, str], cpus: int) -> None:
    assert cpus_in_effect(present) == cpus


@pytest.mark.parametrize(
    ("memory", "size"), [(None, 512), ("", 512), ("2048", 2048), ("current=4096", 4096)]
)
def test_how_much_memory_a_vm_has(memory: str | None, size: int) -> None:
    assert mebibytes(memory) == size


def test_the_first_whole_number_of_a_text_counts() -> None:
    assert (whole("a12b34", 7), whole("none", 7), whole(None, 7)) == (12, 7, 7)


@pytest.mark.parametrize(
    ("kind", "key", "value", "parts"),
    [
        (Kind.QEMU, "machine", "q35,viommu=intel", {"type": "q35", "viommu": "intel"}),
        (Kind.QEMU, "machine", None, {}),
        (Kind.QEMU, "machine", "q35,pc", {}),
        (Kind.QEMU, "cores", "2", {}),
        (Kind.QEMU, "no-such-key", "a=b", {}),
        (Kind.LXC, "machine", "q35", {}),
    ],
)
def test_a_value_that_nobody_can_take_apart_has_no_parts(
    kind: Kind, key: str, value: str | None, parts: dict[str, str]
) -> None:
    assert parts_of(kind, key, value) == parts


@pytest.mark.parametrize(
    ("key", "before", "after", "changed"),
    [
        ("agent", "1", "enabled=1", set()),
        ("agent", "1", "1,type=isa", {"type"}),
        ("agent", "1,type=isa", "1,type=virtio", {"type"}),
        ("agent", "0,type=isa", "0", set()),
        ("agent", "0", None, set()),
        ("agent", "1", None, {"enabled"}),
        ("agent", "1,fstrim_cloned_disks=on", "1,fstrim_cloned_disks=1", set()),
        ("machine", "q35", "type=q35", set()),
        ("machine", None, "q35", {"type"}),
        ("machine", "q35", "q35,viommu=virtio", {"viommu"}),
        ("machine", "q35,viommu=a", "q35,viommu=a", set()),
        ("machine", "q35,viommu=a", "q35,viommu=b", {"viommu"}),
        ("net0", "virtio,queues=a", "virtio,queues=a", set()),
        ("net0", "virtio,queues=a", "virtio,queues=b", {"queues"}),
        ("net0", "virtio=BC:24:11:00:00:01", "virtio=bc:24:11:00:00:01", {"macaddr"}),
        ("cores", "1", "2", set()),
        ("no-such-key", "1", "2", set()),
    ],
)
def test_in_which_parts_two_values_differ(
    key: str, before: str | None, after: str | None, changed: set[str]
) -> None:
    assert changed_parts(Kind.QEMU, key, before, after) == changed
