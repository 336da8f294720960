"""What a unit hides from its service, whatever the rights there are (systemd.exec(5))."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_HIDING: Final = {
    "ProtectHome": (Path("/home"), Path("/root"), Path("/run/user")),
    "PrivateTmp": (Path("/tmp"), Path("/var/tmp")),  # noqa: S108  # nothing is written there
}


def hidden(path: Path, unit: Mapping[str, str]) -> str:
    """Given a path and a unit's properties, return how the unit hides the path; empty if it does
    not.
    """
    real = Path(os.path.realpath(path))
    binds = " ".join((unit.get("BindPaths", ""), unit.get("BindReadOnlyPaths", ""))).split()
    if any(
        real.is_relative_to(bind.split(":")[-2 if bind.count(":") > 1 else -1]) for bind in binds
    ):
        return ""
    for setting, places in _HIDING.items():
        value = unit.get(setting, "no")
        if value in ("yes", "tmpfs", "connected") and any(map(real.is_relative_to, places)):
            return (
                f"is hidden from the service ({setting}={value} of its unit); move it to"
                f" /etc/felhom-agent, or add BindReadOnlyPaths= for it in a drop-in"
            )
    return ""
