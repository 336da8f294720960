"""What of a host's report is shown by name, read with bounds of our own, whatever a host sends.

Each part stands for itself: one that is not of the contract's form is not there, and spoils no
other. Of two entries about the same job the first counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol, TypeGuard, TypeVar

from felhom_agent.devhub.plain import (
    LAST_SECOND,
    is_plain,
    is_whole,
    listed,
    plain,
    plain_of,
    seconds_of,
    table,
)

MAX_PROBLEMS: Final = 20
MAX_PENDING: Final = 20
MAX_RECENT: Final = 50
LONGEST_WHY: Final = 1024
LONGEST_JOB_ID: Final = 200
MAX_REQUEST_BYTES: Final = 65_536
ROOT: Final = "root"
"""Who provided signers: root on the host. The other is "rotation"."""

_REQUEST_SCHEMA: Final = "felhom-request-v1"
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Refused:
    """A generation that a host refused, and why: printable texts, bounded in length and number."""

    generation: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Pending:
    """A request that a host composed: the text of its file, and until when it is good (seconds
    since the epoch).
    """

    job_id: str
    request: str
    expires: int


@dataclass(frozen=True)
class JobWord:
    """What a host says of one job."""

    job_id: str
    state: str
    why: str


@dataclass(frozen=True)
class Signers:
    """Who may sign on a host: the list's version, who provided it ("root", "rotation"), since when
    and until when it is good (seconds since the epoch; None: not told), and its keys by their
    roles (None: not told).
    """

    version: int
    by: str
    since: float | None
    expires: float | None
    operational: int | None
    recovery: int | None


@dataclass(frozen=True)
class Signing:
    """What a host says of signed jobs; an empty text or None is what it does not say."""

    pending: tuple[Pending, ...]
    recent: tuple[JobWord, ...]
    accepted: int | None
    last_nonce: str
    challenge: str
    audit_head: str
    frozen: bool | None
    signers: Signers | None

    def names(self) -> frozenset[str]:
        """Return the jobs of which it tells anything."""
        return frozenset(
            [each.job_id for each in self.pending] + [each.job_id for each in self.recent]
        )


def refused_of(said: object) -> Refused | None:
    """Given what a report has under `refused`, return it within bounds; None if it is malformed."""
    if not isinstance(said, dict):
        return None
    generation, problems = said.get("generation"), said.get("problems")
    if not is_whole(generation) or not isinstance(problems, list):
        return None
    texts = [text for text in problems if isinstance(text, str)][:MAX_PROBLEMS]
    return Refused(generation, tuple(plain(text, LONGEST_WHY) for text in texts))


def signing_of(report: dict[str, Any]) -> Signing:
    """Given a report, return what it says of signed jobs."""
    agent = table(report, "agent")
    jobs = table(agent, "jobs")
    head = agent.get("audit_head")
    frozen = agent.get("frozen")
    return Signing(
        pending=_first(_pending, listed(agent, "pending"), MAX_PENDING),
        recent=_first(_word, listed(jobs, "recent"), MAX_RECENT),
        accepted=_count(jobs.get("accepted")),
        last_nonce=plain_of(jobs.get("last_nonce")),
        challenge=plain_of(agent.get("challenge")),
        audit_head=head if isinstance(head, str) and _HASH.fullmatch(head) else "",
        frozen=frozen if isinstance(frozen, bool) else None,
        signers=_signers(agent.get("signers")),
    )


def is_job_id(value: object) -> TypeGuard[str]:
    """Return whether it can be a job's id: one that the path of a URL can carry."""
    return is_plain(value, LONGEST_JOB_ID) and value not in (".", "..")


class _Named(Protocol):
    @property
    def job_id(self) -> str: ...


_Entry = TypeVar("_Entry", bound=_Named)


def _first(
    read: Callable[[Any], _Entry | None], entries: list[Any], most: int
) -> tuple[_Entry, ...]:
    """Return the well-formed entries, the first of each job, up to a number."""
    good = (found for each in entries if (found := read(each)) is not None)
    return tuple(islice(_once(good), most))


def _once(entries: Iterable[_Entry]) -> Iterator[_Entry]:
    known: set[str] = set()
    for each in entries:
        if each.job_id not in known:
            known.add(each.job_id)
            yield each


def _pending(said: Any) -> Pending | None:
    if not isinstance(said, dict):
        return None
    job_id, request, expires = (said.get(key) for key in ("job_id", "request", "expires"))
    if not is_job_id(job_id) or not is_whole(expires, 0, LAST_SECOND) or not _is_request(request):
        return None
    return Pending(job_id, request, expires)


def _is_request(text: object) -> TypeGuard[str]:
    """Return whether it is the text of a request's file: one line, an object of that schema."""
    if not isinstance(text, str) or len(text) > MAX_REQUEST_BYTES or _CONTROLS.search(text):
        return False
    try:
        found = json.loads(text) if len(text.encode()) <= MAX_REQUEST_BYTES else None
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("schema") == _REQUEST_SCHEMA


def _word(said: Any) -> JobWord | None:
    if not isinstance(said, dict) or not is_job_id(said.get("job_id")):
        return None
    state = plain_of(said.get("state"), 40)
    return JobWord(said["job_id"], state, plain_of(said.get("why"), LONGEST_WHY)) if state else None


def _signers(said: object) -> Signers | None:
    if not isinstance(said, dict) or said.get("by") not in (ROOT, "rotation"):
        return None
    if not is_whole(version := said.get("version")):
        return None
    return Signers(
        version,
        str(said["by"]),
        seconds_of(said.get("since")),
        seconds_of(said.get("expires")),
        _count(said.get("operational")),
        _count(said.get("recovery")),
    )


def _count(value: object) -> int | None:
    return value if is_whole(value) else None
