"""The service: signals, and an agent that is put together as often as it takes.

Signals: SIGHUP reads configuration and guest files again and lets every guest be due; SIGTERM and
SIGINT stop. A stop begins nothing new, gives what runs `drain_timeout` seconds, and leaves the
rest in flight in the journal, where the next start finds it.

The agent is put together again when a journal that was lost can be written again; and where the
journal cannot even be opened because the disk takes nothing, that is waited for. The control socket
is made once the first agent holds the journal's lock, and stays until the process ends.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from contextlib import closing

from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import Config
from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.controls import ControlSocket
from felhom_agent.daemon.loop import RELOAD, STOP, Daemon, Inbox, Message
from felhom_agent.daemon.signals import signals
from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.errors import ConfigError, JournalClosed
from felhom_agent.service.events import CONFIG_WRONG, JOURNAL_LOST
from felhom_agent.service.flag import Flag
from felhom_agent.service.logging import fields
from felhom_agent.service.manager import ServiceManager
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
    Raise ConfigError, JournalError or AlreadyRunning if the agent cannot begin.
    """
    inbox: Inbox = queue.SimpleQueue()
    shutting_down = Flag()
    reread = reread or (lambda: load(config.path))
    manager = ServiceManager.present()
    manager.require_watchdog(config.proxmox.connect_timeout + config.proxmox.read_timeout)
    waiting = False
    ring = Ring()
    control = ControlSocket(config.control.socket, ring)
    with ring.collecting(), signals(inbox, shutting_down), closing(control):
        while True:
            try:
                with assembled(
                    config, disk=disk, shutting_down=shutting_down, manager=manager
                ) as parts:
                    daemon = Daemon(config, parts, inbox, manager, reread=reread)
                    daemon.begin()
                    if once:
                        return daemon.run_pass()
                    with daemon.hub(), control.serving(daemon.access()):
                        told_to_stop = daemon.run()
                waiting, config = False, daemon.config
            except JournalClosed as error:
                if once:
                    raise
                message = _wait_for_the_disk(error, inbox, manager, news=not waiting)
                told_to_stop, waiting = message == STOP, True
                if message == RELOAD:
                    config = _reloaded(config, reread)
            if told_to_stop:
                manager.stopping()
                return True


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
        _log.error("%s; trying on, and nothing is done", error, extra=fields(JOURNAL_LOST))
    manager.ready()
    manager.status(str(error))
    manager.ping_watchdog()
    try:
        return inbox.get(timeout=min(_DISK_PAUSE, manager.max_idle))
    except queue.Empty:
        return ""
