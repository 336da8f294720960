"""How it goes, in one sentence for `systemctl status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from felhom_agent.model import Converged, Outcome

_MOST_NAMED = 3
_LONGEST = 240
_ORDER = ("converged", "blocked", "refused", "retry")


def sentence(
    outcomes: Mapping[int, Outcome], *, declared: int = 0, running: int = 0, trouble: str = ""
) -> str:
    """Given how each guest stands, how many are declared, how many have a turn, and what troubles
    all, return a sentence: "12 guests converged, 1 blocked: 101 blocked: it is locked (backup)".
    """
    counts = Counter(type(outcome).__name__.lower() for outcome in outcomes.values())
    parts = [f"{counts[name]} {name}" for name in _ORDER if counts[name]]
    if declared > len(outcomes):
        parts.append(f"{declared - len(outcomes)} not looked at yet")
    if running:
        parts.append(f"{running} being looked at")
    if parts and parts[0].endswith(" converged"):
        guests = "guest" if counts["converged"] == 1 else "guests"
        parts[0] = f"{counts['converged']} {guests} converged"
    text = ", ".join(parts) or "no guest is declared"
    named = [f"{v} {o}" for v, o in sorted(outcomes.items()) if not isinstance(o, Converged)]
    if named:
        more = f" (and {len(named) - _MOST_NAMED} more)" if len(named) > _MOST_NAMED else ""
        text += ": " + "; ".join(named[:_MOST_NAMED]) + more
    text = f"{trouble}; {text}" if trouble else text
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
