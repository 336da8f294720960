"""Hears the events that the log tells, and sees that people are told of them.

It is a handler of log records beside the ring (`service/ring.py`), so that nobody who logs knows of
it. What it promises: logging never waits for it and never hears of its trouble; whoever answers at
the other end costs a warning, once, and nothing else; of each event that a person asked for
(`events` of [notify]) there is a notice, or it is counted in a summary. Nothing outlives the
process: what is not delivered when it ends is lost, and the log has it.

On its way an event passes a queue of `MAX_WAITING`, of which the oldest go first; what is kept back
while a backup holds a guest (`quiet.py`); how many go out within an hour (`hourly.py`); and what
waits for a receiver that does not answer (`outbox.py`). What is lost on the way is counted.

Threads: any thread logs, so any may call `emit`; it takes `_news`, adds to `_inbox` or counts, and
goes on. That lock is one that its holder may take again: a finalizer that fails is logged on the
thread that happens to be here (see `service/ring.py`). `_news` guards `_inbox`, `_overflow`,
`_tests` and `_stopping`; nothing is done under it but that. All else belongs to the thread
`notify`, which begins with `start` and ends with `close`: that gives it `timeout` seconds for what
still waits, cuts a call short, and leaves the thread behind where it hangs all the same. `_backups`
is replaced as a whole by the main thread; what it names reads snapshots.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import NotifyConfig
from felhom_agent.errors import FelhomError
from felhom_agent.notify.commandspool import CommandSpool
from felhom_agent.notify.hourly import HourlyLimit
from felhom_agent.notify.notice import Notice, notice_of, summary_of
from felhom_agent.notify.outbox import Outbox
from felhom_agent.notify.quiet import HEARD, Backups, QuietGuests
from felhom_agent.notify.webhook import Undelivered, Webhook
from felhom_agent.printable import printable
from felhom_agent.service.events import NOTIFY_TEST
from felhom_agent.service.ring import EventEntry, entry_of

MAX_WAITING: Final = 200
"""How many events wait for the thread."""
LAST: Final = " (so many an hour are enough; what comes now follows as one message)"
"""The end of the last notice that goes out before others are held up."""
CLOSE_TIMEOUT: Final = 3.0
"""Seconds that the process waits at its end for what is not delivered yet."""
# Seconds between two looks whether a backup is over.
_LOOK: Final = 5.0
_FAR: Final = 3600.0

_log: Final = logging.getLogger(__name__)
_OURS: Final = logging.getLogger("felhom_agent")

Seen = Callable[[], Backups]


class Notifier(logging.Handler):
    """Tells a receiver, and the commands of this host, what [notify] asks for."""

    def __init__(
        self,
        config: NotifyConfig,
        node: str,
        token: Secret | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`clock` tells monotonic seconds, `now` seconds since the epoch."""
        super().__init__()
        self._wanted = frozenset(config.events)
        self._node = node
        self._clock = clock
        self._now = now
        self._webhook = Webhook(config, token) if config.url else None
        self._spool = CommandSpool(config.spool) if config.command else None
        self._limit = HourlyLimit(config.per_hour)
        self._quiet = QuietGuests()
        self._outbox = Outbox(self._webhook, self._spool, self._limit.miss, clock)
        self._backups: Seen = Backups
        self._news = threading.Condition(threading.RLock())
        self._inbox: deque[EventEntry] = deque()
        self._overflow: Counter[str] = Counter()
        self._tests: deque[tuple[str, Future[str]]] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def start(self) -> None:
        """Hear what this process logs, and begin to tell."""
        self._thread.start()
        _OURS.addHandler(self)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Hear no more; deliver what can be delivered in time, and end."""
        _OURS.removeHandler(self)
        with self._news:
            self._stopping = True
            self._news.notify()
        self._thread.join(timeout)
        if self._webhook is not None:
            self._webhook.close()
        self._thread.join(timeout / 3)
        super().close()

    @contextmanager
    def seeing(self, backups: Seen) -> Iterator[None]:
        """Know from an agent, for the length of a block, which guests a backup holds."""
        self._backups = backups
        try:
            yield
        finally:
            self._backups = Backups

    def emit(self, record: logging.LogRecord) -> None:
        """Given a record, tell of it if it is of an event that is wanted."""
        if threading.current_thread() is self._thread:
            return  # what it says of its own trouble must not make more of it
        with suppress(Exception):  # whatever a record is made of, who logged it goes on
            entry = entry_of(record)
            if entry is not None and (entry.event in self._wanted or entry.event in HEARD):
                self._take_in(entry)

    def try_out(self, by: str, timeout: float) -> str:
        """Given who wants to know, send one message; return what came of it, in words. Raise
        FelhomError if it was not delivered, or not in so many seconds. From any thread.
        """
        done: Future[str] = Future()
        with self._news:
            if self._stopping:
                raise Undelivered("the agent is stopping", temporary=True)
            self._tests.append((by, done))
            self._news.notify()
        try:
            return done.result(timeout)
        except TimeoutError:
            done.cancel()
            text = f"it was not delivered within {timeout:g} s; the log tells what came of it"
            raise Undelivered(text, temporary=True) from None

    def _take_in(self, entry: EventEntry) -> None:
        with self._news:
            if len(self._inbox) >= MAX_WAITING:
                self._overflow[self._inbox.popleft().event] += 1
            self._inbox.append(entry)
            self._news.notify()

    def _run(self) -> None:
        delay = 0.0
        while not self._wait(delay):
            delay = self._guarded_step()
        self._guarded_step(last=True)
        with self._news:
            tests, self._tests = self._tests, deque()
        for _, done in tests:
            done.set_exception(Undelivered("the agent is stopping", temporary=True))

    def _wait(self, seconds: float) -> bool:
        """Wait for something to do; return whether to end."""
        with self._news:
            if not (self._inbox or self._tests or self._stopping):
                self._news.wait(min(seconds, _FAR))
            return self._stopping

    def _guarded_step(self, *, last: bool = False) -> float:
        try:
            return self.step(last=last)
        except Exception:  # a defect of ours costs this step
            _log.exception("internal error while notifying; please report it")
            return _LOOK

    def step(self, *, last: bool = False) -> float:
        """Do what is due; return the seconds until something is. The `last` step waits for nothing
        any more.
        """
        for by, done in self._new_tests():
            self._answer(by, done)
        for entry in self._new_entries():
            self._hear(notice_of(entry, self._node), wanted=entry.event in self._wanted)
        for notice in self._quiet.released(self._backups(), self._now()):
            self._admit(notice)
        if self._outbox.is_well and (counts := self._limit.summary(self._clock())):
            self._outbox.add(summary_of(counts, self._node, self._now()))
        delay = self._outbox.work(hurries=last)
        if self._outbox.is_well:
            delay = min(delay, self._limit.due(self._clock()))
        return min(delay, _LOOK) if self._quiet.waits else delay

    def _new_entries(self) -> Iterator[EventEntry]:
        with self._news:
            entries, self._inbox = self._inbox, deque()
            overflow, self._overflow = self._overflow, Counter()
        yield from entries
        # Counted last: what is counted holds up what comes after it.
        for event in overflow.keys() & self._wanted:
            self._limit.miss(event, overflow[event])

    def _new_tests(self) -> Iterator[tuple[str, Future[str]]]:
        with self._news:
            tests, self._tests = self._tests, deque()
        yield from tests

    def _hear(self, notice: Notice, *, wanted: bool) -> None:
        if self._quiet.take(notice, self._backups(), self._now(), wanted=wanted):
            return
        if wanted:
            self._admit(notice)

    def _admit(self, notice: Notice) -> None:
        """Let a notice out, if so many may go out; the last one says that others are held up."""
        now = self._clock()
        if self._limit.take(notice.event, now):
            end = LAST if self._limit.is_full(now) else ""
            self._outbox.add(replace(notice, text=f"{notice.text}{end}"))

    def _answer(self, by: str, done: Future[str]) -> None:
        """Deliver a test at once, past the limit and those that wait."""
        if not done.set_running_or_notify_cancel():
            return
        try:
            done.set_result(deliver(self._webhook, self._spool, self._test(by)))
        except FelhomError as error:
            done.set_exception(error)
        except Exception as error:  # whoever asked must hear of it, too
            done.set_exception(error)
            raise

    def _test(self, by: str) -> Notice:
        return test_notice(self._node, self._now(), by)


def test_notice(node: str, at: float, by: str) -> Notice:
    """Given a node, the time and who wants to know, return the notice that is sent for a trial."""
    text = printable(f"this is a test, by the word of {by}", 200)
    return Notice(node, NOTIFY_TEST.name, "info", at, text, NOTIFY_TEST.subject, NOTIFY_TEST.advice)


def deliver(webhook: Webhook | None, spool: CommandSpool | None, notice: Notice) -> str:
    """Given where to, and a notice, deliver it; return what came of it, in words. Raise Undelivered
    with all that failed.
    """
    said: list[str] = []
    failed: list[Undelivered] = []
    if webhook is not None:
        try:
            webhook.post(notice)
            said.append(f"{webhook.url} took it")
        except Undelivered as error:
            failed.append(Undelivered(f"{webhook.url}: {error}", temporary=error.temporary))
    if spool is not None:
        try:
            spool.put(notice)
            said.append("it was left for felhom-agent-notify.service")
        except Undelivered as error:
            failed.append(error)
    if failed:
        text = "; ".join([*map(str, failed), *said])
        raise Undelivered(text, temporary=all(each.temporary for each in failed))
    return "; ".join(said)
