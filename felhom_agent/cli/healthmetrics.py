"""Findings on the metrics: is what makes them installed, and may the agent write their file?"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from felhom_agent.cli.access import ENTER, WRITE, obstacle
from felhom_agent.cli.health import Finding, bad, good, note
from felhom_agent.cli.healthhost import protected
from felhom_agent.cli.serviceuser import Service
from felhom_agent.config.settings import Config
from felhom_agent.daemon.metricsfile import PACKAGE
from felhom_agent.printable import printable

_MAX_PATH: Final = 300


def of_metrics(config: Config, service: Service) -> Iterator[Finding]:
    """Given the configuration and as whom its agent runs, yield how the metrics are, if their file
    is wanted.
    """
    path = config.metrics.textfile
    if path is None:
        return
    if find_spec("prometheus_client") is None:
        text = (
            "[metrics] textfile is set, and prometheus-client is missing; all else works; as root:"
        )
        yield note(text, f"apt install {PACKAGE}")
        return
    yield from list(_of_directory(path.parent, service)) or [
        good(f"metrics are written to {_shown(path)}")
    ]


def _of_directory(directory: Path, service: Service) -> Iterator[Finding]:
    """Yield what keeps the agent from writing into a directory."""
    where = _shown(directory)
    if not directory.is_dir():
        yield bad(f"{where} is no directory, and [metrics] textfile belongs there")
    elif service.is_closed:
        yield note(f"whether the agent may write into {where} is not ours to see; run this as root")
    elif why := protected(directory, service):
        yield bad(f"{where} {why}")
    elif service.is_other and service.user is not None:
        if found := obstacle(directory, service.user, WRITE | ENTER):
            # It stays its owner's, as others write there; on the way to it one only enters.
            rights = "rwx" if found.path.resolve() == directory.resolve() else "x"
            file = shlex.quote(_shown(found.path))
            remedy = f"setfacl -m u:{service.user.name}:{rights} {file}"
            yield bad(f"[metrics] textfile cannot be written: {found.text}; as root:", remedy)
    elif not os.access(directory, os.W_OK | os.X_OK):
        yield bad(f"{where} cannot be written, and [metrics] textfile belongs there")


def _shown(path: Path) -> str:
    return printable(str(path), _MAX_PATH)
