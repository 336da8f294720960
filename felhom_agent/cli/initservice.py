"""The service, as `init` asks systemd for it and has it enabled."""

from __future__ import annotations

import subprocess
from typing import Final

from felhom_agent.cli import programs
from felhom_agent.cli.pveum import TIMEOUT
from felhom_agent.cli.serviceuser import UNIT
from felhom_agent.errors import FelhomError

LINE: Final = f"systemctl enable --now {UNIT}"


def is_here() -> bool:
    """Return whether this host has systemd's command."""
    return programs.is_here("systemctl")


def is_set() -> bool:
    """Return whether the service runs, and is started at each boot."""
    asked = (f"systemctl --quiet {word} {UNIT}" for word in ("is-enabled", "is-active"))
    return all(_done(line).returncode == 0 for line in asked)


def enable() -> None:
    """Start the service now and at each boot. Raise FelhomError if that fails or hangs."""
    done = _done(LINE)
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:300]
        raise FelhomError(f"`{LINE}` failed: {said}; `systemctl status {UNIT}` tells more")


def _done(line: str) -> subprocess.CompletedProcess[str]:
    return programs.run(line.split(), TIMEOUT)


def reload() -> bool:
    """Have the running service read agent.toml again; return whether it was told."""
    return is_here() and _done(f"systemctl reload {UNIT}").returncode == 0
