"""Sessions: no `requests.Session` is ever used by two threads at once.

A call borrows one and gives it back, so there are as many as there were calls at the same time,
whatever threads come and go.

Threads: `_lock` guards the sessions that nobody uses at this moment and whether they were closed;
no call is made under it. A session given back after `close`, or when `KEPT` are idle, is closed at
once.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from proxmoxer import ProxmoxAPI

from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.proxmox.transport import PveAdapter, trust

_DEFAULT_PORT = 8006
KEPT = 8
"""How many connections are kept for the next call; what a burst needed beyond it is closed."""


@dataclass(frozen=True)
class Session:
    """proxmoxer's API object, with the adapter that it sends through."""

    api: ProxmoxAPI
    http: requests.Session
    adapter: PveAdapter


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
            if not self._closed and len(self._idle) < KEPT:
                self._idle.append(session)
                return
        session.http.close()

    def close(self) -> None:
        """Close all sessions, those in use as soon as they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.http.close()

    def _connect(self) -> Session:
        url = urlsplit(self._config.endpoint)
        user, _, token_name = self._config.token_id.partition("!")
        api = ProxmoxAPI(
            f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname,
            port=url.port or _DEFAULT_PORT,
            user=user,
            token_name=token_name,
            token_value=self._secret.reveal(),
            verify_ssl=trust(self._config),
            backend="https",
        )
        # proxmoxer gives no access to its session; the names are the same from 1.2 to 2.3.
        store = api._store  # noqa: SLF001
        http: requests.Session = store["session"]
        store["serializer"] = _Unread()
        adapter = PveAdapter(self._config)
        http.trust_env = False
        http.mount("https://", adapter)
        return Session(api, http, adapter)


class _Unread:
    """In the place of proxmoxer's reader of bodies, which knows no bounds: `bodies` reads them."""

    def loads(self, response: requests.Response) -> dict[str, object]:
        del response
        return {}

    def loads_errors(self, response: requests.Response) -> None:
        del response
