"""Where agent.toml is on a host; alone here, so that `--help` loads no settings to name it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DEFAULT_PATH: Final = Path("/etc/felhom-agent/agent.toml")
