"""The bounds of one whole call, kept at the socket itself.

A socket's timeout is for each piece alone: a node that sends one byte now and then, in a header, a
chunk size, a trailer, an interim answer or the TLS handshake, holds its caller for ever.
Here every connect, handshake, send and receive asks the call's `Bounds` how long it may still wait
and how much may still come, so that no layer above can be talked into waiting or reading on.

* The connection, its handshake included, has `connect` seconds; then the answer has `answer`.
* No more than `size` bytes are taken.
* A call with an `abandon` event ends soon after it is set.
* `Bounds.sent` tells whether a byte of the request left: if none did, PVE surely did nothing.

Looking up a name is the resolver's affair; it has bounds of its own (resolv.conf(5)), and its time
counts. Threads: bounds belong to the thread that makes the call, but for the event.
"""

from __future__ import annotations

import builtins
import errno
import os
import select
import socket
import ssl
import time
from typing import Any

from felhom_agent.service.flag import Signal

# How soon, in seconds, a call that waits hears that it is abandoned.
_HEARS_WITHIN = 0.2


class NoConnection(OSError):
    """There is no connection, so nothing was sent; the text goes on after the endpoint's name.

    `temporary` tells that there may be one a little later, with nobody changing anything.
    """

    def __init__(self, text: str, *, temporary: bool = False) -> None:
        super().__init__(text)
        self.temporary = temporary


class Bounds:
    """What one call may take; `overrun` says which bound it met, in words, or is empty.

    `longest` is how long the whole call may take, in seconds.
    """

    def __init__(
        self, connect: float, answer: float, size: int, abandon: Signal | None = None
    ) -> None:
        """`connect` and `answer` are in seconds, `size` in bytes."""
        self.longest = connect + answer
        self.sent = False
        self.overrun = ""
        self.timed_out = False
        self.abandoned = False
        self._connect = connect
        self._answer = answer
        self._room = self._size = size
        self._abandon = abandon
        self._until = time.monotonic() + connect
        self._end = time.monotonic() + self.longest

    @property
    def answered(self) -> bool:
        """Whether a byte of an answer came."""
        return self._room < self._size

    def restart(self) -> None:
        """Note that the request is made again, in what is left of the time of the whole call."""
        self.sent = False
        self._room = self._size
        self._until = min(time.monotonic() + self._connect, self._end)

    def wait(self) -> float:
        """Return the seconds that may be waited now. Raise OSError if it is over."""
        if self._abandon is not None and self._abandon.is_set():
            self.abandoned = True
            raise self._over("it was given up, because the agent is stopping")
        left = self._until - time.monotonic()
        if left <= 0:
            self.timed_out = True
            raise self._over(
                "gave no answer in time"
                if self.sent
                else "does not accept a connection in time; is endpoint in [proxmox] right, or is a"
                " firewall in between?"
            )
        return left if self._abandon is None else min(left, _HEARS_WITHIN)

    def begin(self) -> None:
        """Note that the request leaves; from now on the answer is waited for."""
        if not self.sent:
            self.sent = True
            self._until = min(time.monotonic() + self._answer, self._end)

    def take(self, size: int) -> None:
        """Note that bytes came. Raise OSError if they are too many."""
        self._room -= size
        if self._room < 0:
            self.refuse(f"answers more than {self._size} bytes")

    def refuse(self, why: str) -> None:
        """Raise OSError for an answer that is of no use, which `overrun` then explains."""
        raise self._over(why)

    def _over(self, why: str) -> OSError:
        self.overrun = self.overrun or why
        return OSError(why)


class BoundedSocket(ssl.SSLSocket):
    """A TLS socket that keeps `bounds`: those of the call that is made at this moment."""

    bounds: Bounds

    def do_handshake(self, block: bool = False) -> None:
        while True:
            self.settimeout(self.bounds.wait())
            try:
                return super().do_handshake(block)
            except TimeoutError:
                continue

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002  # the base's name
        while True:
            self.settimeout(self.bounds.wait())
            try:
                came: Any = super().read(len, buffer)
            except TimeoutError:
                continue
            self.bounds.take(builtins.len(came) if buffer is None else came)
            return came

    def send(self, data: Any, flags: int = 0) -> int:
        if not self.bounds.sent and self.pending():
            # An answer that nobody asked for would be taken for that of this request.
            self.bounds.refuse("sends answers that nobody asked for")
        self.bounds.begin()
        while True:
            self.settimeout(self.bounds.wait())
            try:
                return super().send(data, flags)
            except TimeoutError:
                continue


def connected(host: str, port: int, bounds: Bounds) -> socket.socket:
    """Given an address, return a socket connected to it, however many addresses its name has.

    Raise NoConnection if none answers, OSError if a bound was met first.
    """
    bounds.wait()
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        return _first(found, bounds)
    except (OSError, UnicodeError) as error:
        if bounds.overrun:
            raise
        why = _why_not_reached(host, port, error)
        raise NoConnection(f"cannot be reached: {why}", temporary=_passes(error)) from None


def _why_not_reached(host: str, port: int, error: Exception) -> str:
    """Return why there is no connection, and what to do."""
    if isinstance(error, (socket.gaierror, UnicodeError)):
        why = error.strerror if isinstance(error, OSError) else "it is none"
        return (
            f'the name "{host[:100]}" cannot be looked up ({why}); set endpoint in [proxmox] of'
            " agent.toml to a name that DNS or /etc/hosts has, or to an address"
        )
    said = error.strerror if isinstance(error, OSError) else None
    if isinstance(error, ConnectionRefusedError):
        return (
            f"nobody listens at port {port} ({said}); PVE's API is at port 8006, see there:"
            " systemctl status pveproxy"
        )
    return f"{said or error}; is endpoint in [proxmox] right, and the host up?"


def _passes(error: OSError | UnicodeError) -> bool:
    """Return whether a node that could not be reached may be later; a wrong name stays wrong."""
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return isinstance(error, OSError)


def _first(found: list[Any], bounds: Bounds) -> socket.socket:
    """Given addresses, return a socket connected to the first that answers. Raise OSError."""
    last: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in found:
        try:
            return _connected(socket.socket(family, kind, protocol), address, bounds)
        except OSError as error:
            if bounds.overrun:
                raise
            last = error
    raise last


def _connected(made: socket.socket, address: Any, bounds: Bounds) -> socket.socket:
    try:
        # A body follows its head at once, and not when the head was acknowledged.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        code = made.connect_ex(address)
        poll = select.poll()
        poll.register(made, select.POLLOUT)
        while code == errno.EINPROGRESS:
            if poll.poll(bounds.wait() * 1000):
                code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        made.settimeout(bounds.wait())
    except BaseException:
        made.close()
        raise
    return made
