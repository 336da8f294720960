"""Asking the running agent of this host, at its control socket.

A call ends in time, whatever answers there, and what it brings is bounded: the socket's place is a
path that somebody wrote down.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from felhom_agent.errors import FelhomError
from felhom_agent.service.request import ADMINS

MAX_ANSWER = 32_000_000
"""The longest answer, in bytes."""
TIMEOUT = 15.0
"""Seconds that a call may take; the agent itself gives up sooner."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r\n")


_LENGTH = re.compile(rb"(?i)\r\ncontent-length: ([0-9]{1,10})(?:\r\n|$)")


class NoAgent(FelhomError):
    """Nobody answers at the control socket; `runs` is false if surely no agent runs, None if that
    cannot be told.
    """

    def __init__(self, text: str, *, runs: bool | None = None) -> None:
        self.runs = runs
        super().__init__(text)


class AgentBusy(NoAgent):
    """An agent is there, and does not answer in time."""

    temporary = True


class ControlRefused(FelhomError):
    """The agent did not do what it was asked; `status` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.temporary = status == HTTPStatus.SERVICE_UNAVAILABLE
        super().__init__(text)


def call(
    path: Path,
    method: str,
    route: str,
    given: Mapping[str, Any] | None = None,
    timeout: float = TIMEOUT,
) -> dict[str, Any]:
    """Given the socket, the method, the path and the fields of a request, return the answer; it
    takes about `timeout` seconds at the most.

    Raise NoAgent if nobody answers, ControlRefused if the agent says no, FelhomError if the answer
    makes no sense.
    """
    body = b"" if given is None else json.dumps(given).encode("ascii")
    kind = "Content-Type: application/json\r\n" if body else ""
    head = (
        f"{method} {route} HTTP/1.1\r\nHost: localhost\r\n{kind}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    status, found = _parsed(path, _exchanged(path, head.encode("ascii") + body, timeout))
    if 200 <= status < 300:
        return found
    raise ControlRefused(status, str(found.get("error", f"status {status}")))


def call_for_text(path: Path, route: str, timeout: float = TIMEOUT) -> str:
    """Given the socket and the path of what is answered as text, return it. Raise as `call`."""
    head = f"GET {route} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
    answer = _exchanged(path, f"{head}Connection: close\r\n\r\n".encode("ascii"), timeout)
    start, _, body = answer.partition(b"\r\n\r\n")
    found = _STATUS_LINE.match(start + b"\r\n")
    length = _LENGTH.search(start)
    if found is None or found[1] != b"200":
        status, refusal = _parsed(path, answer)
        raise ControlRefused(status, str(refusal.get("error", f"status {status}")))
    if length is None or int(length[1]) != len(body):
        raise _senseless(path)
    return body.decode("utf-8", "backslashreplace")


def _exchanged(path: Path, request: bytes, timeout: float) -> bytes:
    """Send a request, and return all that comes until the end."""
    until = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        _connect(connection, path, timeout)
        connection.settimeout(timeout)
        try:
            connection.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered before it had read all
        except OSError as error:
            raise _broken(path, error) from None
        return _received(connection, path, until)


def _received(connection: socket.socket, path: Path, until: float) -> bytes:
    data = bytearray()
    while len(data) <= MAX_ANSWER:
        try:
            connection.settimeout(max(0.001, until - time.monotonic()))
            piece = connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        except OSError as error:
            raise _broken(path, error) from None
        if not piece:
            return bytes(data)
        data += piece
    raise FelhomError(f"{path}: the answer is longer than {MAX_ANSWER} bytes")


def _connect(connection: socket.socket, path: Path, seconds: float) -> None:
    # Where others wait to be accepted, a blocking connect waits for its turn, and one with Python's
    # own timeout fails at once (unix(7): EAGAIN).
    timeout = struct.pack("ll", max(1, int(seconds)), 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
    try:
        connection.connect(str(path))
    except PermissionError:
        text = f"{path}: only root and members of the group {ADMINS} may speak to the agent"
        raise NoAgent(text) from None
    except (FileNotFoundError, ConnectionRefusedError):
        text = f"no agent runs here ({path}); systemctl start felhom-agent starts it"
        raise NoAgent(text, runs=False) from None
    except OSError as error:
        raise _broken(path, error) from None


def _parsed(path: Path, answer: bytes) -> tuple[int, dict[str, Any]]:
    """Return an answer's status and object. Raise FelhomError if it is not what an agent sends."""
    head, _, body = answer.partition(b"\r\n\r\n")
    found = _STATUS_LINE.match(head + b"\r\n")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if found is None or not isinstance(data, dict):
        raise _senseless(path)
    return int(found[1]), data


def _senseless(path: Path) -> FelhomError:
    return FelhomError(f"{path}: the agent's answer was cut off, or makes no sense")


def _broken(path: Path, error: OSError) -> FelhomError:
    if isinstance(error, TimeoutError | BlockingIOError):
        return AgentBusy(f"{path}: the agent does not answer in time")
    return NoAgent(f"{path}: cannot be spoken to: {error.strerror or error}")
