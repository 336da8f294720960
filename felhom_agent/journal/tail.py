"""The latest operations of a journal, without reading all of it.

Most who ask want the last few, and a full journal takes a second to read. So its last bytes are
taken, their checksums and numbers compared (which is quick), and their lines read from the end
backwards until enough whole operations were found. Where that does not do, the file is read as a
whole: too few of the operations are among those lines, a line is odd, or a write at the end was cut
short. So what is told is never less than a whole reading tells; only of a file that is larger than
`CHECKED` the older lines are not compared.

A damaged journal is told as far as it is intact, with its damage. Nothing here takes a lock or
writes: it is safe beside a running agent.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from felhom_agent.durable.disk import MAX_BYTES, open_regular, owner_of
from felhom_agent.durable.line import Content, Damage, Record, Unreadable, are_sound, decode
from felhom_agent.errors import JournalClosed
from felhom_agent.journal.content import content_of
from felhom_agent.journal.operation import Operation, State, replay
from felhom_agent.journal.shape import problem_of

CHECKED = 32_000_000
"""How many bytes at the end of the file are compared; more than a journal has by default."""
SLACK = 200
"""How many more operations are read: two that begin at once may be written in either order."""


@dataclass(frozen=True)
class Wanted:
    """Which operations are asked for: those that `fits` is true of and that began at `since` or
    later, by the wall clock; of these the last `limit` (0: all).
    """

    fits: Callable[[Operation], bool]
    limit: int = 0
    since: float = float("-inf")


@dataclass(frozen=True)
class Tail:
    """What was found: the operations asked for, newest last, and what is wrong with the file.

    `lost` is how many operations cannot be told since their first line is lost. `empty` tells that
    the journal has no operation at all.
    """

    operations: tuple[Operation, ...] = ()
    damage: tuple[Damage, ...] = ()
    lost: int = 0
    empty: bool = False


def latest(path: Path, wanted: Wanted) -> Tail:
    """Given a journal's path, return the operations that are wanted.

    Raise FileNotFoundError if there is no journal, JournalClosed if it cannot be read.
    """
    try:
        with open_to_read(path) as file:
            return _quickly(file, wanted) or tail_of(content_of(read_all(file)), wanted)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise JournalClosed(unreadable(path, error)) from None


def open_to_read(path: Path) -> BinaryIO:
    """Given a journal's path, return it open. Raise OSError if it is none, or cannot be read."""
    return os.fdopen(open_regular(path, os.O_RDONLY), "rb", buffering=0)


def read_all(file: BinaryIO) -> bytes:
    """Return all bytes of an open file from where it stands. Raise OSError if they are too many."""
    size = os.fstat(file.fileno()).st_size
    if size > MAX_BYTES:
        text = f"it has {size} bytes, and more than {MAX_BYTES} are not read; move it away"
        raise OSError(errno.EFBIG, text)
    return file.read()


def unreadable(path: Path, error: OSError) -> str:
    """Given why a journal cannot be read, return it in words, with who may."""
    if error.errno == errno.ELOOP:
        return f"{path}: cannot be read: it is a symbolic link; put the file itself there"
    text = f"{path}: cannot be read: {error.strerror or error}"
    if not isinstance(error, PermissionError):
        return text
    owner = owner_of(path)
    who = "root" if owner in ("", "root") else f"root and the agent's user, {owner},"
    return f"{text}; {who} may read it (`sudo felhom-agent ...`)"


def tail_of(content: Content, wanted: Wanted) -> Tail:
    """Given what a journal says, return what is wanted of it."""
    operations = replay(content.records)
    known = {operation.op_id for operation in operations}
    lost = {r["op"] for r in content.records if "op" in r} - known
    return _tail(operations, wanted, len(lost), content.damage)


def _quickly(file: BinaryIO, wanted: Wanted) -> Tail | None:
    """Return what is wanted from the last lines of a file, None if they do not tell all of it."""
    start = max(0, os.fstat(file.fileno()).st_size - CHECKED)
    file.seek(start)
    lines = file.read(CHECKED)
    file.seek(0)
    lines = lines.partition(b"\n")[2] if start else lines
    if not are_sound(lines, 0 if start else 1):
        return None
    try:
        operations, rest = _from_the_end(lines, wanted)
    except Unreadable:
        return None
    if rest is None:
        return Tail(_selected(operations, wanted))
    if start:
        return None
    # Of an operation whose intent is lost, a one-shot job's other lines tell all the same.
    jobs = replay(rest)
    lost = {record["op"] for record in rest} - {job.op_id for job in jobs}
    return _tail(sorted([*operations, *jobs], key=lambda o: o.op_id), wanted, len(lost), ())


def _tail(
    operations: Sequence[Operation], wanted: Wanted, lost: int, damage: tuple[Damage, ...]
) -> Tail:
    return Tail(_selected(operations, wanted), damage, lost, empty=not (operations or lost))


def _from_the_end(
    lines: bytes, wanted: Wanted
) -> tuple[Sequence[Operation], Sequence[Record] | None]:
    """Return the operations that have their intent among these lines, read from the end until all
    that is wanted was found; else also the records of operations that have none, in their order.

    Raise Unreadable if one is odd.
    """
    found: dict[str, Operation] = {}
    steps: dict[str, list[Record]] = defaultdict(list)
    counted, more = 0, SLACK
    for record in _backwards(lines):
        if (op_id := record.get("op")) is None:
            continue
        steps[op_id].append(record)
        if record["state"] != State.INTENT:
            continue
        (operation,) = replay(reversed(steps.pop(op_id)))
        found.setdefault(op_id, operation)
        # An id is the time of the beginning, or later, and ids never go back.
        if 0 < wanted.limit <= counted or int(op_id, 16) / 1000 < wanted.since:
            more -= 1
        else:
            counted += _is_wanted(operation, wanted)
        if not more:
            return [found[key] for key in sorted(found)], None
    rest = [r for key, each in steps.items() if key not in found for r in reversed(each)]
    return [found[key] for key in sorted(found)], rest


def _backwards(lines: bytes) -> Iterator[Record]:
    end = len(lines) - 1
    while end > 0:
        start = lines.rfind(b"\n", 0, end) + 1
        record = decode(lines[start:end])[1]
        if odd := problem_of(record):
            raise Unreadable(odd)
        yield record
        end = start - 1


def _selected(operations: Sequence[Operation], wanted: Wanted) -> tuple[Operation, ...]:
    return tuple(o for o in operations if _is_wanted(o, wanted))[-wanted.limit :]


def _is_wanted(operation: Operation, wanted: Wanted) -> bool:
    return operation.begun >= wanted.since and wanted.fits(operation)
