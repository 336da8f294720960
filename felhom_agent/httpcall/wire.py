"""A connected socket whose every wait ends at a deadline, and which counts what arrives.

It is what http.client takes for a socket, and lives for one call.
"""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from felhom_agent.errors import BadAnswer

MAX_BODY_BYTES = 4_000_000
MAX_WIRE_BYTES = MAX_BODY_BYTES + 256 * 1024
"""All bytes of an answer: its head, the sizes of its chunks and its trailers included."""


class Wire:
    """One connection. `abort` may be called from any thread, all else from the call's own."""

    def __init__(
        self, raw: socket.socket, until: float, piece: float, clock: Callable[[], float]
    ) -> None:
        """`until` is the deadline, `piece` the longest single wait in seconds."""
        self._socket = raw
        self._until = until
        self._piece = piece
        self._clock = clock
        self._received = 0
        self._aborted = False
        self.reader = _Reader(io.BufferedReader(_Receiver(self), 65536))

    def secure(self, trusted: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on. Raise ssl.SSLError if the other side is not who it should be."""
        self._socket = trusted.wrap_socket(
            self._socket, server_hostname=host, do_handshake_on_connect=False
        )
        self._arm()
        self._socket.do_handshake()

    def receive_into(self, buffer: memoryview) -> int:
        """Wait for bytes, and return how many came; 0 at the end. Raise BadAnswer if too many."""
        self._arm()
        count = self._socket.recv_into(buffer)
        self._received += count
        if self._received > MAX_WIRE_BYTES:
            raise BadAnswer(f"its answer is longer than {MAX_BODY_BYTES} bytes")
        return count

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._arm()
            view = view[self._socket.send(view) :]

    def makefile(self, *_: Any) -> _Reader:
        return self.reader

    def close(self) -> None:
        """Leave that to `end`: http.client closes while an answer is still read."""

    def end(self) -> None:
        """Give the connection back."""
        self._socket.close()

    def abort(self) -> None:
        """Wake the thread that waits here, whatever for; it then ends the connection."""
        self._aborted = True
        with suppress(OSError):
            # Not SSLSocket's own, which takes TLS away from under the thread that reads.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _arm(self) -> None:
        if self._aborted:
            raise ConnectionAbortedError
        left = self._until - self._clock()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(min(left, self._piece))


class _Receiver(io.RawIOBase):
    """What a buffered reader reads from."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive_into(memoryview(buffer))


class _Reader:
    """The file that http.client reads answers from: one for all of them, closed by nobody."""

    def __init__(self, buffered: io.BufferedReader) -> None:
        self._buffered = buffered
        self.read = buffered.read
        self.read1 = buffered.read1
        self.readline = buffered.readline
        self.readinto = buffered.readinto
        self.closed = False

    def close(self) -> None:
        """Stay open: the next answer's head may be in here already."""

    def flush(self) -> None:
        """Do nothing: nobody writes to it, and an answer that is let go of late flushes it once
        more, when what is below may be closed.
        """
