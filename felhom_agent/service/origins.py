"""Where in our code an error came from, in words that fit a line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType

import felhom_agent

_ROOT = str(Path(felhom_agent.__file__).parent.parent) + "/"
_OURS = str(Path(felhom_agent.__file__).parent) + "/"
_MAX_FRAMES = 40
_MAX_CAUSES = 8


def relative(path: str) -> str:
    """Given a source file's path, return it without this machine's part of it."""
    return path.removeprefix(_ROOT) if path.startswith(_OURS) else path.rpartition("/")[2]


def place_of(error: BaseException) -> str:
    """Given an error that was raised, return where: "felhom_agent/planning/plan.py:123 in plan".

    It is the innermost place in our own code, or the innermost one if there is none.
    """
    place, ours = "", False
    for path, line, name in _frames(error.__traceback__):
        if path.startswith(_OURS) or not ours:
            ours = path.startswith(_OURS)
            place = f"{relative(path)}:{line} in {name}"
    return place


def trace_of(error: BaseException) -> Iterator[str]:
    """Given an error, yield a line for each place that it came through, outermost first, and the
    same for what caused it.
    """
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen and len(seen) < _MAX_CAUSES:
        if seen:
            yield f"caused by {described(cause)}"
        frames = list(islice(_frames(cause.__traceback__), 10_000))
        if len(frames) > _MAX_FRAMES:
            yield f"(the outer {len(frames) - _MAX_FRAMES} places are left out)"
        for path, line, name in frames[-_MAX_FRAMES:]:
            yield f"at {relative(path)}:{line} in {name}"
        seen.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def described(error: BaseException) -> str:
    """Given an error, return its kind, its words and its place: "KeyError: 'x' (a.py:1 in f)"."""
    words, place = text_of(error), place_of(error)
    return f"{type(error).__name__}{f': {words}' if words else ''}{f' ({place})' if place else ''}"


def text_of(value: object) -> str:
    """Given anything, return its `str`, whatever that raises."""
    try:
        return str(value)
    except Exception:  # a defect of the value's class must not hide what was to be said of it
        return f"({type(value).__name__} that cannot be printed)"


def _frames(traceback: TracebackType | None) -> Iterator[tuple[str, int, str]]:
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield code.co_filename, traceback.tb_lineno, code.co_name
        traceback = traceback.tb_next
