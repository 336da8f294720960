"""What answers at a control socket as an agent may, or as no agent does."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from felhom_agent.service.control import ControlAnswer, ControlRoute, ControlServer
from tests.process import SOON

Body = Callable[[], dict[str, Any]]


@contextmanager
def answering(path: Path, **bodies: dict[str, Any] | Body) -> Iterator[None]:
    """Answer `GET /v1/NAME` with a body for the length of a block; another path is not known."""

    def route(name: str, body: dict[str, Any] | Body) -> ControlRoute:
        made = body if callable(body) else lambda: body
        return ControlRoute(
            "GET", f"/v1/{name}", lambda request, caller: ControlAnswer(200, made()),
            parameters=("after", "vmid"),
        )  # fmt: skip

    server = ControlServer(path, [route(name, body) for name, body in bodies.items()])
    server.start()
    try:
        yield
    finally:
        server.close()


@contextmanager
def sending(path: Path, data: bytes) -> Iterator[None]:
    """Be another program, which sends these bytes to all, for the length of a block."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(SOON)
                connection.recv(65536)
                connection.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(SOON)
        listener.close()
        path.unlink()


def http(body: object) -> bytes:
    """Return an answer of HTTP with a body that may be anything."""
    return b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(body).encode()


class OnTerminal:
    """A command on a terminal of its own; `seen` is what it sent there so far."""

    def __init__(self, config: Path, *words: str, columns: int = 100, lines: int = 30) -> None:
        master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": "1"}
        os.set_blocking(master, False)
        self._master = master
        self.seen = ""
        subprocess.run(
            ["stty", "rows", str(lines), "cols", str(columns)],
            stdin=slave,
            check=True,
            timeout=SOON,
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "felhom_agent", "--config", str(config), *words],
            stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def wait_for(self, done: Callable[[str], bool]) -> str:
        """Return what was seen once it is so."""
        pause, until = threading.Event(), time.monotonic() + SOON
        while not done(self.seen):
            assert time.monotonic() < until, self.seen
            try:
                self.seen += os.read(self._master, 65536).decode()
            except BlockingIOError:
                pause.wait(0.01)
            except OSError:  # nobody holds its other end any more
                assert done(self.seen), self.seen
        return self.seen

    def press(self, keys: str) -> None:
        """Type something."""
        os.write(self._master, keys.encode())

    def interrupt(self) -> int:
        """Send what Ctrl-C does; return the exit code."""
        self._process.send_signal(2)
        return self.end()

    def end(self) -> int:
        """Return the exit code once it has ended."""
        try:
            return self._process.wait(SOON)
        finally:
            self._process.kill()
            self._process.wait(SOON)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(SOON)
        os.close(self._master)
