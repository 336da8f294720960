"""Calls to PVE's HTTP API with an API token.

`Client.get` and `Client.write` are the two words: a read changes nothing and may be repeated, a
write is sent once and its failure is told apart by what it may have done. proxmoxer makes the
requests; what it leaves out is added here:

* no `requests.Session` is ever used by two threads at once: a call borrows one and gives it back,
  so there are as many as there were calls at the same time, whatever threads come and go;
* its log of every request's body, which holds passwords, is silenced;
* no proxy, no `.netrc` and no CA of the environment has a say;
* booleans go out as 1 and 0: PVE refuses "True" (recorded: 90-proxmoxer/005);
* answers that are not JSON, and redirects, are errors and not data.

Threads: a client may be shared. `_lock` guards the sessions that nobody uses at this moment and
whether the client was closed; no call is made under it. A session given back after `close`, or when
`KEPT` are idle, is closed at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from proxmoxer import ProxmoxAPI
from proxmoxer.core import ResourceException

from felhom_agent.config import ProxmoxConfig
from felhom_agent.errors import NotSent
from felhom_agent.proxmox import answers
from felhom_agent.proxmox.transport import PveAdapter, trust
from felhom_agent.secret import Secret
from felhom_agent.service.systemd import Vitals

Path = Sequence[str | int]
_DEFAULT_PORT = 8006
KEPT = 8
"""How many connections are kept for the next call; what a burst needed beyond it is closed."""


@dataclass(frozen=True)
class _Session:
    """proxmoxer's API object, with the adapter that it sends through."""

    api: ProxmoxAPI
    http: requests.Session
    adapter: PveAdapter


class Client:
    """The API of one endpoint, as one token's owner."""

    def __init__(self, config: ProxmoxConfig, secret: Secret, vitals: Vitals | None = None) -> None:
        """`vitals` hears of each call while it is made."""
        self.config = config
        self._vitals = vitals or Vitals()
        self.token_id = config.token_id
        self._secret = secret
        self._lock = threading.Lock()
        self._idle: list[_Session] = []
        self._closed = False
        logging.getLogger("proxmoxer.core").setLevel(logging.WARNING)

    def get(self, *path: str | int, **params: str | int) -> Any:
        """Given a path's parts and parameters, return PVE's data.

        Raise Unanswered or NotSent if no usable answer came, Rejected, Denied or Missing if PVE
        said no.
        """
        return self._call("GET", path, params)

    def write(
        self, method: str, *path: str | int, data: Mapping[str, str | int | bool] | None = None
    ) -> Any:
        """Given a method (PUT, POST, DELETE), a path's parts and a body, return PVE's data.

        Raise an Unchanged error if PVE surely did nothing, OutcomeUnknown if nobody can tell.
        """
        body = {k: int(v) if isinstance(v, bool) else v for k, v in (data or {}).items()}
        return self._call(method, path, body)

    def close(self) -> None:
        """Close all connections, those in use as soon as they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.http.close()

    def _call(self, method: str, path: Path, params: Mapping[str, Any]) -> Any:
        call = f"{method} /{'/'.join(str(p) for p in path)}"
        session = self._borrow()
        try:
            with self._vitals.doing(call, self._longest(method)):
                data = self._send(session, call, method, path, params)
            answer = _answer(session.adapter)
        finally:
            self._give_back(session)
        if answer.status_code >= 300:
            raise answers.error_of(call, answer)
        if not _is_json(answer, data):
            raise answers.not_json(call)
        return data

    def _longest(self, method: str) -> float:
        """Return the seconds after which a call hangs: its timeouts are for each piece alone."""
        config = self.config
        answer = config.read_timeout if method == "GET" else config.write_timeout
        return 2 * (config.connect_timeout + answer) + 10

    def _send(
        self, session: _Session, call: str, method: str, path: Path, params: Mapping[str, Any]
    ) -> Any:
        """Given a request, return what proxmoxer makes of the answer. Raise PveError if none."""
        resource = session.api([str(p) for p in path])
        try:
            return getattr(resource, method.lower())(**params)
        except ResourceException:
            raise answers.error_of(call, _answer(session.adapter)) from None
        except requests.RequestException as error:
            raise answers.error_without_answer(call, error, self.config.endpoint) from None
        except OSError as error:
            # What requests raises as it is: a CA file that is absent or holds no certificate.
            raise NotSent(f"ca_file cannot be used: {error}", call=call) from None
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            # proxmoxer stumbles over JSON that is not {"data": ...}.
            raise answers.not_json(call) from None

    def _borrow(self) -> _Session:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give_back(self, session: _Session) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < KEPT:
                self._idle.append(session)
                return
        session.http.close()

    def _connect(self) -> _Session:
        url = urlsplit(self.config.endpoint)
        user, _, token_name = self.token_id.partition("!")
        api = ProxmoxAPI(
            f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname,
            port=url.port or _DEFAULT_PORT,
            user=user,
            token_name=token_name,
            token_value=self._secret.reveal(),
            verify_ssl=trust(self.config),
            backend="https",
        )
        # proxmoxer offers no door to its session; the name is the same from 1.2 to 2.3.
        http: requests.Session = api._store["session"]  # noqa: SLF001
        adapter = PveAdapter(self.config)
        http.trust_env = False
        http.mount("https://", adapter)
        return _Session(api, http, adapter)


def _answer(adapter: PveAdapter) -> requests.Response:
    if adapter.last is None:
        raise RuntimeError("proxmoxer answered without asking")
    return adapter.last


def _is_json(response: requests.Response, data: object) -> bool:
    # proxmoxer hands a body that it cannot parse on as {"errors": the bytes}.
    unparsed = isinstance(data, dict) and isinstance(data.get("errors"), bytes)
    kind = response.headers.get("Content-Type", "")
    return kind.startswith("application/json") and not unparsed
