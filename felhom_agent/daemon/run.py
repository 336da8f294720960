"""The service: signals, and an agent that is put together as often as it takes.

Signals: SIGHUP reads configuration and guest files again and lets every guest be due; SIGTERM and
SIGINT stop. A stop begins nothing new, gives what runs `drain_timeout` seconds, and leaves the rest
in flight in the journal, where the next start finds it.

The agent is put together again when a journal that was lost can be written again; and where the
journal cannot even be opened because the disk takes nothing, that is waited for. The control socket
is made once the first agent holds the journal's lock, and stays until the process ends; so does who
tells people of events, who is there from the beginning.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass

from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import Config
from felhom_agent.daemon.assembly import assembled, last_word
from felhom_agent.daemon.controls import ControlSocket
from felhom_agent.daemon.loop import RELOAD, STOP, Daemon, Inbox, Message
from felhom_agent.daemon.notifying import backups_of, notifying
from felhom_agent.daemon.signals import signals
from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.errors import ConfigError, JournalClosed
from felhom_agent.notify.notifier import Notifier
from felhom_agent.service.counters import Counters
from felhom_agent.service.events import AGENT_STOPPED, CONFIG_WRONG, JOURNAL_BACK, JOURNAL_LOST
from felhom_agent.service.flag import Flag
from felhom_agent.service.logging import fields
from felhom_agent.service.manager import ServiceManager
from felhom_agent.service.names import Names
from felhom_agent.service.ring import Ring

_log = logging.getLogger(__name__)

# Seconds between two tries to open a journal on a disk that takes nothing.
_DISK_PAUSE = 5.0


def run(
    config: Config,
    reread: Callable[[], Config] | None = None,
    *,
    once: bool = False,
    disk: Disk = DISK,
) -> bool:
    """Given a configuration, work until a signal says stop, or for one pass.

    `reread` returns the configuration as it is on the disk now, and raises ConfigError; without it
    the file is loaded as it stands. The journal lives on `disk`. Return whether all guests are as
    declared (always true without `once`). A disk that takes nothing is waited for, unless `once`.
    Raise ConfigError, JournalError or AlreadyRunning if the agent cannot begin; with `once` also
    what the pass failed of, where nothing can be told of the guests.
    """
    inbox: Inbox = queue.SimpleQueue()
    shutting_down = Flag()
    reread = reread or (lambda: load(config.path))
    manager = ServiceManager.present()
    manager.require_watchdog(config.proxmox.connect_timeout + config.proxmox.read_timeout)
    course, names, ring, counters = _Course(), Names(), Ring(), Counters()
    with (
        ring.collecting(),
        notifying(config, wanted=not once) as notifier,
        closing(ControlSocket(config.control.socket, ring, notifier)) as control,
        signals(inbox, shutting_down),
    ):
        while True:
            try:
                with assembled(
                    config, disk=disk, shutting_down=shutting_down, manager=manager, names=names,
                    goes_on=lambda: course.goes_on, counters=counters,
                ) as parts:  # fmt: skip
                    daemon = Daemon(
                        config, parts, inbox, manager, reread=reread, started=course.started
                    )
                    course.begin(daemon)
                    if once:
                        return _passed(daemon)
                    told_to_stop = course.work(daemon, control, notifier)
                config = daemon.config
                said = last_word(parts.operations)
            except JournalClosed as error:
                if once:
                    raise
                message = _wait_for_the_disk(error, inbox, manager, news=not course.waits)
                told_to_stop, course.waits = message == STOP, True
                said = f"stopped; {error}"
                if told_to_stop:
                    _log.info("%s", said, extra=fields(AGENT_STOPPED))
                if message == RELOAD:
                    config = _reloaded(config, reread)
            if told_to_stop:
                manager.stopping(said)
                return True


def _passed(daemon: Daemon) -> bool:
    """Do one pass; return whether all guests are as declared. Raise what it failed of."""
    good = daemon.run_pass()
    if daemon.failure is not None:
        raise daemon.failure
    return good


@dataclass
class _Course:
    """How the process gets on: whether an agent has begun in it, and when the first one did,
    whether the present one is followed by another, and whether a disk is waited for.
    """

    has_begun: bool = False
    started: float | None = None
    goes_on: bool = False
    waits: bool = False

    def begin(self, daemon: Daemon) -> None:
        """Let an agent begin: a process that goes on has neither stopped nor started."""
        if self.waits or self.goes_on:
            text = "the journal can be written again; going on from what it has"
            _log.info(text, extra=fields(JOURNAL_BACK))
        self.goes_on = False
        daemon.begin(greets=not self.has_begun)
        self.has_begun, self.started, self.waits = True, daemon.started, False

    def work(self, daemon: Daemon, control: ControlSocket, notifier: Notifier | None) -> bool:
        """Let an agent work until told to stop, or until it is put together again; return whether
        it was told to stop. Raise JournalClosed as it does.
        """
        access = daemon.access()
        told = notifier.seeing(lambda: backups_of(access.latest())) if notifier else nullcontext()
        try:
            with daemon.hub(), daemon.metrics(), control.serving(access), told:
                told_to_stop = daemon.run()
        except JournalClosed:
            self.goes_on = True
            raise
        self.goes_on = not told_to_stop
        return told_to_stop


def _reloaded(config: Config, reread: Callable[[], Config]) -> Config:
    """Return the configuration as it is on the disk now, or the one in force if that has errors."""
    try:
        return reread()
    except ConfigError as error:
        for problem in error.problems:
            _log.error("%s", problem, extra=fields(CONFIG_WRONG))
        return config


def _wait_for_the_disk(
    error: JournalClosed, inbox: Inbox, manager: ServiceManager, *, news: bool
) -> Message:
    """Wait a while before the journal is tried again; return the message that came, if any did.

    A service that gave up would still be down when somebody has made room.
    """
    if news:
        text = "%s; trying on, and nothing is done; make room, or mend the disk"
        _log.error(text, error, extra=fields(JOURNAL_LOST))
    manager.ready()
    manager.status(str(error))
    manager.ping_watchdog()
    try:
        return inbox.get(timeout=min(_DISK_PAUSE, manager.max_idle))
    except queue.Empty:
        return ""
