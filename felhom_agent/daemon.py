"""The main loop: joins provider, observer, planner, engine and journal.

It waits for the next pass, a retry, a lane that finished or a signal, whichever comes first, and
never blocks on a guest. Nothing short of a broken journal or a stop ends it: an error of one guest
is that guest's outcome, an error of one pass is a line in the log and another try, a bad file
leaves its last good version in force.

Signals: SIGHUP reads configuration and guest files anew and lets every guest be due; SIGTERM and
SIGINT stop. A stop begins nothing new, gives what runs `drain_timeout` seconds, and leaves the
rest in flight in the journal, where the next start finds it.

Threads: everything here belongs to the main thread but `_inbox`, a SimpleQueue, whose `put` is safe
from signal handlers and from lanes (an Event is not: its lock could be held by the very thread
that the handler interrupts). The loop waits on it until the next thing is due.
"""

from __future__ import annotations

import dataclasses
import logging
import queue
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

from felhom_agent import __version__
from felhom_agent.assembly import Parts, assembled, provider_for
from felhom_agent.config import Config, load
from felhom_agent.errors import ConfigError, FelhomError, Interrupted, PveError, QueueClosed
from felhom_agent.model import Converged, Desired, DesiredGuest, GuestPlan, Mode, Outcome, Problem
from felhom_agent.reconcile import outcomes
from felhom_agent.reconcile.agenda import Agenda
from felhom_agent.reconcile.identity import identity_of
from felhom_agent.reconcile.plan import plan
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

RELOAD, STOP = "reload", "stop"
Message = str | tuple[int, Outcome | None]


def run(config: Config, *, once: bool = False) -> bool:
    """Given a configuration, work until a signal says stop, or for one pass.

    Return whether all guests are as declared (always true without `once`). Raise ConfigError,
    JournalError or AlreadyRunning if the agent cannot begin.
    """
    with assembled(config, random.random) as parts:
        daemon = Daemon(config, parts)
        with daemon.signals():
            daemon.begin()
            return daemon.look() if once else daemon.run()


class Daemon:
    """The loop over an assembled agent."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._parts = parts
        self._clock = clock
        self._chance = chance
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._provider = provider_for(config)
        self._agenda = Agenda(config.reconcile.backoff_cap)
        self._running: set[int] = set()
        self._next_pass = 0.0
        self._failures = 0
        self._known_problems: frozenset[Problem] = frozenset()

    def begin(self) -> None:
        """Say who we are, and give every guest with an operation in flight a turn first."""
        _greet(self._config)
        found = self._parts.operations.in_flight()
        for operation in found:
            extra = fields(vmid=operation.vmid, op=operation.op_id, upid=operation.upid)
            _log.warning(
                "guest %d: found in flight: %s", operation.vmid, operation.text, extra=extra
            )
        if found:
            self._parts.engine.desire(self._load())
        for vmid in sorted({operation.vmid for operation in found}):
            self._give_turn(vmid)

    def run(self) -> bool:
        """Work until told to stop."""
        while self._step():
            pass
        return True

    def look(self) -> bool:
        """Do one pass and what it asks for; return whether all guests are as declared."""
        passed = self._pass()
        while self._running:
            if not self._wait(self._config.reconcile.interval):
                return False
        found = self._parts.engine.outcomes().values()
        settled = not self._known_problems and not self._parts.operations.in_flight()
        return passed and settled and all(isinstance(o, Converged) for o in found)

    def send(self, message: str) -> None:
        """Give the loop a word (RELOAD or STOP), from whatever thread or signal handler."""
        self._inbox.put(message)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Turn signals into words for the loop for the length of a block."""
        words = {signal.SIGHUP: RELOAD, signal.SIGTERM: STOP, signal.SIGINT: STOP}

        def receive(number: int, _frame: Any) -> None:
            word = words[signal.Signals(number)]
            if word == STOP:
                # Nobody waits on this event in this thread, so its lock is free here.
                self._parts.node.leaving.set()
            self._inbox.put(word)

        before = {number: signal.signal(number, receive) for number in words}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _step(self) -> bool:
        """Do what is due, then wait for what comes; return whether to go on.

        Raise JournalClosed if the journal is broken: a new start mends what can be mended.
        """
        self._parts.operations.check()
        now = self._clock()
        if now >= self._next_pass:
            self._pass()
            self._next_pass = self._clock() + self._pause()
        for vmid in self._agenda.take_retries(now):
            self._give_turn(vmid)
        due = min(self._next_pass, self._agenda.next_retry())
        return self._wait(max(0.0, due - self._clock()))

    def _wait(self, seconds: float) -> bool:
        try:
            message = self._inbox.get(timeout=seconds)
        except queue.Empty:
            return True
        if message == STOP:
            return False
        if message == RELOAD:
            try:
                self._reload()
            except Exception:  # a bug of ours must not end the daemon
                _log.exception("internal error while reloading; please report it")
        elif isinstance(message, tuple):
            self._turn_ended(*message)
        return True

    def _pass(self) -> bool:
        """Look at the whole node and give a turn to each guest that needs one.

        Return whether the node could be looked at.
        """
        try:
            desired = self._load()
            self._parts.engine.desire(desired)
            self._compare(desired)
        except Interrupted:
            return False
        except PveError as error:
            self._node_failed(error)
            return False
        except FelhomError as error:
            _log.error("nothing is done in this pass: %s", error)
            return False
        except Exception:  # a bug of ours must not end the daemon
            _log.exception("internal error in a pass; please report it")
            return False
        return True

    def _compare(self, desired: Desired) -> None:
        engine = self._parts.engine
        engine.forget(engine.outcomes().keys() - desired.guests.keys())
        if not desired.guests:
            return
        actual = self._parts.node.observer.snapshot(desired.guests.keys())
        self._node_answered()
        identities = self._parts.identities
        plans = plan(desired, actual, identities.all())
        identities.remember(
            {
                vmid: identity_of(actual.guests[vmid])
                for vmid, guest_plan in plans.items()
                if not guest_plan.withheld and desired.guests[vmid].mode is Mode.ENFORCE
            }
        )
        for vmid, guest_plan in plans.items():
            if vmid not in self._running:
                self._consider(desired.guests[vmid], guest_plan)

    def _consider(self, guest: DesiredGuest, guest_plan: GuestPlan) -> None:
        # What is in flight is settled by a turn, also where nothing else is left to do.
        if not guest_plan.actions and not self._parts.operations.in_flight(guest.vmid):
            self._agenda.forget(guest.vmid)
            self._parts.engine.note(guest.vmid, outcomes.of_plan(guest_plan))
            return
        # Texts stand for the values: a declaration holds mappings, which have no hash.
        subject = (repr(guest), *map(str, guest_plan.actions))
        if self._agenda.is_due(guest.vmid, subject, self._clock()):
            self._agenda.begins(guest.vmid, subject)
            self._give_turn(guest.vmid)

    def _give_turn(self, vmid: int) -> None:
        if vmid in self._running:
            return
        try:
            future = self._parts.engine.look_at(vmid)
        except QueueClosed:
            return
        except RuntimeError as error:  # the system gives us no thread
            _log.error("guest %d: cannot be looked at now: %s", vmid, error)
            return
        self._running.add(vmid)
        future.add_done_callback(lambda f: self._inbox.put((vmid, _outcome_of(f))))

    def _turn_ended(self, vmid: int, outcome: Outcome | None) -> None:
        self._running.discard(vmid)
        if outcome is not None:
            self._agenda.ended(vmid, outcome, self._clock())

    def _load(self) -> Desired:
        """Return what is desired, and say what is newly wrong, or mended, in its source."""
        desired = self._provider.load()
        problems = frozenset(desired.problems)
        for problem in desired.problems:
            if problem not in self._known_problems:
                _log.error("%s", problem)
        if self._known_problems and not problems:
            _log.info("all guest files are good again")
        self._known_problems = problems
        return desired

    def _reload(self) -> None:
        """Read everything anew. What holds connections or the journal needs a restart."""
        try:
            fresh = load(self._config.path)
        except ConfigError as error:
            for problem in error.problems:
                _log.error("%s", problem)
            _log.error("the configuration has errors; the one in force stays")
        else:
            self._adopt(fresh)
        self._agenda.clear()
        self._next_pass = 0.0

    def _adopt(self, fresh: Config) -> None:
        old = self._config
        kept = dataclasses.replace(fresh, proxmox=old.proxmox, journal=old.journal)
        kept = dataclasses.replace(
            kept, reconcile=dataclasses.replace(fresh.reconcile, dry_run=old.reconcile.dry_run)
        )
        if (fresh.proxmox, fresh.journal) != (old.proxmox, old.journal):
            _log.warning("changes of [proxmox] and [journal] take effect at a restart")
        self._config = kept
        self._parts.engine.adopt(kept.reconcile)
        self._agenda.longest = kept.reconcile.backoff_cap
        if kept.desired != old.desired:
            self._provider = provider_for(kept)
        _log.info("reloaded", extra=fields(config=kept.path))

    def _pause(self) -> float:
        """Return the seconds until the next pass: shorter or longer by chance, never by habit."""
        settings = self._config.reconcile
        if self._failures:
            backoff = settings.backoff_first * 2.0 ** min(self._failures - 1, 16)
            return min(backoff, settings.interval, settings.backoff_cap)
        return settings.interval * (1.0 + settings.jitter * (self._chance() - 0.5))

    def _node_failed(self, error: PveError) -> None:
        self._failures += 1
        if self._failures == 1:
            _log.error("the node cannot be looked at; trying on: %s", error)

    def _node_answered(self) -> None:
        if self._failures:
            _log.info("the node answers again", extra=fields(failed_looks=self._failures))
        self._failures = 0


def _outcome_of(future: Future[Outcome]) -> Outcome | None:
    """Return how a turn ended; None if it was interrupted."""
    try:
        return future.result(timeout=0)
    except (Interrupted, QueueClosed, CancelledError):
        return None
    except FelhomError as error:
        _log.error("a turn was lost: %s", error)
        return None


def _greet(config: Config) -> None:
    pve = config.proxmox
    _log.info("felhom-agent %s", __version__, extra=fields(node=pve.node, endpoint=pve.endpoint))
    if pve.insecure:
        _log.warning("insecure = true: whoever answers in the node's place gets the token")
    if config.desired.directory is None:
        _log.warning("no [desired] directory is configured; nothing will be done")
    if config.reconcile.dry_run:
        _log.warning("dry run: nothing will be changed")
