"""The latest operations of a journal, without reading all of it.

Most who ask want the last few, or those of one guest, and a full journal takes a second to parse.
So its last bytes are taken, their checksums and numbers compared (which is quick), and their lines
gone through from the end backwards until enough whole operations were found. Only the lines of what
is wanted are parsed, and those that do not tell what they are without it (`rawline.py`). Where that
does not do, the file is read as a whole: too few of the operations are among those lines, a line is
odd, or a write at the end was cut short. So what is told is never less than a whole reading tells;
only of a file that is larger than `CHECKED` the older lines are not compared.

A damaged journal is told as far as it is intact, with its damage. Nothing here takes a lock or
writes: it is safe beside a running agent.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from felhom_agent.durable.disk import MAX_BYTES, open_regular, owner_of
from felhom_agent.durable.line import Content, Damage, Record, Unreadable, are_sound, decode
from felhom_agent.errors import JournalClosed
from felhom_agent.journal.content import content_of
from felhom_agent.journal.operation import Operation, State, replay
from felhom_agent.journal.rawline import Step, step_in, step_of
from felhom_agent.journal.shape import problem_of

CHECKED = 32_000_000
"""How many bytes at the end of the file are compared; more than a journal has by default."""
SLACK = 200
"""How many more operations are read: two that begin at once may be written in either order."""


@dataclass(frozen=True)
class Wanted:
    """Which operations are asked for: those of these guests (none: of all) that began from `since`
    to `until`, by the wall clock, and only `failed` or unknown ones; of these the last `limit`
    (0: all).
    """

    limit: int = 0
    since: float = float("-inf")
    until: float = float("inf")
    vmids: frozenset[int] = frozenset()
    failed: bool = False

    def fits(self, operation: Operation) -> bool:
        """Return whether an operation is asked for, but for how many."""
        return self.takes(operation.vmid, operation.begun, operation.state)

    def takes(self, vmid: int, begun: float, state: str) -> bool:
        """As `fits`, of what an operation is judged by."""
        return (
            (not self.vmids or vmid in self.vmids)
            and self.since <= begun <= self.until
            and (not self.failed or state in (State.FAILED, State.UNKNOWN))
        )


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
    lost = len({r["op"] for r in content.records if "op" in r} - known)
    selected = _selected(operations, wanted)
    return Tail(selected, content.damage, lost, empty=not (operations or lost))


def _quickly(file: BinaryIO, wanted: Wanted) -> Tail | None:
    """Return what is wanted from the last lines of a file, None if they do not tell all of it."""
    start = max(0, os.fstat(file.fileno()).st_size - CHECKED)
    file.seek(start)
    lines = file.read(CHECKED)
    file.seek(0)
    lines = lines.partition(b"\n")[2] if start else lines
    if not are_sound(lines, 0 if start else 1):
        return None
    reading = _FromTheEnd(wanted)
    try:
        if reading.has_all(lines):
            return Tail(_selected(reading.operations(), wanted))
        return None if start else reading.whole()
    except Unreadable:
        return None


class _FromTheEnd:
    """Goes through whole lines from the last one backwards, until all that is wanted was found.

    All of it raises Unreadable if a line is odd.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._found: dict[str, Operation] = {}
        self._begun: set[str] = set()
        self._steps: dict[str, list[_Raw]] = defaultdict(list)
        self._counted, self._more = 0, SLACK

    def has_all(self, lines: bytes) -> bool:
        """Given lines, go through them; return whether no older one has to be known."""
        end = len(lines) - 1
        while end > 0:
            start = lines.rfind(b"\n", 0, end) + 1
            if (raw := _raw(lines[start:end])) is not None and not self._take(raw):
                return True
            end = start - 1
        return False

    def operations(self) -> list[Operation]:
        """Return the operations found that are wanted, and some before them, by id."""
        return [self._found[key] for key in sorted(self._found)]

    def whole(self) -> Tail:
        """Return what is wanted of all lines of a file, where there was no more."""
        rest = [r for steps in self._steps.values() for r in _records(steps)]
        # Of an operation whose intent is lost, a one-shot job's other lines tell all the same.
        jobs = replay(rest)
        lost = len({record["op"] for record in rest} - {job.op_id for job in jobs})
        operations = sorted([*self._found.values(), *jobs], key=lambda o: o.op_id)
        is_empty = not (self._begun or jobs or lost)
        return Tail(_selected(operations, self._wanted), (), lost, empty=is_empty)

    def _take(self, raw: _Raw) -> bool:
        """Given the line before those taken, return whether more of them are needed."""
        step, _ = raw
        if step.op_id in self._begun:
            raise Unreadable("a step stands before its operation's beginning")
        self._steps[step.op_id].append(raw)
        if step.state != State.INTENT:
            return True
        self._begun.add(step.op_id)
        steps = self._steps.pop(step.op_id)
        # The first of them that was taken is the last that was written.
        is_wanted = self._wanted.takes(step.vmid, step.begun, steps[0][0].state)
        if is_wanted:
            (self._found[step.op_id],) = replay(_records(steps))
        # An id is the time of the beginning, or later, and ids never go back.
        wanted, begun = self._wanted, int(step.op_id, 16) / 1000
        if 0 < wanted.limit <= self._counted or begun < wanted.since:
            self._more -= 1
        else:
            self._counted += is_wanted
        return self._more > 0


_Raw = tuple[Step, bytes | Record]
"""A step, and its line as far as it was read."""


def _raw(line: bytes) -> _Raw | None:
    """Return the step that a line is; None if it is none. Raise Unreadable if it is odd."""
    if (step := step_of(line)) is not None:
        return step, line
    record = decode(line)[1]
    if odd := problem_of(record):
        raise Unreadable(odd)
    return (step_in(record), record) if "op" in record else None


def _records(steps: Sequence[_Raw]) -> list[Record]:
    """Given steps, the last one first, return their records in the order of the file."""
    return [decode(raw)[1] if isinstance(raw, bytes) else raw for _, raw in reversed(steps)]


def _selected(operations: Sequence[Operation], wanted: Wanted) -> tuple[Operation, ...]:
    return tuple(o for o in operations if wanted.fits(o))[-wanted.limit :]
