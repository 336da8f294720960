"""A hub on a raw socket that does whatever a test says, at any stage of HTTP or of TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# So that a caller without a deadline makes a test fail and not hang.
PATIENCE = 15.0
_TICK = 0.01

Behaviour = Callable[["Caller"], None]


class Caller:
    """Whoever called, as the hub sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pause = threading.Event()

    def hear(self) -> bytes:
        """Return the request, head and body."""
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += self._received()
        head, _, body = heard.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                while len(body) < int(line.partition(b":")[2]):
                    body += self._received()
        return head + b"\r\n\r\n" + body

    def _received(self) -> bytes:
        data = self._connection.recv(65536)
        if not data:
            raise OSError("gone")
        return data

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def drip(self, data: bytes) -> None:
        """Send a byte now and then, again and again, for as long as the caller stays."""
        for _ in range(int(PATIENCE / _TICK / len(data)) + 1):
            for byte in data:
                self.send(bytes([byte]))
                self._pause.wait(_TICK)

    def flood(self, data: bytes, bytes_at_most: int = 40_000_000) -> None:
        """Send as much as the caller takes."""
        block = data * (65536 // len(data) + 1)
        for _ in range(bytes_at_most // len(block)):
            self.send(block)

    def stall(self) -> None:
        """Say nothing until the caller goes."""
        with suppress(OSError):
            while self._connection.recv(65536):
                pass


class RawHub:
    """Its address, and what it heard; `gone` is set once a caller it served has left."""

    def __init__(self, scheme: str, port: int) -> None:
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.behaviour: Behaviour = Caller.stall
        self.gone = threading.Event()


@contextmanager
def raw_hub(tls: ssl.SSLContext | None = None, scheme: str = "") -> Iterator[RawHub]:
    """Hold such a hub for the length of a block; `scheme` is the one of its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hub = RawHub(scheme or ("https" if tls else "http"), listener.getsockname()[1])

        def serve(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                connection.settimeout(PATIENCE)
                wrapped = tls.wrap_socket(connection, server_side=True) if tls else connection
                with wrapped:
                    hub.behaviour(Caller(wrapped))
            hub.gone.set()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)
