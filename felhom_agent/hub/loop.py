"""The hub loop: a report now and then, and what the hub answers.

It runs in a thread of its own beside the main loop and changes no guest: a new desired state is
validated, kept, and the main loop is woken to look; whatever mutates passes through the queue like
everything else, and jobs are handed to who examines them (`jobround.py`).

Nothing that a hub says or does ends the loop, and all that is news is said once. What is wrong with
one part of an answer (the block, the desired state, the jobs) costs that part.

Threads: everything here belongs to the thread `hub`, but `_stopping`, an Event that ends its waits
(`close` sets it), the reporter, which ends its wait while a report is owed, and `facts`, which the
main loop's parts answer under their own locks. A round ends by itself: each call of it has a
deadline. `close` cuts a call short, waits for the thread for a while, and leaves it behind where it
hangs all the same; it holds nothing that the agent needs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from felhom_agent.desired.hub import HubProvider, why_not_next
from felhom_agent.errors import (
    ConfigError,
    FelhomError,
    HubError,
    HubRefused,
    Interrupted,
    Unchanged,
)
from felhom_agent.hub.client import HubClient
from felhom_agent.hub.complaints import Complaints
from felhom_agent.hub.envelope import (
    DEFAULT,
    MAX_INTERVAL,
    MIN_INTERVAL,
    Envelope,
    InvalidEnvelope,
    parse,
)
from felhom_agent.hub.jobround import HubJobs
from felhom_agent.hub.jobs import SignedOperations
from felhom_agent.hub.report import AgentFacts, RefusedState, report_of
from felhom_agent.proxmox.nodereport import Reporter
from felhom_agent.service.events import HUB_AWAY, HUB_BACK, HUB_REFUSED, HUB_STATE
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

_JITTER = 0.2
# A wrong key is not mended by asking often.
_HOPELESS = frozenset({401, 403, 404})


class HubLoop:
    """Reports to a hub until closed."""

    def __init__(
        self,
        client: HubClient,
        reporter: Reporter,
        provider: HubProvider,
        host_id: str,
        facts: Callable[[], AgentFacts],
        wake: Callable[[], None],
        chance: Callable[[], float],
        signed: SignedOperations | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`reporter` has what a snapshot left behind, `facts` tells how the agent gets on, `wake`
        lets the main loop look at once; `chance` is a number from 0 to 1. `signed` is None where
        no signed operation is done; `clock` tells seconds since the epoch.
        """
        self._client = client
        self._reporter = reporter
        self._provider = provider
        self._host_id = host_id
        self._facts = facts
        self._wake = wake
        self._chance = chance
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)
        self._interval = DEFAULT
        self._complaints = Complaints()
        self._refusal: RefusedState | None = None
        self._is_owed = False
        self._clock = clock
        self._jobs = HubJobs(client, signed, self._complaints, self._alive, clock)

    def start(self) -> None:
        """Begin with a report as soon as there is one."""
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Begin no further round, and cut short the one that runs; wait for up to `timeout`
        seconds.
        """
        self._stopping.set()
        self._reporter.wake()
        self._client.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _alive(self) -> None:
        """Raise Interrupted if the loop is closing."""
        if self._stopping.is_set():
            raise Interrupted("the agent is stopping")

    def round(self) -> float:
        """Report once and do what the answer says; return the seconds until the next round."""
        try:
            return self._round()
        except Interrupted:
            return MAX_INTERVAL
        except Unchanged as error:
            self._complain("report", f"no report to the hub: {error}")
        except HubError as error:
            return MAX_INTERVAL if self._stopping.is_set() else self._failed(error)
        except Exception:  # neither a bug of ours nor a hub's idea of JSON may end the loop
            _log.exception("internal error in the hub loop; please report it")
        return self._pause(self._interval)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._rest(self.round())

    def _rest(self, seconds: float) -> None:
        """Wait for the next round: the time, or while a report is owed, what makes one."""
        if not self._is_owed:
            self._stopping.wait(seconds)
        # `close` sets this before it wakes: it is seen here, or the wait ends.
        elif not self._stopping.is_set():
            self._reporter.wait(seconds)

    def _round(self) -> float:
        self._is_owed = True
        node = self._reporter.latest()
        if node is None:
            return self._pause(self._interval)
        self._is_owed = False
        facts = replace(self._facts(), jobs=self._jobs.report(), refused=self._refusal)
        answer = self._client.report(report_of(self._host_id, node, facts))
        self._provider.reported = self._clock()
        if self._complaints.well("report"):
            _log.info("the hub has the report again", extra=fields(HUB_BACK))
        try:
            envelope = parse(answer.body)
        except InvalidEnvelope as error:
            self._complain("envelope", f"the hub's answer is not followed: {error}")
            return self._pause(self._interval)
        self._complaints.well("envelope")
        return self._adopt(envelope)

    def _adopt(self, envelope: Envelope) -> float:
        """Do what an answer says, each part for itself; return the seconds until the next round."""
        if envelope.interval is not None:
            self._interval = envelope.interval
        parts: dict[str, Callable[[], None]] = {
            "block": lambda: self._block(envelope.blocked),
            "state": lambda: self._catch_up(envelope.generation),
            "jobs": lambda: self._fetch_jobs(envelope.has_jobs),
        }
        pause = 0.0
        for matter, part in parts.items():
            try:
                self._alive()
                part()
            except HubError as error:
                self._alive()
                self._complain(matter, f"{_PARTS[matter]} cannot be had: {error}")
                pause = max(pause, error.retry_after if isinstance(error, HubRefused) else 0.0)
            except FelhomError as error:
                if isinstance(error, Interrupted):
                    raise
                if matter == "state":
                    self._refusal = RefusedState(envelope.generation or 0, (str(error),))
                self._complain(matter, f"{_PARTS[matter]} is not followed: {error}")
        interval = MIN_INTERVAL if self._jobs.are_unsettled else self._interval
        return max(self._pause(interval), pause, self._jobs.patience)

    def _block(self, blocked: bool | None) -> None:
        kept = self._provider.kept
        if blocked and not kept.may_block:
            raise FelhomError(
                "the owner of this host does not let it; `felhom-agent hub trust` does"
            )
        if blocked is not None and blocked != kept.blocked:
            self._provider.block(blocked=blocked)
            words = (
                "blocks this host: from now on guests are only observed; "
                "`felhom-agent hub unblock` ends that"
            )
            text = words if blocked else "no longer blocks this host"
            _log.warning("the hub %s", text, extra=fields(HUB_STATE))
            self._wake()
        self._complaints.well("block")

    def _catch_up(self, generation: int | None) -> None:
        """Fetch the desired state if a newer one is announced. Raise FelhomError if it cannot be
        followed, HubError if it cannot be had.
        """
        kept = self._provider.kept
        if generation is None:
            return
        if generation == kept.generation:
            self._provider.answered()
            self._in_order()
        elif generation < kept.generation:
            text = f"the hub goes back to generation {generation}; {kept.generation} stays in force"
            self._refusal = RefusedState(generation, (text,))
            self._complain("state", text)
        elif why := why_not_next(generation, kept.generation):
            raise FelhomError(why)
        else:
            self._fetch(generation, kept.etag)

    def _fetch(self, announced: int, etag: str) -> None:
        answer = self._client.desired_state(etag)
        if answer.status != 200:
            text = f"it announces generation {announced} and has none (status {answer.status})"
            raise FelhomError(text)
        body = answer.body if isinstance(answer.body, dict) else {}
        if body.get("host_id") != self._host_id:
            raise FelhomError(f"it is not for {self._host_id}, or does not say for which host")
        generation = body.get("generation")
        if why := why_not_next(generation, self._provider.kept.generation):
            raise FelhomError(why)
        assert isinstance(generation, int)  # noqa: S101  # `why_not_next` has looked
        try:
            self._provider.accept(generation, body.get("desired_state"), answer.etag)
        except ConfigError as error:
            problems = tuple(str(problem) for problem in error.problems)
            self._refusal = RefusedState(generation, problems)
            lines = (f"generation {generation} of the hub is refused whole", *problems)
            self._complaints.say("state", lines, HUB_REFUSED)
            return
        self._in_order()
        _log.info("generation %d of the hub is in force", generation, extra=fields(HUB_STATE))
        self._wake()

    def _in_order(self) -> None:
        """Note that what the hub desires is in force."""
        self._refusal = None
        self._complaints.well("state")

    def _fetch_jobs(self, there_are: bool | None) -> None:
        if there_are:
            self._jobs.fetch()
        else:
            self._jobs.forget()
        self._complaints.well("jobs")

    def _failed(self, error: HubError) -> float:
        status = error.status if isinstance(error, HubRefused) else 0
        event = HUB_REFUSED if status else HUB_AWAY
        self._complaints.say("report", [f"no report reached the hub: {error}"], event)
        if isinstance(error, HubRefused) and error.retry_after:
            return max(MIN_INTERVAL, error.retry_after)
        return self._pause(MAX_INTERVAL if status in _HOPELESS else self._interval)

    def _complain(self, matter: str, text: str) -> None:
        self._complaints.say(matter, [text], HUB_REFUSED)

    def _pause(self, seconds: float) -> float:
        return max(MIN_INTERVAL, seconds * (1.0 + _JITTER * (self._chance() - 0.5)))


_PARTS = {
    "block": "the hub's block",
    "state": "the hub's desired state",
    "jobs": "the hub's list of jobs",
}
