"""Which versions of PVE's packages a node has."""

from __future__ import annotations

from felhom_agent.proxmox.packages import installed


def test_the_installed_version_counts_and_not_the_one_that_apt_would_install() -> None:
    rows = [
        {"Package": "qemu-server", "OldVersion": "9.1.18", "Version": "9.2.6"},
        {"Package": "pve-container", "OldVersion": "6.1.10", "CurrentState": "Installed"},
        {"Package": "pve-manager", "OldVersion": "9.2.11"},
    ]
    assert installed(rows) == {"qemu-server": "9.1.18", "pve-container": "6.1.10"}


def test_a_package_that_is_not_installed_has_no_version() -> None:
    rows = [{"Package": "qemu-server", "Version": "9.2.6", "CurrentState": "NotInstalled"}]
    assert installed(rows) == {}
