"""Where adopted guests are written: a new file, never one that is there already."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Final

from felhom_agent.config.settings import Config
from felhom_agent.durable.disk import DISK
from felhom_agent.durable.file import write_if_absent
from felhom_agent.errors import FelhomError

STDOUT: Final = Path("-")
NAME: Final = "adopted.toml"
_ELSE: Final = "name another file with -o"


def target_of(config: Config, output: Path | None) -> Path | None:
    """Given the configuration and what `-o` says, return the path of the new file; None for stdout.

    Raise FelhomError if no file can be made there.
    """
    if output == STDOUT:
        return None
    directory = config.desired.directory
    if output is None and directory is None:
        raise FelhomError(f"{config.path} names no [desired] directory; name a file with -o")
    path = output if output is not None else Path(directory or "", NAME)
    _raise_if_exists(path)
    if not path.parent.is_dir():
        raise FelhomError(f"there is no directory {path.parent}; make it, or {_ELSE}")
    inside = directory is not None and path.parent.resolve() == directory.resolve()
    if inside and (path.suffix != ".toml" or path.name.startswith(".")):
        raise FelhomError(f"{path} would not be read: a guest file's name ends in .toml")
    return path


def new_in(directory: Path) -> Path:
    """Given a directory of guest files, return the path of one for adopted guests that is not there
    yet.
    """
    first = directory / NAME
    names = chain((first,), (_numbered(first, number) for number in count(2)))
    return next(path for path in names if not os.path.lexists(path))


def write(target: Path, texts: Sequence[str]) -> list[Path]:
    """Given a path and the texts of guest files, write them there and, if there are several, beside
    it under numbers from 2 on; return their paths.

    Raise FelhomError if one cannot be written, or exists by now; what was written before it stays.
    """
    paths = [target, *(_numbered(target, number) for number in range(2, len(texts) + 1))]
    for path in paths:
        _raise_if_exists(path)
    for path, text in zip(paths, texts, strict=True):
        _write(path, text)
    return paths


def _write(path: Path, text: str) -> None:
    try:
        write_if_absent(DISK, path, text.encode(), _mode(path.parent))
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        root = "; run it as root" if isinstance(error, PermissionError) else ""
        words = f"{path} cannot be written: {error.strerror or error}{root}; or {_ELSE}"
        raise FelhomError(words) from None


def _mode(directory: Path) -> int:
    """Return the mode with which the service can read a file that is made in a directory."""
    # With the directory's own group, which is the service's; else everybody has to be let in.
    return 0o640 if directory.stat().st_mode & stat.S_ISGID else 0o644


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def _raise_if_exists(path: Path) -> None:
    if os.path.lexists(path):
        raise _exists(path)


def _exists(path: Path) -> FelhomError:
    return FelhomError(f"{path} exists, and is never overwritten; {_ELSE}, or `-o -` for stdout")
