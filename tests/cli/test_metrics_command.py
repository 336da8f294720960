"""`felhom-agent metrics` prints what the running agent counts, or says in a line why not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from felhom_agent.cli.codes import ERROR
from felhom_agent.errors import FelhomError
from felhom_agent.service.controlclient import ControlRefused, call_for_text
from tests.commands import Felhom, Start
from tests.conftest import Site
from tests.control import received
from tests.exposition import samples_of
from tests.process import SOON


def test_it_prints_what_the_agent_counts(site: Site, start: Start, felhom: Felhom) -> None:
    site.declare('[guest.100]\nstate = "running"\n')
    start().wait_for("guest 100 web: done: start")
    code, out, err = felhom("metrics")
    assert (code, err) == (0, "")
    assert samples_of(out)["felhom_operations_total"]["Start", "succeeded"] == 1


def test_without_an_agent_it_says_how_to_start_one(felhom: Felhom) -> None:
    code, out, err = felhom("metrics")
    assert (code, out) == (ERROR, "")
    assert "no agent runs here" in err
    assert err.count("\n") == 1


def test_an_agent_without_the_library_names_the_package(
    site: Site, start: Start, felhom: Felhom, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow = site.directory / "shadow"
    shadow.mkdir()
    (shadow / "prometheus_client.py").write_text(
        "raise ModuleNotFoundError('No module', name='prometheus_client')\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{shadow}:{Path.cwd()}")
    site.declare('[guest.100]\nstate = "running"\n')
    start().wait_for("guest 100 web: done: start")
    code, out, err = felhom("metrics")
    assert (code, out) == (ERROR, "")
    assert "apt install python3-prometheus-client" in err
    assert err.count("\n") == 1


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """Answer one request at a socket with these bytes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                received(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(SOON)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello",
        OK + b"\r\nx 1\n",
        OK + b"Content-Length: 50\r\n\r\nx 1\n",
        OK + b"Content-Length: x\r\n\r\nx 1\n",
        b"HTTP/1.1 200\r\nX: Content-Length: 4\r\n\r\nx 1\n",
    ],
)
def test_an_answer_that_is_cut_off_is_never_taken_for_all(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "s"
    with answering(path, answer), pytest.raises(FelhomError, match="cut off, or makes no sense"):
        call_for_text(path, "/v1/metrics")


def test_a_refusal_is_told_in_the_agents_words(tmp_path: Path) -> None:
    body = b'{"error": "there is nothing of that path"}'
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with (
        answering(tmp_path / "s", answer),
        pytest.raises(ControlRefused, match="there is nothing of that path") as caught,
    ):
        call_for_text(tmp_path / "s", "/v1/metrics")
    assert caught.value.status == 404
