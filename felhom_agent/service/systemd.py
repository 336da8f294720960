"""What the service manager wants to hear: ready, reloading, stopping, how it goes, still alive.

Words go to systemd by sd_notify(3), through python3-systemd. Where nobody waits for them
(NOTIFY_SOCKET is not set) nothing is said, and the library is not needed.

The watchdog is fed by the main loop, at the ends of its steps, and by nobody else: a loop that
hangs does not feed. And it is fed only while `Vitals` knows of nothing that has taken
longer than it may: a call to PVE that drips on for ever, a sync that never returns. A lane that
waits for a long task is none of that: it asks PVE again and again, and each question ends.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from felhom_agent.errors import ConfigError
from felhom_agent.model import Place, Problem
from felhom_agent.printable import MARK, one_line
from felhom_agent.redaction import safe_text
from felhom_agent.service.events import STUCK
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

MAX_STATUS = 500
"""The longest status, in bytes of UTF-8."""

Say = Callable[[str], object]
"""Sends one sd_notify text, such as "READY=1"."""


class Vitals:
    """What is being done at this moment, and until when it must be over.

    Threads: one lock guards the table; nothing is done under it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._doing: dict[object, tuple[str, float]] = {}

    @contextmanager
    def doing(self, what: str, longest: float) -> Iterator[None]:
        """Note for the length of a block what is done, and the seconds that it may take."""
        me = object()
        with self._lock:
            self._doing[me] = (what, self._clock() + longest)
        try:
            yield
        finally:
            with self._lock:
                del self._doing[me]

    def overdue(self) -> list[str]:
        """Return what should be over and is not."""
        now = self._clock()
        with self._lock:
            return [what for what, until in self._doing.values() if now > until]


class Manager:
    """The service manager, or nobody in its place."""

    def __init__(
        self,
        say: Say | None = None,
        watchdog: float | None = None,
        vitals: Vitals | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`watchdog` is the longest time in seconds between two feedings; None: there is none."""
        self.vitals = vitals or Vitals()
        self._notify = say or (lambda _: None)
        self._unheard = False
        self._watchdog = watchdog
        self._clock = clock
        self._fed = -1e9
        self._ready = False
        self._status = ""
        self._stuck: list[str] = []

    @classmethod
    def present(cls) -> Manager:
        """Return whoever the environment names. Raise ConfigError if it cannot be spoken to."""
        if not os.environ.get("NOTIFY_SOCKET"):
            return cls()
        try:
            from systemd import daemon
        except ImportError:
            text = "systemd waits for a word, which needs python3-systemd; install it"
            raise ConfigError((Problem(Place("NOTIFY_SOCKET"), text),)) from None
        return cls(daemon.notify, _watchdog())

    @property
    def patience(self) -> float:
        """The longest that the loop may wait before it feeds again, in seconds."""
        return self._watchdog / 3 if self._watchdog else 3600.0

    def allow(self, longest: float) -> None:
        """Given the longest single step of the loop in seconds, let the watchdog wait that long."""
        if self._watchdog is not None and self._watchdog < 1.5 * longest:
            self._watchdog = 1.5 * longest
            self._say(f"WATCHDOG_USEC={int(self._watchdog * 1e6)}")

    def ready(self) -> None:
        """Say that the service is up, or that a reload is over; once each."""
        if not self._ready:
            self._ready = True
            self._say("READY=1")

    def reloading(self) -> None:
        """Say that a reload has begun."""
        self._ready = False
        self._say(
            f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
        )

    def stopping(self) -> None:
        """Say that the service is about to end."""
        self._say("STOPPING=1")

    def status(self, sentence: str) -> None:
        """Say how it goes, in one line, if that is news."""
        text = _bounded(safe_text(one_line(sentence), MAX_STATUS))
        if text != self._status:
            self._status = text
            self._say(f"STATUS={text}")

    def feed(self) -> None:
        """Say that all is well, if it is, and not too often; called by the main loop's steps."""
        now = self._clock()
        if self._watchdog is None or now - self._fed < self._watchdog / 10:
            return
        stuck = self.vitals.overdue()
        if stuck != self._stuck and stuck:
            _log.error("it takes too long: %s", "; ".join(stuck), extra=fields(STUCK))
        self._stuck = stuck
        if not stuck:
            self._fed = now
            self._say("WATCHDOG=1")

    def _say(self, text: str) -> None:
        """Say something. That nobody hears it is logged once, and is no reason to stop."""
        try:
            self._notify(text)
        except Exception as error:  # the library's own, or the socket's
            if not self._unheard:
                _log.warning("systemd cannot be told %s: %s", text.partition("=")[0], error)
            self._unheard = True
        else:
            self._unheard = False


def _bounded(text: str) -> str:
    """Given a text, return it in at most `MAX_STATUS` bytes."""
    data = text.encode("utf-8")
    if len(data) <= MAX_STATUS:
        return text
    return data[: MAX_STATUS - len(MARK)].decode("utf-8", "ignore") + MARK


def _watchdog() -> float | None:
    """Return the seconds that systemd waits between two feedings; None if it does not."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 1e6 or None
    except (KeyError, ValueError):
        return None
