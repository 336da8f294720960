"""Calls to PVE's HTTP API with an API token.

`Client.get` and `Client.write` are the two words: a read changes nothing and may be repeated, a
write needs a permit, is sent once, and its failure is told apart by what it may have done.
proxmoxer makes the requests; what it leaves out is added here:

* no connection is ever used by two threads at once: a call borrows one and gives it back,
  so there are as many as there were calls at the same time, whatever threads come and go;
* its log of every request's body, which holds passwords, is silenced;
* no proxy, no `.netrc` and no CA of the environment has a say;
* booleans go out as 1 and 0: PVE refuses "True" (recorded: 90-proxmoxer/005);
* every call as a whole has a deadline and a bound for its answer (`deadline`, `bodies`);
* a read whose connection ended before a byte of its answer came is repeated, once and on a new
  connection: PVE's proxy cuts connections when it is reloaded, and no guest should pay for it;
* answers that are not PVE's JSON, and redirects, are errors and not data;
* PVE's proxy has three workers, and its web page needs one: at most `READS` reads are under way at
  once, and whoever writes holds a place of `writes` meanwhile (`limits`).

Threads: a client may be shared, and so are its sessions by all views of it (`abandoned_by`).
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any

from proxmoxer.core import ResourceException

from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.errors import Busy, Interrupted, NotSent, PveError, Unchanged
from felhom_agent.proxmox import answers, bodies
from felhom_agent.proxmox.deadline import Bounds
from felhom_agent.proxmox.endpoints import endpoint_of
from felhom_agent.proxmox.limits import Limit
from felhom_agent.proxmox.permit import Permit, present
from felhom_agent.proxmox.sessions import Session, Sessions
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import API, API_SECONDS
from felhom_agent.service.flag import Signal
from felhom_agent.service.watchdog import Watchdog

_log = logging.getLogger(__name__)

Path = Sequence[str | int]
# Seconds by which a call may outlive its bounds: the resolver has bounds of its own.
_SLACK = 15.0
READS = 4
"""How many reads may be under way at the same time."""
WRITES = 2
"""How many changes may be asked for at the same time."""
_SLOW_READ, _SLOW_WRITE = 2.0, 5.0  # seconds
# Seconds; the main loop reads, too, and the service manager's watchdog waits for it.
_READ_PATIENCE = 60.0


class Client:
    """The API of one endpoint, as one token's owner."""

    def __init__(
        self,
        config: ProxmoxConfig,
        secret: Secret,
        watchdog: Watchdog | None = None,
        abandon: Signal | None = None,
        counters: Counters | None = None,
    ) -> None:
        """`watchdog` hears of each call while it is made; `abandon` ends reads early once it is
        set, those in progress and those that wait for a place too, and never a write. `counters`
        count the calls.
        """
        self.config = config
        self._watchdog = watchdog or Watchdog()
        self._counters = counters or Counters()
        self._abandon = abandon
        self.token_id = config.token_id
        self._sessions = Sessions(config, secret)
        self._reads = Limit(READS, "reads", _SLOW_READ, patience=_READ_PATIENCE)
        self.writes = Limit(WRITES, "changes", _SLOW_WRITE)
        logging.getLogger("proxmoxer.core").setLevel(logging.WARNING)

    def adopt(self, config: ProxmoxConfig) -> None:
        """Given other settings for the same node and token, connect by them from now on."""
        self.config = config
        self._sessions.adopt(config)

    def abandoned_by(self, event: Signal) -> Client:
        """Return this client, but that its reads end early once that event is set."""
        view = copy.copy(self)
        view._abandon = event  # noqa: SLF001  # its own class
        return view

    def get(self, *path: str | int, **params: str | int) -> Any:
        """Given a path's parts and parameters, return PVE's data.

        Raise Unanswered or NotSent if no usable answer came, Rejected, Denied or Missing if PVE
        said no, Interrupted if the call was given up.
        """
        return self._read(path, params)["data"]

    def page(self, *path: str | int, **params: str | int) -> tuple[Any, int]:
        """As `get`, for a part of a list; return it and how many rows the whole list has."""
        whole = self._read(path, params)
        total = whole.get("total")
        return whole["data"], total if type(total) is int and 0 <= total < 2**53 else 0

    def date(self) -> str:
        """Return what the node's clock says as it answers now (RFC 9110; empty: it does not tell).
        Raise as `get` does.
        """
        # PVE: PVE/APIServer/AnyEvent.pm response sets the header Date with each answer.
        path = ("version",)
        with self._reads.held(self._abandon):
            answer = self._answer("GET /version", "GET", path, {})
        if answer.status != 200:
            raise self._error_of("GET /version", answer)
        return answer.date

    def write(
        self,
        method: str,
        *path: str | int,
        permit: Permit,
        data: Mapping[str, str | int | bool] | None = None,
    ) -> Any:
        """Given a method (PUT, POST, DELETE), a path's parts and a body, return PVE's data.

        The caller holds a place of `writes`, and `permit` is used up. Raise PermitError if it is
        none for that path, and nothing was sent; an Unchanged error if PVE surely did nothing,
        OutcomeUnknown if nobody can tell.
        """
        present(permit).spend(method, path)
        body = {k: int(v) if isinstance(v, bool) else v for k, v in (data or {}).items()}
        try:
            return self._call(method, path, body)["data"]
        except Busy:
            self.writes.narrow()
            raise

    def close(self) -> None:
        """Close all connections, those in use as soon as they are given back."""
        self._sessions.close()

    def _read(self, path: Path, params: Mapping[str, Any]) -> dict[str, Any]:
        with self._reads.held(self._abandon):
            return self._call("GET", path, params)

    def _call(self, method: str, path: Path, params: Mapping[str, Any]) -> dict[str, Any]:
        call = f"{method} /{'/'.join(str(p) for p in path)}"
        answer = self._answer(call, method, path, params)
        if answer.status != 200:
            raise self._error_of(call, answer)
        try:
            limit = bodies.limit_of(path)
            whole = bodies.parse(answer.body, limit) if answers.is_json(answer) else {}
        except ValueError:
            whole = {}
        if "data" not in whole:
            raise answers.not_json(call, self.config.endpoint)
        return whole

    def _answer(
        self, call: str, method: str, path: Path, params: Mapping[str, Any]
    ) -> answers.Answer:
        """Given a request, return its answer, whatever it says. Raise PveError or Interrupted if
        none came.
        """
        limit = bodies.limit_of(path)
        session = self._sessions.borrow()
        begun, code = time.monotonic(), "none"
        try:
            bounds = session.adapter.bound(
                method, limit.size, self._abandon if method == "GET" else None
            )
            with self._watchdog.guard(call, bounds.longest + _SLACK):
                answer = self._ask(session, bounds, call, method, path, params)
            code = str(answer.status)
            return answer
        finally:
            self._sessions.give_back(session)
            endpoint, seconds = endpoint_of(path), time.monotonic() - begun
            self._counters.add(API, method, endpoint, code)
            self._counters.observe(API_SECONDS, seconds, method, endpoint)

    def _error_of(self, call: str, answer: answers.Answer) -> PveError:
        node = answers.unknown_node(answer)
        if not node:
            return answers.error_of(call, answer, self.config)
        try:
            rows = self._call("GET", ("nodes",), {})["data"]
        except PveError:
            rows = []
        found = [row.get("node") for row in rows if isinstance(row, dict)] if rows else []
        return answers.no_such_node(call, answer, node, [n for n in found if isinstance(n, str)])

    def _ask(
        self,
        session: Session,
        bounds: Bounds,
        call: str,
        method: str,
        path: Path,
        params: Mapping[str, Any],
    ) -> answers.Answer:
        """As `_send`, but repeat a read that was cut off."""
        try:
            return self._send(session, bounds, call, method, path, params)
        except Unchanged as error:
            if method != "GET" or not error.cut_off:
                raise
        _log.debug("%s: the connection ended without an answer; asking once more", call)
        session.adapter.reconnect()
        bounds.restart()
        return self._send(session, bounds, call, method, path, params)

    def _send(
        self,
        session: Session,
        bounds: Bounds,
        call: str,
        method: str,
        path: Path,
        params: Mapping[str, Any],
    ) -> answers.Answer:
        """Given a request, return the answer. Raise PveError or Interrupted if none came."""
        resource = session.api([str(p) for p in path])
        try:
            getattr(resource, method.lower())(**params)
        except ResourceException:
            pass  # an answer like any other
        except (OSError, HTTPException) as error:
            if bounds.abandoned:
                raise Interrupted(f"{call} was given up: the agent is stopping") from None
            raise answers.error_without_answer(call, error, self.config.endpoint, bounds) from None
        except ValueError:
            if bounds.sent:
                raise answers.not_json(call, self.config.endpoint) from None
            # What cannot be encoded, such as half a surrogate pair.
            raise NotSent("a value of the request is no text", call=call) from None
        if session.adapter.last is None:
            raise RuntimeError("proxmoxer answered without asking")
        return session.adapter.last
