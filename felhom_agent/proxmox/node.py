"""One PVE node, as everything above this floor sees it."""

from __future__ import annotations

from dataclasses import dataclass

from felhom_agent.config.secret import read_secret
from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.proxmox.cancel import Cancellation
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.guests import Guests
from felhom_agent.proxmox.observer import Observer
from felhom_agent.proxmox.tasks import Tasks
from felhom_agent.service.counters import Counters
from felhom_agent.service.flag import Flag
from felhom_agent.service.manager import ServiceManager


@dataclass(frozen=True)
class Node:
    """The API of one node: calls, guests, tasks, and observing.

    `cancel_waits` ends every wait for a task and every read that is under way, `shutting_down`
    every snapshot; a write is never given up.
    """

    client: Client
    guests: Guests
    tasks: Tasks
    observer: Observer
    cancel_waits: Cancellation
    shutting_down: Flag

    @classmethod
    def connect(
        cls,
        config: ProxmoxConfig,
        shutting_down: Flag | None = None,
        manager: ServiceManager | None = None,
        counters: Counters | None = None,
    ) -> Node:
        """Given the settings, and perhaps the flag for `shutting_down`, the service manager and
        what counts the calls, return the node; nothing is sent yet.

        Raise ConfigError if the token's secret cannot be had.
        """
        manager = manager or ServiceManager()
        stop = Cancellation()
        client = Client(config, read_secret(config), manager.watchdog, stop, counters)
        guests = Guests(client)
        shutting_down = shutting_down or Flag()
        observer = Observer(client, guests, shutting_down, manager.ping_watchdog)
        return cls(client, guests, Tasks(client, stop), observer, stop, shutting_down)
