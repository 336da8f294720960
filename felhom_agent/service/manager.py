"""What the service manager wants to hear: ready, reloading, stopping, how it goes, still alive.

Words go to systemd by sd_notify(3), through python3-systemd. Where nobody waits for them
(NOTIFY_SOCKET is not set) nothing is said, and the library is not needed.

The watchdog is pinged by the main loop, at the ends of its steps, and by nobody else: a loop that
hangs does not ping. And it is pinged only while nothing is overdue (`watchdog`).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

from felhom_agent.errors import ConfigError
from felhom_agent.model import Place, Problem
from felhom_agent.printable import MARK, one_line
from felhom_agent.redaction import safe_text
from felhom_agent.service.events import STUCK
from felhom_agent.service.logging import fields
from felhom_agent.service.watchdog import Watchdog

_log = logging.getLogger(__name__)

MAX_STATUS = 500
"""The longest status, in bytes of UTF-8."""

Say = Callable[[str], object]
"""Sends one sd_notify text, such as "READY=1"."""


class ServiceManager:
    """The service manager, or nobody in its place."""

    def __init__(
        self,
        say: Say | None = None,
        interval: float | None = None,
        watchdog: Watchdog | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`interval` is the longest time in seconds between two pings; None: no watchdog waits."""
        self.watchdog = watchdog or Watchdog()
        self._notify = say or (lambda _: None)
        self._unheard = False
        self._interval = interval
        self._clock = clock
        self._fed = -1e9
        self._ready = False
        self._status = ""
        self._stuck: list[str] = []

    @classmethod
    def present(cls) -> ServiceManager:
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
    def max_idle(self) -> float:
        """The longest that the loop may wait before it feeds again, in seconds."""
        return self._interval / 3 if self._interval else 3600.0

    def require_watchdog(self, longest: float) -> None:
        """Given the longest single step of the loop in seconds, let the watchdog wait that long."""
        if self._interval is not None and self._interval < 1.5 * longest:
            self._interval = 1.5 * longest
            self._say(f"WATCHDOG_USEC={int(self._interval * 1e6)}")

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

    def stopping(self, sentence: str) -> None:
        """Say that the service is about to end, and how it stands, which `systemctl status` shows
        until it is started again.
        """
        self._say(f"STOPPING=1\nSTATUS={_shown(sentence)}")

    def status(self, sentence: str) -> None:
        """Say how it goes, in one line, if that is news."""
        text = _shown(sentence)
        if text != self._status:
            self._status = text
            self._say(f"STATUS={text}")

    def ping_watchdog(self) -> None:
        """Say that all is well, if it is, and not too often; called by the main loop's steps."""
        now = self._clock()
        if self._interval is None or now - self._fed < self._interval / 10:
            return
        stuck = self.watchdog.overdue()
        if stuck != self._stuck and stuck:
            text = "it takes too long: %s; systemd restarts the agent if it does not end soon"
            _log.error(text, "; ".join(stuck), extra=fields(STUCK))
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
                words = "systemd cannot be told %s: %s; going on; see that it can be reached"
                _log.warning(words, text.partition("=")[0], error)
            self._unheard = True
        else:
            self._unheard = False


def _shown(sentence: str) -> str:
    return _bounded(safe_text(one_line(sentence), MAX_STATUS))


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
