"""The service: signals, and an agent that is put together as often as it takes.

Signals: SIGHUP reads configuration and guest files anew and lets every guest be due; SIGTERM and
SIGINT stop. A stop begins nothing new, gives what runs `drain_timeout` seconds, and leaves the
rest in flight in the journal, where the next start finds it.

The agent is put together anew when a journal that was lost can be written again; and where the
journal cannot even be opened because the disk takes nothing, that is waited for.
"""

from __future__ import annotations

import logging
import queue
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from felhom_agent.assembly import assembled
from felhom_agent.config import Config
from felhom_agent.errors import (
    JournalClosed,
)
from felhom_agent.journal.disk import DISK, Disk
from felhom_agent.mainloop import RELOAD, STOP, Daemon, Inbox
from felhom_agent.service.events import (
    JOURNAL_LOST,
)
from felhom_agent.service.logging import fields
from felhom_agent.service.systemd import Manager

_log = logging.getLogger(__name__)

# Seconds between two tries to open a journal on a disk that takes nothing.
_DISK_PAUSE = 5.0


def run(config: Config, *, once: bool = False, disk: Disk = DISK) -> bool:
    """Given a configuration, work until a signal says stop, or for one pass.

    The journal lives on `disk`. Return whether all guests are as declared (always true without
    `once`). A disk that takes nothing is waited for, unless `once`. Raise ConfigError, JournalError
    or AlreadyRunning if the agent cannot begin.
    """
    inbox: Inbox = queue.SimpleQueue()
    leaving = threading.Event()
    manager = Manager.present()
    manager.allow(config.proxmox.connect_timeout + config.proxmox.read_timeout)
    waiting = False
    with signals(inbox, leaving):
        while True:
            try:
                with assembled(
                    config, random.random, disk=disk, leaving=leaving, manager=manager
                ) as parts:
                    daemon = Daemon(config, parts, inbox, manager)
                    daemon.begin()
                    if once:
                        return daemon.look()
                    with daemon.hub():
                        told_to_stop = daemon.run()
                waiting, config = False, daemon.config
            except JournalClosed as error:
                if once:
                    raise
                told_to_stop = _wait_for_the_disk(error, inbox, manager, news=not waiting)
                waiting = True
            if told_to_stop:
                manager.stopping()
                return True


def _wait_for_the_disk(error: JournalClosed, inbox: Inbox, manager: Manager, *, news: bool) -> bool:
    """Wait a while before the journal is tried again; return whether told to stop.

    A service that gave up would still be down when somebody has made room.
    """
    if news:
        _log.error("%s; trying on, and nothing is done", error, extra=fields(JOURNAL_LOST))
    manager.ready()
    manager.status(str(error))
    manager.feed()
    try:
        return inbox.get(timeout=min(_DISK_PAUSE, manager.patience)) == STOP
    except queue.Empty:
        return False


@contextmanager
def signals(inbox: Inbox, leaving: threading.Event) -> Iterator[None]:
    """Turn signals into words for the loop for the length of a block; a stop sets `leaving`."""
    words = {signal.SIGHUP: RELOAD, signal.SIGTERM: STOP, signal.SIGINT: STOP}

    def receive(number: int, _frame: Any) -> None:
        word = words[signal.Signals(number)]
        if word == STOP:
            # Nobody waits on this event in this thread, so its lock is free here.
            leaving.set()
        inbox.put(word)

    before = {number: signal.signal(number, receive) for number in words}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
