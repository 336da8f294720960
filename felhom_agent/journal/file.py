"""A journal's file, as a whole: read, written new, put in the place of the old one."""

from __future__ import annotations

from pathlib import Path

from felhom_agent.errors import JournalClosed, JournalDamaged
from felhom_agent.journal.disk import Disk
from felhom_agent.journal.line import Content, Record, decode_file

NAME = "journal.jsonl"


def read(path: Path, *, absent_ok: bool = False) -> list[Record]:
    """Given a log's path, return its records without touching it; a torn tail is left out.

    Safe beside a running agent. Raise JournalDamaged as `open` does, JournalClosed if it cannot
    be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        if absent_ok and isinstance(error, FileNotFoundError):
            return []
        raise JournalClosed(f"{path}: cannot be read: {error.strerror}") from None
    return list(intact(path, content).records)


def intact(path: Path, data: bytes) -> Content:
    """Given a file's bytes, return what they say. Raise JournalDamaged if a line is damaged."""
    content = decode_file(data)
    for damage in content.damage:
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
        disk.close(descriptor)
        raise
    return descriptor


def write_in_place(disk: Disk, path: Path, data: bytes) -> None:
    """Give a file these bytes, durably, all or none of them. Raise OSError if it cannot be."""
    disk.close(write_new(disk, path, data, named=True))


def take_the_name(disk: Disk, path: Path) -> None:
    disk.rename(new_name(path), path)
    disk.sync_directory(path.parent)


def set_aside(disk: Disk, path: Path, torn: bytes) -> None:
    descriptor = disk.open_to_append(path.with_name(path.name + ".broken"))
    try:
        disk.write(descriptor, torn + b"\n")
        disk.sync(descriptor)
    finally:
        disk.close(descriptor)
    disk.sync_directory(path.parent)
