"""Disks that fail, count, or lose power, to put under a journal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

from felhom_agent.durable.disk import Disk, FileId


class WatchedDisk(Disk):
    """The real disk; `before` hears the name of each system call, and may raise in its place."""

    def __init__(self, before: Callable[[str], None] = lambda call: None) -> None:
        self.before = before
        self.calls: list[str] = []

    def _hear(self, call: str) -> None:
        self.calls.append(call)
        self.before(call)

    def read(self, path: Path) -> bytes:
        self._hear("read")
        return super().read(path)

    def make_directory(self, path: Path) -> None:
        self._hear("make_directory")
        super().make_directory(path)

    def create(self, path: Path) -> int:
        self._hear("create")
        return super().create(path)

    def open_to_append(self, path: Path) -> int:
        self._hear("open_to_append")
        return super().open_to_append(path)

    def write(self, descriptor: int, data: bytes) -> None:
        self._hear("write")
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._hear("sync")
        super().sync(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        self._hear("rename")
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        self._hear("remove")
        super().remove(path)

    def sync_directory(self, path: Path) -> None:
        self._hear("sync_directory")
        super().sync_directory(path)


def failing(call: str, error: int, *, after: int = 0) -> Callable[[str], None]:
    """Given a call's name and an errno, return a `before` that fails it after so many went well."""
    left = after

    def before(name: str) -> None:
        nonlocal left
        if name != call:
            return
        if left == 0:
            raise OSError(error, os.strerror(error))
        left -= 1

    return before


class PowerLoss(BaseException):
    """The power went away; no error that a program could handle."""


class _Inode:
    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.synced = content


_Move = dict[Path, "_Inode | None"]


class FragileDisk(Disk):
    """A disk in memory that follows the crash model; power goes away before call number `fuel`.

    Files keep any prefix of what was not synced, perhaps with zeros behind it; names are as they
    were or as they became until their directory is synced.
    """

    def __init__(self, names: dict[Path, _Inode] | None = None, fuel: int = 10_000) -> None:
        self.fuel = fuel
        self._durable = dict(names or {})
        self._names = dict(names or {})
        self._moves: list[_Move] = []
        self._open: dict[int, _Inode] = {}

    def _burn(self) -> None:
        if self.fuel == 0:
            raise PowerLoss
        self.fuel -= 1

    def read(self, path: Path) -> bytes:
        self._burn()
        if path not in self._names:
            raise FileNotFoundError(path)
        return self._names[path].content

    def create(self, path: Path) -> int:
        self._burn()
        return self._opened(self._name(path, _Inode()))

    def open_to_append(self, path: Path) -> int:
        self._burn()
        return self._opened(self._names.get(path) or self._name(path, _Inode()))

    def write(self, descriptor: int, data: bytes) -> None:
        self._burn()
        self._open[descriptor].content += data

    def sync(self, descriptor: int) -> None:
        self._burn()
        inode = self._open[descriptor]
        inode.synced = inode.content

    def close(self, descriptor: int) -> None:
        self._burn()
        del self._open[descriptor]

    def rename(self, old: Path, new: Path) -> None:
        self._burn()
        inode = self._names.pop(old)
        self._names[new] = inode
        self._moves.append({old: None, new: inode})

    def remove(self, path: Path) -> None:
        self._burn()
        if self._names.pop(path, None):
            self._moves.append({path: None})

    def sync_directory(self, path: Path) -> None:
        self._burn()
        self._durable = dict(self._names)
        self._moves.clear()

    def identify(self, descriptor: int) -> FileId:
        return 0, id(self._open[descriptor])

    def identify_path(self, path: Path) -> FileId:
        if path not in self._names:
            raise FileNotFoundError(path)
        return 0, id(self._names[path])

    def survivors(self) -> Iterator[FragileDisk]:
        """Yield each disk that may be found after the power went away."""
        for happened in product((True, False), repeat=len(self._moves)):
            names = dict(self._durable)
            for move, done in zip(self._moves, happened, strict=True):
                if done:
                    for name, inode in move.items():
                        names.pop(name, None)
                        if inode is not None:
                            names[name] = inode
            yield from _with_any_prefix(names)

    def _name(self, path: Path, inode: _Inode) -> _Inode:
        self._names[path] = inode
        self._moves.append({path: inode})
        return inode

    def _opened(self, inode: _Inode) -> int:
        descriptor = max(self._open, default=2) + 1
        self._open[descriptor] = inode
        return descriptor


def _with_any_prefix(names: dict[Path, _Inode]) -> Iterator[FragileDisk]:
    variants = [[(path, kept) for kept in _contents(inode)] for path, inode in names.items()]
    for choice in product(*variants):
        yield FragileDisk({path: _Inode(content) for path, content in choice})


def _contents(inode: _Inode) -> Iterator[bytes]:
    content, least = inode.content, len(inode.synced)
    for length in range(least, len(content) + 1):
        yield content[:length]
    for length in {least, (least + len(content)) // 2} if least < len(content) else ():
        yield content[:length] + bytes(len(content) - length)
