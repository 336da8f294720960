"""The main loop: joins provider, observer, planner, engine and journal.

It waits for the next pass, a retry, a lane that finished or a word, whichever comes first, and
never blocks on a guest. Nothing short of a stop ends it: an error of one guest is that guest's
outcome, an error of one pass is a line in the log and another try, a bad file leaves its last good
version in force.

A journal that cannot be written any more (a full disk, a failing one) is the end of all changes
and not of looking: passes go on and say what would be done. At each of them the journal is tried
anew; once it opens, `run` ends, and the agent is put together again from what the disk has.

Threads: everything here belongs to the main thread but the inbox, a SimpleQueue, whose `put` is
safe from signal handlers and from lanes (an Event is not: its lock could be held by the very thread
that the handler interrupts), and `facts`, which any thread may ask for. The loop waits on the inbox
until the next thing is due.
"""

from __future__ import annotations

import dataclasses
import logging
import queue
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from felhom_agent import __version__
from felhom_agent.assembly import Parts, hub_loop, hub_provider, provider_for
from felhom_agent.config import Config, load
from felhom_agent.desired.watched import Watched
from felhom_agent.errors import (
    ConfigError,
    JournalClosed,
    JournalError,
)
from felhom_agent.hub.report import AgentFacts
from felhom_agent.model import (
    Converged,
    Outcome,
)
from felhom_agent.reconcile.pace import Pace
from felhom_agent.reconcile.passes import Passes
from felhom_agent.reconcile.turns import Turns
from felhom_agent.service.events import (
    AGENT_STARTED,
    AGENT_WARNED,
    CONFIG_WRONG,
    IN_FLIGHT,
    JOURNAL_BACK,
    JOURNAL_LOST,
    JOURNAL_TIDIED,
    RELOADED,
)
from felhom_agent.service.logging import fields
from felhom_agent.service.status import sentence
from felhom_agent.service.systemd import Manager

_log = logging.getLogger(__name__)

RELOAD, STOP, LOOK = "reload", "stop", "look"
_JOURNAL, _HUB = "journal", "hub"
# Seconds that a stop waits for a report that is under way.
_LAST_WORD = 2.0
Message = str | tuple[int, Outcome | None]
Inbox = queue.SimpleQueue[Message]


class Daemon:
    """The loop over an assembled agent."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        inbox: Inbox | None = None,
        manager: Manager | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.config = config
        self._parts = parts
        self._clock = clock
        self._manager = manager or Manager()
        self._inbox: Inbox = queue.SimpleQueue() if inbox is None else inbox
        self._wishes = hub_provider(config)
        self._intent = Watched(provider_for(config, self._wishes))
        self._turns = Turns(
            parts.engine,
            parts.operations,
            config.reconcile.backoff_cap,
            lambda vmid, outcome: self._inbox.put((vmid, outcome)),
        )
        self._pace = Pace(chance)
        self._passes = Passes(
            parts.node, parts.engine, parts.identities, self._turns, self._pace, clock,
            parts.operations.now,
        )  # fmt: skip
        self._started = parts.operations.now()
        self._next_pass = 0.0

    def begin(self) -> None:
        """Say who we are, and give every guest with an operation in flight a turn first."""
        _greet(self.config)
        found = self._parts.operations.in_flight()
        for operation in found:
            extra = fields(IN_FLIGHT, vmid=operation.vmid, op=operation.op_id, upid=operation.upid)
            _log.warning(
                "guest %d: found in flight: %s", operation.vmid, operation.text, extra=extra
            )
        if found:
            self._parts.engine.desire(self._intent.load())
        for vmid in sorted({operation.vmid for operation in found}):
            self._turns.give(vmid)

    def run(self) -> bool:
        """Work until told to stop, or until a journal that was lost can be written again; return
        whether it was told to stop.
        """
        while self._step():
            if _JOURNAL in self._turns.reasons and self._parts.journal_opens():
                text = "the journal can be written again; going on from what it has"
                _log.info(text, extra=fields(JOURNAL_BACK))
                return False
        return True

    def look(self) -> bool:
        """Do one pass and what it asks for; return whether all guests are as declared."""
        passed = self._pass()
        while self._turns.running:
            if not self._wait(self.config.reconcile.interval):
                return False
        found = self._parts.engine.outcomes().values()
        settled = not self._intent.problems and not self._parts.operations.in_flight()
        return passed and settled and all(isinstance(o, Converged) for o in found)

    @contextmanager
    def hub(self) -> Iterator[None]:
        """Report to the hub, if there is one, for the length of a block."""
        if self._wishes is None:
            yield
            return
        loop = hub_loop(
            self.config, self._parts.node, self._wishes, self.facts, lambda: self.send(LOOK),
            self._manager.vitals,
        )  # fmt: skip
        loop.start()
        try:
            yield
        finally:
            loop.close(_LAST_WORD)

    def facts(self) -> AgentFacts:
        """Return how the agent gets on; may be asked from any thread."""
        operations, passed = self._parts.operations, self._passes.latest
        return AgentFacts(
            node=self.config.proxmox.node,
            started=self._started,
            enforces=not (self.config.reconcile.dry_run or self._turns.reasons),
            generation=self._wishes.kept.generation if self._wishes else 0,
            passed=passed.begun,
            pass_seconds=passed.seconds,
            pass_good=passed.good,
            in_flight=len(operations.in_flight()),
            unknown=operations.unknown_count,
            standing=self._parts.engine.standing(),
            managed=passed.declared,
        )

    def send(self, message: str) -> None:
        """Give the loop a word (RELOAD or STOP), from whatever thread or signal handler."""
        self._inbox.put(message)

    def _step(self) -> bool:
        """Do what is due, then wait for what comes; return whether to go on."""
        now = self._clock()
        if now >= self._next_pass:
            self._watch_journal()
            self._manager.ready()
            self._pass()
            self._next_pass = self._clock() + self._pace.pause(self.config.reconcile)
        self._turns.retry(now)
        self._manager.status(self._sentence())
        self._manager.feed()
        due = min(self._next_pass, self._turns.next_retry())
        return self._wait(min(max(0.0, due - self._clock()), self._manager.patience))

    def _sentence(self) -> str:
        outcomes = self._parts.engine.outcomes()
        return sentence(
            outcomes,
            declared=len(self._passes.latest.declared),
            running=self._turns.running,
            trouble=self._pace.trouble or self._turns.forbidden,
        )

    def _watch_journal(self) -> None:
        """See whether the journal takes records, and keep it from growing without end."""
        try:
            self._parts.operations.check()
            if self._parts.operations.tidy():
                text = "the journal was made smaller: what is older than its limits is gone"
                _log.info(text, extra=fields(JOURNAL_TIDIED))
        except JournalClosed as error:
            if _JOURNAL not in self._turns.reasons:
                text = "%s; from now on guests are only observed"
                _log.error(text, error, extra=fields(JOURNAL_LOST))
            reason = "nothing is changed while the journal cannot be written"
            self._turns.reasons[_JOURNAL] = reason
        except JournalError as error:
            _log.warning("%s", error, extra=fields(JOURNAL_TIDIED))

    def _wait(self, seconds: float) -> bool:
        try:
            message = self._inbox.get(timeout=seconds)
        except queue.Empty:
            return True
        # A stop is not kept waiting by the words that came before it.
        if message == STOP or self._parts.node.leaving.is_set():
            return False
        if message == LOOK:
            self._next_pass = 0.0
        if message == RELOAD:
            try:
                self._reload()
            except Exception:  # a bug of ours must not end the daemon
                _log.exception("internal error while reloading; please report it")
        elif isinstance(message, tuple):
            self._turns.ended(*message, self._clock())
        return True

    def _pass(self) -> bool:
        """Look at the whole node; return whether it could be looked at."""
        if self._wishes is not None and self._wishes.kept.blocked:
            self._turns.reasons[_HUB] = "nothing is changed while the hub blocks this host"
        else:
            self._turns.reasons.pop(_HUB, None)
        return self._passes.look(self._intent.load, remember=_JOURNAL not in self._turns.reasons)

    def _reload(self) -> None:
        """Read everything anew. What holds connections or the journal needs a restart."""
        self._manager.reloading()
        try:
            fresh = load(self.config.path)
        except ConfigError as error:
            for problem in error.problems:
                _log.error("%s", problem, extra=fields(CONFIG_WRONG))
            text = "the configuration has errors; the one in force stays"
            _log.error(text, extra=fields(CONFIG_WRONG))
        else:
            self._adopt(fresh)
        self._turns.clear(self.config.reconcile.backoff_cap)
        self._next_pass = 0.0

    def _adopt(self, fresh: Config) -> None:
        old = self.config
        kept = dataclasses.replace(fresh, proxmox=old.proxmox, journal=old.journal, hub=old.hub)
        kept = dataclasses.replace(
            kept, reconcile=dataclasses.replace(fresh.reconcile, dry_run=old.reconcile.dry_run)
        )
        if _fixed(fresh) != _fixed(old):
            text = "changes of [proxmox], [journal] and [hub] take effect at a restart"
            _log.warning(text, extra=fields(AGENT_WARNED))
        self.config = kept
        self._parts.engine.adopt(kept.reconcile)
        if kept.desired != old.desired:
            self._intent.provider = provider_for(kept, self._wishes)
        _log.info("reloaded", extra=fields(RELOADED, config=kept.path))


def _fixed(config: Config) -> tuple[object, ...]:
    """Return the settings that hold connections and files, and need a restart."""
    return (config.proxmox, config.journal, config.hub)


def _greet(config: Config) -> None:
    pve = config.proxmox
    extra = fields(AGENT_STARTED, node=pve.node, endpoint=pve.endpoint)
    _log.info("felhom-agent %s", __version__, extra=extra)
    warnings = {
        "insecure = true: whoever answers in the node's place gets the token": pve.insecure,
        "no [desired] directory is configured; nothing will be done": not config.desired.directory,
        "dry run: nothing will be changed": config.reconcile.dry_run,
    }
    for text in (text for text, applies in warnings.items() if applies):
        _log.warning(text, extra=fields(AGENT_WARNED))
