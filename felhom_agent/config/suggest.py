"""A guess at what was meant by a wrong word."""

from __future__ import annotations

from collections.abc import Iterable

_ALIKE = 0.7
"""From which share of letters in common on a word is taken for another one, mistyped."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Given a wrong word and the right ones, return `"; did you mean ...?"` or nothing."""
    if len(word) > 60:  # longer than any known word, and long to compare
        return ""
    import difflib  # not at the top: who makes no mistake need not wait for it

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=_ALIKE)
    if close and close[0] != word and close[0].endswith(word):
        return ""  # another word, as start is to restart
    return f"; did you mean {close[0]!r}?" if close else ""
