"""Guest files that somebody names, read as the agent would read them, with no agent and no node.

For who changes guest files elsewhere than on their host: a hook of Git, a CI. There is no earlier
version, so that whatever is wrong with a file is only that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
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


@dataclass(frozen=True)
class Given:
    """What the files declare together, with all that is wrong in them; `silent` tells of each path
    in which nothing is declared, rightly or wrongly.
    """

    desired: Desired
    silent: tuple[str, ...] = ()


def read_given(paths: Sequence[Path]) -> Given:
    """Given guest files and directories of them, return what is in them."""
    problems: list[Problem] = []
    files: dict[Path, FileState] = {}
    named: set[str] = set()
    for path in _files(paths, problems):
        # By whatever name a file is given twice; a link to it is another file of its directory.
        if (name := _whole(path)) not in named:
            named.add(name)
            files[path] = _read(path)
    merge = Merge(files, lambda _: None)
    found = [problem for state in files.values() for problem in state.problems]
    desired = Desired(
        guests=MappingProxyType(merge.guests),
        # What is said of a file as a whole is what becomes of its guests on a host.
        problems=(*problems, *found, *(p for p in merge.problems if p.place.line)),
        remarks=MappingProxyType(merge.remarks),
        held=MappingProxyType(merge.held),
        complete=all(state.known for state in files.values()),
    )
    return Given(desired, tuple(_silent(paths, files)))


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


def _silent(paths: Iterable[Path], files: Mapping[Path, FileState]) -> Iterator[str]:
    """Yield of each path in which nothing is declared, rightly or wrongly, that it is so."""
    by_name = {_whole(path): state for path, state in files.items()}
    for path in paths:
        failed: list[Problem] = []
        found = list(_files([path], failed))
        states = [by_name[_whole(each)] for each in found]
        if not failed and not any(state.guests or state.problems for state in states):
            none = "" if found else ": no file in it ends in .toml"
            yield f"no guest is declared in {tomlfile.name_of(path)}{none}"


def _whole(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100  # Path's follows no ".."


def overlooked(directory: Path) -> list[Path]:
    """Given a directory, return what is there that is no guest file only since the end of its name
    is written otherwise; nothing if it cannot be listed.
    """
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in islice(entries, _MAX_ENTRIES)]
    except OSError:
        return []
    found = (n for n in names if n.lower().endswith(".toml") and not n.endswith(".toml"))
    return [directory / name for name in sorted(found) if not name.startswith(".")]


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
