"""A node that speaks TLS, and beyond that whatever a test makes it say, byte by byte."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from felhom_agent.devnode.http.certificate import Identity

PACE = 0.01
"""Seconds between two bytes of a node that drips."""
DEADLINE = 20.0
"""Seconds after which a test that still waits has found a hang."""
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\n"


def answer(data: object, **more: object) -> bytes:
    """Given data, return PVE's answer with it."""
    return whole(json.dumps({"data": data, **more}).encode())


def whole(body: bytes) -> bytes:
    """Given a body, return an answer with it."""
    return OK + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Peer:
    """One connection, as the node holds it."""

    def __init__(self, plain: socket.socket, node: RawNode) -> None:
        self._node = node
        self.socket = plain

    def secure(self) -> None:
        """Speak TLS from here on."""
        self.socket = self._node.context.wrap_socket(self.socket, server_side=True)

    def hear(self) -> str:
        """Return the first line of the next request; empty if none comes."""
        heard = b""
        while b"\r\n\r\n" not in heard:
            piece = self.socket.recv(65536)
            if not piece:
                return ""
            heard += piece
        head, _, body = heard.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            while name.lower() == b"content-length" and len(body) < int(value):
                body += self.socket.recv(65536)
        self._node.heard.append(head.split(b"\r\n")[0].decode())
        self._node.hears.set()
        return self._node.heard[-1]

    def say(self, words: bytes) -> None:
        self.socket.sendall(words)

    def drip(self, words: Iterable[bytes]) -> None:
        """Send pieces, with a pause after each, until the other side is gone or the node closes."""
        for piece in words:
            if self._node.closing.wait(PACE):
                return
            self.socket.sendall(piece)

    def flood(self, words: bytes) -> None:
        """Send the same again and again, as fast as it is taken."""
        while not self._node.closing.is_set():
            self.socket.sendall(words)

    def hang(self) -> None:
        """Say nothing until the node closes."""
        self._node.closing.wait(DEADLINE)


Script = Callable[[Peer], None]


class RawNode:
    """Listens on the loopback; each connection is handed to the script of that moment."""

    def __init__(self, identity: Identity, script: Script) -> None:
        self.context: ssl.SSLContext = identity.context
        self.script = script
        self.heard: list[str] = []
        self.hears = threading.Event()
        self.closing = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.closing.set()
        for one in [self._socket, *self._open]:
            # Linux: this wakes whoever waits for it.
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._socket.accept()
                # A second descriptor: TLS takes the first one away.
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                second = plain.dup()
                self._open.append(second)
                thread = threading.Thread(target=self._serve, args=(plain, second))
                self._threads.append(thread)
                thread.start()

    def _serve(self, plain: socket.socket, second: socket.socket) -> None:
        peer = Peer(plain, self)
        with contextlib.suppress(OSError, ValueError):
            self.script(peer)
        with contextlib.suppress(OSError):
            second.shutdown(socket.SHUT_RDWR)
        peer.socket.close()
        second.close()


def spoken(words: bytes) -> Script:
    """Return a script that answers the first request with these bytes, and closes."""

    def script(peer: Peer) -> None:
        peer.secure()
        peer.hear()
        peer.say(words)

    return script


def dripped(begin: bytes, again: bytes) -> Script:
    """Return a script that begins an answer, and goes on with the same bytes for ever, slowly."""

    def script(peer: Peer) -> None:
        peer.secure()
        peer.hear()
        peer.say(begin)
        peer.drip(_forever(again))

    return script


def flooded(begin: bytes, again: bytes) -> Script:
    """Return a script that begins an answer, and goes on with the same bytes for ever, fast."""

    def script(peer: Peer) -> None:
        peer.secure()
        peer.hear()
        peer.say(begin)
        peer.flood(again * (65536 // len(again)))

    return script


def serving(data: Callable[[str], object]) -> Script:
    """Return a script that answers each request with what `data` gives for its path."""

    def script(peer: Peer) -> None:
        peer.secure()
        while line := peer.hear():
            peer.say(answer(data(line.split(" ")[1].removeprefix("/api2/json"))))

    return script


def _forever(again: bytes) -> Iterator[bytes]:
    while True:
        yield again
