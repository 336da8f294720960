"""What a journal's file says: its records, judged line by line."""

from __future__ import annotations

from pathlib import Path

from felhom_agent.durable.disk import DISK
from felhom_agent.durable.line import Content, Damage, Record, decode_file
from felhom_agent.errors import JournalClosed, JournalDamaged
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
        what = f"{path}:{damage.line}: {damage.text}"
        raise JournalDamaged(f"{what}; nothing was changed; {remedy_of(damage)}")
    return content


def remedy_of(damage: Damage) -> str:
    """Given what is wrong with a line, return what a person does about it."""
    if damage.newer:
        return "install that version again"
    return (
        "`felhom-agent journal verify` tells all that is wrong, `felhom-agent journal repair` "
        "keeps a copy and cuts it out"
    )
