"""How it goes, in one sentence for `systemctl status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from felhom_agent.model import Converged, Outcome, outcome_word

_MAX_NAMED = 3
_MAX_SECONDS = 240
_ORDER = ("converged", "blocked", "refused", "retry")


def sentence(
    outcomes: Mapping[int, Outcome], *, declared: int = 0, running: int = 0, trouble: str = ""
) -> str:
    """Given how each guest stands, how many are declared, how many have a turn, and what troubles
    all, return a sentence: "12 guests converged, 1 blocked: 101 blocked: it is locked (backup)".
    """
    counts = Counter(map(outcome_word, outcomes.values()))
    parts = [f"{counts[name]} {name}" for name in _ORDER if counts[name]]
    if declared > len(outcomes):
        parts.append(f"{declared - len(outcomes)} not observed yet")
    if running:
        parts.append(f"{running} being reconciled")
    if parts and parts[0].endswith(" converged"):
        guests = "guest" if counts["converged"] == 1 else "guests"
        parts[0] = f"{counts['converged']} {guests} converged"
    text = ", ".join(parts) or "no guest is declared"
    named = [f"{v} {o}" for v, o in sorted(outcomes.items()) if not isinstance(o, Converged)]
    if named:
        more = f" (and {len(named) - _MAX_NAMED} more)" if len(named) > _MAX_NAMED else ""
        text += ": " + "; ".join(named[:_MAX_NAMED]) + more
    text = f"{trouble}; {text}" if trouble else text
    return text if len(text) <= _MAX_SECONDS else text[: _MAX_SECONDS - 3] + "..."
