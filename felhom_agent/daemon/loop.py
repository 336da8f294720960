"""The main loop: joins provider, observer, planner, scheduler and journal.

It waits for the next pass, a retry, a lane that ended or a message, whichever comes first, and
never blocks on a guest. Nothing short of a stop ends it: an error of one guest is that guest's
outcome, an error of one pass is a line in the log and another try, a bad file leaves its last good
version in force.

A journal that cannot be written any more (a full disk, a failing one) ends all changes and not the
passes: they go on and say what would be done. At each of them the journal is tried again; once it
opens, `run` ends, and the agent is assembled again from what the disk has.

Threads: everything here belongs to the main thread but the inbox, a SimpleQueue, whose `put` is
safe from signal handlers and from lanes (an Event is not: its lock could be held by the very thread
that the handler interrupts), and `facts`, which any thread may ask for. The loop waits on the inbox
until the next thing is due.
"""

from __future__ import annotations

import logging
import queue
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from felhom_agent import __version__
from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import Config
from felhom_agent.daemon.assembly import Parts, hub_loop, hub_provider, provider_for
from felhom_agent.daemon.controlview import Access
from felhom_agent.daemon.ended import Ended, Released
from felhom_agent.daemon.eyes import SWEEP, Eyes, Look
from felhom_agent.daemon.health import Health
from felhom_agent.daemon.metricsfile import MetricsFile, metrics_of
from felhom_agent.daemon.passes import Passes
from felhom_agent.daemon.reloadable import need_restart, reloadable
from felhom_agent.daemon.reloaded import counted, differ, summary
from felhom_agent.daemon.scheduler import Scheduler
from felhom_agent.daemon.sight import Sight
from felhom_agent.daemon.signedturn import SignedTurn
from felhom_agent.desired.merged import MergedProvider
from felhom_agent.desired.settle import load_settled
from felhom_agent.desired.watched import Watched
from felhom_agent.errors import (
    ConfigError,
    Interrupted,
    JournalClosed,
    JournalError,
)
from felhom_agent.hub.report import AgentFacts
from felhom_agent.model import Converged, Desired, Mode, Problem
from felhom_agent.proxmox.nodereport import Reporter
from felhom_agent.reconcile.backoff import Backoff
from felhom_agent.service.events import (
    AGENT_STARTED,
    AGENT_WARNED,
    CONFIG_WRONG,
    GUEST_PAUSED,
    HOST_FROZEN,
    IN_FLIGHT,
    JOURNAL_COMPACTED,
    JOURNAL_LOST,
    RELOADED,
)
from felhom_agent.service.logging import fields
from felhom_agent.service.manager import ServiceManager
from felhom_agent.service.origins import described
from felhom_agent.service.status import sentence

_log = logging.getLogger(__name__)

RELOAD, STOP, WAKE, APPLY, SIGNED = "reload", "stop", "wake", "apply", "signed"
# Seconds that a stop waits for a report that is under way.
_HUB_CLOSE_TIMEOUT = 2.0
# Seconds between two looks at what the host tells.
_LISTEN = 1.0
# A snapshot is reported to the hub until it is older than so many seconds, or intervals.
_REPORT_MIN_AGE, _REPORT_INTERVALS = 180.0, 3
Message = str | Ended | Released
Inbox = queue.SimpleQueue[Message]


class Daemon:
    """The loop over an assembled agent."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        inbox: Inbox | None = None,
        manager: ServiceManager | None = None,
        *,
        reread: Callable[[], Config] | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        started: float | None = None,
    ) -> None:
        """`reread` returns the configuration as it is on the disk now, and raises ConfigError.
        `started` is when an agent first began in this process, in seconds since the epoch (None:
        this is the first).
        """
        self.config = config
        self._reread = reread or (lambda: load(config.path))
        self._parts = parts
        self._clock = clock
        self._chance = chance
        self._manager = manager or ServiceManager()
        self._inbox: Inbox = queue.SimpleQueue() if inbox is None else inbox
        self._hub_provider = hub_provider(config)
        self._intent = Watched(
            provider_for(config, self._hub_provider, self._manager.ping_watchdog, names=parts.names)
        )
        self._health = Health()
        self._eyes = Eyes(
            parts.hints, clock, lambda: self.config.hints.settle, parts.names,
            lambda vmid: self._scheduler.is_at_work(vmid), parts.counters,
        )  # fmt: skip
        self._scheduler = Scheduler(
            parts.engine,
            parts.operations,
            parts.holds,
            Backoff.of(config.reconcile, chance),
            self._inbox.put,
            clock,
            parts.operations.now,
            parts.names,
            parallel=config.reconcile.parallel,
            applies=parts.applies,
            quiet_until=self._eyes.quiet_until,
            counters=parts.counters,
        )
        self._sight = Sight(parts.node, self._eyes, self._scheduler, clock)
        self._passes = Passes(
            parts.node, parts.operations, parts.planner, parts.quorum, parts.bulk, parts.brake,
            self._scheduler, self._health, clock, parts.operations.now, parts.names,
            parts.suspensions, self._sight, self._hear_ends, parts.counters,
        )  # fmt: skip
        self.started = parts.operations.now() if started is None else started
        self._next_pass = 0.0
        self._wanted = Look.ALL
        self._journal_lost = False
        self._tell_news: Callable[[], None] = _nothing
        self._told = (0, 0)
        # What was desired when that was last said, and whether a reload is still to be told of.
        self._said: Desired | None = None
        self._owes = False
        self._config_problems: tuple[Problem, ...] = ()
        self._register_hub()
        self._signed = SignedTurn(parts.signing, parts.engine, self._scheduler)
        if parts.signing.ready is not None:
            parts.signing.ready.jobs.wake = lambda: self.send(SIGNED)

    def begin(self, *, greets: bool = True) -> None:
        """Say who we are and what holds from before, unless that was said, and settle first what an
        earlier process left in flight.
        """
        if greets:
            self._greet()
        found = self._parts.operations.in_flight()
        for operation in found:
            extra = fields(IN_FLIGHT, vmid=operation.vmid, op=operation.op_id, upid=operation.upid)
            text = "%s: found in flight: %s; how it ended is found out before anything else is done"
            guest = self._parts.names.guest(operation.vmid)
            _log.warning(text, guest, operation.text, extra=extra)
        if found:
            self._scheduler.declare(self._intent.load())
            self._scheduler.settle_first({operation.vmid for operation in found})

    def _greet(self) -> None:
        """Say who we are, for whom, and what holds from before."""
        pve, reconcile = self.config.proxmox, self.config.reconcile
        found = self._read()
        guests = "the guests"
        # What is being written just now is not read yet, so nobody knows how many there are.
        if found is not None and not found.unsettled:
            guests = counted(len(found.guests.keys() | found.held.keys()))
        observes = reconcile.mode is Mode.OBSERVE
        verb, end = ("watches", ", changes nothing") if observes else ("keeps", "")
        text = "felhom-agent %s %s %s of node %s (%s), every %g s%s"
        extra = fields(AGENT_STARTED, node=pve.node, endpoint=pve.endpoint)
        _log.info(
            text, __version__, verb, guests, pve.node, pve.endpoint, reconcile.interval, end,
            extra=extra,
        )  # fmt: skip
        for text in _weaknesses(self.config):
            _log.warning(text, extra=fields(AGENT_WARNED))
        suspensions = self._parts.suspensions
        if suspended := suspensions.summary():
            event = HOST_FROZEN if suspensions.frozen() else GUEST_PAUSED
            _log.warning("%s", suspended, extra=fields(event))

    def _read(self) -> Desired | None:
        """Return what is desired now; None if it cannot be read, which the next pass tells."""
        try:
            return self._intent.load()
        except Exception as error:  # neither trouble nor a bug of ours may end the daemon here
            _log.debug("what is desired cannot be read yet: %s", described(error))
            return None

    def run(self) -> bool:
        """Work until told to stop, or until a journal that was lost can be written again; return
        whether it was told to stop.
        """
        while self._step():
            if self._journal_lost and self._parts.journal_opens():
                return False
        return True

    def run_pass(self) -> bool:
        """Do one pass and what it asks for; return whether all guests are as declared. `failure`
        tells what it failed of, if it did.
        """
        self._review_holds()
        passed = self._passes.run(self._settled, remember=not self._journal_lost)
        self._signed.at_pass()
        while not self._scheduler.idle:
            due = self._scheduler.next_place() - self._clock()
            if not self._wait(min(max(0.0, due), self.config.reconcile.interval)):
                return False
            self._scheduler.dispatch()
        self._scheduler.publish()
        statuses = self._scheduler.statuses
        settled = not self._intent.problems and not self._parts.operations.in_flight()
        return (
            passed
            and settled
            and all(
                vmid in statuses and isinstance(statuses[vmid].outcome, Converged)
                for vmid in self._passes.latest.declared
            )
        )

    @property
    def failure(self) -> Exception | None:
        """What the latest pass failed of: of this nothing can be told of the guests."""
        return self._passes.failure

    def _settled(self) -> Desired:
        """Return what is desired once the files have been left alone, or the agent is to stop."""
        stop = self._parts.node.shutting_down

        def wait(seconds: float) -> None:
            if stop.is_set() or not self._wait(min(seconds, self._manager.max_idle)):
                raise Interrupted("the agent is stopping")
            self._manager.ping_watchdog()

        return load_settled(self._intent, wait)

    @contextmanager
    def hub(self) -> Iterator[None]:
        """Report to the hub, if there is one, for the length of a block."""
        if self._hub_provider is None:
            yield
            return
        reporter = Reporter(
            self._hub_provider.speaks_for, self._parts.operations.now, self._clock,
            self._max_report_age,
        )  # fmt: skip
        self._parts.node.observer.reporter = reporter
        loop = hub_loop(
            self.config, reporter, self._hub_provider, self.facts, lambda: self.send(WAKE),
            self._manager.watchdog, self._parts.signing, self._parts.counters,
        )  # fmt: skip
        loop.start()
        try:
            yield
        finally:
            loop.close(_HUB_CLOSE_TIMEOUT)

    @contextmanager
    def metrics(self) -> Iterator[None]:
        """Write the metrics into their file, if they have one, for the length of a block."""
        path, access = self.config.metrics.textfile, self.access()
        if path is None:
            yield
            return
        file = MetricsFile(path, lambda: metrics_of(access))
        file.start()
        self._tell_news = file.wake
        try:
            yield
        finally:
            self._tell_news = _nothing
            file.close()

    def _max_report_age(self) -> float:
        """Return how many seconds a snapshot is reported; asked from the hub's thread, too."""
        pause = max(self.config.reconcile.interval, SWEEP if self._eyes.working else 0.0)
        return max(_REPORT_MIN_AGE, _REPORT_INTERVALS * pause)

    def facts(self) -> AgentFacts:
        """Return how the agent gets on; may be asked from any thread."""
        operations, passed = self._parts.operations, self._passes.latest
        return AgentFacts(
            node=self.config.proxmox.node,
            started=self.started,
            enforces=not self._parts.holds.may_change(0),
            generation=self._hub_provider.kept.generation if self._hub_provider else 0,
            passed=passed.begun,
            pass_seconds=passed.seconds,
            pass_good=passed.good,
            in_flight=len(operations.in_flight()),
            unknown=operations.unknown_count,
            statuses=self._scheduler.statuses,
            managed=passed.declared,
            frozen=bool(self._parts.suspensions.frozen()),
        )

    def access(self) -> Access:
        """Return what of this agent the control socket may use."""
        return Access(
            facts=self.facts,
            latest=lambda: self._passes.latest,
            activity=lambda: self._scheduler.activity,
            number=lambda: self._scheduler.number,
            holds=self._parts.holds,
            suspensions=self._parts.suspensions,
            names=self._parts.names,
            wake=lambda: self.send(WAKE),
            hub=self._hub_provider,
            approve=lambda plan_id: self._parts.brake.approve(plan_id),
            apply=self.apply,
            applies=self._parts.applies,
            held=lambda: self._parts.brake.held,
            signing=self._parts.signing,
            eyes=self._eyes,
            next_pass=self._next_pass_at,
            operations=self._parts.operations,
            counters=self._parts.counters,
            pve=lambda: self._parts.node.observer.facts.version,
        )

    def _next_pass_at(self) -> float:
        """Return when the next pass begins, in seconds since the epoch; asked from any thread."""
        return self._parts.operations.now() + max(0.0, self._next_pass - self._clock())

    def apply(self, acts: Mapping[int, frozenset[str]], by: str) -> str:
        """Given guests, each with the acts that a person agreed to, let the loop carry them out;
        return the apply's name. May be called from any thread. Raise TooManyApplies.
        """
        name = self._parts.applies.begin(acts, by, self._clock())
        self.send(APPLY)
        return name

    def send(self, message: str) -> None:
        """Give the loop a message, one of the words above, from any thread or signal handler."""
        self._inbox.put(message)

    def _register_hub(self) -> None:
        """Let the hub's block hold every guest."""
        holds, hub = self._parts.holds, self._hub_provider
        if hub is not None:
            text = "nothing is changed while the hub blocks this host"
            holds.register("hub", lambda _: text if hub.kept.blocked else "", by="the hub")

    def _step(self) -> bool:
        """Do what is due, then wait for what comes; return whether to go on."""
        now = self._clock()
        if now >= self._next_pass:
            self._watch_journal()
            self._review_holds()
            self._manager.ready()
            # What was told before counts as seen by a pass that reads all; so it is heard first.
            self._eyes.listen()
            self._look_at_due()
            self._pass()
            self._say_settled()
            self._next_pass = self._due(now)
        elif now >= self._eyes.next_due() and self._look_at_due():
            self._pass()
            self._say_settled()
        self._scheduler.retry()
        self._publish()
        self._manager.status(self._sentence())
        self._manager.ping_watchdog()
        due = min(self._next_pass, self._scheduler.next_event(), self._eyes.next_due())
        return self._wait(min(max(0.0, due - self._clock()), self._manager.max_idle))

    def _publish(self) -> None:
        """Let others see how it is, and who wants to hear of news know that there are any."""
        self._scheduler.publish()
        known = (self._scheduler.number, self._scheduler.ends)
        if known != self._told:
            self._told = known
            self._tell_news()

    def _sentence(self) -> str:
        holds, paused = self._parts.holds.may_change(0), self._parts.suspensions.paused()
        return sentence(
            {vmid: status.outcome for vmid, status in self._scheduler.statuses.items()},
            declared=len(self._passes.latest.declared),
            running=self._scheduler.running,
            trouble="; ".join(filter(None, [holds, paused, self._health.trouble])),
            problems=(*self._config_problems, *self._intent.problems),
            names=self._parts.names,
        )

    def _watch_journal(self) -> None:
        """See whether the journal takes records, and keep it from growing without end."""
        try:
            self._parts.operations.check()
            if self._parts.operations.compact():
                text = "the journal was compacted: what is older than its limits is gone"
                _log.info(text, extra=fields(JOURNAL_COMPACTED))
        except JournalClosed as error:
            if not self._journal_lost:
                text = "%s; from now on guests are only observed; make room, or mend the disk"
                _log.error(text, error, extra=fields(JOURNAL_LOST))
            self._journal_lost = True
        except JournalError as error:
            _log.warning("%s", error, extra=fields(JOURNAL_COMPACTED))

    def _review_holds(self) -> None:
        """Note what holds the host, and what of a pause or freeze must outlive this boot."""
        with suppress(JournalError):  # a journal that is lost is told of elsewhere
            self._parts.suspensions.keep()
        self._parts.holds.review()

    def _wait(self, seconds: float) -> bool:
        # The message of a stop may have been taken by whoever waited before.
        if self._parts.node.shutting_down.is_set():
            return False
        message = self._next_message(seconds)
        if message is None:
            return True
        # A stop is not kept waiting by the messages that came before it.
        if message == STOP or self._parts.node.shutting_down.is_set():
            return False
        if message in (WAKE, APPLY):
            self._next_pass = 0.0
            self._wanted = max(self._wanted, Look.LISTED)
        if message == APPLY:
            self._scheduler.apply(self._parts.applies.open_guests())
        if message == SIGNED:
            self._signed.hand_over()
        if message == RELOAD:
            try:
                self._reload()
            except Exception:  # a bug of ours must not end the daemon
                _log.exception("internal error while reloading; please report it")
        elif not isinstance(message, str):
            self._hear(message)
        return True

    def _next_message(self, seconds: float) -> Message | None:
        """Return the next message; None if none came in time, or the host told something."""
        left = seconds
        while True:
            step = min(left, _LISTEN) if self._eyes.listens else left
            try:
                return self._inbox.get(timeout=step)
            except queue.Empty:
                left -= step
            if self._eyes.listen():
                self._next_pass = 0.0
                return None
            # Whatever was heard may be due before what was waited for.
            if left <= 0 or self._eyes.next_due() <= self._clock():
                return None

    def _hear(self, message: Ended | Released) -> None:
        """Take in what a lane tells."""
        if isinstance(message, Ended):
            self._scheduler.ended(message)
        else:
            self._scheduler.released(message)

    def _hear_ends(self) -> None:
        """Take in what lanes have told by now; whatever else has come waits for the loop."""
        others: list[Message] = []
        while not self._inbox.empty():
            message = self._inbox.get_nowait()
            if isinstance(message, str):
                others.append(message)
            else:
                self._hear(message)
        for message in others:
            self._inbox.put(message)

    def _due(self, begun: float) -> float:
        """Given when the latest pass began, return when the next one shall.

        The interval is from start to start; but a slow node gets a rest of a tenth of it, and after
        a pass that failed the wait begins at its end.
        """
        now = self._clock()
        pause = self._health.pause(self.config.reconcile, self._scheduler.backoff)
        good = self._passes.latest.good
        due = max(begun + pause, now + pause / 10) if good else now + pause
        # Files that are being written are believed once they were left alone.
        settles_in = self._passes.latest.settles_in
        return min(due, now + settles_in) if settles_in else due

    def _look_at_due(self) -> bool:
        """Look at what the host has told of; return whether a pass makes sense."""
        return self._sight.look_at_due(self._passes.latest.declared)

    def _pass(self) -> bool:
        """Observe the whole node; return whether that worked."""
        good = self._passes.run(
            self._intent.load, remember=not self._journal_lost, look=self._wanted
        )
        if good:
            self._wanted = Look.KNOWN
        self._signed.at_pass()
        return good

    def _reload(self) -> None:
        """Read everything again. What holds connections or the journal needs a restart."""
        self._manager.reloading()
        # Whatever comes of it, the pass that follows says that the reload is over.
        self._next_pass = 0.0
        self._wanted = Look.ALL
        try:
            fresh = self._reread()
        except ConfigError as error:
            self._config_problems = error.problems
            for problem in error.problems:
                _log.error("%s", problem, extra=fields(CONFIG_WRONG))
        else:
            self._config_problems = ()
            self._adopt(fresh)
        if isinstance(self._intent.provider, MergedProvider):
            self._intent.provider.release()
        backoff = Backoff.of(self.config.reconcile, self._chance)
        self._scheduler.adopt(backoff, self.config.reconcile.parallel)
        self._say_reloaded()

    def _say_reloaded(self) -> None:
        """Read what is desired, and say what is new in it; of files that were just written it is
        said once more when they are believed.
        """
        before, now = self._parts.engine.desired, self._read()
        self._owes = now is not None and bool(now.unsettled)
        self._said = now if now and not now.unsettled else before
        found = (
            summary(before, now) if now else "what is desired cannot be read; see the next lines"
        )
        if self._config_problems:
            text = "agent.toml has errors, and the one in force stays; guest files were read: %s"
            _log.error(text, found, extra=fields(CONFIG_WRONG))
        else:
            _log.info("reloaded: %s", found, extra=fields(RELOADED, config=self.config.path))

    def _say_settled(self) -> None:
        """Say what files have brought that were changed, or were still being written at a reload.
        What is there at the start was told by then.
        """
        before, now = self._said, self._parts.engine.desired
        if now.unsettled:
            return
        self._said = now
        if before is not None and (self._owes or differ(before, now)):
            self._owes = False
            extra = fields(RELOADED, config=self.config.path)
            _log.info("reloaded: %s", summary(before, now), extra=extra)

    def _adopt(self, fresh: Config) -> None:
        old = self.config
        kept = reloadable(old, fresh)
        if waiting := need_restart(old, fresh):
            text = "takes effect at a restart (systemctl restart felhom-agent): %s"
            _log.warning(text, ", ".join(waiting), extra=fields(AGENT_WARNED))
        self.config = kept
        if kept.reconcile.mode is not old.reconcile.mode:
            text = "%s mode from now on, by [reconcile] mode of agent.toml"
            _log.warning(text, kept.reconcile.mode, extra=fields(AGENT_WARNED))
        if kept.proxmox != old.proxmox:
            self._parts.node.client.adopt(kept.proxmox)
        self._parts.node.observer.refresh()
        self._parts.engine.adopt(kept.reconcile)
        self._parts.brake.adopt(kept.limits, kept.hub.stops_per_hour)
        if self._hub_provider is not None:
            self._hub_provider.adopt(kept.hub)
        if kept.desired != old.desired:
            self._intent.provider = provider_for(
                kept, self._hub_provider, self._manager.ping_watchdog, names=self._parts.names
            )


def _nothing() -> None:
    """Do nothing: nobody wants to hear of news."""


def _weaknesses(config: Config) -> list[str]:
    """Return what of a configuration weakens the agent, and what to do about it."""
    nothing = not (config.desired.directory or config.hub.url)
    found = {
        "insecure = true: whoever answers in the node's place gets the token; "
        "set ca_file or fingerprint in [proxmox] of agent.toml": config.proxmox.insecure,
        "no [desired] directory is configured; nothing will be done; set it in agent.toml": nothing,
    }
    return [text for text, applies in found.items() if applies]
