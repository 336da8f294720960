"""What is on its way to the receiver and to the commands, and how often it is tried again.

A receiver that does not take a notice is asked again after `FIRST_PAUSE` seconds, then after twice
that, up to `MAX_PAUSE`. A notice that waits for longer than `KEPT` seconds is given up; so is one
that the receiver says it never takes. Either is counted by whoever made this. A failure is said
once, and once that it is over.

Belongs to the thread `notify`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from felhom_agent.notify.commandspool import CommandSpool
from felhom_agent.notify.notice import Notice
from felhom_agent.notify.webhook import Undelivered, Webhook
from felhom_agent.service.events import NOTIFY_BACK, NOTIFY_FAILED
from felhom_agent.service.logging import fields

FIRST_PAUSE: Final = 2.0
MAX_PAUSE: Final = 120.0
KEPT: Final = 3600.0
MAX_WAITING: Final = 500

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Waiting:
    notice: Notice
    until: float


class Outbox:
    """Notices that are to be delivered; times are monotonic seconds."""

    def __init__(
        self,
        webhook: Webhook | None,
        spool: CommandSpool | None,
        missed: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        """`missed` hears the event of each notice that was given up."""
        self._webhook = webhook
        self._spool = spool
        self._missed = missed
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._pause = 0.0
        self._not_before = 0.0
        self._said: set[str] = set()

    @property
    def is_well(self) -> bool:
        """Whether nothing waits for a receiver that does not answer."""
        return not self._pause

    def add(self, notice: Notice) -> None:
        """Given a notice, let the commands have it at once, the receiver when it is its turn."""
        if self._spool is not None:
            try:
                self._spool.put(notice)
                self._worked("commands")
            except Undelivered as error:
                self._failed("commands", f"no notification reaches the commands: {error}")
                if self._webhook is None:
                    self._missed(notice.event)
        if self._webhook is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._missed(self._waiting.popleft().notice.event)
        self._waiting.append(_Waiting(notice, self._clock() + KEPT))

    def work(self, *, hurries: bool = False) -> float:
        """Deliver what can be delivered; return the seconds until it is tried again, infinite if
        nothing waits. One that `hurries` does not wait for its time.
        """
        self._give_up_old()
        while self._waiting and self._webhook is not None:
            left = self._not_before - self._clock()
            if left > 0 and not hurries:
                return left
            try:
                self._webhook.post(self._waiting[0].notice)
            except Undelivered as error:
                if not hurries:
                    text = f"no notification is delivered: {self._webhook.url}: {error}"
                    self._failed("receiver", f"{text}; see [notify] in agent.toml")
                if error.is_final:
                    self._missed(self._waiting.popleft().notice.event)
                    continue
                self._pause = min(MAX_PAUSE, 2 * self._pause or FIRST_PAUSE)
                self._not_before = self._clock() + self._pause
                return self._pause
            self._waiting.popleft()
            self._pause = self._not_before = 0.0
            self._worked("receiver")
        return float("inf")

    def _give_up_old(self) -> None:
        while self._waiting and self._waiting[0].until <= self._clock():
            self._missed(self._waiting.popleft().notice.event)
        if not self._waiting:
            # The next one finds out by itself how it is.
            self._pause = self._not_before = 0.0

    def _failed(self, where: str, text: str) -> None:
        if where not in self._said:
            self._said.add(where)
            _log.warning("%s", text, extra=fields(NOTIFY_FAILED))

    def _worked(self, where: str) -> None:
        if where in self._said:
            self._said.remove(where)
            _log.info("notifications are delivered again", extra=fields(NOTIFY_BACK, to=where))
