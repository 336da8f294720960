"""The control socket: HTTP/1.1 with JSON over a Unix stream socket of this host.

It is how people and programs on this host speak to a running agent: `curl --unix-socket` works. The
server is given routes and knows nothing of guests. What it promises:

* Who calls is what the kernel says (SO_PEERCRED), never what the caller says. Root may do all, and
  so may the agent's own user, who could write the journal anyhow. Whoever else can open the socket
  is a member of the group `felhom-admin`, and may do what a route does not keep for root. Inside a
  user namespace (PrivateUsers) all others look alike, so nobody else is told apart.
* Nothing that a client does blocks or ends the agent. A request is bounded in bytes (`request`) and
  time, the connections in number, and some of these are kept for root, so that no member can keep
  root from a freeze. One request per connection. An answer is JSON; what cannot be followed is
  answered with a 4xx and `{"error": "..."}`. Metrics alone are answered in their own text format.
* A socket that a killed agent left is replaced; one that somebody answers at is not, nor is
  anything that is no socket. Only root, its own user and the group can open it.

Threads: `control` accepts; each connection has a thread `control-N` for itself, which may only call
what is safe from any thread. `_lock` guards the table of connections; nothing is done under it.
`close` ends the accepting and every connection, waits for the threads for a while, and leaves
behind one whose handler hangs (in a disk, say); it holds nothing that the agent needs.
"""

from __future__ import annotations

import grp
import json
import logging
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from felhom_agent.errors import FelhomError
from felhom_agent.redaction import redacted
from felhom_agent.service.events import CONTROLLED
from felhom_agent.service.logging import fields
from felhom_agent.service.request import ADMINS, ControlError, ControlRequest, read_request

_log = logging.getLogger(__name__)

# What an id is shown as that a user namespace does not know (/proc/sys/kernel/overflowuid).
_UNKNOWN_UID = 65534
_BACKLOG = 64
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of Prometheus' text format."""
_RETRY_PAUSE = 0.1


class ControlUnavailable(FelhomError):
    """The control socket cannot be made."""


@dataclass(frozen=True)
class Caller:
    """Who is at the other end: a name for the log, and whether it may do all."""

    name: str
    owner: bool


@dataclass(frozen=True)
class ControlAnswer:
    """What is answered: HTTP's status, and a JSON object, or in its place a text of metrics, in
    which whoever made it has seen to secrets.
    """

    status: int
    body: dict[str, Any]
    text: str | None = None


Handler = Callable[[ControlRequest, Caller], ControlAnswer]
"""Answers a request, on a thread of the server. Raises ControlError, or FelhomError where the agent
cannot do it at present.
"""


@dataclass(frozen=True)
class ControlRoute:
    """One thing that can be asked for; `owner_only`: by root and the agent's own user alone;
    `parameters`: the names that its query may have.
    """

    method: str
    path: str
    handle: Handler
    owner_only: bool = False
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class ControlLimits:
    """Seconds for a request to come, and for all of it; connections at once, and how many of these
    are kept for those who may do all.
    """

    read: float = 5.0
    total: float = 10.0
    connections: int = 8
    kept: int = 2


class ControlServer:
    """Serves routes at a socket from `start` to `close`."""

    def __init__(
        self,
        path: Path,
        routes: Sequence[ControlRoute],
        limits: ControlLimits = ControlLimits(),
        *,
        admins: str = ADMINS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Members of the group `admins` may open the socket, if there is such a group and the agent
        may give it to them.
        """
        self.path = path
        self._routes = {(route.path, route.method): route for route in routes}
        self._limits = limits
        self._admins = admins
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, tuple[socket.socket, Caller]] = {}
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._made: tuple[int, int] = (0, 0)
        self._accepting: threading.Thread | None = None
        self._count = 0

    def start(self) -> None:
        """Make the socket and serve. Raise ControlUnavailable if it cannot be made."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._bind(listener)
            thread = threading.Thread(
                target=self._accept, args=(listener,), name="control", daemon=True
            )
            thread.start()
        except ControlUnavailable:
            listener.close()
            raise
        except (OSError, RuntimeError) as error:
            listener.close()
            why = getattr(error, "strerror", None) or error
            raise ControlUnavailable(f"{self.path}: cannot be made: {why}") from None
        self._listener, self._accepting = listener, thread

    def close(self, timeout: float = 2.0) -> None:
        """Accept no more, end all connections, and wait for that up to `timeout` seconds."""
        self._stopping.set()
        if self._listener is None:
            return
        with suppress(OSError):
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == self._made:
                self.path.unlink()
        # This wakes the accept: closing alone would not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        until = self._clock() + timeout
        if self._accepting is not None:
            self._accepting.join(timeout)
        self._listener.close()
        # Who still sends is cut off; an answer that is on its way may arrive.
        for how in (socket.SHUT_RD, socket.SHUT_RDWR):
            for thread, connection in self._connections():
                with suppress(OSError):
                    connection.shutdown(how)
                thread.join(max(0.0, (until - self._clock()) / 2))

    def _connections(self) -> list[tuple[threading.Thread, socket.socket]]:
        with self._lock:
            return [(thread, connection) for thread, (connection, _) in self._open.items()]

    def _bind(self, listener: socket.socket) -> None:
        """Make the socket aside, and put it in its place once it can be connected to."""
        self._see_that_it_is_free()
        aside = self.path.with_name(f"{self.path.name}.new")
        aside.unlink(missing_ok=True)
        # The mode that it is made with; the group is let in once it has the right group.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(os.fspath(aside))
        try:
            found = os.lstat(aside)
            self._made = (found.st_dev, found.st_ino)
            self._let_admins_in(aside, found.st_gid)
            listener.listen(_BACKLOG)
            aside.rename(self.path)
        except OSError:
            aside.unlink()
            raise

    def _let_admins_in(self, path: Path, group: int) -> None:
        # No such group, or not ours to give: then root and the agent's own user have it alone.
        with suppress(KeyError, OSError):
            wanted = grp.getgrnam(self._admins).gr_gid
            if wanted != group:
                os.chown(path, -1, wanted)
            path.chmod(0o660)

    def _see_that_it_is_free(self) -> None:
        """Return if nothing is there but what a killed agent left. Raise ControlUnavailable if
        anything else is.
        """
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ControlUnavailable(f"{self.path}: is there, and is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(os.fspath(self.path))
            except ConnectionRefusedError:
                return
            except BlockingIOError:
                pass
        raise ControlUnavailable(f"{self.path}: somebody answers there already")

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                # Too many files are open, say; others may close theirs.
                self._stopping.wait(_RETRY_PAUSE)
                continue
            try:
                self._begin(connection)
            except Exception:  # whatever it is, the next one is served
                connection.close()
                _log.exception("internal error at the control socket; please report it")

    def _begin(self, connection: socket.socket) -> None:
        """Serve a connection on a thread of its own, or send it away."""
        try:
            caller = caller_of(connection)
        except OSError:
            connection.close()
            return
        self._count += 1
        thread = threading.Thread(
            target=self._serve,
            args=(connection, caller),
            name=f"control-{self._count}",
            daemon=True,
        )
        if not self._has_place(caller):
            _send_away(connection)
            return
        with self._lock:
            self._open[thread] = (connection, caller)
        try:
            thread.start()
        except RuntimeError:  # the system gives us no thread
            with self._lock:
                del self._open[thread]
            _send_away(connection)

    def _has_place(self, caller: Caller) -> bool:
        """Return whether a caller may have one more connection; the accepting thread adds them."""
        with self._lock:
            others = sum(not known.owner for _, known in self._open.values())
            total = len(self._open)
        limits = self._limits
        return total < limits.connections and (
            caller.owner or others < limits.connections - limits.kept
        )

    def _serve(self, connection: socket.socket, caller: Caller) -> None:
        until = self._clock() + self._limits.total
        try:
            answer = self._answer(connection, caller)
            if answer is not None:
                connection.settimeout(max(0.001, until - self._clock()))
                connection.sendall(_encoded(answer))
        except OSError:
            pass  # whoever asked has left, or does not read
        finally:
            connection.close()
            with self._lock:
                del self._open[threading.current_thread()]

    def _answer(self, connection: socket.socket, caller: Caller) -> ControlAnswer | None:
        """Return the answer to the request of a connection; None if there is none."""
        try:
            request = read_request(connection, self._clock() + self._limits.read, self._clock)
            return None if request is None else self._route(request, caller)(request, caller)
        except ControlError as error:
            return _error(error.status, str(error))
        except FelhomError as error:
            return _error(503, str(error))
        except OSError:
            raise
        except Exception:  # a bug of ours costs the request that found it
            _log.exception("internal error at the control socket; please report it")
            return _error(500, "internal error; the log has more")

    def _route(self, request: ControlRequest, caller: Caller) -> Handler:
        """Return who answers a request. Raise ControlError if nobody does, or not this caller, or
        its query has what the route does not know.
        """
        route = self._routes.get((request.path, request.method))
        if route is None:
            methods = sorted(method for path, method in self._routes if path == request.path)
            if methods:
                raise ControlError(405, f"only {', '.join(methods)} is known here")
            raise ControlError(404, "there is nothing of that path")
        if route.owner_only and not caller.owner:
            text = "control socket: %s was refused to %s; it needs root, or sudo"
            _log.warning(text, route.path, caller.name, extra=fields(CONTROLLED))
            raise ControlError(403, "this needs root")
        request.parameters(route.parameters)
        return route.handle


def caller_of(connection: socket.socket) -> Caller:
    """Given a connection, return who is at its other end, as the kernel says. Raise OSError if it
    cannot say.
    """
    size = struct.calcsize("iII")
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, _ = struct.unpack("iII", data)
    if uid == 0:
        return Caller("root", owner=True)
    if uid == os.geteuid() != _UNKNOWN_UID:
        return Caller("the agent's own user", owner=True)
    return Caller(f"a member of {ADMINS}", owner=False)


def _error(status: int, text: str) -> ControlAnswer:
    return ControlAnswer(status, {"error": text})


def _send_away(connection: socket.socket) -> None:
    """Answer that there is no place, if that can be done at once, and close."""
    with connection, suppress(OSError):
        connection.setblocking(False)
        connection.sendall(_encoded(_error(503, "too many connections; try again")))


def _encoded(answer: ControlAnswer) -> bytes:
    kind = "application/json"
    body = json.dumps(_without_secrets(answer.body)).encode("ascii") + b"\n"
    if answer.text is not None:
        kind, body = METRICS_TYPE, answer.text.encode("utf-8")
    phrase = HTTPStatus(answer.status).phrase
    head = (
        f"HTTP/1.1 {answer.status} {phrase}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def _without_secrets(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_secrets(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_without_secrets(value) for value in data]
    return redacted(data) if isinstance(data, str) else data
