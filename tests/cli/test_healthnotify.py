"""`check` tells how the notifications are, and sends none."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent.cli import healthnotify
from felhom_agent.cli.health import Finding, Level
from felhom_agent.cli.healthnotify import closed_to, of_notify
from felhom_agent.cli.serviceuser import Service
from felhom_agent.config.agentfile import load
from tests.conftest import Site
from tests.notify.receiver import Receiver, receiving

HERE = frozenset({ipaddress.ip_address("127.0.0.1")})
AFAR = frozenset({ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("2001:db8::7")})
NOBODY = Service(None)
ANY = "::/0 0.0.0.0/0"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def found(site: Site, text: str, service: Service = NOBODY) -> list[Finding]:
    return list(of_notify(load(site.write_config(f"[notify]\n{text}")), service))


def test_where_nobody_is_notified_nothing_is_said(site: Site) -> None:
    assert found(site, "") == []


def test_a_receiver_that_can_be_reached_is_fine_and_gets_nothing(
    site: Site, receiver: Receiver
) -> None:
    (finding,) = found(site, f'url = "{receiver.url}"\n')
    assert (finding.level, finding.text) == (
        Level.GOOD, f"notifications go to {receiver.url} (json), which can be reached",
    )  # fmt: skip
    assert receiver.posted == []


def test_a_receiver_that_cannot_be_reached_is_a_fault(site: Site) -> None:
    (finding,) = found(site, 'url = "http://127.0.0.1:1/"\n')
    assert finding.level is Level.BAD
    assert "it cannot be reached: Connection refused; see [notify]" in finding.text


def test_a_unit_that_keeps_the_service_from_it_is_a_fault_with_what_mends_it(
    site: Site, receiver: Receiver
) -> None:
    service = Service(None, {"IPAddressAllow": "192.0.2.0/24", "IPAddressDeny": ANY})
    _, fault = found(site, f'url = "{receiver.url}"\n', service)
    assert fault.level is Level.BAD
    assert "the unit keeps the service from 127.0.0.1" in fault.text
    assert "systemctl edit felhom-agent" in fault.remedy
    allowed = Service(None, {"IPAddressAllow": "::1/128 127.0.0.0/8", "IPAddressDeny": ANY})
    assert len(found(site, f'url = "{receiver.url}"\n', allowed)) == 1


@pytest.mark.parametrize(
    ("addresses", "allowed", "denied", "expected"),
    [
        (HERE, "127.0.0.0/8 ::1/128", ANY, ""),
        (AFAR, "127.0.0.0/8 ::1/128", ANY, "192.0.2.7, 2001:db8::7"),
        (AFAR, "127.0.0.0/8 2001:db8::/32", ANY, ""),
        (AFAR, ANY, ANY, ""),
        (AFAR, "", ANY, "192.0.2.7, 2001:db8::7"),
        (AFAR, "nonsense", ANY, "192.0.2.7, 2001:db8::7"),
        (AFAR, "", "0.0.0.0/0", ""),
        (AFAR, "127.0.0.0/8", "", ""),
        (frozenset(), "127.0.0.0/8", ANY, ""),
    ],
)
def test_one_address_that_is_not_closed_is_enough(
    addresses: frozenset[ipaddress.IPv4Address], allowed: str, denied: str, expected: str
) -> None:
    unit = {"IPAddressAllow": allowed, "IPAddressDeny": denied}
    assert closed_to(addresses, unit) == expected
    assert closed_to(addresses, {}) == ""


def test_commands_without_their_directory_are_a_fault(site: Site) -> None:
    (fault,) = found(site, 'command = true\nspool = "none"\n')
    assert fault.level is Level.BAD
    assert "is not there, so no command is started" in fault.text


def test_commands_that_there_are_are_counted(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "notify.d"
    directory.mkdir()
    monkeypatch.setattr(healthnotify, "CONFIGURATION", tmp_path)
    text = f'command = true\nspool = "{tmp_path}"\n'
    (none,) = found(site, text)
    assert none.level is Level.NOTE
    (directory / "mail").write_text("#!/bin/sh\n")
    (directory / "mail").chmod(0o755)
    (directory / "README").write_text("no command\n")
    (directory / "mail~").write_text("#!/bin/sh\n")
    (directory / "mail~").chmod(0o755)
    (finding,) = found(site, text)
    assert (finding.level, finding.text) == (
        Level.GOOD, "notifications are handed to 1 command",
    )  # fmt: skip


def test_a_command_that_will_not_be_started_is_a_fault(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healthnotify, "CONFIGURATION", tmp_path)
    (tmp_path / "notify").write_text("#!/bin/sh\n")
    (tmp_path / "notify").chmod(0o775)
    (fault,) = found(site, f'command = true\nspool = "{tmp_path}"\n')
    assert fault.level is Level.BAD
    assert fault.text == (
        f"{tmp_path / 'notify'} gets no notification: others may write it; as root: chown root; "
        "chmod go-w"
    )


def test_a_path_unit_that_does_not_run_is_a_fault(site: Site, tmp_path: Path) -> None:
    service = Service(None, {"LoadState": "loaded"})
    (fault,) = found(site, f'command = true\nspool = "{tmp_path}"\n', service)
    assert fault.level is Level.BAD
    assert fault.remedy == ("systemctl enable --now felhom-agent-notify.path",)


def test_no_events_at_all_are_noted(site: Site, receiver: Receiver) -> None:
    findings = found(site, f'url = "{receiver.url}"\nevents = []\n')
    assert findings[-1].level is Level.NOTE
