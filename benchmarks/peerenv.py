"""Environments of their own for the tools that the agent is compared to.

Each is made the first time it is asked for, under `build/peers/`, and has nothing to do with what
the agent is installed into. The versions are fixed, so that figures of two runs can be compared.
"""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

ROOT = Path("build") / "peers"
PACKAGES = {
    "proxctl": ("proxctl==0.2.11",),
    # It bundles community.proxmox, which needs proxmoxer and requests.
    "ansible": ("ansible==12.3.0", "ansible-core==2.19.14", "proxmoxer==2.3.0", "requests"),
}
_DEADLINE = 600.0


class NotInstalled(Exception):
    """A peer that cannot be had here; the text says why."""


def installed(name: str) -> Path:
    """Given a peer, return the directory of its commands. Raise NotInstalled if it has none."""
    place = (ROOT / name).absolute()
    done = place / "installed"
    if not done.exists():
        try:
            venv.create(place, clear=True, with_pip=True)
            _install(place / "bin" / "pip", PACKAGES[name])
        except (OSError, subprocess.SubprocessError) as error:
            raise NotInstalled(f"{name} cannot be installed: {_why(error)}") from None
        done.touch()
    return place / "bin"


def _install(pip: Path, packages: tuple[str, ...]) -> None:
    subprocess.run(  # noqa: S603  the words above
        [pip, "install", "--quiet", "--disable-pip-version-check", *packages],
        check=True,
        capture_output=True,
        text=True,
        timeout=_DEADLINE,
    )


def _why(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    return str(said).strip().splitlines()[-1]
