"""Who is known under each vmid; part of the journal, so that it outlives the process.

    {"guest":101,"identity":"rootfs=local:...;mac=...","born":1764000000}
    {"guest":101,"identity":"rootfs=local:...;mac=...","born":1764000000,"gone":true}

Threads: one lock guards the table; a record is appended outside of it, and the table changes once
the record is durable.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from felhom_agent.durable.line import Record
from felhom_agent.journal.log import JournalLog
from felhom_agent.model import NOBODY, Known


class Identities:
    """The remembered identity of each managed guest."""

    def __init__(self, log: JournalLog, records: Iterable[Record]) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._known = known(records)

    def remember(self, found: Mapping[int, Known]) -> None:
        """Given guests and who they are, keep what is news; return when it is durable.

        Raise JournalError if it cannot be kept.
        """
        with self._lock:
            news = {v: k for v, k in found.items() if k.identity and self._known.get(v) != k}
        if news:
            self._log.append(*(_record(v, k) for v, k in sorted(news.items())))
        with self._lock:
            self._known.update(news)

    def seen_gone(self, vmids: Iterable[int]) -> None:
        """Given vmids whose guests do not exist any more, note so. Raise JournalError if it cannot
        be kept.
        """
        with self._lock:
            gone = {v: self._known[v] for v in vmids if v in self._known}
        self.remember({v: replace(k, gone=True) for v, k in gone.items()})

    def of(self, vmid: int) -> Known:
        """Return who is known under a vmid."""
        with self._lock:
            return self._known.get(vmid, NOBODY)

    def all(self) -> dict[int, Known]:
        """Return who is known under each vmid."""
        with self._lock:
            return dict(self._known)


def known(records: Iterable[Record]) -> dict[int, Known]:
    """Given a journal's records, return who is known under each vmid; the latest record counts."""
    return {
        r["guest"]: Known(r["identity"], r.get("born"), r.get("gone", False))
        for r in records
        if "identity" in r
    }


def _record(vmid: int, who: Known) -> Record:
    record: dict[str, Any] = {"guest": vmid, "identity": who.identity}
    if who.born is not None:
        record["born"] = who.born
    if who.gone:
        record["gone"] = True
    return record
