"""A file as a whole: written new, and put in the place of the old one, so that a crash leaves one
of the two.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from felhom_agent.durable.disk import Disk


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


def write_if_absent(disk: Disk, path: Path, data: bytes, mode: int) -> None:
    """Make a file with these bytes and permission bits, durably, all of it or none. Raise
    FileExistsError if something has its name by then, which stays as it is; OSError if it cannot
    be written.
    """
    # Hidden, and this process's own: nobody takes it for a guest file, or writes it besides.
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = disk.create_only(new)
    try:
        disk.write(descriptor, data)
        disk.set_mode(descriptor, mode)
        disk.sync(descriptor)
        # A rename would take the place of what has appeared meanwhile.
        disk.link(new, path)
    finally:
        give_back(disk, descriptor)
        disk.remove(new)
    disk.sync_directory(path.parent)


def write_over(disk: Disk, path: Path, data: bytes, mode: int) -> None:
    """Make a file with these bytes and permission bits, durably, in the place of whatever has its
    name. Raise OSError if it cannot be written; what was there stays then.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = disk.create_only(new)
    try:
        disk.write(descriptor, data)
        disk.set_mode(descriptor, mode)
        disk.sync(descriptor)
        disk.rename(new, path)
    except BaseException:
        disk.remove(new)
        raise
    finally:
        give_back(disk, descriptor)
    disk.sync_directory(path.parent)


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
