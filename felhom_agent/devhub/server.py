"""The hub's wire on the loopback: what agents call, what an operator calls, and the pages.

Nothing that somebody sends ends it: a request is answered, refused in words, or its connection
closed. A page may load nothing, run nothing, and send its forms to this hub alone.

Threads: one accepts, each connection has one of its own; what they share is the store.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from felhom_agent.devhub import agentside, jobforms, operatorside
from felhom_agent.devhub.call import Call, Refusal, Reply
from felhom_agent.devhub.store import Store

LARGEST: Final = 4_000_000
_HOST: Final = "127.0.0.1"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}


class DevHub:
    """A hub on a port of the loopback (0: any free one); a context manager."""

    def __init__(
        self,
        store: Store,
        port: int = 0,
        *,
        poll_seconds: int = 60,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.operator_key = secrets.token_urlsafe(16)
        self.poll_seconds = poll_seconds
        self.clock = clock
        self._server = _Server((_HOST, port), self)
        # It looks that often, in seconds, whether it is closed.
        serve = partial(self._server.serve_forever, poll_interval=0.05)
        self._thread = threading.Thread(target=serve, name="devhub")
        self._thread.start()

    @property
    def url(self) -> str:
        """The URL up to the port."""
        return f"http://{_HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.store.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], hub: DevHub) -> None:
        self.hub = hub
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "felhom-devhub"
    sys_version = ""
    timeout = 30.0
    server: _Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing; a page shows who was seen."""

    def _answer(self) -> None:
        try:
            reply = self._route(self._body())
        except Refusal as refusal:
            self.close_connection = True
            headers = {"WWW-Authenticate": 'Basic realm="hub"'} if refusal.status == 401 else {}
            reply = Reply({"error": str(refusal)}, refusal.status, headers)
        self._send(reply)

    def _body(self) -> bytes:
        said = self.headers.get("Content-Length") or "0"
        length = int(said) if said.isascii() and said.isdigit() and len(said) < 16 else -1
        if length < 0:
            raise Refusal(400, "the Content-Length is no number")
        if length > LARGEST:
            raise Refusal(413, "too large")
        return self.rfile.read(length)

    def _send(self, reply: Reply) -> None:
        data, kind = _encoded(reply.body)
        self.send_response(reply.status)
        size = {"Content-Type": kind, "Content-Length": str(len(data))}
        for name, value in {**size, **_HEADERS, **reply.headers}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _route(self, body: bytes) -> Reply:
        try:
            path = urlsplit(self.path).path
        except ValueError:
            raise Refusal(400, "the path cannot be read") from None
        call = Call(self.server.hub, self.headers, body)
        for method, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == self.command:
                return answer(call, *(unquote(part) for part in found.groups()))
        raise Refusal(404, "there is no such thing here")


def _encoded(body: object) -> tuple[bytes, str]:
    """Given the body of a reply, return its bytes and their type."""
    if body is None:
        return b"", "application/json"
    if isinstance(body, bytes):
        return body, "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/html; charset=utf-8"
    return json.dumps(body).encode(), "application/json"


_API: Final = "/api/v1"
_ID: Final = "([^/]+)"
_ROUTES: Final[tuple[tuple[str, str, Callable[..., Reply]], ...]] = (
    ("POST", f"{_API}/host-report", agentside.report),
    ("GET", f"{_API}/hosts/{_ID}/desired-state", agentside.desired_state),
    ("GET", f"{_API}/hosts/{_ID}/jobs", agentside.jobs),
    ("DELETE", f"{_API}/hosts/{_ID}/jobs/{_ID}", agentside.acknowledge),
    ("PUT", f"{_API}/admin/hosts/{_ID}/desired-state", operatorside.put_state),
    ("POST", f"{_API}/admin/hosts/{_ID}/jobs", operatorside.post_job),
    ("GET", f"{_API}/admin/hosts", operatorside.hosts),
    ("GET", "/", operatorside.list_page),
    ("GET", f"/hosts/{_ID}", operatorside.host_page),
    ("POST", f"/hosts/{_ID}/desired-state", operatorside.save),
    ("POST", f"/hosts/{_ID}/blocked", operatorside.set_blocked),
    ("GET", f"/hosts/{_ID}/requests/{_ID}", jobforms.request_file),
    ("POST", f"/hosts/{_ID}/jobs/ask", jobforms.ask),
    ("POST", f"/hosts/{_ID}/jobs/put", jobforms.put),
    ("POST", f"/hosts/{_ID}/jobs/(hold|deliver|drop)", jobforms.change),
    ("POST", f"/hosts/{_ID}/signers/seen", jobforms.seen),
)
