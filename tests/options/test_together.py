"""Which options of one guest PVE refuses together, whatever their values are spelled like."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felhom_agent.model import DeclaredValue
from felhom_agent.options import clashes

DEVICES = ["ide0", "ide3", "sata5", "scsi30", "virtio15", "usb3", "hostpci15"]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(DEVICES), min_size=1, unique=True), st.sets(st.sampled_from(DEVICES))
)
def test_an_order_names_no_device_that_shall_go(order: list[str], unset: set[str]) -> None:
    spelled: tuple[DeclaredValue, ...] = (tuple(order), f"order={';'.join(order)}")
    for boot in spelled:
        told = [why for key, why in clashes("qemu", {"boot": boot}, unset) if key == "boot"]
        assert len(told) == len(unset & set(order))


@settings(deadline=None)
@given(st.integers(16, 9000), st.integers(0, 9000))
def test_a_balloon_is_at_most_the_memory(memory: int, balloon: int) -> None:
    for text in (memory, str(memory), f"current={memory}", f"0{memory}"):
        told = list(clashes("qemu", {"memory": text, "balloon": balloon}, []))
        assert [key for key, _ in told] == (["balloon"] if balloon > memory else [])


@pytest.mark.parametrize("second", ["st:cloudinit", "local:7/vm-7-cloudinit.raw,media=cdrom"])
@pytest.mark.parametrize("key", ["sata2", "scsi9", "ide3"])
def test_a_guest_has_one_cloudinit_drive(key: str, second: str) -> None:
    config: dict[str, DeclaredValue] = {"ide2": "st:vm-7-cloudinit,media=cdrom", key: second}
    assert [told for told, _ in clashes("qemu", config, [])] == [max(key, "ide2")]
    assert not list(clashes("qemu", config | {"ide2": "none,media=cdrom"}, []))


def test_what_is_refused_alone_and_what_is_of_a_container_clashes_with_nothing() -> None:
    assert not list(clashes("qemu", {"memory": "x", "balloon": 7}, []))
    assert not list(clashes("lxc", {"memory": 16, "swap": 700}, ["net0"]))
    assert not list(clashes(None, {"memory": 16}, []))
