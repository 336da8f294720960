"""What a person does about a journal that is damaged: look at it, and cut the damage out.

Nothing here is done by the agent itself. A repair keeps every line that is intact, and a copy of
the whole file as it was; what the other lines said is lost, and with it perhaps that a thing was
done. Of an operation that lost its outcome recovery finds out again; a one-shot job says who it is
in each of its lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.durable.file import write_in_place
from felhom_agent.durable.line import Content, encode_file
from felhom_agent.errors import JournalClosed, JournalDamaged
from felhom_agent.journal.content import NAME, content_of


@dataclass(frozen=True)
class Repair:
    """What a repair did: what it found, and where the file as it was is kept."""

    content: Content
    copy: Path


def inspect(path: Path) -> tuple[Content, int]:
    """Given a journal's path, return what it says, damaged or not, and its size in bytes.

    Raise JournalClosed if it cannot be read.
    """
    try:
        data = DISK.read(path)
    except OSError as error:
        why = error.strerror or str(error)
        raise JournalClosed(f"{path}: cannot be read: {why}") from None
    return content_of(data), len(data)


def repair(directory: Path, now: str, disk: Disk = DISK) -> Repair | None:
    """Given a journal's directory and the time as a text, cut out what is damaged.

    Return what was done; None if nothing was damaged. The caller holds the directory's lock. Raise
    JournalDamaged if a line is of a newer format, JournalClosed if the disk does not play along.
    """
    path = directory / NAME
    content, _ = inspect(path)
    if not content.damage:
        return None
    for damage in content.damage:
        if damage.newer:
            raise JournalDamaged(f"{path}:{damage.line}: {damage.text}; install that version again")
    copy = path.with_name(f"{NAME}.damaged-{now}")
    try:
        write_in_place(disk, copy, disk.read(path))
        write_in_place(disk, path, encode_file(content.records))
    except OSError as error:
        raise JournalClosed(f"{path}: cannot be repaired: {error.strerror}") from None
    return Repair(content, copy)
