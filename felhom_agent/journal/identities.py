"""Who was first managed under each vmid; part of the journal, so that it outlives the process.

Threads: one lock guards the table; a record is appended outside of it, and the table changes once
the record is durable.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from felhom_agent.journal.line import Record
from felhom_agent.journal.log import JournalLog


class Identities:
    """The remembered identity of each managed guest."""

    def __init__(self, log: JournalLog, records: Iterable[Record]) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._known = known(records)

    def remember(self, found: Mapping[int, str]) -> None:
        """Given guests and who they are, keep what is news; return when it is durable."""
        with self._lock:
            news = {v: i for v, i in found.items() if i and self._known.get(v) != i}
        if news:
            self._log.append(*({"guest": v, "identity": i} for v, i in sorted(news.items())))
        with self._lock:
            self._known.update(news)

    def of(self, vmid: int) -> str:
        """Return who is known under a vmid; empty if nobody is."""
        with self._lock:
            return self._known.get(vmid, "")

    def all(self) -> dict[int, str]:
        """Return who is known under each vmid."""
        with self._lock:
            return dict(self._known)


def known(records: Iterable[Record]) -> dict[int, str]:
    """Given a journal's records, return who is known under each vmid; the latest word counts."""
    return {r["guest"]: r["identity"] for r in records if "identity" in r}
