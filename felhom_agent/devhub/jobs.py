"""The jobs of a host in the hub's database: requests, and signed jobs that are held or delivered.

    asked for / held / to be delivered  --the host acknowledges-->  acknowledged
                  (open)                --a person drops it----->  gone

What is open and not held is delivered each time the host asks, until it is acknowledged. The hub
holds no signing key: it keeps an envelope as it came, and never changes one.

Each function is one step of a transaction of the caller's.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_OPEN: Final = 50
MAX_OPEN_BYTES: Final = 3_000_000
"""How large the open jobs of a host may be together: an agent reads no answer beyond 4 MB."""
MAX_ACKNOWLEDGED: Final = 200
PATIENCE: Final = 2
"""How many reports of a host may leave a job out that was delivered to it."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS job (
    host_id TEXT NOT NULL, job_id TEXT NOT NULL, envelope TEXT NOT NULL,
    PRIMARY KEY (host_id, job_id)
);
"""
ADDED: Final[Mapping[str, str]] = {
    "since": "REAL NOT NULL DEFAULT 0",
    "asks": "INTEGER NOT NULL DEFAULT 0",
    "held": "INTEGER NOT NULL DEFAULT 0",
    "delivered": "REAL",
    "untold": "INTEGER NOT NULL DEFAULT 0",
    "acknowledged": "REAL",
}
"""Columns that the first form of the table did not have."""


class TooMany(Exception):
    """A host has as many open jobs as it may."""


class NoSuchJob(Exception):
    """No open job of that id is there."""


@dataclass(frozen=True)
class Job:
    """One job of a host: the envelope as it came, when it was put in (0: unknown), whether it is a
    request (nothing is done by it), whether it is held, when it was delivered last (None: not yet),
    how many reports have left it out since, and when it was acknowledged (None: not yet). Times are
    seconds since the epoch.
    """

    job_id: str
    envelope: Mapping[str, Any]
    since: float
    is_request: bool
    held: bool
    delivered: float | None
    untold: int
    acknowledged: float | None

    @property
    def is_open(self) -> bool:
        return self.acknowledged is None

    @property
    def is_untold(self) -> bool:
        """Whether the host has fetched it and says nothing of it."""
        return self.is_open and self.untold > PATIENCE


def put(
    db: sqlite3.Connection, host_id: str, envelope: Mapping[str, Any], now: float, *, held: bool
) -> None:
    """Keep a job as it is, in the place of one of the same id. Raise TooMany beyond the bounds."""
    job_id, text = str(envelope["job_id"]), json.dumps(envelope)
    count, size = db.execute(
        "SELECT count(*), total(length(envelope)) FROM job "
        "WHERE host_id = ? AND job_id != ? AND acknowledged IS NULL",
        (host_id, job_id),
    ).fetchone()
    if count >= MAX_OPEN:
        raise TooMany(f"the host has {MAX_OPEN} open jobs already, more are not kept")
    if size + len(text) > MAX_OPEN_BYTES:
        raise TooMany(f"the open jobs of a host may have {MAX_OPEN_BYTES} bytes together")
    db.execute(
        "INSERT OR REPLACE INTO job (host_id, job_id, envelope, since, asks, held) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (host_id, job_id, text, now, int("request" in envelope), int(held)),
    )


def to_deliver(db: sqlite3.Connection, host_id: str) -> list[dict[str, Any]]:
    """Return the envelopes of what a host shall have, in the order in which they were put in."""
    rows = db.execute(
        "SELECT envelope FROM job WHERE host_id = ? AND acknowledged IS NULL AND held = 0 "
        "ORDER BY rowid",
        (host_id,),
    ).fetchall()
    return [json.loads(row[0]) for row in rows]


def note_delivery(db: sqlite3.Connection, host_id: str, now: float) -> None:
    """Note that the host has been given what it shall have."""
    db.execute(
        "UPDATE job SET delivered = ? WHERE host_id = ? AND acknowledged IS NULL AND held = 0",
        (now, host_id),
    )


def note_report(db: sqlite3.Connection, host_id: str, named: Collection[str]) -> None:
    """Given the jobs that a new report names, count it for those that it leaves out."""
    rows = db.execute(
        "SELECT job_id, untold FROM job "
        "WHERE host_id = ? AND delivered IS NOT NULL AND acknowledged IS NULL",
        (host_id,),
    ).fetchall()
    # Counted no further than it matters.
    counts = [
        (0 if job_id in named else min(untold, PATIENCE) + 1, host_id, job_id)
        for job_id, untold in rows
    ]
    db.executemany("UPDATE job SET untold = ? WHERE host_id = ? AND job_id = ?", counts)


def acknowledge(db: sqlite3.Connection, host_id: str, job_id: str, now: float) -> None:
    """Note that a host is done with a job. One that was never delivered stays as it is: the host
    cannot speak of it.
    """
    db.execute(
        "UPDATE job SET acknowledged = ? WHERE host_id = ? AND job_id = ? "
        "AND acknowledged IS NULL AND delivered IS NOT NULL",
        (now, host_id, job_id),
    )
    db.execute(
        "DELETE FROM job WHERE host_id = :host AND acknowledged IS NOT NULL AND rowid NOT IN ("
        "SELECT rowid FROM job WHERE host_id = :host AND acknowledged IS NOT NULL "
        "ORDER BY acknowledged DESC, rowid DESC LIMIT :kept)",
        {"host": host_id, "kept": MAX_ACKNOWLEDGED},
    )


def hold(db: sqlite3.Connection, host_id: str, job_id: str, *, held: bool) -> None:
    """Keep a signed job back, or no longer. Raise NoSuchJob if it is not there."""
    job = _open(db, host_id, job_id)
    if job.is_request:
        raise NoSuchJob("a request is not held: drop it if it shall not reach the host")
    db.execute(
        "UPDATE job SET held = ? WHERE host_id = ? AND job_id = ?", (int(held), host_id, job_id)
    )


def answer(db: sqlite3.Connection, host_id: str, job_id: str) -> None:
    """Remove a request, since what it asked for was signed. Raise NoSuchJob if it is none."""
    if not _open(db, host_id, job_id).is_request:
        raise NoSuchJob("no open request of this host has that id")
    forget(db, host_id, job_id)


def drop(db: sqlite3.Connection, host_id: str, job_id: str) -> None:
    """Remove an open job. Raise NoSuchJob if it is not there."""
    _open(db, host_id, job_id)
    forget(db, host_id, job_id)


def forget(db: sqlite3.Connection, host_id: str, job_id: str) -> None:
    """Remove a job; one that is not there is gone already."""
    db.execute("DELETE FROM job WHERE host_id = ? AND job_id = ?", (host_id, job_id))


def all_of(db: sqlite3.Connection, host_id: str) -> list[Job]:
    """Return a host's jobs: the open ones as they came, then the acknowledged, the latest first."""
    rows = db.execute(
        f"{_SELECT} WHERE host_id = ? "
        "ORDER BY acknowledged IS NOT NULL, acknowledged DESC, "
        "iif(acknowledged IS NULL, rowid, -rowid)",
        (host_id,),
    ).fetchall()
    return [_job(row) for row in rows]


def requests_of_all(db: sqlite3.Connection) -> dict[str, frozenset[str]]:
    """Return by host the ids of the requests that are open."""
    rows = db.execute("SELECT host_id, job_id FROM job WHERE asks = 1 AND acknowledged IS NULL")
    found: dict[str, set[str]] = defaultdict(set)
    for host_id, job_id in rows:
        found[host_id].add(job_id)
    return {host_id: frozenset(ids) for host_id, ids in found.items()}


def _open(db: sqlite3.Connection, host_id: str, job_id: str) -> Job:
    row = db.execute(
        f"{_SELECT} WHERE host_id = ? AND job_id = ? AND acknowledged IS NULL", (host_id, job_id)
    ).fetchone()
    if row is None:
        raise NoSuchJob("no open job of this host has that id")
    return _job(row)


def _job(row: tuple[Any, ...]) -> Job:
    job_id, envelope, since, asks, held, *noted = row
    return Job(job_id, json.loads(envelope), since, bool(asks), bool(held), *noted)


_SELECT: Final = (
    "SELECT job_id, envelope, since, asks, held, delivered, untold, acknowledged FROM job"
)
