"""An agent for the length of one command, where none runs: it does what it is told, and no more.

It is the very agent, with its lock, journal and queue, in observe mode: by itself it changes
nothing, and what a person applies passes through the same gate. It is asked as a running agent is,
without a socket: nobody else may speak to it.

Threads: its main loop runs on a thread of its own, `agent`, from the beginning of the block to its
end, which tells it to stop and waits for it: no longer than its lanes are given. Whoever holds the
block asks from one other thread.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from felhom_agent.config.settings import Config
from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.controls import Controls
from felhom_agent.daemon.loop import STOP, Daemon
from felhom_agent.errors import FelhomError
from felhom_agent.model import Mode
from felhom_agent.service.control import Caller, ControlRoute
from felhom_agent.service.flag import Flag
from felhom_agent.service.request import ControlRequest

Ask = Callable[[str, str, Mapping[str, Any] | None], dict[str, Any]]
"""Given a method, a path (with parameters perhaps) and fields, returns what an agent answers.
Raises FelhomError if it says no.
"""

# Seconds beyond those that lanes are given.
_SLACK = 10.0


@contextmanager
def temporary_agent(config: Config) -> Iterator[Ask]:
    """Given the configuration, hold an agent for the length of a block.

    Raise ConfigError, AlreadyRunning or JournalError if it cannot begin.
    """
    config = replace(config, reconcile=replace(config.reconcile, mode=Mode.OBSERVE))
    stop = Flag()
    controls = Controls()
    with assembled(config, shutting_down=stop) as parts:
        daemon = Daemon(config, parts, queue.SimpleQueue(), reread=lambda: config)
        loop = threading.Thread(target=daemon.run, name="agent", daemon=True)
        with controls.attached(daemon.access()):
            loop.start()
            try:
                yield _asking(controls.routes(), loop.is_alive)
            finally:
                stop.set()
                daemon.send(STOP)
                loop.join(config.reconcile.drain_timeout + _SLACK)


def _asking(routes: tuple[ControlRoute, ...], is_alive: Callable[[], bool]) -> Ask:
    owner = Caller("root", owner=True)

    def ask(method: str, target: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        path, _, query = target.partition("?")
        if not is_alive():
            raise FelhomError("the agent that this command runs has ended; its journal was lost")
        for route in routes:
            if (route.method, route.path) == (method, path):
                body = b"" if given is None else json.dumps(given).encode("ascii")
                headers = {"content-type": "application/json"}
                request = ControlRequest(method, path, headers, body, query or None)
                return route.handle(request, owner).body
        raise FelhomError(f"{method} {path} is not known")

    return ask
