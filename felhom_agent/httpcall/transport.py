"""One request and its answer, over a socket that has a deadline for the whole of it.

The timeouts of HTTP libraries are for each piece that arrives, so whoever sends a byte now and
then holds a call for ever. Here each wait (for a connection, for the other side's part of TLS, for
room to send, for the next bytes of a status line, of headers, of interim answers, of a chunk's
size, of trailers) ends at the call's deadline, and all bytes that arrive are counted, whatever they
are called. Nothing outlives a call: no connection, no cookie, no redirect, no proxy of the
environment.

Only the name's resolution has no deadline of ours: the resolver's own (resolv.conf(5)) counts.

Threads: `send` belongs to one thread. `close`, from any thread, ends a call that is under way;
`_lock` guards which wire that call has, and whether the transport was closed.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import quote, urlsplit

from felhom_agent.errors import BadAnswer, NoAnswer
from felhom_agent.httpcall.trust import context_for
from felhom_agent.httpcall.wire import MAX_BODY_BYTES, Wire

MAX_INTERIM = 10
"""Interim answers (1xx) before the one that counts."""
MAX_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class Server:
    """Whom to call: the URL (https, or http), the CA that signed its certificate (None: those that
    this host trusts), and seconds to connect and for each piece of an answer.
    """

    url: str
    ca_file: Path | None
    connect_timeout: float
    read_timeout: float


@dataclass(frozen=True)
class Reply:
    """An answer as it came; `headers` has each name in lower case, and the first value of it.

    `body` is empty unless the status is 200 and it was wanted.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Transport:
    """Sends requests to one server, each on a connection of its own."""

    def __init__(self, server: Server, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells monotonic seconds."""
        url = urlsplit(server.url)
        self._server = server
        self._clock = clock
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._base = quote(url.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
        self._secure = url.scheme == "https"
        self._lock = threading.Lock()
        self._wire: Wire | None = None
        self._closed = False

    @property
    def longest(self) -> float:
        """The seconds that a whole call may take, however slowly its bytes drip."""
        return self._server.connect_timeout + 2 * self._server.read_timeout

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        reads: bool = True,
    ) -> Reply:
        """Given a request, return the answer; unless `reads`, without its body. Raise NoAnswer if
        none came, or not in time, and BadAnswer if it is no answer of HTTP within bounds.
        """
        with self._call() as wire:
            _request(wire, self._host_header(), method, self._base + path, headers, body)
            return _answer(wire, method, reads=reads)

    def reach(self) -> None:
        """Connect, check the certificate, and ask nothing. Raise NoAnswer if that fails."""
        with self._call():
            pass

    @contextmanager
    def _call(self) -> Iterator[Wire]:
        """Hold a connection for the length of a call; what ends it is told as NoAnswer."""
        until = self._clock() + self.longest
        try:
            with self._connected(until) as wire:
                yield wire
        except TimeoutError:
            if self._clock() >= until:
                raise NoAnswer(f"its answer took longer than {self.longest:g} s") from None
            raise NoAnswer("it gives no answer in time") from None
        except ssl.SSLCertVerificationError:
            raise NoAnswer("its certificate is not trusted") from None
        except (OSError, HTTPException) as error:
            raise NoAnswer(f"it broke the connection ({type(error).__name__})") from None

    def close(self) -> None:
        """End the call that is under way, and begin no other."""
        with self._lock:
            self._closed = True
            if self._wire is not None:
                self._wire.abort()

    def _host_header(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        usual = 443 if self._secure else 80
        return host if self._port == usual else f"{host}:{self._port}"

    @contextmanager
    def _connected(self, until: float) -> Iterator[Wire]:
        """Hold a connection for the length of a block. Raise NoAnswer if there is none."""
        trusted = context_for(self._server.ca_file) if self._secure else None
        raw = self._connect(until)
        wire = Wire(raw, until, self._server.read_timeout, self._clock)
        try:
            with self._lock:
                self._wire = wire
                if self._closed:
                    raise NoAnswer("the agent is stopping")
            if trusted is not None:
                wire.secure(trusted, self._host)
            yield wire
        finally:
            with self._lock:
                self._wire = None
            wire.end()

    def _connect(self, until: float) -> socket.socket:
        """Return a connection to the first of the server's addresses that takes one."""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise NoAnswer("its name cannot be resolved") from None
        why = "it has no address"
        for family, kind, protocol, _, address in found:
            left = min(self._server.connect_timeout, until - self._clock())
            if left <= 0:
                break
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(left)
                made.connect(address)
            except OSError as error:
                made.close()
                why = "no answer in time" if isinstance(error, TimeoutError) else _words(error)
            else:
                return made
        raise NoAnswer(f"it cannot be reached: {why}")


def _request(
    wire: Wire, host: str, method: str, path: str, headers: Mapping[str, str], body: bytes | None
) -> None:
    """Send a request; one that is cut off by an early answer (413, say) is not yet lost."""
    connection = HTTPConnection("server.invalid")
    connection.sock = wire
    try:
        connection.request(method, path, body, {"Host": host, "Connection": "close", **headers})
    except (BrokenPipeError, ConnectionResetError):
        return


def _answer(wire: Wire, method: str, *, reads: bool) -> Reply:
    response = _final(wire, method)
    headers = _headers(response)
    if response.status != 200 or not reads:
        return Reply(response.status, headers)
    length = _length(headers)
    body = b"".join(_pieces(response))
    if length is not None and len(body) < length:
        raise NoAnswer("it broke the connection in the middle of its answer")
    return Reply(response.status, headers, body)


def _final(wire: Wire, method: str) -> HTTPResponse:
    """Return the answer that counts, past those that only say that it will come."""
    for _ in range(MAX_INTERIM):
        response = HTTPResponse(wire, method=method)  # type: ignore[arg-type]
        response.begin()
        if not 100 <= response.status < 200 or response.status == 101:
            return response
    raise BadAnswer("it sends interim answers and no other")


def _headers(response: HTTPResponse) -> dict[str, str]:
    """Return an answer's headers. Raise BadAnswer if they are more than any server sends."""
    headers: dict[str, str] = {}
    size = 0
    for name, value in response.getheaders():
        size += len(name) + len(value)
        if headers.setdefault(name.lower(), value) != value and name.lower() in _SINGLE:
            raise BadAnswer(f"its answer has two different {name.title()}")
    if size > MAX_HEAD_BYTES:
        raise BadAnswer(f"its answer's head is longer than {MAX_HEAD_BYTES} bytes")
    return headers


_SINGLE = frozenset({"content-length", "transfer-encoding"})


def _length(headers: Mapping[str, str]) -> int | None:
    """Return how long a body is said to be. Raise BadAnswer if that is no number."""
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding.strip().lower() != "chunked":
            raise BadAnswer("its answer is transferred in a way that HTTP does not know")
        return None
    text = headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BadAnswer("the Content-Length of its answer is no number")
    return int(text)


def _pieces(response: HTTPResponse) -> Iterator[bytes]:
    size = 0
    # One receive at a time: a `read` would fill its buffer first.
    while data := response.read1(65536):
        size += len(data)
        if size > MAX_BODY_BYTES:
            raise BadAnswer(f"its answer is longer than {MAX_BODY_BYTES} bytes")
        yield data


def _words(error: OSError) -> str:
    return error.strerror or type(error).__name__
