"""A receiver of notifications: a real HTTP server that keeps what was posted to it."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from felhom_agent.notify.notice import Notice
from tests.process import SOON


@dataclass(frozen=True)
class Posted:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """Its address, what it answers next, and what it was posted so far."""

    url: str = ""
    status: int = 200
    posted: list[Posted] = field(default_factory=list)

    @property
    def events(self) -> list[str]:
        """The events that it was told of, in order; refused ones are none."""
        return [each.data["event"] for each in self.posted]


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Hold a receiver for the length of a block."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        timeout = SOON

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.status < 300:
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.posted.append(Posted(self.path, headers, body))
            self.send_response(receiver.status)
            self.send_header("Location", receiver.url)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep it out of the tests' output."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A caller that leaves is what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "https" if tls else "http"
        receiver.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/push"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def notice(event: str = "guest-blocked", vmid: int | None = 101, **more: Any) -> Notice:
    """Return a notice of some event."""
    known: dict[str, Any] = {
        "node": "pve1",
        "event": event,
        "level": "warning",
        "at": 1_800_000_000.0,
        "text": "guest 101 web: blocked: it is paused",
        "subject": "A guest waits for a person",
        "advice": "Look at it.",
        "vmid": vmid,
    }
    return Notice(**{**known, **more})
