"""What the hub knows, in sqlite: hosts with their keys and reports, desired states, jobs.

A report is kept as it came; what of it is shown by name is read in `said.py`. A file that an
earlier version wrote gets the columns that it lacks when it is opened.

Threads: one connection, one lock around every word; each word is one transaction.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from felhom_agent.devhub import jobs
from felhom_agent.devhub.jobs import Job
from felhom_agent.devhub.plain import table
from felhom_agent.devhub.said import Pending, Refused, Signing, refused_of, signing_of
from felhom_agent.devhub.signers import KnownSigners

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS host (
    host_id TEXT PRIMARY KEY, key TEXT NOT NULL, seen REAL NOT NULL DEFAULT 0,
    report TEXT NOT NULL DEFAULT '{}', generation INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT '', blocked INTEGER NOT NULL DEFAULT 0
);
"""
_ADDED: Final[Mapping[str, Mapping[str, str]]] = {
    "host": {
        "signers_version": "INTEGER",
        "signers_by": "TEXT NOT NULL DEFAULT ''",
        "signers_unseen": "INTEGER",
    },
    "job": jobs.ADDED,
}


@dataclass(frozen=True)
class Host:
    """One host: when it was last seen (seconds since the epoch; 0: never), its latest report, the
    generation of its desired state (0: none), the state as it was stored, which signers of it are
    known, and which requests it was asked for.
    """

    host_id: str
    seen: float
    report: dict[str, Any]
    generation: int
    state: Any
    blocked: bool
    signers: KnownSigners
    asked: frozenset[str]

    @cached_property
    def refused(self) -> Refused | None:
        """What its latest report says that it refused; None if that is nothing, or no contract's
        words.
        """
        return refused_of(table(self.report, "agent").get("refused"))

    @cached_property
    def signing(self) -> Signing:
        """What its latest report says of signed jobs."""
        return signing_of(self.report)

    def waiting(self, now: float) -> tuple[Pending, ...]:
        """Return the requests that it was asked for and that can be signed now."""
        return tuple(
            each
            for each in self.signing.pending
            if each.job_id in self.asked and each.expires > now
        )


class Store:
    """The hub's memory; `path` is a file, or ":memory:"."""

    def __init__(self, path: str = ":memory:") -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.executescript(_SCHEMA + jobs.SCHEMA)
        with self._words() as db:
            for name, columns in _ADDED.items():
                _add_columns(db, name, columns)

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
        shown = key.encode()
        found = [host_id for host_id, known in rows if hmac.compare_digest(known.encode(), shown)]
        return str(found[0]) if found else ""

    def hosts(self) -> list[Host]:
        """Return all hosts, by name."""
        with self._words() as db:
            rows = db.execute(f"{_SELECT} ORDER BY host_id").fetchall()
            asked = jobs.requests_of_all(db)
        return [_host(row, asked) for row in rows]

    def host(self, host_id: str) -> Host | None:
        """Return a host, if there is one of that name."""
        with self._words() as db:
            return _host_of(db, host_id)

    def take_report(self, host_id: str, report: dict[str, Any], now: float) -> None:
        """Keep a host's report, and what it tells of signers and jobs."""
        told = signing_of(report)
        with self._words() as db:
            values = (json.dumps(report), now, host_id)
            db.execute("UPDATE host SET report = ?, seen = ? WHERE host_id = ?", values)
            jobs.note_report(db, host_id, told.names())
            if (host := _host_of(db, host_id)) is not None:
                _keep_signers(db, host_id, host.signers.after(told.signers))

    def see_signers(self, host_id: str, version: int) -> None:
        """Note that a person has seen that root provided this version of a host's signers."""
        with self._words() as db:
            if (host := _host_of(db, host_id)) is not None:
                _keep_signers(db, host_id, host.signers.seen(version))

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
        """Return the requests and jobs that a host shall have."""
        with self._words() as db:
            return jobs.to_deliver(db, host_id)

    def deliver(self, host_id: str, now: float) -> list[dict[str, Any]]:
        """Return the requests and jobs that a host shall have, and note that it has them now."""
        with self._words() as db:
            jobs.note_delivery(db, host_id, now)
            return jobs.to_deliver(db, host_id)

    def all_jobs(self, host_id: str) -> list[Job]:
        """Return all jobs of a host as a person sees them: open ones, then acknowledged ones."""
        with self._words() as db:
            return jobs.all_of(db, host_id)

    def enqueue(
        self, host_id: str, envelope: dict[str, Any], now: float = 0.0, *,
        held: bool = False, answers: str = "",
    ) -> None:  # fmt: skip
        """Keep a job as it is, in the place of one of the same id; `answers` is the request that it
        answers, which is removed. Raise jobs.TooMany beyond the bounds, jobs.NoSuchJob if there is
        no such request; nothing is kept then.
        """
        with self._words() as db:
            if answers:
                jobs.answer(db, host_id, answers)
            jobs.put(db, host_id, envelope, now, held=held)

    def acknowledge(self, host_id: str, job_id: str, now: float) -> None:
        """Note that a host is done with a job that it was given; that may be said twice."""
        with self._words() as db:
            jobs.acknowledge(db, host_id, job_id, now)

    def hold_job(self, host_id: str, job_id: str, *, held: bool) -> None:
        """Hold a signed job back, or no longer. Raise jobs.NoSuchJob if there is none."""
        with self._words() as db:
            jobs.hold(db, host_id, job_id, held=held)

    def drop_job(self, host_id: str, job_id: str) -> None:
        """Remove an open job or request. Raise jobs.NoSuchJob if there is none."""
        with self._words() as db:
            jobs.drop(db, host_id, job_id)

    def forget_job(self, host_id: str, job_id: str) -> None:
        """Let a job go; one that is not there is gone already."""
        with self._words() as db:
            jobs.forget(db, host_id, job_id)

    @contextmanager
    def _words(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._db:
            yield self._db


_SELECT: Final = (
    "SELECT host_id, seen, report, generation, state, blocked, signers_version, signers_by, "
    "signers_unseen FROM host"
)


def _host_of(db: sqlite3.Connection, host_id: str) -> Host | None:
    row = db.execute(f"{_SELECT} WHERE host_id = ?", (host_id,)).fetchone()
    return _host(row, jobs.requests_of_all(db)) if row else None


def _host(row: tuple[Any, ...], asked: Mapping[str, frozenset[str]]) -> Host:
    host_id, seen, report, generation, state, blocked, *known = row
    parsed = json.loads(state) if state else None
    signers = KnownSigners(*known)
    return Host(
        host_id, seen, json.loads(report), generation, parsed, bool(blocked), signers,
        asked.get(host_id, frozenset()),
    )  # fmt: skip


def _keep_signers(db: sqlite3.Connection, host_id: str, known: KnownSigners) -> None:
    db.execute(
        "UPDATE host SET signers_version = ?, signers_by = ?, signers_unseen = ? WHERE host_id = ?",
        (known.version, known.by, known.unseen, host_id),
    )


def _add_columns(db: sqlite3.Connection, name: str, columns: Mapping[str, str]) -> None:
    there = {row[1] for row in db.execute(f"PRAGMA table_info({name})")}
    for column, kind in columns.items():
        if column not in there:
            db.execute(f"ALTER TABLE {name} ADD COLUMN {column} {kind}")
