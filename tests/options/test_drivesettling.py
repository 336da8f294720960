"""Which parts of a drive PVE can read together: any mix of them, not only those that were named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felhom_agent.options.drivesettling import drive_settles

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


def test_the_format_of_a_volume_that_does_not_name_one_is_its_storages() -> None:
    assert drive_settles("scsi", {"file": "st:vm-7-disk-0", "format": "qcow2"}) == ""
