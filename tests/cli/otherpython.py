"""A Python that every user may run, with what felhom-agent needs, and felhom-agent as installed.

The Python that runs the tests may lie in a directory that only root can enter; then Debian's is
taken, if it is of the same version.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NEEDED = ("certifi", "charset_normalizer", "idna", "proxmoxer", "requests", "tomli", "urllib3")
_VERSION = "python{}.{}".format(*sys.version_info)


def make_python(directory: Path, user: pwd.struct_passwd) -> Path:
    """Given an empty directory that a user can enter, make a venv there; return its interpreter."""
    base = _base(user)
    (directory / "bin").mkdir()
    (directory / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    python = directory / "bin" / "python3"
    python.symlink_to(base)
    libraries = libraries_of(python)
    libraries.mkdir(parents=True)
    for name in NEEDED:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).parent
        shutil.copytree(source, libraries / name)
        for compiled in source.parent.glob("*.so"):  # what mypyc made of some of them
            shutil.copy(compiled, libraries)
    return python


def libraries_of(python: Path) -> Path:
    """Given a venv's interpreter, return where that venv has its packages."""
    return python.parent.parent / "lib" / _VERSION / "site-packages"


def _base(user: pwd.struct_passwd) -> Path:
    for base in (Path(os.path.realpath(sys.executable)), Path(f"/usr/bin/{_VERSION}")):
        try:
            run = [str(base), "-I", "-c", "import ctypes, ssl"]
            subprocess.run(
                run, user=user.pw_uid, group=user.pw_gid, check=True, capture_output=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return base
    pytest.skip("no Python of this version is here that another user can run")


def install(tree: Path, python: Path) -> Path:
    """Given a directory, do `make install` below it; return the command, which that Python runs."""
    script = ROOT / "packaging" / "install-files"
    environment = {"DESTDIR": str(tree), "PREFIX": "/usr/local", "PATH": "/usr/sbin:/usr/bin:/bin"}
    subprocess.run([script, "install"], env=environment, check=True, capture_output=True)
    command = tree / "usr/local/bin/felhom-agent"
    text = command.read_text().replace('"/usr/local/lib', f'"{tree}/usr/local/lib')
    command.write_text(text.replace("#!/usr/bin/python3", f"#!{python}"))
    return command
