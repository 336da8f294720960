"""What one guest file last said: as it is, as far as it is good, and else as it last was good.

Whatever goes wrong while a file is read, a defect of this program included, costs that file.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from felhom_agent.config import tomlfile
from felhom_agent.desired.guestfile import declarations_of
from felhom_agent.errors import ConfigError
from felhom_agent.model import DesiredGuest, Place, Problem
from felhom_agent.regularfile import Stamp

_BLANKS: Final = b"\xef\xbb\xbf \t\r\n"


@dataclass(frozen=True)
class FileState:
    """What a file says, and what is wrong with it.

    * `data` is the content that was last believed; None if it could not be read.
    * `guests` is what it declares rightly, `wrong` what it declares wrongly, `remarks` are on
      guests that are good.
    * `read` is the content that was last parsed: what is `wrong` is wrong in it.
    * `texts` are the contents by which its guests are declared: where the last one was not good as
      a whole, some are kept of an older one.
    * `good` is the content of its last good version, as far as the file as a whole is concerned;
      None if it has had none, so that nobody knows which guests it declares.
    * `gone` tells that it is not there any more, and is only remembered.
    * `news` is what happened to it just now.
    * `stamp` is that of the file from which `data` was read, as long as no later change of the file
      can have the same one; else None.
    """

    data: bytes | None = None
    guests: Mapping[int, DesiredGuest] = field(default_factory=dict)
    wrong: Mapping[int, Problem] = field(default_factory=dict)
    remarks: Mapping[int, str] = field(default_factory=dict)
    read: bytes | None = field(default=None, repr=False)
    texts: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    problems: tuple[Problem, ...] = ()
    good: bytes | None = None
    gone: bool = False
    news: tuple[Problem, ...] = ()
    stamp: Stamp | None = None

    @property
    def known(self) -> bool:
        """Whether it is known which guests the file declares, or declared when it was good."""
        return self.good is not None

    def places(self) -> dict[int, Place]:
        """Return where each guest is declared, rightly or wrongly."""
        right = {vmid: guest.place for vmid, guest in self.guests.items()}
        return right | {vmid: problem.place for vmid, problem in self.wrong.items()}


def parsed(before: FileState, path: Path, data: bytes) -> FileState:
    """Given what a file said before, its path and its content, return what it says now."""
    if damage := _damage(before, data):
        return _kept(before, data, (Problem(Place(tomlfile.name_of(path)), damage),))
    try:
        return _read(before, path, data)
    except ConfigError as error:
        return _kept(before, data, (*error.problems, _summary(before, path)))
    except Exception as error:  # a defect of ours costs this file, and is told with its place
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = (
            f"internal error while it was read ({type(error).__name__} at"
            f" {Path(where.filename).name}:{where.lineno} in {where.name}); please report it"
        )
        place = Place(tomlfile.name_of(path))
        return _kept(before, None, (Problem(place, text), _summary(before, path)))


def unread(before: FileState | None, error: ConfigError) -> FileState:
    """Given what a file said before, and why it cannot be read, return what counts for now."""
    before = before or FileState()
    kept = error.problems
    if before.known:
        place = error.problems[0].place
        kept = (*kept, Problem(place, "its last good version stays in force"))
    return _kept(before, None, kept)


def _read(before: FileState, path: Path, data: bytes) -> FileState:
    file = tomlfile.parse_bytes(data, path)
    found = declarations_of(file)
    guests, problems, good = found.guests, tuple(found.problems), data
    if not found.whole:
        # What is wrong outside of the guests' tables may be a guest's header; none is lost by it.
        known = guests.keys() | found.wrong.keys()
        guests = {v: g for v, g in before.guests.items() if v not in known} | guests
        kept = "the guests that it declared before stay as they were" if before.known else (
            "nobody knows whether it was meant to declare more guests"
        )  # fmt: skip
        text = f"has errors outside of its guests' tables; {kept}"
        problems = (*problems, Problem(Place(tomlfile.name_of(path)), text))
    return FileState(
        data=data,
        guests=guests,
        wrong=found.wrong,
        remarks=found.remarks,
        read=data,
        texts={v: data if v in found.guests else before.texts[v] for v in guests},
        problems=problems,
        good=good if found.whole else before.good,
        news=_cut_short(before, path, data),
    )


def _kept(before: FileState, data: bytes | None, problems: tuple[Problem, ...]) -> FileState:
    return replace(before, data=data, problems=problems, gone=False, news=())


def _summary(before: FileState, path: Path) -> Problem:
    kept = "its last good version stays in force" if before.known else "nothing of it is in force"
    return Problem(Place(tomlfile.name_of(path)), f"has errors; {kept}")


def _damage(before: FileState, data: bytes) -> str:
    """Return why a content is taken for an accident, where there was a good one; else nothing."""
    if not (before.guests or before.wrong):
        return ""
    if not data.strip(_BLANKS):
        kept = "its last good version stays in force"
        return f"is empty; {kept}; remove the file if it shall declare nothing any more"
    if before.good and _begins(before.good, data) and not _at_line_end(before.good, data):
        line = data.count(b"\n") + 1
        kept = "its last good version stays in force"
        return f"is cut off in the middle of line {line}; {kept}; write it again"
    return ""


def _cut_short(before: FileState, path: Path, data: bytes) -> tuple[Problem, ...]:
    """Say so if a file has lost its end, which may be meant or not."""
    if not before.good or not _begins(before.good, data):
        return ()
    line = data.rstrip(b"\n").count(b"\n") + 1
    text = "has lost all that came after this line; what is left is in force"
    return (Problem(Place(tomlfile.name_of(path), line), text),)


def _begins(whole: bytes, part: bytes) -> bool:
    """Return whether one content begins another one, which has more than blanks after it."""
    return whole.startswith(part) and bool(whole[len(part) :].strip())


def _at_line_end(whole: bytes, part: bytes) -> bool:
    return part.endswith(b"\n") or whole[len(part) :].startswith((b"\n", b"\r\n"))
