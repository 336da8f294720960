"""Asking at a control socket as any client may, and checking answers against their schemas."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.process import SOON

SCHEMAS = Path(__file__).parent.parent / "docs" / "control"


@dataclass(frozen=True)
class Reply:
    status: int
    head: str
    body: dict[str, Any]


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A blocking connect waits for its turn; one with Python's timeout does not.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(SOON), 0))
    connection.connect(str(path))
    connection.settimeout(SOON)
    return connection


def received(connection: socket.socket) -> bytes:
    """Return all that comes until the end."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass  # it was closed while some of what we sent was not read
    return data


def parsed(answer: bytes) -> Reply:
    """Return an answer, whose form and schema are seen to."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    assert separator, f"no HTTP answer: {answer[:200]!r}"
    status = int(head.split(b" ")[1])
    assert f"Content-Length: {len(body)}".encode() in head
    found = json.loads(body)
    if status >= 400:
        valid("error", found)
    return Reply(status, head.decode("ascii"), found)


def raw(path: Path, data: bytes) -> Reply:
    """Send bytes, and return the answer."""
    with connect(path) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has answered already
            connection.sendall(data)
        return parsed(received(connection))


def asked(path: Path, method: str, route: str, given: object = None) -> Reply:
    body = b"" if given is None else json.dumps(given).encode()
    kind = "Content-Type: application/json\r\n" if body else ""
    head = f"{method} {route} HTTP/1.1\r\nHost: x\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
    return raw(path, head.encode() + body)


def valid(name: str, found: object) -> None:
    """Raise ValidationError if it is not as the schema of that name says."""
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(found)
