"""The wire: TLS connections on the loopback, HTTP on them, and faults between the two.

Each connection has a thread. As PVE does, a connection is closed after an error, after a hundred
requests, and when nothing came for five seconds. recorded: 82-keepalive/001.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from felhom_agent.devnode.http import message
from felhom_agent.devnode.http.faults import Fault, Faults
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.devnode.world.refusal import Refusal, died, unreadable
from felhom_agent.devnode.world.schema import Raw

REQUESTS_PER_CONNECTION = 100
IDLE_SECONDS = 5.0
_METHODS = frozenset({"GET", "PUT", "POST", "DELETE"})

_PROXY_REASON = {
    # recorded: 92-outages, 161-other-node-offline (595); the others by PVE's AnyEvent::HTTP.
    595: "Connection refused",
    596: "Connection timed out",
    597: "Broken pipe",
    598: "Connection closed",
    599: "Too many redirections",
}


class Node(Protocol):
    """Who answers what comes in over the wire."""

    faults: Faults
    clock_ahead: float

    def hear(self, method: str, path: str, params: Mapping[str, str], token: str) -> Request:
        """Given a request, write it into the log and return it."""
        ...

    def answer(self, heard: Request, raw: Mapping[str, Raw], authorization: str) -> Answer:
        """Given a request, return its answer."""
        ...

    def answered(self, request: Request, status: int) -> None:
        """Note with which status a request was answered."""
        ...

    def over(self, heard: Request) -> None:
        """Note that a request has had all the effect that it will ever have."""
        ...

    def wait(self, seconds: float) -> bool:
        """Return after that time, or when the node closes; return whether it does."""
        ...


class Server(ThreadingHTTPServer):
    """Accepts connections for a node; `cut_all` ends them, `server_close` waits for the threads."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, node: Node) -> None:
        self.node = node
        self._context = context
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self._cut = False
        super().__init__(address, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection, in its thread, until either side is done with it."""
        # A caller that goes away, or never speaks TLS, is no news.
        with contextlib.suppress(OSError), self._secured(request) as connection:
            super().finish_request(connection, client_address)

    @contextlib.contextmanager
    def _secured(self, request: socket.socket) -> Iterator[ssl.SSLSocket]:
        # The handshake is the connection's own business: in its thread it holds up no other.
        request.settimeout(IDLE_SECONDS)
        with self._context.wrap_socket(request, server_side=True) as connection:
            with self._open_lock:
                if self._cut:
                    raise OSError("the node is closing")
                self._open.add(connection)
            try:
                yield connection
            finally:
                with self._open_lock:
                    self._open.discard(connection)

    def serve(self) -> None:
        """Accept connections until `cut_all` is called."""
        while not self._cut:
            self.handle_request()

    def cut_all(self) -> None:
        """Wake every thread that waits for its connection, and take no new one."""
        with self._open_lock:
            self._cut = True
            # Linux: this wakes whoever waits for a connection, at once and without a poll.
            self.socket.shutdown(socket.SHUT_RDWR)
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a defect of ours be seen, where the base class would print it and go on."""
        del request, client_address
        raise


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "pve-api-daemon/3.0"
    sys_version = ""
    timeout = IDLE_SECONDS
    # An answer goes out in one piece: in two, it would wait for the other side's late ACK. One that
    # is larger than the buffer, or than a record of TLS, goes out in several, and waits for none.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        self._served = 0

    def handle_one_request(self) -> None:
        """Read a request of any method and answer it."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self._served += 1
        self._serve()
        self.wfile.flush()

    def _serve(self) -> None:
        refusal: Refusal | None = None
        raw: dict[str, Raw] = {}
        try:
            raw = self._read()
        except Refusal as unreadable:
            refusal = unreadable
        heard = self._hear(raw)
        fault = self.server.node.faults.take(heard.method, heard.path)
        if refusal is not None:
            self.server.node.over(heard)
            self._send(heard, message.refused(refusal))
        elif fault is not None:
            self._inject(heard, fault, raw)
        else:
            self._send(heard, self.server.node.answer(heard, raw, self._authorization))

    def _read(self) -> dict[str, Raw]:
        length = int(self.headers.get("Content-Length", 0))
        # Read in any case: what is left unread when a connection is closed resets it.
        body = self.rfile.read(length)
        if self.command not in _METHODS:
            raise Refusal(501, f"method '{self.command}' not available")
        if length > message.LARGEST_BODY:
            raise unreadable(501, "for data too large")
        if length and self.command == "GET":
            raise unreadable(501, "Unexpected content for method 'GET'")
        return message.params_of(self.path, self.headers.get("Content-Type", ""), body)

    def _hear(self, raw: dict[str, Raw]) -> Request:
        token = self._authorization.removeprefix("PVEAPIToken=").partition("=")[0]
        path, params = message.path_of(self.path), message.shown(raw)
        return self.server.node.hear(self.command, path, params, token)

    @property
    def _authorization(self) -> str:
        return str(self.headers.get("Authorization", ""))

    def _inject(self, heard: Request, fault: Fault, raw: Mapping[str, Raw]) -> None:
        node = self.server.node
        if fault.action.startswith("late:"):
            self._cut()
            if not node.wait(float(fault.argument)):
                node.answer(heard, raw, self._authorization)
            return
        if fault.action.startswith("delay:"):
            late = node.answer(heard, raw, self._authorization)
            if node.wait(float(fault.argument)):
                self._cut()
            else:
                self._send(heard, late)
            return
        answer = node.answer(heard, raw, self._authorization) if fault.takes_effect else None
        node.over(heard)
        if fault.action == "hang":
            self._wait_for_the_end()
        elif fault.action == "garbage":
            self._send_garbage(b"\x00\xff not HTTP at all\r\n\r\n")
        elif fault.action == "truncated" and answer is not None:
            self._send(heard, answer, cut=True)
        elif instead := _instead(fault):
            self._send(heard, instead)
        else:
            self._cut()

    def _send_garbage(self, sent: bytes) -> None:
        self.close_connection = True
        self.wfile.write(sent)

    def _send(self, heard: Request, answer: Answer, *, cut: bool = False) -> None:
        self.close_connection = self.close_connection or cut
        if answer.status >= 400 or self._served >= REQUESTS_PER_CONNECTION:
            self.close_connection = True
        self.server.node.answered(heard, answer.status)
        self.send_response(answer.status, answer.reason)
        self.send_header("Cache-Control", "max-age=0")
        self.send_header("Connection", "close" if self.close_connection else "Keep-Alive")
        self.send_header("Pragma", "no-cache")
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.content_type:
            self.send_header("Content-Type", answer.content_type)
        if answer.location:
            self.send_header("Location", answer.location)
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the date of an answer, by the node's clock."""
        moment = time.time() if timestamp is None else timestamp
        return super().date_time_string(int(moment + self.server.node.clock_ahead))

    def _wait_for_the_end(self) -> None:
        self.close_connection = True
        self.connection.settimeout(None)
        self.connection.recv(1)

    def _cut(self) -> None:
        self.close_connection = True
        # No lingering: the other side gets a reset, not an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing: the log of requests is the node's own."""


def _instead(fault: Fault) -> Answer | None:
    """Return what a fault answers in place of the node; None if it answers nothing."""
    if fault.action.startswith("refuse:"):
        return message.refused(died(fault.argument))
    if fault.status:
        return Answer(fault.status, _PROXY_REASON.get(fault.status, "fault"))
    if fault.action == "not-json":
        return Answer(200, "OK", b"<html>not here</html>", "text/html")
    if fault.action == "redirect":
        return Answer(301, "Moved Permanently", location="https://127.0.0.1:1/")
    return None
