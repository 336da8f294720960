"""Where a host has agent.toml, and what its service gets from systemd; alone here, so that `--help`
loads no settings to name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

DEFAULT_PATH: Final = Path("/etc/felhom-agent/agent.toml")
CREDENTIALS: Final[Mapping[str, Path]] = MappingProxyType(
    {
        "token": Path("/etc/felhom-agent/token"),
        "pve-root-ca.pem": Path("/etc/pve/pve-root-ca.pem"),
        "hub-key": Path("/etc/felhom-agent/hub-key"),
        "notify-token": Path("/etc/felhom-agent/notify-token"),
    }
)
"""The unit's LoadCredential=: the service cannot read these files itself."""
