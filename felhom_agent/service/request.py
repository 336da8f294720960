"""One HTTP request of the control socket, read within bounds.

Whoever can open the socket may send anything, as slowly as it likes. So what is read is bounded in
bytes and by a moment, and is taken only if it is plain: one request, whole lines, a body of a
length that was told. What is not is a `ControlError` with a status and words; what a client wanted
is never guessed.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from felhom_agent.errors import FelhomError

ADMINS = "felhom-admin"
"""The group whose members may open the socket."""
MAX_HEAD = 16_384
"""The longest request line and headers, in bytes."""
MAX_BODY = 1_048_576
"""The longest body, in bytes."""

# RFC 9112, 3 and 5; of a target only the path form.
_REQUEST_LINE = re.compile(r"([A-Z]{1,20}) ([\x21-\x7e]{1,2000}) HTTP/([0-9])\.[0-9]")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,15}")
# What our parameters need and no more: numbers and words. Nothing is decoded, so that what was
# checked is what is used.
_PARAMETER = re.compile(r"([a-z]{1,20})=([0-9A-Za-z._-]{1,100})")


class ControlError(FelhomError):
    """A request cannot be followed; `status` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True)
class ControlRequest:
    """What a client asks for; `headers` have lower-case names, `query` is what follows the path's
    "?" (None: there is none).
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    query: str | None = None

    def parameters(self, known: Collection[str]) -> dict[str, str]:
        """Given the names of parameters that may be there, return those of the query.

        Raise ControlError if it has others, or one twice, or is no plain `name=value&...`.
        """
        if self.query is None:
            return {}
        if not known:
            raise ControlError(400, "nothing may follow the path here")
        found: dict[str, str] = {}
        for piece in self.query.split("&"):
            parameter = _PARAMETER.fullmatch(piece)
            if parameter is None:
                raise ControlError(400, "the query is not plain name=value&name=value")
            name, value = parameter.groups()
            if name not in known:
                raise ControlError(400, f"unknown: {name}; known are: {', '.join(sorted(known))}")
            if name in found:
                raise ControlError(400, f"{name} is there twice")
            found[name] = value
        return found

    def fields(self) -> dict[str, Any]:
        """Return the body's JSON object; an empty one if there is no body.

        Raise ControlError if it is anything else.
        """
        if not self.body:
            return {}
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ControlError(415, "a body must be application/json")
        try:
            found = json.loads(
                self.body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number
            )
        except (ValueError, RecursionError):
            raise ControlError(400, "the body is no JSON") from None
        if not isinstance(found, dict):
            raise ControlError(400, "the body must be a JSON object")
        return found


def read_request(
    connection: socket.socket, until: float, clock: Callable[[], float] = time.monotonic
) -> ControlRequest | None:
    """Given a connection and the moment by which all must be there, return its request; None if
    it was closed without one.

    Raise ControlError if it is not plain HTTP, or too long, or too slow; OSError if the connection
    breaks.
    """
    data = bytearray()
    end = -1
    while end < 0:
        if len(data) > MAX_HEAD:
            raise ControlError(431, f"the head is longer than {MAX_HEAD} bytes")
        before = max(0, len(data) - 3)
        data += (piece := _receive(connection, until, clock))
        if not piece and not data:
            return None
        if not piece:
            raise ControlError(400, "the request ended before its head did")
        end = data.find(b"\r\n\r\n", before)
        if end < 0 and b"\n\n" in data[before:]:
            raise ControlError(400, "lines must end in CR LF")
    if end > MAX_HEAD:
        raise ControlError(431, f"the head is longer than {MAX_HEAD} bytes")
    method, target, headers = _head(bytes(data[:end]))
    length = _length(headers)
    body = data[end + 4 :]
    _expect(connection, headers, until, clock)
    while len(body) < length:
        if not (piece := _receive(connection, until, clock)):
            raise ControlError(400, "the request ended before its body did")
        body += piece
    path, mark, query = target.partition("?")
    return ControlRequest(method, path, headers, bytes(body[:length]), query if mark else None)


def _receive(connection: socket.socket, until: float, clock: Callable[[], float]) -> bytes:
    left = until - clock()
    try:
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        return connection.recv(65536)
    except TimeoutError:
        raise ControlError(408, "the request did not come in time") from None


def _head(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise ControlError(400, "the first line is no HTTP request")
    if found[3] != "1":
        raise ControlError(505, "only HTTP/1 is spoken here")
    headers: dict[str, str] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise ControlError(400, "a header is malformed")
        name = header[1].lower()
        if name in headers and name in _SINGLE:
            raise ControlError(400, f"there are two {name}")
        headers[name] = header[2]
    return found[1], found[2], headers


_SINGLE = frozenset({"content-length", "content-type", "transfer-encoding", "expect", "host"})


def _length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise ControlError(411, "a body needs a Content-Length; none in pieces is taken")
    text = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(text):
        raise ControlError(400, "the Content-Length is no number")
    if int(text) > MAX_BODY:
        raise ControlError(413, f"the body is longer than {MAX_BODY} bytes")
    return int(text)


def _expect(
    connection: socket.socket,
    headers: Mapping[str, str],
    until: float,
    clock: Callable[[], float],
) -> None:
    """Say that the body may come, if the client waits for that."""
    expected = headers.get("expect")
    if expected is None:
        return
    if expected.lower() != "100-continue":
        raise ControlError(417, "only 100-continue can be expected")
    connection.settimeout(max(0.001, until - clock()))
    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")
