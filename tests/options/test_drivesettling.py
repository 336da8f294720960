"""Which parts of a drive PVE can read together: any mix of them, not only those that were named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felhom_agent.options.drivesettling import drive_settles
from felhom_agent.options.volumename import unreadable

FAMILIES = ["ide", "sata", "scsi", "virtio", "efidisk0", "tpmstate0"]
WAYS = ("", "_rd", "_wr")
LIMITS = [
    *(f"{unit}{way}{end}" for unit in ("mbps", "iops") for way in WAYS for end in ("", "_max")),
    *(f"{unit}{way}_max_length" for unit in ("bps", "iops") for way in WAYS),
]
NUMBERS = st.sampled_from(["0", "1", "30"])


def is_readable(limits: dict[str, str]) -> bool:
    """Return whether PVE reads these limits, told one way at a time."""
    on = {name for name, number in limits.items() if number != "0"}
    for way in WAYS:
        if f"mbps{way}_max" in on and f"mbps{way}" not in on:
            return False
        if f"bps{way}_max_length" in on and f"mbps{way}_max" not in on:
            return False
        if f"iops{way}_max_length" in on and f"iops{way}_max" not in on:
            return False
    halves = {"mbps": {"mbps_rd", "mbps_wr"}, "iops": {"iops_rd", "iops_wr"}}
    return not any(unit in on and parts & on for unit, parts in halves.items())


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(LIMITS), NUMBERS, max_size=6))
def test_any_limits_are_refused_just_where_pve_cannot_read_them(limits: dict[str, str]) -> None:
    why = drive_settles("scsi", {"file": "st:vm-7-disk-0", **limits})
    assert (why == "") is is_readable(limits)
    assert not why or why.startswith("unable to parse drive options: ")


@pytest.mark.parametrize("family", ["ide", "sata", "scsi"])
@pytest.mark.parametrize("part", [{"snapshot": "1"}, {"format": "raw"}])
@pytest.mark.parametrize("volume", ["none", "cdrom", "st:iso/a.iso"])
def test_a_cd_has_neither_a_snapshot_nor_a_format(
    family: str, part: dict[str, str], volume: str
) -> None:
    cd = {"file": volume, "media": "cdrom"}
    assert drive_settles(family, cd) == ""
    assert "a CD drive has no" in drive_settles(family, cd | part)


@pytest.mark.parametrize("family", ["virtio", "efidisk0", "tpmstate0"])
@pytest.mark.parametrize("volume", ["none", "cdrom", "st:cloudinit"])
def test_what_pve_makes_a_cd_is_lost_where_there_are_none(family: str, volume: str) -> None:
    assert "PVE stores it and cannot read it again" in drive_settles(family, {"file": volume})


@pytest.mark.parametrize("kind", ["import", "snippets", "vztmpl", "backup"])
@pytest.mark.parametrize("media", [{}, {"media": "cdrom"}, {"media": "disk"}])
def test_a_drive_holds_an_image_or_an_iso(kind: str, media: dict[str, str]) -> None:
    why = drive_settles("scsi", {"file": f"st:{kind}/a", **media})
    assert why == "content type needs to be 'images' or 'iso'"


@settings(deadline=None)
@given(st.sampled_from(["raw", "qcow2", "vmdk"]), st.sampled_from(["raw", "qcow2", "vmdk"]))
def test_the_format_is_that_of_the_volumes_name(named: str, told: str) -> None:
    for volume in (f"st:7/vm-7-disk-0.{named}", f"st:9/base-9-disk-1.raw/7/vm-7-disk-0.{named}"):
        assert (drive_settles("sata", {"file": volume, "format": told}) == "") is (named == told)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("told", ["qcow", "qed", "qcow2", "vmdk", "cloop"])
def test_a_volume_without_an_ending_is_raw(family: str, told: str) -> None:
    for volume in ("st:vm-7-disk-0", "st:base-7-disk-0", "st:base-9-disk-0/vm-7-disk-0"):
        assert drive_settles(family, {"file": volume, "format": "raw"}) == ""
        assert "different from storage format 'raw'" in drive_settles(
            family, {"file": volume, "format": told}
        )


def test_a_volume_of_lvm_that_ends_in_qcow2_may_be_either() -> None:
    for told, good in (("raw", True), ("qcow2", True), ("vmdk", False)):
        why = drive_settles("scsi", {"file": "st:vm-7-disk-0.qcow2", "format": told})
        assert (why == "") is good


@pytest.mark.parametrize("volume", ["x", "lun3", "some/own/name"])
def test_the_format_of_a_volume_of_a_custom_storage_is_its_storages(volume: str) -> None:
    assert drive_settles("scsi", {"file": f"st:{volume}", "format": "qcow2"}) == ""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("volume", ["st:subvol-7-disk-0", "st:7/subvol-7-disk-0.subvol"])
def test_a_containers_folder_is_no_drive(family: str, volume: str) -> None:
    assert drive_settles(family, {"file": volume}) == (
        f"volume '{volume}' - not a QEMU image format 'subvol'"
    )
    if family in {"ide", "sata", "scsi", "virtio"}:
        source = {"file": "st:0", "import-from": volume}
        assert "not a QEMU image format" in drive_settles(family, source)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("volume", ["st:32G", "st:7/vm-7-disk-0.img", "st:vm-7-disk-0 "])
def test_a_drive_names_a_volume_that_a_storage_can_read(family: str, volume: str) -> None:
    assert drive_settles(family, {"file": volume}) == unreadable(volume) != ""


@pytest.mark.parametrize("volume", ["st:iso/a", "st:iso/a.iso.zst", "st:iso/s/a.iso"])
def test_a_cd_holds_a_file_that_is_an_iso_by_its_name(volume: str) -> None:
    assert drive_settles("ide", {"file": volume, "media": "cdrom"}) == unreadable(volume) != ""


@pytest.mark.parametrize("source", ["st:import/a.img", "st:import/a.ovf", "st:8", "st:8G"])
def test_what_is_imported_is_an_image_by_its_name(source: str) -> None:
    assert drive_settles("scsi", {"file": "st:0", "import-from": source}) != ""


def test_a_disk_of_a_machine_that_is_packed_can_be_imported() -> None:
    source = {"file": "st:0", "import-from": "st:import/a.ova/b.vmdk"}
    assert drive_settles("scsi", source) == ""
