"""A directory that a devnode writes again at each start, and in which a person may edit.

A file notes what was written there. A directory without that note was made by somebody else, and
nothing is written into it; a file that is not what was written is a person's by now, and stays.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from pathlib import Path

NOTE = ".felhom-devnode.json"
_ENDPOINT = re.compile(r'^([ \t]*endpoint[ \t]*=[ \t]*)"([^"\n]*)"', re.MULTILINE)


class Keeper:
    """Writes files of one directory; `kept` are those that a person has edited."""

    def __init__(self, directory: Path) -> None:
        """Raise OSError if the directory is somebody else's, or cannot be made."""
        self._directory = directory
        self._note = directory / NOTE
        self.kept: list[Path] = []
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._note.exists() and any(directory.iterdir()):
            text = "devnode did not make this directory"
            raise OSError(errno.EEXIST, text)
        self._written = self._read()
        self._save()

    def write(self, path: Path, text: str) -> None:
        """Given a file's path and text, write it, unless a person has edited it. In an edited
        agent.toml the node's address alone is set: it is another one at each start.
        """
        name = str(path.relative_to(self._directory.resolve()))
        if path.exists() and _digest(path.read_bytes()) != self._written.get(name):
            self.kept.append(path)
            if found := _ENDPOINT.search(text):
                _point_to(path, found[2])
            return
        path.write_text(text)
        self._written[name] = _digest(text.encode())
        self._save()

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    def _save(self) -> None:
        self._note.write_text(json.dumps(self._written, indent=2) + "\n")


def _point_to(path: Path, endpoint: str) -> None:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    made = _ENDPOINT.sub(lambda found: f'{found[1]}"{endpoint}"', text, count=1)
    path.write_bytes(made.encode("utf-8", "surrogateescape"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
