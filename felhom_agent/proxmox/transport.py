"""How a request travels: bounds, trust, connections that PVE is about to drop.

What proxmoxer sends its requests through, in the place of its `requests.Session`: that one, and
urllib3 below it, spend three times of what a request costs here on what PVE never asks for
(cookies, redirects, proxies, streams, pools). HTTP itself is `http.client`'s.

* Every call as a whole has a time for the connection and one for the answer, and a size that its
  answer may have (`deadline`). The body is read here and nowhere else.
* Trust is a CA, or the fingerprint of one certificate, or, when told so, nothing (`trust`).
* PVE closes a connection after 5 s without a request, and a request that meets the closing is
  lost (recorded: 82-keepalive/001). A write must not die of that, so connections which idled for
  longer than `IDLE_LIMIT` seconds, or on which something came meanwhile, if only their end, are
  dropped before the next request. PVE says in the hundredth answer on a connection, and in each of
  status 400 and above, that it closes; no request follows on it.
* A redirect is not followed: PVE sends none, and the token is for this endpoint alone.
* Nothing of an answer is kept for the next request: no cookie, no bytes that came too many.
* Nothing is asked of the environment: no proxy, no `.netrc`, no CA.

An adapter has one connection, serves one call at a time and holds no lock.
"""

from __future__ import annotations

import select
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from felhom_agent import __version__
from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.proxmox.answers import Answer
from felhom_agent.proxmox.deadline import Bounds, connected
from felhom_agent.proxmox.trust import secured
from felhom_agent.service.flag import Signal

IDLE_LIMIT = 3.0
DEFAULT_PORT = 8006
_PIECE = 65536
# What may stand in a path beside letters and digits (RFC 3986, pchar); no part brings a query.
_IN_A_PATH = "/!$&'()*+,;=:@"


class Adapter:
    """Sends requests as `config` says; `last` is the latest answer, if one came."""

    def __init__(self, config: ProxmoxConfig, authorization: str) -> None:
        """`authorization` is the header that tells who asks."""
        self.last: Answer | None = None
        self._config = config
        self._headers = {
            "User-Agent": f"felhom-agent/{__version__}",
            "Accept": "application/json",
            "Authorization": authorization,
        }
        self._used = time.monotonic()
        self._connection = _Connection(config)

    def bound(self, method: str, size: int, abandon: Signal | None = None) -> Bounds:
        """Given a method and how many bytes its answer may have, begin a call; return its bounds.

        With `abandon` the call is given up soon after that event is set.
        """
        config = self._config
        answer = config.read_timeout if method == "GET" else config.write_timeout
        self.last = None
        bounds = Bounds(config.connect_timeout, answer, size, abandon)
        self._connection.bounds = bounds
        return bounds

    def request(
        self,
        method: str,
        url: str,
        data: Mapping[str, str | int] | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> Answer:
        """Given a request in proxmoxer's words, return the answer.

        Raise OSError or HTTPException if none came, ValueError if the request has something that
        cannot be sent. `bound` was called before.
        """
        target = quote(url.partition("://")[2].partition("/")[2], safe=_IN_A_PATH)
        if params:
            target += "?" + urlencode(params)
        body, headers = None, self._headers
        if data:
            body = urlencode(data).encode()
            headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
        if time.monotonic() - self._used > IDLE_LIMIT:
            self.reconnect()
        try:
            self.last = self._connection.exchange(method, "/" + target, body, headers)
        except BaseException:
            self.reconnect()
            raise
        self._used = time.monotonic()
        return self.last

    def reconnect(self) -> None:
        """Send the next request on a new connection."""
        self._connection.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class _Connection(HTTPConnection):
    """A connection that is made when it is needed, within the bounds of the call that needs it."""

    default_port = 443
    bounds: Bounds
    sock: Any  # a BoundedSocket, or None

    def __init__(self, config: ProxmoxConfig) -> None:
        url = urlsplit(config.endpoint)
        super().__init__(url.hostname or "", url.port or DEFAULT_PORT)
        self._config = config

    def connect(self) -> None:
        plain = connected(self.host, self.port, self.bounds)
        self.sock = secured(plain, self.host, self._config, self.bounds)

    def exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        """Given a request, return its whole answer."""
        if self.sock is not None:
            if _has_come(self.sock.fileno()):
                self.close()
            else:
                self.sock.bounds = self.bounds
        try:
            self.request(method, target, body, headers)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            # It may have answered before it closed; whether it did is seen below.
            if self.sock is None or not self.bounds.sent:
                raise
        response = self.getresponse()
        try:
            whole = _body(response)
        finally:
            response.close()
        if response.status != 200:
            # PVE closes after an error; after an interim answer another one is to come.
            self.close()
        kind = response.headers.get("Content-Type", "")
        date = response.headers.get("Date", "")
        return Answer(response.status, response.reason, kind, whole, date)


def _has_come(descriptor: int) -> bool:
    """Return whether anything, be it the end, came on a connection on which nothing is due."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _body(response: HTTPResponse) -> bytes:
    """Given an answer of which the head was read, return its body. Raise HTTPException, OSError or
    ValueError if it is not as its head says.
    """
    if len(response.headers.get_all("Content-Length", ())) > 1:
        raise HTTPException("its answer has two lengths")
    pieces = []
    # In pieces, as the head may announce any length.
    while piece := response.read(_PIECE):
        pieces.append(piece)
    if response.length:
        raise IncompleteRead(b"", response.length)
    return b"".join(pieces)
