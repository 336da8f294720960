"""Which versions of PVE's packages a node has, from GET /nodes/N/apt/versions (Sys.Audit).

PVE's own version names a release; what a guest's options may say is decided by the packages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

PACKAGES: Final = frozenset({"qemu-server", "pve-container"})


def installed(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Given the rows of that call, return the installed versions of the packages that count.

    `Version` is the one that apt would install, `OldVersion` the one that is there.
    """
    # PVE: pve-manager API2/APT.pm assemble_pkginfo
    return {
        str(row["Package"]): str(row.get("OldVersion") or row.get("Version", ""))
        for row in rows
        if row.get("Package") in PACKAGES and row.get("CurrentState", "Installed") == "Installed"
    }
