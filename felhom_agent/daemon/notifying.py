"""Notifications for the length of the process: begun where [notify] asks for them, never in the
way.

A token that cannot be read costs the notifications and no guest: it is said, and the agent goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from felhom_agent.config.secret import read_notify_token
from felhom_agent.config.settings import Config
from felhom_agent.daemon.passes import Pass
from felhom_agent.errors import ConfigError
from felhom_agent.model import ActualGuest
from felhom_agent.notify.notifier import Notifier
from felhom_agent.notify.quiet import Backups
from felhom_agent.service.events import NOTIFY_FAILED
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

_LOCK: Final = "backup"
"""PVE: vzdump's lock of a guest's configuration (AbstractConfig.pm set_lock, VZDump.pm)."""


def notifier_for(config: Config) -> Notifier | None:
    """Given the configuration, return who tells people, not yet begun; None if nobody is to be
    told. Raise ConfigError if the receiver's token cannot be read.
    """
    if not config.notify.is_on:
        return None
    return Notifier(config.notify, config.proxmox.node, read_notify_token(config.notify))


@contextmanager
def notifying(config: Config, *, wanted: bool = True) -> Iterator[Notifier | None]:
    """Given the configuration, tell people of events for the length of a block, if it is `wanted`
    and configured; what keeps it from that is a line in the log.
    """
    notifier = None
    try:
        notifier = notifier_for(config) if wanted else None
    except ConfigError as error:
        for problem in error.problems:
            text = "nobody is notified: %s; mend it, then restart the agent"
            _log.warning(text, problem, extra=fields(NOTIFY_FAILED))
    if notifier is None:
        yield None
        return
    notifier.start()
    try:
        yield notifier
    finally:
        notifier.close()


def backups_of(passed: Pass) -> Backups:
    """Given a pass, return which guests it saw held by a backup."""
    here: Mapping[int, ActualGuest] = passed.here or {}
    return Backups(
        passed.begun if passed.good else 0.0,
        frozenset(vmid for vmid, guest in here.items() if guest.lock == _LOCK),
    )
