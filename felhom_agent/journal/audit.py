"""The audit log of signed operations: every decision, each line bound to all lines before it.

A file of its own beside the journal, `audit.jsonl`, in the journal's form of lines. Each record has
besides what it says `prev`, the SHA-256 of the line before it. So whoever changes, removes, adds or
moves a line must make all lines behind it anew, and the hash of the last line, the *head*, becomes
another. The journal remembers for each nonce the line that its decision is in, and a hub or a
person may remember a head: both are found again, or `verify` says that they are gone.

What is promised.

* `append` returns when the line is durable. A decision that is not durable is an error, and the act
  that it is on does not happen.
* Nothing is ever taken out. A torn tail was promised to nobody: it is set aside and cut off, as in
  the journal. What else is wrong is not repaired: the log does not open, and says what to do.
* After a failed write the log takes no more, nor does it write into a file that its name no longer
  leads to.

It is evidence and no prevention: who is root on the host can write a whole new log. He cannot write
one with a head that somebody else knows.

Threads: one lock is held by whoever appends, for the length of one write and one sync.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from felhom_agent.durable.disk import DISK, Disk, prepare
from felhom_agent.durable.file import give_back, read_or_empty, set_aside, write_new
from felhom_agent.durable.line import Record, body_of, decode_file, encode
from felhom_agent.errors import JournalClosed, JournalDamaged
from felhom_agent.journal.signed import Decision
from felhom_agent.printable import printable
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

AUDIT_NAME: Final = "audit.jsonl"
NO_HEAD: Final = "0" * 64
"""What the first line has as the hash of the line before it."""
AUTHORIZED: Final = "authorized"
"""The decision after which a nonce is burnt, and an act may begin."""
BEGUN: Final = "begun"
"""The decision of a log's first line: that a new log was begun, since there was none. So no log is
empty, and a file of nothing but zeros is none of ours.
"""
_MAX_TEXT: Final = 500


@dataclass(frozen=True)
class AuditEntry:
    """One decision: at what time (seconds since the epoch), what was decided ("accepted",
    "refused", "waits", "authorized", "done", "failed", "unknown"), at which stage and why.

    Of the operation: what (`act`), on which guest; whose key (`fingerprint`) in which role; the
    SHA-256 of the signed bytes; the nonce; the configuration's digest before. `source` is the way
    it came. Of what came of it: PVE's task and its exit status. What is not known is empty.
    """

    at: float
    decision: str
    stage: str = ""
    why: str = ""
    act: str = ""
    vmid: int = 0
    name: str = ""
    role: str = ""
    fingerprint: str = ""
    blob: str = ""
    nonce: str = ""
    digest: str = ""
    source: str = ""
    upid: str = ""
    exit: str = ""

    @property
    def guest(self) -> str:
        """The guest, as people call it: "101 web"; empty if it is not known."""
        return f"{self.vmid} {self.name}".rstrip() if self.vmid else ""

    def __str__(self) -> str:
        what = " ".join(filter(None, [self.act, self.guest])) or "a job"
        who = f" by {self.role} key {self.fingerprint}" if self.fingerprint else ""
        why = f": {self.why}" if self.why else ""
        return printable(f"signed operation {self.decision}: {what}{who}{why}", _MAX_TEXT)


@dataclass(frozen=True)
class Accepted:
    """How many jobs were authorized, and the nonce of the last one (empty: there is none)."""

    count: int = 0
    nonce: str = ""


@dataclass(frozen=True)
class AuditReport:
    """What a look at an audit log found: how many lines, the last one's hash, and all that is wrong
    with it, in words; `entries` are the lines that are intact.
    """

    lines: int
    head: str
    problems: tuple[str, ...] = ()
    entries: tuple[AuditEntry, ...] = ()


class AuditLog:
    """The open audit log of one journal's directory, whose lock the caller holds."""

    def __init__(
        self, path: Path, disk: Disk, descriptor: int, last: Decision, accepted: Accepted
    ) -> None:
        self._accepted = accepted
        self.path = path
        self._disk = disk
        self._fd = descriptor
        self._file = disk.identify(descriptor)
        self._last = last
        self._closed = ""
        self._lock = threading.Lock()

    @classmethod
    def open(cls, directory: Path, now: float, disk: Disk = DISK) -> Self:
        """Given the journal's directory, return its audit log. If there is none, one is begun that
        says when (`now`, seconds since the epoch).

        Raise JournalDamaged if a line is not what was written, JournalClosed if it cannot be used.
        """
        path = directory / AUDIT_NAME
        try:
            prepare(directory, disk)
            data = read_or_empty(disk, path)
            content = decode_file(data, _problem_of)
            report = _report(path, data)
            if report.problems:
                raise JournalDamaged(
                    f"{report.problems[0]}; no signed operation is done; keep the file as evidence "
                    f"(mv {path} {path}.kept) and restart the agent"
                )
            if content.tail:
                set_aside(disk, path, content.tail)
            first = {**_record(AuditEntry(now, BEGUN)), "prev": NO_HEAD}
            lines = _lines(content.records or [first])
            descriptor = write_new(disk, path, b"".join(lines), named=True)
            last = Decision(len(lines), _hash(lines[-1]))
            return cls(path, disk, descriptor, last, _accepted(report.entries))
        except OSError as error:
            why = error.strerror or str(error)
            raise JournalClosed(f"{path}: cannot be opened: {why}") from None

    @property
    def last(self) -> Decision:
        """The last line: its number, and the log's head."""
        with self._lock:
            return self._last

    @property
    def accepted(self) -> Accepted:
        """How many jobs were ever authorized here, and the nonce of the last one."""
        with self._lock:
            return self._accepted

    def append(self, entry: AuditEntry) -> Decision:
        """Given a decision, return its line once it is durable, and log it. Raise JournalClosed if
        it cannot be kept.
        """
        with self._lock:
            self._check()
            number = self._last.entry + 1
            line = encode(number, body_of({**_record(entry), "prev": self._last.head}))
            self._closed = "a write to it was cut short"
            try:
                self._compare()
                self._disk.write(self._fd, line)
                self._disk.sync(self._fd)
            except OSError as error:
                self._closed = error.strerror or str(error)
                self._check()
            self._closed = ""
            self._last = Decision(number, _hash(line))
            if entry.decision == AUTHORIZED:
                self._accepted = Accepted(self._accepted.count + 1, entry.nonce)
            decision = self._last
        _tell(entry, decision)
        return decision

    def close(self) -> None:
        """Give the file back; closing again is allowed."""
        with self._lock:
            self._closed = self._closed or "it was closed"
            descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            give_back(self._disk, descriptor)

    def check(self) -> None:
        """Raise JournalClosed if the log takes no more lines, or its file is not in its place."""
        with self._lock:
            self._check()
            try:
                self._compare()
            except OSError as error:
                self._closed = str(error.strerror)
                self._check()

    def _check(self) -> None:
        if self._closed:
            raise JournalClosed(f"{self.path}: takes no more decisions: {self._closed}")

    def _compare(self) -> None:
        try:
            found = self._disk.identify_path(self.path)
        except FileNotFoundError:
            found = None
        if found != self._file:
            raise OSError(0, "it was removed, moved or replaced under the agent; restart the agent")


def verify_audit(
    path: Path, known: Iterable[Decision] = (), head: str = "", disk: Disk = DISK
) -> AuditReport:
    """Given an audit log's path, the lines that the journal knows of, and a head that somebody has
    kept (empty: none), return what is found. Safe beside a running agent.

    Raise JournalClosed if it cannot be read.
    """
    try:
        data = disk.read(path)
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise JournalClosed(f"{path}: cannot be read: {error.strerror or error}") from None
    return _report(path, data, known, head)


def _report(path: Path, data: bytes, known: Iterable[Decision] = (), head: str = "") -> AuditReport:
    content = decode_file(data, _problem_of)
    problems = [f"{path}:{d.line}: {d.text}" for d in content.damage]
    lines = _lines(content.records)
    hashes = [_hash(line) for line in lines]
    before = [NO_HEAD, *hashes]
    if not content.damage:
        problems += [
            f"{path}:{number}: the line before it is not the one that it was written behind"
            for number, record in enumerate(content.records, start=1)
            if record["prev"] != before[number - 1]
        ][:1]
    for each in known:
        if not 0 < each.entry <= len(hashes) or hashes[each.entry - 1] != each.head:
            problems.append(f"{path}: line {each.entry} is not the one that the journal knows")
    if head and head not in before:
        problems.append(f"{path}: no line has the hash {printable(head, 64)} that was kept")
    entries = tuple(_entry(record) for record in content.records)
    return AuditReport(len(lines), before[-1], tuple(problems), entries)


def _accepted(entries: Iterable[AuditEntry]) -> Accepted:
    nonces = [entry.nonce for entry in entries if entry.decision == AUTHORIZED]
    return Accepted(len(nonces), nonces[-1] if nonces else "")


def _record(entry: AuditEntry) -> dict[str, Any]:
    """Return what is written of a decision: what is known, as text that a person may see."""
    found = {key: value for key, value in asdict(entry).items() if value not in ("", 0)}
    shown = {k: printable(v, _MAX_TEXT) if isinstance(v, str) else v for k, v in found.items()}
    return {**shown, "at": entry.at}


def _entry(record: Record) -> AuditEntry:
    return AuditEntry(**{key: value for key, value in record.items() if key in _TYPES})


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    name: (int, float) if name == "at" else (int,) if name == "vmid" else (str,)
    for name in AuditEntry.__dataclass_fields__
}


def _problem_of(record: Record) -> str:
    """Given a record, return why it is none of an audit log; empty if it is one."""
    for key in ("at", "decision", "prev"):
        if key not in record:
            return f"it has no {key}"
    for key, value in record.items():
        types = _TYPES.get(key, (object,))
        if not isinstance(value, types) or (isinstance(value, bool) and key in _TYPES):
            return f"its {printable(key, 40)} is not to be understood"
    return ""


def _lines(records: Iterable[Record]) -> list[bytes]:
    return [encode(n, body_of(record)) for n, record in enumerate(records, start=1)]


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _tell(entry: AuditEntry, decision: Decision) -> None:
    level = logging.WARNING if entry.decision in ("refused", "failed", "unknown") else logging.INFO
    extra = fields(
        vmid=entry.vmid or None, act=entry.act, decision=entry.decision, stage=entry.stage,
        key=entry.fingerprint, role=entry.role, nonce=entry.nonce, source=entry.source,
        upid=entry.upid, exit=entry.exit, audit_line=decision.entry, audit_head=decision.head,
    )  # fmt: skip
    _log.log(level, "%s", entry, extra=extra)
