"""What PVE does to a value that its schema takes, for whole kinds of values."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felhom_agent.options import lookup, never_settles

ENTRIES = st.tuples(
    st.sampled_from("ug"), st.integers(0, 12), st.integers(0, 12), st.integers(1, 6)
)
DISPLAYS = [
    "cirrus",
    "qxl",
    "qxl2",
    "qxl3",
    "qxl4",
    "none",
    "serial0",
    "serial1",
    "serial2",
    "serial3",
    "std",
    "virtio",
    "virtio-gl",
    "vmware",
]


def why(kind: str, key: str, wire: str) -> str:
    option = lookup(kind, key)
    assert option is not None
    return never_settles(option, wire)


def maps_twice(entries: list[tuple[str, int, int, int]]) -> bool:
    """Return whether an id is mapped twice, told by counting every single one."""
    for kind in "ug":
        for side in (1, 2):
            ids = [
                each
                for e in entries
                if e[0] == kind
                for each in range(int(e[side]), int(e[side]) + e[3])
            ]
            if len(ids) != len(set(ids)):
                return True
    return False


@settings(deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=5))
def test_id_mappings_are_refused_just_where_an_id_is_mapped_twice(
    entries: list[tuple[str, int, int, int]],
) -> None:
    text = ";".join(":".join(map(str, entry)) for entry in entries)
    told = why("lxc", "mp3", f"st:v,mp=/a,idmap={text}")
    assert bool(told) is maps_twice(entries)
    assert told == "" or told.startswith("invalid map entry '")


@pytest.mark.parametrize("display", DISPLAYS)
def test_the_clipboard_goes_with_a_display_that_has_one(display: str) -> None:
    has_one = display != "none" and not display.startswith("serial")
    assert (why("qemu", "vga", f"{display},clipboard=vnc") == "") is has_one
    assert why("qemu", "vga", display) == ""


@pytest.mark.parametrize("machine", ["pc", "q35", "virt", "pc-q35-8.1", "pc-i440fx-8.1", ""])
@pytest.mark.parametrize("viommu", ["", "intel", "virtio"])
@pytest.mark.parametrize("bits", ["", "32", "39", "47", "48", "64"])
def test_a_machines_viommu_and_its_address_width_go_together(
    machine: str, viommu: str, bits: str
) -> None:
    parts = [machine, viommu and f"viommu={viommu}", bits and f"aw-bits={bits}"]
    good = not bits if not viommu else viommu == "virtio" or (
        "q35" in machine and bits in {"", "39", "48"}
    )  # fmt: skip
    assert (why("qemu", "machine", ",".join(filter(None, parts))) == "") is good


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(0, 99))
def test_a_range_ends_where_it_begins_or_later(low: int, high: int) -> None:
    for key, text in (("numa2", "cpus=0;{}"), ("net2", "virtio,trunks=4;{}")):
        assert (why("qemu", key, text.format(f"{low}-{high}")) == "") is (low <= high)


@pytest.mark.parametrize(("kind", "key"), [("qemu", "cores"), ("qemu", "balloon"), ("lxc", "swap")])
def test_a_number_that_perl_makes_a_float_of_is_refused(kind: str, key: str) -> None:
    assert why(kind, key, str(2**64 - 1)) == ""
    assert "PVE keeps no number from" in why(kind, key, str(2**64))


CARD_PARTS = st.dictionaries(
    st.sampled_from(["ip", "ip6", "mtu", "tag", "rate", "firewall", "link_down", "hwaddr"]),
    st.none(),
)
CARD_VALUES = {
    "ip": "dhcp", "ip6": "manual", "mtu": "1400", "tag": "7", "rate": "5", "firewall": "1",
    "link_down": "1", "hwaddr": "BC:24:11:00:00:01",
}  # fmt: skip


@settings(deadline=None)
@given(CARD_PARTS)
def test_a_containers_card_is_on_a_bridge_whatever_else_is_told_of_it(
    chosen: dict[str, None],
) -> None:
    card = ",".join(["name=eth0", *(f"{key}={CARD_VALUES[key]}" for key in chosen)])
    assert why("lxc", "net3", card).startswith("must have bridge")
    assert why("lxc", "net3", f"{card},bridge=vmbr0") == ""


def test_a_machines_card_may_be_on_no_bridge() -> None:
    assert why("qemu", "net3", "virtio,link_down=1") == ""


@pytest.mark.parametrize(("key", "rest"), [("mp3", ",mp=/a"), ("rootfs", "")])
@pytest.mark.parametrize(
    "volume", ["st:8G", "st:8.", "st:7/vm-7-disk-0.img", "st:vm-7-disk-0 ", "st:cloudinit"]
)
def test_a_container_is_given_a_volume_that_a_storage_can_read(
    key: str, rest: str, volume: str
) -> None:
    assert why("lxc", key, f"{volume}{rest}") != ""


@pytest.mark.parametrize(
    "volume", ["st:8", "st:0.5", "st:subvol-7-disk-0", "st:7/subvol-7-disk-0.subvol", "st:own/name"]
)
def test_a_container_is_given_a_folder_an_image_or_a_custom_storages_volume(volume: str) -> None:
    assert why("lxc", "mp3", f"{volume},mp=/a") == ""


@given(st.text(" \t\n\r", max_size=4))
def test_a_description_of_0_is_lost_with_the_blanks_that_pve_cuts(blanks: str) -> None:
    lost = "takes a description of '0' for none"
    assert lost in why("qemu", "description", f"0{blanks}")
    assert (lost in why("lxc", "description", f"0{blanks}")) is (blanks == "")
    for kept in (f"00{blanks}", f"0{blanks}a", f"\n0{blanks}"):
        assert why("qemu", "description", kept) == ""
        assert why("lxc", "description", kept) == ""


@pytest.mark.parametrize(
    ("kind", "key"),
    [("qemu", "args"), ("qemu", "ciuser"), ("qemu", "searchdomain"), ("lxc", "entrypoint")],
)
@pytest.mark.parametrize("state", ["prepare", "delete"])
@pytest.mark.parametrize("blanks", ["", " ", "\t "])
def test_a_value_that_ends_as_a_snapshots_mark_is_lost(
    kind: str, key: str, state: str, blanks: str
) -> None:
    text = f"x snapstate:{blanks}{state}"
    assert "for a snapshot's mark" in why(kind, key, f"{text}{blanks}")
    for kept in (f"{text}d", f"x {state}", f"snapstate:{blanks} other"):
        assert why(kind, key, kept) == ""


@pytest.mark.parametrize(("kind", "key"), [("qemu", "description"), ("lxc", "env")])
def test_what_is_encoded_or_on_lines_of_its_own_may_end_as_a_snapshots_mark(
    kind: str, key: str
) -> None:
    assert why(kind, key, "A=snapstate: delete") == ""
