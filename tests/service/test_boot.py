"""Which boot this is, as the kernel or the unit tells it."""

from __future__ import annotations

from pathlib import Path

from felhom_agent.service.boot import boot_id, since_boot


def test_the_id_of_this_boot_is_the_kernels_or_what_the_unit_passes(tmp_path: Path) -> None:
    file = tmp_path / "boot_id"
    file.write_text("0123ABCD-0123-0123-0123-0123456789ab\n")
    assert boot_id(file, {"FELHOM_BOOT_ID": "f" * 32}) == "0123abcd0123012301230123456789ab"
    assert boot_id(tmp_path / "none", {"FELHOM_BOOT_ID": "f" * 32}) == "f" * 32
    assert boot_id(tmp_path / "none", {"FELHOM_BOOT_ID": "%b"}) == ""
    assert boot_id(tmp_path / "none", {}) == ""
    assert since_boot() > 0
