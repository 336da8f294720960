"""The hub's jobs: each list that it gives is gone through once, and what has ended is acknowledged.

A hub carries signed jobs and can make none: a job is handed over to be examined, and what its bytes
say is decided by their signatures. A request asks the agent to compose what is to be signed; its
text goes back in the report, and nothing is done.

The hub's list is the only queue. A job that cannot be taken now is taken when the hub lists it
again; one that has ended is acknowledged whenever it is listed; and what the hub drops is not
missed here: what was taken goes on, and is told of. So nothing here outlives the process. Each row
costs itself alone.

Threads: all of it belongs to the hub loop's thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from felhom_agent.authz.jobs import JobState
from felhom_agent.authz.refusals import OperationRefused
from felhom_agent.errors import FelhomError, HubAway, HubError, HubRefused, Interrupted
from felhom_agent.hub.client import HubClient
from felhom_agent.hub.complaints import MAX_SAID, Complaints
from felhom_agent.hub.jobrows import (
    MAX_ROWS,
    JobList,
    JobRow,
    OddRow,
    RequestRow,
    Row,
    is_named,
    rows_of,
)
from felhom_agent.hub.jobs import ComposedRequest, JobsReport, SignedOperations, TakenJob
from felhom_agent.hub.report import MAX_RECENT, plain
from felhom_agent.redaction import redacted
from felhom_agent.service.events import HUB_AWAY, HUB_JOBS, HUB_REFUSED
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

MAX_REQUESTS: Final = 20
"""How many requests are composed in one round, and remembered."""
MAX_OWN: Final = 20
"""How many of the jobs in a report may be such as were never taken, whatever else is to be told."""
NOT_USABLE: Final = "no signed operation is done on this host now; see its log"
_TOO_MANY: Final = f"{MAX_REQUESTS} requests are composed at a time; it waits for its turn"
_MAX_SHOWN: Final = 40


@dataclass
class _Round:
    """What one list came to: how each job stands, what is to be acknowledged, the lines to be said,
    how many requests were composed, and whether the next report should be soon.
    """

    found: dict[str, TakenJob] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    composed: int = 0
    soon: bool = False


@dataclass(frozen=True)
class _Request:
    """What a hub asked for under a name, and what came of it: a text, or that it is refused."""

    wanted: Mapping[str, object]
    made: ComposedRequest | TakenJob

    def is_over(self, now: float) -> bool:
        """Return whether nobody can sign it any more."""
        return isinstance(self.made, ComposedRequest) and self.made.expires <= now


class HubJobs:
    """The jobs and requests of the hub's last list."""

    def __init__(
        self,
        client: HubClient,
        signed: SignedOperations | None,
        complaints: Complaints,
        alive: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Without `signed` no signed operation is done on this host. `alive` raises Interrupted
        once the loop is closing; `clock` tells seconds since the epoch.
        """
        self._client = client
        self._signed = signed
        self._complaints = complaints
        self._alive = alive
        self._clock = clock
        self._jobs: dict[str, TakenJob] = {}
        self._requests: dict[str, _Request] = {}
        self._soon = False
        self.patience = 0.0
        """For how many seconds the hub asked to be left alone when it was told of an end."""

    def fetch(self) -> None:
        """Fetch the list, hand over what is on it, and acknowledge what has ended.

        Raise HubError if it cannot be had, FelhomError if it is none, Interrupted if the loop is
        closing.
        """
        listed = rows_of(self._client.jobs().body)
        self._forget_unlisted(listed)
        round_ = _Round()
        # What cannot be acknowledged goes first: a good job of the same name has the last word.
        for row in sorted(listed.rows, key=is_named):
            self._alive()
            self._go_through(row, round_)
        self._say(listed, round_)
        self._keep(round_)
        self._acknowledge(round_)

    def forget(self) -> None:
        """Hear that the hub has no job: what was told of is over, what waited waits no more."""
        self._requests.clear()
        self._keep(_Round())
        self.patience = 0.0
        for matter in ("refused jobs", "waiting jobs", "acknowledgement"):
            self._complaints.well(matter)

    @property
    def are_unsettled(self) -> bool:
        """Whether the hub should hear more soon: a job has not ended, or its end is not told."""
        told = self._signed.told().recent if self._signed else ()
        return self._soon or any(not job.final for _, job in told)

    def report(self) -> JobsReport:
        """Return what a report says of jobs now."""
        status = self._signed.told() if self._signed else None
        # Those who do the jobs know best; of what they never took, the list's round tells.
        known = dict(status.recent) if status else {}
        own = [(job_id, job) for job_id, job in self._jobs.items() if job_id not in known]
        own = own[-max(MAX_OWN, MAX_RECENT - len(known)) :]
        left = MAX_RECENT - len(own)
        told = list(known.items())[max(0, len(known) - left) :]
        now = self._clock()
        pending = tuple(
            (job_id, request.made)
            for job_id, request in self._requests.items()
            if isinstance(request.made, ComposedRequest) and not request.is_over(now)
        )
        return JobsReport((*told, *own), pending, status)

    def _forget_unlisted(self, listed: JobList) -> None:
        """Forget the requests that the hub lists no more, or with other words, and those that
        nobody can sign now.
        """
        now = self._clock()
        wanted = {row.job_id: row.wanted for row in listed.rows if isinstance(row, RequestRow)}
        self._requests = {
            job_id: request
            for job_id, request in self._requests.items()
            if wanted.get(job_id) == request.wanted and not request.is_over(now)
        }

    def _go_through(self, row: Row, round_: _Round) -> None:
        job = self._standing(row, round_)
        if job is None:
            return
        round_.found[row.job_id] = job
        if job.final and is_named(row):
            round_.ended.append(row.job_id)
            round_.soon |= self._jobs.get(row.job_id) != job

    def _standing(self, row: Row, round_: _Round) -> TakenJob | None:
        """Given a row, return how it stands; None for a request that waits for a signature."""
        if isinstance(row, OddRow):
            return _refused(row, row.why, round_)
        if self._signed is None:
            return TakenJob(JobState.PENDING, NOT_USABLE)
        try:
            if isinstance(row, JobRow):
                return self._taken(self._signed, row, round_)
            return self._composed(self._signed, row, round_)
        except Interrupted:
            raise
        except FelhomError as error:
            return _not_now(row, str(error), round_)
        except Exception:  # a job that meets a bug of ours costs itself
            _log.exception("internal error with a job of the hub; please report it")
            return _not_now(row, "internal error; see the log of this host", round_)

    def _taken(self, signed: SignedOperations, row: JobRow, round_: _Round) -> TakenJob:
        job = signed.take(row.job_id, row.blob, row.signatures)
        round_.soon |= not job.final
        return job

    def _composed(
        self, signed: SignedOperations, row: RequestRow, round_: _Round
    ) -> TakenJob | None:
        known = self._requests.get(row.job_id)
        if known is None:
            if max(len(self._requests), round_.composed) >= MAX_REQUESTS:
                return TakenJob(JobState.PENDING, _TOO_MANY)
            round_.composed += 1
            known = self._requests[row.job_id] = _Request(row.wanted, _compose(signed, row))
            round_.soon = True
        made = known.made
        return _refused(row, made.why, round_) if isinstance(made, TakenJob) else None

    def _say(self, listed: JobList, round_: _Round) -> None:
        """Log what is news of a list: each line once, and not many of them."""
        if listed.left_off:
            text = f"the hub lists more than {MAX_ROWS} jobs at once; the others wait"
            round_.waiting.append(text)
        self._complaints.say_each("refused jobs", round_.refused, HUB_REFUSED)
        self._complaints.say_each("waiting jobs", round_.waiting, HUB_JOBS)
        rows = [row for row in listed.rows if isinstance(row, JobRow)] if self._signed else []
        fresh = [row.job_id for row in rows if row.job_id not in self._jobs]
        if fresh:
            named = ", ".join(f"{_shown(i)} ({round_.found[i].state})" for i in fresh[:MAX_SAID])
            more = f" and {len(fresh) - MAX_SAID} more" if len(fresh) > MAX_SAID else ""
            _log.info("signed jobs of the hub: %s%s", named, more, extra=fields(HUB_JOBS))

    def _keep(self, round_: _Round) -> None:
        """Keep how jobs stand, and of those that are not listed any more the last that ended."""
        before = [(i, job) for i, job in self._jobs.items() if job.final and i not in round_.found]
        self._jobs = {**dict(before[-MAX_OWN:]), **round_.found}
        self._soon = round_.soon

    def _acknowledge(self, round_: _Round) -> None:
        """Let the hub drop what has ended; what it cannot be told now is listed again."""
        self.patience, trouble = 0.0, None
        for job_id in round_.ended:
            self._alive()
            try:
                self._client.acknowledge(job_id)
            except HubError as error:
                self._alive()
                trouble = trouble or error
                if isinstance(error, HubRefused):
                    self.patience = error.retry_after
                if isinstance(error, HubAway) or self.patience:
                    break
        if trouble is None:
            self._complaints.well("acknowledgement")
            return
        self._soon = True
        text = f"jobs of the hub that have ended cannot be acknowledged: {trouble}"
        event = HUB_AWAY if isinstance(trouble, HubAway) else HUB_REFUSED
        self._complaints.say("acknowledgement", [text], event)


def _compose(signed: SignedOperations, row: RequestRow) -> ComposedRequest | TakenJob:
    """Given a request, return its text, or that it is refused for good. Raise FelhomError if it
    cannot be composed now.
    """
    try:
        return signed.compose(row.wanted)
    except OperationRefused as error:
        if error.temporary:
            raise
        return TakenJob(JobState.REFUSED, str(error), final=True)


def _refused(row: Row, why: str, round_: _Round) -> TakenJob:
    round_.refused.append(f"job {_shown(row.job_id)} of the hub is refused: {_line(why)}")
    return TakenJob(JobState.REFUSED, why, final=True)


def _not_now(row: Row, why: str, round_: _Round) -> TakenJob:
    round_.soon = True
    round_.waiting.append(f"job {_shown(row.job_id)} of the hub waits: {_line(why)}")
    return TakenJob(JobState.PENDING, why)


def _shown(job_id: str) -> str:
    return plain(redacted(job_id), _MAX_SHOWN)


def _line(why: str) -> str:
    return plain(redacted(why), 300)
