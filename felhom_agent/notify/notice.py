"""What is told of one event, in words that a person understands without this host's log.

A notice is made of what the log tells anyway: safe text without secrets, printable, and bounded
(`service/ring.py`), with what the event means and what to do (`service/events.py`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from felhom_agent import __version__
from felhom_agent.printable import moment_text, printable
from felhom_agent.service.events import EVENTS
from felhom_agent.service.ring import EventEntry

SCHEMA: Final = 1
"""Of a notice as JSON; another one once a member is taken away or changes its meaning."""
SUMMARY: Final = "summary"
"""The name, in the place of an event's, of what sums up events that were not told one by one."""
MAX_NODE: Final = 63
_MAX_NAMED: Final = 10
_EVENTS: Final = {event.name: event for event in EVENTS}


@dataclass(frozen=True)
class Notice:
    """One message: of which node and event, how bad ("info", "warning" or "error"), when it was
    (seconds since the epoch), of which guest (None: of none), the log's sentence with its fields,
    and what the event means and what to do.
    """

    node: str
    event: str
    level: str
    at: float
    text: str
    subject: str
    advice: str = ""
    vmid: int | None = None
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def title(self) -> str:
        return f"{self.node}: {self.subject}"

    @property
    def body(self) -> str:
        """The text, and below it what to do."""
        return f"{self.text}\n\n{self.advice}" if self.advice else self.text

    def as_json(self) -> dict[str, Any]:
        """Return it as our own JSON has it."""
        return {
            "schema": SCHEMA,
            "agent": __version__,
            "node": self.node,
            "event": self.event,
            "level": self.level,
            "at": moment_text(self.at),
            "vmid": self.vmid,
            "title": self.title,
            "text": self.text,
            "advice": self.advice,
            "fields": dict(self.fields),
        }


def notice_of(entry: EventEntry, node: str) -> Notice:
    """Given an entry of the ring, and the node's name, return the notice."""
    event = _EVENTS[entry.event]
    return Notice(
        printable(node, MAX_NODE), entry.event, "info" if entry.level == "debug" else entry.level,
        entry.at, entry.text, event.subject, event.advice, entry.vmid, entry.fields,
    )  # fmt: skip


def summary_of(counts: Mapping[str, int], node: str, at: float) -> Notice:
    """Given how many events of each kind were not told one by one, return what sums them up."""
    total = sum(counts.values())
    kinds = sorted(counts, key=lambda name: (-counts[name], name))
    named = ", ".join(f"{counts[name]} {name}" for name in kinds[:_MAX_NAMED])
    more = f" and {len(kinds) - _MAX_NAMED} other kinds" if len(kinds) > _MAX_NAMED else ""
    return Notice(
        printable(node, MAX_NODE),
        SUMMARY,
        "warning",
        at,
        f"{total} more {'event' if total == 1 else 'events'}: {named}{more}",
        "Events that were not told one by one",
        "They were too many within an hour ([notify] per_hour), or could not be delivered when they"
        " happened. `felhom-agent events` on the node shows them.",
    )
