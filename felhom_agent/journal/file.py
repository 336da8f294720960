"""A journal's file, as a whole: read, written new, put in the place of the old one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from felhom_agent.errors import JournalClosed, JournalDamaged
from felhom_agent.journal.disk import DISK, Disk
from felhom_agent.journal.line import Content, Record, decode_file
from felhom_agent.journal.shape import problem_of

NAME = "journal.jsonl"


def read(path: Path, *, absent_ok: bool = False) -> list[Record]:
    """Given a log's path, return its records without touching it; a torn tail is left out.

    Safe beside a running agent. Raise JournalDamaged as `open` does, JournalClosed if it cannot
    be read.
    """
    try:
        content = DISK.read(path)
    except OSError as error:
        if absent_ok and isinstance(error, FileNotFoundError):
            return []
        why = error.strerror or str(error)
        raise JournalClosed(f"{path}: cannot be read: {why}") from None
    return list(intact(path, content).records)


def content_of(data: bytes) -> Content:
    """Given a journal's bytes, return what they say.

    A record that is no record of a journal counts as damage, whatever its checksum says.
    """
    return decode_file(data, problem_of)


def intact(path: Path, data: bytes) -> Content:
    """Given a file's bytes, return what they say. Raise JournalDamaged if a line is damaged."""
    content = content_of(data)
    # A newer version's lines first: a repair would cut out what is good.
    for damage in sorted(content.damage, key=lambda d: not d.newer):
        remedy = (
            "install that version again"
            if damage.newer
            else "`felhom-agent journal verify` tells all that is wrong, `felhom-agent journal "
            "repair` keeps a copy and cuts it out"
        )
        raise JournalDamaged(f"{path}:{damage.line}: {damage.text}; nothing was changed; {remedy}")
    return content


def read_or_empty(disk: Disk, path: Path) -> bytes:
    try:
        return disk.read(path)
    except FileNotFoundError:
        return b""


def new_name(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def write_new(disk: Disk, path: Path, data: bytes, *, named: bool = False) -> int:
    """Write data durably beside a file, or in its place; return the descriptor."""
    descriptor = disk.create(new_name(path))
    try:
        disk.write(descriptor, data)
        disk.sync(descriptor)
        if named:
            take_the_name(disk, path)
    except BaseException:
        give_back(disk, descriptor)
        raise
    return descriptor


def write_in_place(disk: Disk, path: Path, data: bytes) -> None:
    """Give a file these bytes, durably, all or none of them. Raise OSError if it cannot be."""
    give_back(disk, write_new(disk, path, data, named=True))


def take_the_name(disk: Disk, path: Path) -> None:
    disk.rename(new_name(path), path)
    disk.sync_directory(path.parent)


def set_aside(disk: Disk, path: Path, torn: bytes) -> None:
    """Keep the tail of a file in `.broken` beside it, once, however often this is tried."""
    aside = path.with_name(path.name + ".broken")
    if read_or_empty(disk, aside).endswith(torn + b"\n"):
        return
    descriptor = disk.open_to_append(aside)
    try:
        disk.write(descriptor, torn + b"\n")
        disk.sync(descriptor)
    finally:
        give_back(disk, descriptor)
    disk.sync_directory(path.parent)


def give_back(disk: Disk, descriptor: int) -> None:
    """Close a descriptor. What was synced is durable, whatever close says of it."""
    with suppress(OSError):
        disk.close(descriptor)
