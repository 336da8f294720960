"""`check` tells what is wrong between this host and its node, each fault once."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from felhom_agent.cli import healthnode
from felhom_agent.cli.health import Finding, Level
from felhom_agent.cli.main import main
from felhom_agent.proxmox.certificate import Certificate
from tests.conftest import TOKEN_ID, Site

GOOD = "[guest.100.config]\ncores = 1\n"
DAY = 86400.0


def check(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = main(["--config", str(path), "check"])
    return code, capsys.readouterr().out.splitlines()


def faults(lines: list[str]) -> list[str]:
    return [line.removeprefix("FAIL  ") for line in lines if line.startswith("FAIL")]


def changed(site: Site, pattern: str, text: str) -> Path:
    """Write an agent.toml with a line that is another one."""
    path = site.write_config()
    path.write_text(re.sub(rf"(?m)^{pattern}.*$", text, path.read_text()))
    return path


def test_a_node_that_is_away_is_one_fault_and_exit_code_75(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare(GOOD)
    path = site.write_config()
    site.devnode.close()
    code, lines = check(path, capsys)
    (fault,) = faults(lines)
    assert code == 75
    assert "cannot be reached" in fault


def test_another_fault_beside_a_node_that_is_away_is_not_hidden_by_it(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare("[guest.100.config]\ncorse = 1\n")
    path = site.write_config()
    site.devnode.close()
    code, lines = check(path, capsys)
    assert code == 1
    assert len(faults(lines)) == 2


def test_a_certificate_of_another_ca_is_one_fault(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare(GOOD)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    code, lines = check(changed(site, "ca_file", 'ca_file = "other.pem"'), capsys)
    (fault,) = faults(lines)
    assert code == 1
    assert "is not trusted" in fault


def test_by_what_the_node_is_trusted_is_told(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare(GOOD)
    _, lines = check(site.write_config(), capsys)
    (tls,) = (line for line in lines if "TLS" in line)
    assert tls.startswith(f"ok    TLS: the node is trusted by the CA in {site.devnode.ca_file}; ")
    fingerprint = f'fingerprint = "{site.devnode.fingerprint}"'
    _, lines = check(changed(site, "ca_file", fingerprint), capsys)
    (tls,) = (line for line in lines if "TLS" in line)
    assert tls.startswith("ok    TLS: the node is trusted by its fingerprint; its certificate ends")
    _, lines = check(changed(site, "ca_file", "insecure = true"), capsys)
    (tls,) = (line for line in lines if "TLS" in line)
    assert tls.startswith("note  TLS: insecure = true: ")


@contextmanager
def showing(authority: trustme.CA, ends: datetime) -> Iterator[int]:
    """Show a certificate that ends then, on a port, for the length of a block."""
    begins = min(datetime.now(UTC), ends) - timedelta(days=9)
    leaf = authority.issue_cert("127.0.0.1", not_before=begins, not_after=ends)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                plain.settimeout(5)
                with context.wrap_socket(plain, server_side=True) as made:
                    made.recv(1)
            except OSError:
                continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(30)
        listener.close()


def of_tls(site: Site, tmp_path: Path, days: float, **changes: object) -> Finding:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with showing(authority, datetime.now(UTC) + timedelta(days=days, hours=1)) as port:
        pve = replace(
            site.proxmox,
            endpoint=f"https://127.0.0.1:{port}",
            ca_file=tmp_path / "ca.pem",
            **changes,  # type: ignore[arg-type]
        )
        (finding,) = healthnode.of_tls(replace(site.config(), proxmox=pve))
    return finding


@pytest.mark.parametrize(
    ("days", "level"), [(300, "good"), (30, "good"), (29, "note"), (3, "note")]
)
def test_a_certificate_that_ends_soon_is_told(
    site: Site, tmp_path: Path, days: int, level: str
) -> None:
    found = of_tls(site, tmp_path, days)
    assert found.level == level
    assert (f"in {days} days" in found.text) is (level == "note")
    assert bool(found.remedy) is (level == "note")


def test_after_its_renewal_a_fingerprint_is_trusted_anew(site: Site, tmp_path: Path) -> None:
    found = of_tls(site, tmp_path, 5, fingerprint=":".join(["AB"] * 32))
    assert found.remedy[-1] == "felhom-agent trust"
    found = of_tls(site, tmp_path, -2, fingerprint=":".join(["AB"] * 32))
    assert "which is past" in found.text


def test_a_certificate_whose_end_cannot_be_told_is_no_fault() -> None:
    found = healthnode.of_certificate(Certificate("AB"), "the CA in x", 0.0, renewal_is_told=False)
    assert [finding.level for finding in found] == [Level.GOOD]


@pytest.mark.parametrize("ahead", [0.0, 2.0, -2.0])
def test_clocks_that_agree_are_fine(
    site: Site, capsys: pytest.CaptureFixture[str], ahead: float
) -> None:
    site.declare(GOOD)
    site.devnode.clock_ahead = ahead
    code, lines = check(site.write_config(), capsys)
    assert code == 0
    assert "ok    the node's clock agrees with this host's" in lines


@pytest.mark.parametrize(
    ("ahead", "words"),
    [(600.0, " s ahead of this host's"), (-600.0, " s behind this host's"), (9e7, "ahead of")],
)
def test_a_clock_that_is_off_is_a_fault(
    site: Site, capsys: pytest.CaptureFixture[str], ahead: float, words: str
) -> None:
    site.declare(GOOD)
    site.devnode.clock_ahead = ahead
    code, lines = check(site.write_config(), capsys)
    (fault,) = faults(lines)
    assert code == 1
    assert fault.startswith("the clock of node pve1 is ")
    assert words in fault
    assert "        timedatectl" in lines


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("7.4-3", "bad"),
        ("8.0.4", None),
        ("8.4.1", None),
        ("9.0.3", None),
        ("9.2.11", None),
        ("9.2.99", None),
        ("9.3.1", "note"),
        ("10.0.1", "note"),
        ("", None),
        ("odd", None),
    ],
)
def test_versions_of_pve_that_are_not_known_to_work_are_told(
    version: str, level: str | None
) -> None:
    found = list(healthnode.of_version(version))
    assert [finding.level for finding in found] == ([level] if level else [])


def test_a_wrong_node_is_one_fault(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.declare(GOOD)
    code, lines = check(changed(site, "node =", 'node = "pve7"'), capsys)
    assert code == 1
    (fault,) = faults(lines)
    assert fault.startswith('the cluster has no node "pve7" (it has: pve1); ')


def test_a_missing_token_is_one_fault(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.declare(GOOD)
    site.proxmox.token_file.unlink()
    code, lines = check(site.write_config(), capsys)
    assert code == 1
    (fault,) = faults(lines)
    assert str(site.proxmox.token_file) in fault


def test_guests_that_are_fine_have_no_line(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for vmid in range(300, 330):
        site.world.add("lxc", vmid, {"hostname": f"c{vmid}", "memory": 512})
        site.declare(f"[guest.{vmid}.config]\nmemory = 512\n", f"{vmid}.toml")
    code, lines = check(site.write_config(), capsys)
    assert code == 0
    assert "ok    the token has every privilege that is needed (30 guests)" in lines
    assert not [line for line in lines if "/vms/" in line]
    assert len(lines) < 20


def test_guests_that_are_not_seen_are_one_fault(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare("".join(f"[guest.{vmid}.config]\nmemory = 512\n" for vmid in range(700, 740)))
    code, lines = check(site.write_config(), capsys)
    assert code == 1
    (fault,) = faults(lines)
    assert fault.startswith("guests 700, 701, ")
    assert fault.endswith("and 20 more are not seen; do they exist, may we see them?")


def test_selftest_read_uses_the_same_probes(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.declare(GOOD)
    site.devnode.clock_ahead = 600.0
    assert main(["--config", str(site.write_config()), "selftest", "read"]) == 1
    (fault,) = faults(capsys.readouterr().out.splitlines())
    assert "ahead of this host's" in fault


def test_check_changes_nothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.declare("[guest.100]\nstate = 'running'\n[guest.100.config]\ncores = 3\n")
    path = site.write_config()
    before = sorted(site.directory.rglob("*"))
    assert check(path, capsys)[0] == 0
    assert site.devnode.mutations == ()
    assert sorted(site.directory.rglob("*")) == before


@pytest.mark.parametrize("declared", ["", GOOD])
@pytest.mark.parametrize(
    ("held", "lacks"),
    [
        ({}, "VM.Audit,Sys.Audit"),
        ({"/nodes/pve1": ["Sys.Audit", "VM.Audit"]}, "VM.Audit"),
        ({"/storage": ["Datastore.Audit"], "/nodes": ["Sys.Audit"]}, "VM.Audit"),
    ],
)
def test_a_token_that_may_see_no_guest_is_a_fault_with_what_lets_it(
    site: Site,
    capsys: pytest.CaptureFixture[str],
    declared: str,
    held: dict[str, list[str]],
    lacks: str,
) -> None:
    site.declare(declared)
    site.world.grant(TOKEN_ID, held)
    code, lines = check(site.write_config(), capsys)
    assert code == 1
    (fault,) = faults(lines)
    assert fault.startswith("the token may see no guest at all")
    told = [line.strip() for line in lines if "pveum" in line]
    role = f"pveum role add FelhomAgent --privs {lacks} || "
    assert told[0] == f"{role}pveum role modify FelhomAgent --append 1 --privs {lacks}"
    assert "pveum acl modify /vms --tokens 'felhom-agent@pve!agent' --roles FelhomAgent" in told
    assert any("/nodes/pve1" in line for line in told) is ("Sys.Audit" in lacks)
    assert not any("guests are seen" in line or "adopt" in line for line in lines)


def test_a_node_without_guests_is_no_fault_where_one_would_be_seen(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.world.guests.clear()
    code, lines = check(site.write_config(), capsys)
    assert (code, faults(lines)) == (0, [])
    assert "ok    the node can be observed: 0 guests are seen" in lines
