"""What a volume's name tells: as PVE's own storages read it, and nothing of any other name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.options.volumename import formats_of, unreadable

WORD = st.from_regex(r"[A-Za-z][A-Za-z0-9_\-]{0,8}", fullmatch=True)
NUMBER = st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,3})?", fullmatch=True)
UNITS = ["K", "M", "G", "T", "g", "GB", "GiB", " G", "gib", "MB", "B", "%"]
STEMS = ["vm", "base", "subvol", "basevol"]
IMAGES = ["raw", "qcow2", "vmdk", "subvol"]


@given(NUMBER, st.sampled_from(UNITS))
def test_a_size_has_no_unit(number: str, unit: str) -> None:
    assert unreadable(f"st:{number}") == ""
    assert unreadable(f"st:{number}{unit}").startswith("a size is in GiB, without a unit")


@pytest.mark.parametrize(
    "size", ["+8", "-8", "8.", ".5", "1e1", "1E+2", "8_000", "0x20", " 8", "8 "]
)
def test_a_size_is_plain_digits(size: str) -> None:
    assert unreadable(f"local-lvm:{size}").startswith("a size is in GiB, without a unit")


@given(WORD, st.sampled_from(["iso", "ISO", "img", "Img"]))
def test_an_iso_image_is_a_file_of_its_folder_by_its_ending(name: str, ending: str) -> None:
    assert unreadable(f"st:iso/{name} 1.{ending}") == ""
    for wrong in (
        name,
        f".{ending}",
        f"{name}.{ending}.zst",
        f"a/{name}.{ending}",
        f"{name}.qcow2",
    ):
        assert "must end in .iso or .img" in unreadable(f"st:iso/{wrong}"), wrong


@given(WORD, st.sampled_from(["qcow2", "raw", "vmdk"]))
def test_an_image_to_import_is_one_by_its_ending(name: str, ending: str) -> None:
    for good in (f"{name}.{ending}", f"a b+{name}.{ending}", f"x.ova/{name}.{ending}"):
        assert unreadable(f"st:import/{good}") == "", good
    for wrong in (
        name, f"{name}.img", f"{name}.vhdx", f"{name}.{ending}.xz", f"s/{name}.{ending}",
        f"{name}.{ending.upper()}", f"x.ovf/{name}.{ending}", f"ä{name}.{ending}", f".{ending}",
    ):  # fmt: skip
        assert "must end in .qcow2, .raw or .vmdk" in unreadable(f"st:import/{wrong}"), wrong


@pytest.mark.parametrize("ending", ["ova", "ovf"])
def test_a_whole_machine_is_not_imported_as_a_disk(ending: str) -> None:
    assert "a disk in it" in unreadable(f"st:import/a.{ending}")


@given(st.integers(0, 10**9), WORD, st.sampled_from(IMAGES))
def test_a_guests_file_ends_in_its_format(vmid: int, name: str, ending: str) -> None:
    for good in (f"{vmid}/{name}.{ending}", f"9/base-9-x.raw/{vmid}/vm-{vmid}-{name}.{ending}"):
        assert unreadable(f"st:{good}") == ""
        assert formats_of(f"st:{good}") == {ending}
    for wrong in (
        name, "", f"{name}.img", f"{name}.qed", f"{name}.vdi", f"{name}.qcow", f"{name} .{ending}",
        f"{name}.{ending} ", f"{name}.{ending.upper()}", "snap-a-vm-1-disk-0.qcow2",
    ):  # fmt: skip
        assert "must end in .raw, .qcow2" in unreadable(f"st:{vmid}/{wrong}"), wrong
    assert unreadable(f"st:9/base-9-x.img/{vmid}/{name}.{ending}")


@given(st.sampled_from(STEMS), st.integers(0, 10**9), WORD)
def test_a_volume_without_a_folder_has_no_blank_in_its_name(
    stem: str, vmid: int, name: str
) -> None:
    for good in (f"{stem}-{vmid}-{name}", f"base-9-{name}/{stem}-{vmid}-{name}"):
        assert unreadable(f"st:{good}") == ""
        wanted = {"subvol"} if stem in {"subvol", "basevol"} else {"raw"}
        if good.startswith("base-9"):
            wanted |= {"raw"}
        assert formats_of(f"st:{good}") == wanted
        assert formats_of(f"st:{good}.qcow2") == (wanted | {"qcow2"} if stem == "vm" else wanted)
        for wrong in (f"{good} ", f"{stem}-{vmid}-", f"{stem}-{vmid}-a b"):
            assert "has a blank in it, or ends" in unreadable(f"st:{wrong}"), wrong


@given(st.sampled_from(["dc/ds/vm/disk.vmdk", "lun1", "0.0.1.scsi-x", "x", "501", "VM-1-disk-0"]))
def test_nothing_is_said_of_a_name_that_is_another_storages_own(name: str) -> None:
    assert unreadable(f"st:{name}") == ""
    assert formats_of(f"st:{name}") == frozenset()


@given(WORD, WORD)
def test_a_custom_storage_names_its_volumes_as_it_likes(one: str, two: str) -> None:
    for name in (one, f"{one}.{two}", f"x{one}/{two}", f"{one}:{two}", f"{one}-7-{two}x y"):
        if not name.startswith(("vm-", "base-", "subvol-", "basevol-")):
            assert unreadable(f"st:{name}") == "", name
            assert formats_of(f"st:{name}") == frozenset(), name


@pytest.mark.parametrize("text", ["none", "cdrom", "/dev/sdb", "/mnt/8G", ""])
def test_what_is_no_volume_has_no_name_to_read(text: str) -> None:
    assert unreadable(text) == ""
    assert formats_of(text) == frozenset()
