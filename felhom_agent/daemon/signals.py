"""Signals, as messages for the main loop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from felhom_agent.daemon.loop import RELOAD, STOP, Inbox
from felhom_agent.service.flag import Flag


@contextmanager
def signals(inbox: Inbox, shutting_down: Flag) -> Iterator[None]:
    """Turn signals into messages for the loop for the length of a block.

    A stop sets `shutting_down`.

    A handler may interrupt anything, another handler included, so it takes no lock: it sets a plain
    attribute and puts into a SimpleQueue, which is made for that.
    """
    words = {signal.SIGHUP: RELOAD, signal.SIGTERM: STOP, signal.SIGINT: STOP}

    def receive(number: int, _frame: Any) -> None:
        word = words[signal.Signals(number)]
        if word == STOP:
            shutting_down.set()
        inbox.put(word)

    before = {number: signal.signal(number, receive) for number in words}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
