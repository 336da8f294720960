"""What the hub loop and the signed operations of a host say to each other.

The loop carries jobs and knows nothing of what is in them; who examines and does them is passed in
as `SignedOperations`, and knows nothing of the hub. What passes between them are the values here,
and of these the report is made.

Threads: `SignedOperations` is called on the hub loop's thread alone; its values are immutable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class TakenJob:
    """How a job stands: a `JobState` in a word, and why; `final` tells that nothing comes of it any
    more.
    """

    state: str
    why: str = ""
    final: bool = False


@dataclass(frozen=True)
class ComposedRequest:
    """What waits for a signature: the text of the request's file, one line of JSON, and until when
    it is good (seconds since the epoch).
    """

    text: str
    expires: int


@dataclass(frozen=True)
class SignersInForce:
    """Whose signatures count: the version of the list, who brought it in ("root", "rotation"),
    since when and until when (seconds since the epoch; None: not known, or no end), and how many
    keys each role has.
    """

    version: int
    by: str
    since: float | None = None
    expires: float | None = None
    operational: int = 0
    recovery: int = 0


@dataclass(frozen=True)
class SignedStatus:
    """What a report says of signed operations: the nonce that was burnt last, how many jobs were
    accepted, jobs by the hub's job_id with the newest last, a fresh challenge, the audit log's
    newest hash, and the signers. What there is not is empty, or None.
    """

    last_nonce: str = ""
    accepted: int = 0
    recent: tuple[tuple[str, TakenJob], ...] = ()
    challenge: str = ""
    audit_head: str = ""
    signers: SignersInForce | None = None


class SignedOperations(Protocol):
    """Where the hub's jobs are examined and done."""

    def take(self, job_id: str, blob: bytes, signatures: tuple[bytes, ...]) -> TakenJob:
        """Given a job as it came, return how it stands; one that is known already is not taken
        twice. Raise FelhomError if it cannot be examined now: it will come again.
        """

    def compose(self, wanted: Mapping[str, object]) -> ComposedRequest:
        """Given a request's words (`jobrows.RequestRow`), return what is to be signed. Raise an
        OperationRefused that is not temporary if it is refused for good, any other FelhomError if
        it cannot be composed now: it will come again.
        """

    def told(self) -> SignedStatus:
        """Return what a report says of signed operations. Raises nothing."""


@dataclass(frozen=True)
class JobsReport:
    """What a report says of jobs: those of late by their job_id, the newest last; the requests that
    wait for a signature; and the rest, None where no signed operation is done.
    """

    recent: tuple[tuple[str, TakenJob], ...] = ()
    pending: tuple[tuple[str, ComposedRequest], ...] = ()
    status: SignedStatus | None = None
