"""Which versions of PVE's packages a node has, from GET /nodes/N/apt/versions (Sys.Audit).

PVE's own version names a release; what a guest's options may say is decided by the packages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

_VERSION: Final = re.compile(r"[0-9A-Za-z.+~:-]{1,64}")
PACKAGES: Final = frozenset({"qemu-server", "pve-container"})


def installed(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Given the rows of that call, return the installed versions of the packages that count.

    `Version` is the one that apt would install, `OldVersion` the one that is there.
    """
    # PVE: pve-manager API2/APT.pm assemble_pkginfo
    found = ((row.get("Package"), row.get("OldVersion") or row.get("Version"), row) for row in rows)
    return {
        name: version
        for name, version, row in found
        if isinstance(name, str)
        and name in PACKAGES
        and isinstance(version, str)
        and _VERSION.fullmatch(version)
        and row.get("CurrentState", "Installed") == "Installed"
    }
