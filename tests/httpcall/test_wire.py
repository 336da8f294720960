"""A connection of one call, as http.client sees it."""

from __future__ import annotations

import socket
import time
from http.client import HTTPResponse

from felhom_agent.httpcall.wire import Wire


def test_an_answer_that_is_let_go_of_after_its_connection_is_closed_without_a_word() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    wire = Wire(ours, time.monotonic() + 30, 30, time.monotonic)
    answer = HTTPResponse(wire)  # type: ignore[arg-type]
    answer.begin()
    # As the collector of garbage does it, which begins where it likes.
    wire.reader._buffered.close()
    wire.end()
    theirs.close()
    answer.close()
