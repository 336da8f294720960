"""How it goes, in one sentence for `systemctl status`.

What troubles all comes first, then what is wrong in the files, then the guests: how many are as
declared, and how many are not and why, of which the first are named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from felhom_agent.model import Blocked, Converged, Outcome, Problem, Retry, outcome_word
from felhom_agent.service.names import Names

_MAX_NAMED = 3
_MAX_LENGTH = 400
_MAX_PROBLEM = 120
_AS_DECLARED: Final = "as declared"
# In the order in which they are told: who needs a person goes first.
_WORDS: Final = (_AS_DECLARED, "waits", "refused", "tried again", "only observed")
_MANY: Final = {"waits": "wait"}


def sentence(
    outcomes: Mapping[int, Outcome],
    *,
    declared: int = 0,
    running: int = 0,
    trouble: str = "",
    problems: Sequence[Problem] = (),
    names: Names | None = None,
) -> str:
    """Given how each guest stands, how many are declared, how many have a turn, what troubles all,
    what is wrong in the files and what guests are called, return a sentence: "12 guests as
    declared, 1 waits: 101 web: locked (backup)".
    """
    text = _counts(outcomes, declared, running)
    if named := _named(outcomes, names or Names()):
        text = f"{text}: {named}"
    text = "; ".join(filter(None, [trouble, _files(problems), text]))
    return _cut(text, _MAX_LENGTH)


def _counts(outcomes: Mapping[int, Outcome], declared: int, running: int) -> str:
    counts = Counter(map(_word, outcomes.values()))
    parts = [f"{counts[word]} {_inflected(word, counts[word])}" for word in _WORDS if counts[word]]
    if counts[_AS_DECLARED]:
        guests = "guest" if counts[_AS_DECLARED] == 1 else "guests"
        parts[0] = f"{counts[_AS_DECLARED]} {guests} {_AS_DECLARED}"
    if declared > len(outcomes):
        parts.append(f"{declared - len(outcomes)} not observed yet")
    if running:
        parts.append(f"{running} being reconciled")
    return ", ".join(parts) or "no guest is declared"


def _named(outcomes: Mapping[int, Outcome], names: Names) -> str:
    """Return who is not as declared, and why, those who need a person first."""
    found = [(_WORDS.index(_word(o)), vmid, o) for vmid, o in outcomes.items()]
    told = [
        f"{names.of(vmid)}: {outcome.why}"
        for _, vmid, outcome in sorted(found, key=lambda each: each[:2])
        if not isinstance(outcome, Converged)
    ]
    more = f" (and {len(told) - _MAX_NAMED} more)" if len(told) > _MAX_NAMED else ""
    return "; ".join(told[:_MAX_NAMED]) + more


def _files(problems: Sequence[Problem]) -> str:
    """Return how many errors the files have, and the first: "files: 2 errors: dns.toml:5 ..."."""
    own = [problem for problem in problems if not problem.follows]
    if not own:
        return ""
    first = min(own, key=lambda each: (each.place.file, each.place.line, each.text))
    name = str(first.place).rpartition("/")[2]
    errors = "error" if len(own) == 1 else "errors"
    return f"files: {len(own)} {errors}: {_cut(f'{name} {first.text}', _MAX_PROBLEM)}"


def _word(outcome: Outcome) -> str:
    if isinstance(outcome, Converged):
        return _AS_DECLARED
    if isinstance(outcome, Blocked):
        return "only observed" if outcome.observed else "waits"
    return "tried again" if isinstance(outcome, Retry) else outcome_word(outcome)


def _inflected(word: str, count: int) -> str:
    return word if count == 1 else _MANY.get(word, word)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
