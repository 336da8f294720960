"""Guest files that somebody names, read as the agent would read them, with no agent and no node.

For who changes guest files elsewhere than on their host: a hook of Git, a CI. There is no earlier
version, so that whatever is wrong with a file is only that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Final

from felhom_agent.config import tomlfile
from felhom_agent.desired.filemerge import Merge
from felhom_agent.desired.guestfile import declarations_of
from felhom_agent.desired.readfile import FileState
from felhom_agent.errors import ConfigError
from felhom_agent.model import Desired, Place, Problem

MAX_FILES: Final = 5000
"""How many files one call reads."""
_MAX_ENTRIES: Final = 100_000


def read_given(paths: Iterable[Path]) -> Desired:
    """Given guest files and directories of them, return what they declare together, with all that
    is wrong in them.
    """
    problems: list[Problem] = []
    files: dict[Path, FileState] = {}
    named: set[str] = set()
    for path in _files(paths, problems):
        # By whatever name a file is given twice; a link to it is another file of its directory.
        if (name := os.path.abspath(path)) not in named:  # noqa: PTH100  # Path's follows no ".."
            named.add(name)
            files[path] = _read(path)
    merge = Merge(files, lambda _: None)
    found = [problem for state in files.values() for problem in state.problems]
    return Desired(
        guests=MappingProxyType(merge.guests),
        # What is said of a file as a whole is what becomes of its guests on a host.
        problems=(*problems, *found, *(p for p in merge.problems if p.place.line)),
        remarks=MappingProxyType(merge.remarks),
        held=MappingProxyType(merge.held),
        complete=all(state.known for state in files.values()),
    )


def guest_files(directory: Path) -> list[Path]:
    """Given a directory, return its guest files in the order in which they are read. Raise OSError
    if it cannot be listed, ValueError if it holds more than any does.
    """
    names: list[str] = []
    with os.scandir(directory) as entries:
        for number, entry in enumerate(entries):
            if entry.name.endswith(".toml") and not entry.name.startswith("."):
                names.append(entry.name)
            if number >= _MAX_ENTRIES or len(names) > MAX_FILES:
                raise ValueError(f"holds more than {MAX_FILES:,} guest files")
    return [directory / name for name in sorted(names)]


def _files(paths: Iterable[Path], problems: list[Problem]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        try:
            yield from guest_files(path)
        except (OSError, ValueError) as error:
            why = (
                f"cannot be listed: {error.strerror}" if isinstance(error, OSError) else str(error)
            )
            problems.append(Problem(Place(tomlfile.name_of(path)), why))


def _read(path: Path) -> FileState:
    try:
        data = tomlfile.read_bytes(path)
        found = declarations_of(tomlfile.parse_bytes(data, path))
    except ConfigError as error:
        return FileState(problems=error.problems)
    return FileState(
        data=data,
        guests=found.guests,
        wrong=found.wrong,
        remarks=found.remarks,
        problems=tuple(found.problems),
        good=data if found.whole else None,
    )
