"""The command line that starts this very program once more.

`python -m felhom_agent` would look for it in the working directory first, then where PYTHONPATH
and the user's own packages are: whatever lies there under that name would run with what is meant
for this program, or nothing would be found at all, where it was put into a directory that only the
installed command knows. So Python is started isolated (`-I`) from all of these, and is told which
package runs now. What that needs is looked for among Python's own packages first, and then where
this process has found it.
"""

from __future__ import annotations

import site
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import felhom_agent

NEEDED: Final = ("proxmoxer", "requests", "tomli")
"""What it cannot run without."""

# An error there is none of the program's, whose words for it may be what cannot be loaded.
_START = """
import os, pwd, sys
from importlib import util
try:
    spec = util.spec_from_file_location("felhom_agent", {package!a})
    package = util.module_from_spec(spec)
    sys.modules["felhom_agent"] = package
    spec.loader.exec_module(package)
    sys.path += {places!a}
    from felhom_agent.cli.main import main
except (OSError, ImportError) as error:
    where = getattr(error, "filename", None) or {package!a}
    why = getattr(error, "strerror", None) or error
    sys.exit(f"felhom-agent: {{where}}: {{why}}; user {{pwd.getpwuid(os.geteuid()).pw_name}} must "
             "be able to read the program, and to enter the directories that it is in")
sys.exit(main(sys.argv[1:]))
"""


def command_line(*words: str) -> list[str]:
    """Given the words of a command, return the command line that runs it."""
    package = str(Path(felhom_agent.__file__).absolute())
    start = _START.format(package=package, places=list(dict.fromkeys(_places())))
    return [sys.executable, "-I", "-c", start, *words]


def _places() -> Iterator[str]:
    """Yield the directories where this process finds what it needs, but for those that the program
    is kept from.
    """
    kept_from = {Path(site.getusersitepackages())}
    with suppress(OSError):  # somebody may have removed it
        kept_from.add(Path.cwd())
    for name in NEEDED:
        spec = find_spec(name)
        for package in (spec and spec.submodule_search_locations) or ():
            place = Path(package).absolute().parent
            if place not in kept_from:
                yield str(place)
