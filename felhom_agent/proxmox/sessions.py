"""Sessions: no connection is ever used by two threads at once.

Each is proxmoxer's resource of the whole API, over an adapter in the place of what its backends
send through: so `requests` is neither needed nor loaded.

A call borrows one and gives it back, so there are as many as there were calls at the same time,
whatever threads come and go.

Threads: `_lock` guards the settings, the sessions that nobody uses and whether they were closed; no
call is made under it. A session given back after `close`, or when `KEPT` are idle, is closed at
once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from proxmoxer.core import ProxmoxResource

from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.proxmox.transport import Adapter

KEPT = 8
"""How many connections are kept for the next call; what a burst needed beyond it is closed."""


@dataclass(frozen=True)
class Session:
    """proxmoxer's API object, with the adapter that it sends through, and by which settings."""

    api: ProxmoxResource
    adapter: Adapter
    config: ProxmoxConfig


class Sessions:
    """The sessions of one client."""

    def __init__(self, config: ProxmoxConfig, secret: Secret) -> None:
        self._config = config
        self._secret = secret
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._closed = False

    def borrow(self) -> Session:
        """Return a session that nobody else uses."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def give_back(self, session: Session) -> None:
        """Given a session that was borrowed, keep it for the next call, or close it."""
        with self._lock:
            current = session.config is self._config and not self._closed
            if current and len(self._idle) < KEPT:
                self._idle.append(session)
                return
        session.adapter.close()

    def close(self) -> None:
        """Close all sessions, those in use as soon as they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        _close(idle)

    def adopt(self, config: ProxmoxConfig) -> None:
        """Given other settings for the same node, connect by them from now on; no session that was
        made by the ones before is used for another call.
        """
        with self._lock:
            self._config = config
            idle, self._idle = self._idle, []
        _close(idle)

    def _connect(self) -> Session:
        config = self._config
        # PVE: pve-access-control AccessControl.pm verify_token
        adapter = Adapter(config, f"PVEAPIToken={config.token_id}={self._secret.reveal()}")
        api = ProxmoxResource(
            base_url=f"{config.endpoint.rstrip('/')}/api2/json",
            session=_Sender(adapter),
            serializer=_Unread(),
        )
        return Session(api, adapter, config)


def _close(sessions: Iterable[Session]) -> None:
    for session in sessions:
        session.adapter.close()


@dataclass(frozen=True)
class _Seen:
    """What proxmoxer is shown of an answer; what it holds, `Adapter.last` has."""

    status_code: int
    reason: str
    content: bytes = b""


class _Sender:
    """In the place of proxmoxer's `requests.Session`."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def request(
        self,
        method: str,
        url: str,
        data: dict[str, str | int] | None = None,
        params: dict[str, str | int] | None = None,
    ) -> _Seen:
        answer = self._adapter.request(method, url, data, params)
        return _Seen(answer.status, answer.reason)


class _Unread:
    """In the place of proxmoxer's reader of bodies, which knows no bounds: `bodies` reads them."""

    def loads(self, response: object) -> dict[str, object]:
        del response
        return {}

    def loads_errors(self, response: object) -> None:
        del response
