"""A Python of this machine by whose rules TLS is tried, and one that is strict by default."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import felhom_agent

_ROOT = Path(felhom_agent.__file__).parent.parent
_VERSIONS = ("3.13", "3.14")
_ASKS = """
import json, socket, ssl, sys
from pathlib import Path
from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.proxmox import cafile, trust
from felhom_agent.proxmox.deadline import Bounds, NoConnection

given = json.load(sys.stdin)
cafile.OF_SYSTEM = tuple(map(Path, given["of_system"]))
said = {}
for name in given["files"]:
    config = ProxmoxConfig(ca_file=Path(name))
    flags = trust._context(config).verify_flags
    default = ssl.create_default_context(cafile=name).verify_flags
    try:
        plain = socket.create_connection(("127.0.0.1", given["port"]), timeout=10.0)
        bounds = Bounds(10.0, 10.0, 1000)
        trust.secured(plain, "127.0.0.1", config, bounds).close()
        why = ""
    except NoConnection as error:
        why = str(error)
    said[name] = {
        "as default": flags == default,
        "as default but strict": flags == default & ~ssl.VERIFY_X509_STRICT,
        "strict": bool(flags & ssl.VERIFY_X509_STRICT),
        "why": why,
    }
print(json.dumps(said))
"""


def strict_python() -> str:
    """Return a Python whose default is strict; skip the test if this machine has none."""
    if sys.version_info >= (3, 13):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in _VERSIONS:
        kept = sorted(map(str, pyenv.glob(f"{version}*/bin/python")))
        for found in (shutil.which(f"python{version}"), *kept):
            if found and _is_version(found, version):
                return found
    pytest.skip("Python 3.13 or newer is not here")


def _is_version(python: str, version: str) -> bool:
    """Return whether it runs: a name on the PATH may be a stand-in."""
    ask = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    ran = subprocess.run([python, "-c", ask], capture_output=True, text=True, timeout=30)
    return ran.stdout.strip() == version


def told_by(
    python: str, port: int, *files: Path, of_system: tuple[Path, ...] = ()
) -> dict[Path, dict[str, Any]]:
    """Given a Python, a port that speaks TLS and files of CAs, return what comes of a handshake of
    the agent with each: by which flags of TLS, and why the other side is not trusted, if not.
    """
    given = {"port": port, "files": list(map(str, files)), "of_system": list(map(str, of_system))}
    ran = subprocess.run(
        [python, "-c", _ASKS],
        input=json.dumps(given),
        env={"PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return {Path(name): said for name, said in json.loads(ran.stdout).items()}
