"""What the hub knows, in sqlite: hosts with their keys and reports, desired states, jobs.

A report is kept as it came; what of it is shown by name is read with bounds of our own, whatever a
host sends.

Threads: one connection, one lock around every word; each word is one transaction.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS host (
    host_id TEXT PRIMARY KEY, key TEXT NOT NULL, seen REAL NOT NULL DEFAULT 0,
    report TEXT NOT NULL DEFAULT '{}', generation INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT '', blocked INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS job (
    host_id TEXT NOT NULL, job_id TEXT NOT NULL, envelope TEXT NOT NULL,
    PRIMARY KEY (host_id, job_id)
);
"""


MAX_PROBLEMS = 20
LONGEST_PROBLEM = 1024
MAX_GENERATION = 2**53 - 1


@dataclass(frozen=True)
class Refused:
    """A generation that a host refused, and why: printable texts, bounded in length and number."""

    generation: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Host:
    """One host: when it was last seen (seconds since the epoch; 0: never), its latest report, the
    generation of its desired state (0: none), and the state as it was stored.
    """

    host_id: str
    seen: float
    report: dict[str, Any]
    generation: int
    state: Any
    blocked: bool

    @property
    def refused(self) -> Refused | None:
        """What its latest report says that it refused; None if that is nothing, or no contract's
        words.
        """
        agent = self.report.get("agent")
        return refused_of(agent.get("refused")) if isinstance(agent, dict) else None


class Store:
    """The hub's memory; `path` is a file, or ":memory:"."""

    def __init__(self, path: str = ":memory:") -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def enroll(self, host_id: str) -> str:
        """Given a new host, return its key. Raise ValueError if there is one of that name."""
        key = secrets.token_urlsafe(32)
        try:
            with self._words() as db:
                db.execute("INSERT INTO host (host_id, key) VALUES (?, ?)", (host_id, key))
        except sqlite3.IntegrityError:
            raise ValueError(f"there is a host {host_id!r} already") from None
        return key

    def owner(self, key: str) -> str:
        """Given a key, return the host it belongs to; empty if it is nobody's."""
        with self._words() as db:
            rows = db.execute("SELECT host_id, key FROM host").fetchall()
        found = [host_id for host_id, known in rows if hmac.compare_digest(known, key)]
        return str(found[0]) if found else ""

    def hosts(self) -> list[Host]:
        """Return all hosts, by name."""
        with self._words() as db:
            rows = db.execute(f"{_SELECT} ORDER BY host_id").fetchall()
        return [_host(row) for row in rows]

    def host(self, host_id: str) -> Host | None:
        """Return a host, if there is one of that name."""
        with self._words() as db:
            row = db.execute(f"{_SELECT} WHERE host_id = ?", (host_id,)).fetchone()
        return _host(row) if row else None

    def take_report(self, host_id: str, report: dict[str, Any], now: float) -> None:
        """Keep a host's report."""
        with self._words() as db:
            values = (json.dumps(report), now, host_id)
            db.execute("UPDATE host SET report = ?, seen = ? WHERE host_id = ?", values)

    def desire(self, host_id: str, state: Any) -> int:
        """Keep a desired state as it is; return its generation, one more than the last."""
        with self._words() as db:
            values = (json.dumps(state), host_id)
            db.execute(
                "UPDATE host SET state = ?, generation = generation + 1 WHERE host_id = ?", values
            )
            row = db.execute("SELECT generation FROM host WHERE host_id = ?", (host_id,)).fetchone()
        return int(row[0])

    def block(self, host_id: str, *, blocked: bool) -> None:
        """Let a host only observe, or no longer."""
        with self._words() as db:
            db.execute("UPDATE host SET blocked = ? WHERE host_id = ?", (int(blocked), host_id))

    def jobs(self, host_id: str) -> list[dict[str, Any]]:
        """Return the jobs that wait for a host."""
        with self._words() as db:
            rows = db.execute(
                "SELECT envelope FROM job WHERE host_id = ? ORDER BY job_id", (host_id,)
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def enqueue(self, host_id: str, envelope: dict[str, Any]) -> None:
        """Keep a job as it is, in the place of one of the same id."""
        with self._words() as db:
            values = (host_id, str(envelope["job_id"]), json.dumps(envelope))
            db.execute("INSERT OR REPLACE INTO job VALUES (?, ?, ?)", values)

    def forget_job(self, host_id: str, job_id: str) -> None:
        """Let a job go; one that is not there is gone already."""
        with self._words() as db:
            db.execute("DELETE FROM job WHERE host_id = ? AND job_id = ?", (host_id, job_id))

    @contextmanager
    def _words(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._db:
            yield self._db


_SELECT = "SELECT host_id, seen, report, generation, state, blocked FROM host"


def _host(row: tuple[Any, ...]) -> Host:
    host_id, seen, report, generation, state, blocked = row
    parsed = json.loads(state) if state else None
    return Host(host_id, seen, json.loads(report), generation, parsed, bool(blocked))


def refused_of(said: object) -> Refused | None:
    """Given what a report has under `refused`, return it within bounds; None if it is malformed."""
    if not isinstance(said, dict):
        return None
    generation, problems = said.get("generation"), said.get("problems")
    if type(generation) is not int or not 0 <= generation <= MAX_GENERATION:
        return None
    if not isinstance(problems, list):
        return None
    texts = [text for text in problems if isinstance(text, str)][:MAX_PROBLEMS]
    return Refused(generation, tuple(_plain(text) for text in texts))


def _plain(text: str) -> str:
    cut = text if len(text) <= LONGEST_PROBLEM else f"{text[: LONGEST_PROBLEM - 3]}..."
    return "".join(c if c.isprintable() else "?" for c in cut)
