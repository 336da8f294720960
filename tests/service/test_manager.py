"""What the service manager hears, and when the watchdog goes hungry."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest

from felhom_agent.errors import ConfigError
from felhom_agent.service.manager import ServiceManager
from felhom_agent.service.watchdog import Watchdog
from tests.conftest import Clock


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def watched(said: list[str], clock: Clock) -> ServiceManager:
    """A manager whose watchdog waits for a minute, on a clock that the test moves."""
    return ServiceManager(said.append, 60.0, Watchdog(clock), clock)


def test_ready_reloading_and_stopping_are_systemds_own_words(said: list[str]) -> None:
    manager = ServiceManager(said.append)
    manager.ready()
    manager.ready()
    manager.reloading()
    manager.ready()
    manager.stopping("stopped; nothing\nis in flight")
    assert said.pop(1).startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert said == ["READY=1", "READY=1", "STOPPING=1\nSTATUS=stopped; nothing; is in flight"]


def test_a_status_is_said_once(said: list[str]) -> None:
    manager = ServiceManager(said.append)
    for sentence in ("a", "a", "b", "a"):
        manager.status(sentence)
    assert said == ["STATUS=a", "STATUS=b", "STATUS=a"]


@pytest.mark.parametrize(
    ("sentence", "status"),
    [
        ("the node says: no\nMAINPID=1\nSTOPPING=1", "the node says: no; MAINPID=1; STOPPING=1"),
        ("no\r\n", "no"),
        ("\x1b[2J\0\u2028x\u202e", r"\x1b[2J\x00\u2028x\u202e"),
        ("name \udce9", r"name \udce9"),
        ("x" * 600, "x" * 497 + "..."),
        ("ü" * 600, "ü" * 248 + "..."),
    ],
)
def test_a_status_is_one_bounded_printable_line(
    said: list[str], sentence: str, status: str
) -> None:
    ServiceManager(said.append).status(sentence)
    assert said == [f"STATUS={status}"]


@pytest.mark.parametrize("error", [OSError(111, "refused"), ValueError("x"), TypeError("x")])
def test_a_systemd_that_cannot_be_told_is_told_of_once_and_stops_nobody(
    error: Exception, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    broken = True

    def say(text: str) -> None:
        if broken:
            raise error

    manager = ServiceManager(say, 60.0, Watchdog(clock), clock)
    manager.ready()
    manager.status("a")
    manager.ping_watchdog()
    manager.reloading()
    manager.require_watchdog(1000.0)
    manager.stopping("stopped")
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().startswith("systemd cannot be told READY: ")
    broken = False
    manager.status("b")
    broken = True
    manager.status("c")
    assert len(caplog.records) == 2, "it had been well in between"


def test_a_step_feeds_the_watchdog_and_the_next_ones_do_not_flood_it(
    watched: ServiceManager, said: list[str], clock: Clock
) -> None:
    watched.ping_watchdog()
    watched.ping_watchdog()
    clock.pass_by(5.0)
    watched.ping_watchdog()
    assert said == ["WATCHDOG=1"]
    clock.pass_by(1.5)
    watched.ping_watchdog()
    assert said == ["WATCHDOG=1"] * 2
    assert watched.max_idle == 20.0


def test_what_takes_longer_than_it_may_starves_the_watchdog_and_is_told_once(
    watched: ServiceManager, said: list[str], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    with watched.watchdog.guard("GET /cluster/resources", 90.0):
        clock.pass_by(89.0)
        watched.ping_watchdog()
        for _ in range(3):
            clock.pass_by(10.0)
            watched.ping_watchdog()
        assert said == ["WATCHDOG=1"]
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("it takes too long: GET /cluster/resources; systemd restarts the agent")
    watched.ping_watchdog()
    assert said == ["WATCHDOG=1"] * 2, "it is over, and all is well again"


def test_what_ends_with_an_error_is_over_too(watched: ServiceManager, clock: Clock) -> None:
    with pytest.raises(ValueError, match="x"), watched.watchdog.guard("it", 1.0):
        raise ValueError("x")
    clock.pass_by(10.0)
    assert watched.watchdog.overdue() == []


def test_a_patient_configuration_makes_a_patient_watchdog(
    watched: ServiceManager, said: list[str]
) -> None:
    watched.require_watchdog(30.0)
    assert said == []
    watched.require_watchdog(610.0)
    assert said == ["WATCHDOG_USEC=915000000"]
    assert watched.max_idle == 305.0


def test_without_a_watchdog_nobody_is_fed(said: list[str]) -> None:
    manager = ServiceManager(said.append)
    manager.ping_watchdog()
    manager.require_watchdog(1e6)
    assert said == []


def test_where_nobody_waits_for_words_nothing_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    manager = ServiceManager.present()
    manager.ready()
    manager.ping_watchdog()


def test_without_the_library_a_waiting_systemd_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nobody")
    monkeypatch.setitem(__import__("sys").modules, "systemd", None)
    with pytest.raises(ConfigError, match="needs python3-systemd; install it"):
        ServiceManager.present()


def test_words_reach_the_socket_that_systemd_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("systemd.daemon", reason="systemd-python needs libsystemd's headers")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        manager = ServiceManager.present()
        manager.ready()
        manager.ping_watchdog()
        assert [listener.recv(100), listener.recv(100)] == [b"READY=1", b"WATCHDOG=1"]
        assert manager.max_idle == 1.0


@pytest.mark.parametrize(("usec", "pid"), [("3000000", "1"), ("", ""), ("0", ""), ("nonsense", "")])
def test_a_watchdog_that_is_not_ours_or_not_there_is_not_fed(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str
) -> None:
    pytest.importorskip("systemd.daemon", reason="systemd-python needs libsystemd's headers")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nobody")
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid or str(os.getpid()))
    assert ServiceManager.present().max_idle == 3600.0
