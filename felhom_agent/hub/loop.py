"""The hub loop: a report now and then, and what the hub wishes in answer.

It runs in a thread of its own beside the main loop and changes no guest: a new desired state is
validated, kept, and the main loop is woken to look; whatever mutates passes through the queue like
everything else. Jobs are fetched and parked, never done: their signatures cannot be checked yet.

Nothing that a hub says or does ends the loop, and all that is news is said once.

Threads: everything here belongs to the thread `hub`, but `_stopping`, an Event that ends its waits
(`close` sets it), and `facts`, which the main loop's parts answer under their own locks. A round
ends by itself: each call of it has a deadline. `close` waits for the thread for a while, and
leaves it behind where a call hangs; it holds nothing that the agent needs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from felhom_agent.desired.fromhub import HubProvider
from felhom_agent.errors import (
    ConfigError,
    FelhomError,
    HubError,
    HubRefused,
    Interrupted,
    Unchanged,
)
from felhom_agent.hub.client import HubClient
from felhom_agent.hub.envelope import DEFAULT, LONGEST, SHORTEST, Envelope, Invalid, parse
from felhom_agent.hub.report import AgentFacts, Gatherer, report_of
from felhom_agent.service.events import HUB_AWAY, HUB_BACK, HUB_JOBS, HUB_REFUSED, HUB_STATE
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

_JITTER = 0.2
_MOST_JOBS = 100
# A wrong key is not mended by asking often.
_HOPELESS = frozenset({401, 403, 404})


class HubLoop:
    """Reports to a hub until closed."""

    def __init__(
        self,
        client: HubClient,
        gatherer: Gatherer,
        provider: HubProvider,
        host_id: str,
        facts: Callable[[], AgentFacts],
        wake: Callable[[], None],
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        """`facts` tells how the agent gets on, `wake` lets the main loop look at once; `clock` is
        in seconds since the epoch, `chance` a number from 0 to 1.
        """
        self._client = client
        self._gatherer = gatherer
        self._provider = provider
        self._host_id = host_id
        self._facts = facts
        self._wake = wake
        self._clock = clock
        self._chance = chance
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)
        self._interval = DEFAULT
        self._failures = 0
        self._said: set[str] = set()
        self.parked: tuple[str, ...] = ()

    def start(self) -> None:
        """Begin with a report at once."""
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Begin no further round; wait up to `timeout` seconds for the one that runs."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._client.close()

    def _alive(self) -> None:
        """Raise Interrupted if the loop is closing."""
        if self._stopping.is_set():
            raise Interrupted("the agent is stopping")

    def round(self) -> float:
        """Report once and do what the answer says; return the seconds until the next round."""
        try:
            return self._round()
        except Interrupted:
            return LONGEST
        except Unchanged as error:
            self._news("node", f"no report to the hub: {error}")
        except HubError as error:
            return self._failed(error)
        except FelhomError as error:
            self._news("state", f"the hub's wish is not followed: {error}")
        except Exception:  # neither a bug of ours nor a hub's idea of JSON may end the loop
            _log.exception("internal error in the hub loop; please report it")
        return self._pause(self._interval)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            pause = self.round()

    def _round(self) -> float:
        gathered = self._gatherer.gather(self._alive)
        report = report_of(
            self._host_id, self._clock(), gathered, replace(self._facts(), parked=self.parked)
        )
        answer = self._client.report(report)
        self._back()
        try:
            envelope = parse(answer.body)
        except Invalid as error:
            self._news("envelope", f"the hub's answer is not followed: {error}")
            return self._pause(self._interval)
        self._said.discard("envelope")
        self._adopt(envelope)
        return self._pause(self._interval)

    def _adopt(self, envelope: Envelope) -> None:
        if envelope.interval is not None:
            self._interval = envelope.interval
        kept = self._provider.kept
        if envelope.blocked is not None and envelope.blocked != kept.blocked:
            self._provider.block(blocked=envelope.blocked)
            words = "blocks this host: from now on guests are only observed"
            text = words if envelope.blocked else "no longer blocks this host"
            _log.warning("the hub %s", text, extra=fields(HUB_STATE))
            self._wake()
        if envelope.generation is not None:
            self._catch_up(envelope.generation)
        if envelope.has_jobs is not None:
            self.parked = self._park() if envelope.has_jobs else ()

    def _catch_up(self, generation: int) -> None:
        kept = self._provider.kept
        if generation < kept.generation:
            self._news(
                f"back {generation}",
                f"the hub goes back to generation {generation}; {kept.generation} stays in force",
            )
        elif generation > kept.generation:
            self._fetch(kept.etag)

    def _fetch(self, etag: str) -> None:
        answer = self._client.desired_state(etag)
        if answer.status != 200:
            return
        body = answer.body
        generation = body.get("generation") if isinstance(body, dict) else None
        if not isinstance(generation, int) or isinstance(generation, bool) or generation < 0:
            raise FelhomError("the desired state has no generation")
        try:
            self._provider.accept(generation, body.get("desired_state"), answer.etag)
        except ConfigError as error:
            text = f"generation {generation} of the hub is refused whole"
            self._news(f"generation {generation}", text)
            for problem in error.problems:
                self._news(str(problem), str(problem))
            return
        _log.info("generation %d of the hub is in force", generation, extra=fields(HUB_STATE))
        self._wake()

    def _park(self) -> tuple[str, ...]:
        body = self._client.jobs().body
        jobs = body.get("jobs") if isinstance(body, dict) else None
        if not isinstance(jobs, list):
            raise FelhomError("the hub's jobs are no list")
        found = [job.get("job_id") for job in jobs[:_MOST_JOBS] if isinstance(job, dict)]
        ids = tuple(sorted({i for i in found if isinstance(i, str) and 0 < len(i) <= 200}))
        for job in ids:
            if job not in self.parked:
                text = "job %s is parked, not done: signatures cannot be checked yet"
                _log.warning(text, job, extra=fields(HUB_JOBS))
        return ids

    def _failed(self, error: HubError) -> float:
        self._failures += 1
        status = error.status if isinstance(error, HubRefused) else 0
        event = HUB_REFUSED if status else HUB_AWAY
        if (key := f"failed {status} {error}") not in self._said:
            self._said = {s for s in self._said if not s.startswith("failed")} | {key}
            _log.error("no report reached the hub: %s", error, extra=fields(event))
        if isinstance(error, HubRefused) and error.retry_after:
            return max(SHORTEST, error.retry_after)
        return self._pause(LONGEST if status in _HOPELESS else self._interval)

    def _back(self) -> None:
        if self._failures:
            _log.info("the hub has the report again", extra=fields(HUB_BACK))
        self._failures = 0
        self._said = {s for s in self._said if not s.startswith(("failed", "node"))}

    def _news(self, key: str, text: str) -> None:
        """Say something that stays true until it is said to be over."""
        if key not in self._said:
            self._said.add(key)
            _log.error("%s", text, extra=fields(HUB_REFUSED))

    def _pause(self, seconds: float) -> float:
        return max(SHORTEST, seconds * (1.0 + _JITTER * (self._chance() - 0.5)))
