"""`check` judges files by what the service's user reads, and agrees with the agent that runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from felhom_agent import __version__
from felhom_agent.cli.health import bad
from felhom_agent.cli.healthagent import agent_of
from felhom_agent.cli.healthfiles import by_credential
from felhom_agent.cli.main import main
from felhom_agent.cli.serviceuser import Service
from tests.cli.agents import answering
from tests.cli.hosts import Host, needs_root, opened_host
from tests.conftest import Site
from tests.process import Process, wait_until

GOOD = "[guest.100.config]\ncores = 1\n"


@pytest.fixture
def host(site: Site, capsys: pytest.CaptureFixture[str]) -> Iterator[Host]:
    yield from opened_host(site, capsys)


def test_nothing_is_wrong_with_what_the_service_can_read(host: Host) -> None:
    host.declare(GOOD)
    assert host.faults() == []
    assert host.check()[0] == 0


@needs_root
def test_a_guest_file_that_only_root_can_read_is_told_with_what_mends_it(host: Host) -> None:
    path = host.declare(GOOD)
    host.declare("[guest.200.config]\ncores = 1\n", "dns.toml")
    path.chmod(0o600)
    code, findings = host.check()
    (fault,) = (f for f in findings if f["level"] == "bad")
    assert code == 1
    assert fault["text"] == (f"user nobody may not read {path} (mode 0600, root:root); as root:")
    assert not [f for f in findings if "guest files declare" in f["text"]]
    for line in fault["remedy"]:
        subprocess.run(["sh", "-ec", line], check=True)
    assert host.faults() == []
    assert path.stat().st_mode & 0o7 == 0


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o744, 0o711])
def test_a_directory_that_the_service_cannot_list_is_one_fault(host: Host, mode: int) -> None:
    for number in range(100, 130):
        host.declare(f"[guest.{number}.config]\ncores = 1\n", f"{number}.toml")
    host.guests.chmod(mode)
    faults = [f for f in host.faults() if "guests.d" in f]
    assert len(faults) == 1
    assert f"user nobody may not {'enter' if mode == 0o744 else 'read'}" in faults[0]


@needs_root
@pytest.mark.parametrize("declared", ["", GOOD])
def test_a_closed_directory_is_one_fault_whatever_lies_in_it(host: Host, declared: str) -> None:
    host.declare(declared)
    signers = host.directory / "signers"
    signers.mkdir(mode=0o755)
    for name in ("allowed_signers", "revoked", "set"):
        (signers / name).touch(mode=0o644)
    path = host.directory / "agent.toml"
    path.write_text(path.read_text() + f'[authz]\nsigners = "{signers}"\n')
    host.directory.chmod(0o700)
    code, findings = host.check()
    closed = [f for f in findings if f"may not enter {host.directory} " in f["text"]]
    assert code == 1
    assert [f["remedy"] for f in closed] == [[f"chmod o+x {host.directory}"]]
    subprocess.run(["sh", "-ec", closed[0]["remedy"][0]], check=True)
    assert not [text for text in host.faults() if "may not enter" in text]


@needs_root
def test_two_closed_directories_are_two_faults(host: Host) -> None:
    inner = host.directory / "secrets"
    inner.mkdir(mode=0o700)
    (host.directory / "token").rename(inner / "token")
    path = host.directory / "agent.toml"
    path.write_text(path.read_text().replace('"token"', '"secrets/token"'))
    host.guests.chmod(0o700)
    (first, second) = [text for text in host.faults() if "user nobody may not" in text]
    assert f"may not enter {inner} " in first
    assert f"may not read and enter {host.guests} " in second


@pytest.mark.parametrize("is_file", [False, True])
def test_a_directory_that_is_none_is_one_fault_that_names_the_setting(
    host: Host, is_file: bool
) -> None:
    host.guests.rmdir()
    if is_file:
        host.guests.write_text("")
    (fault,) = host.faults()
    why = "Not a directory" if is_file else "No such file or directory"
    assert fault.startswith(f"{host.guests}: cannot be listed: {why}; ")
    assert fault.endswith("see [desired] directory in agent.toml")


@needs_root
@pytest.mark.parametrize("name", ["agent.toml", "token", "ca.pem"])
def test_what_agent_toml_names_is_told_where_the_service_cannot_read_it(
    host: Host, name: str
) -> None:
    host.declare(GOOD)
    path = host.directory / name
    path.chmod(0o600)
    subprocess.run(["chown", "root:root", str(path)], check=True)
    (fault,) = host.faults()
    assert f"user nobody may not read {path} (mode 0600, root:root)" in fault
    named = {"token": "token_file in", "ca.pem": "ca_file in", "agent.toml": "user nobody"}
    assert fault.startswith(named[name])


@pytest.mark.parametrize(
    "path", ["/etc/pve/pve-root-ca.pem", "/etc/felhom-agent/token", "/etc/felhom-agent/hub-key"]
)
def test_a_file_that_the_unit_hands_over_need_not_be_named(path: str) -> None:
    fault = bad("user felhom-agent may not enter /etc/pve; as root:", "chmod o+x /etc/pve")
    told = by_credential(fault, Path(path), Service(None, {"LoadState": "loaded"}))
    assert told.text.startswith("user felhom-agent may not enter /etc/pve; remove the line: ")
    assert not told.remedy
    assert by_credential(fault, Path(path), Service(None)) == fault
    other = Path("/srv/ca.pem")
    assert by_credential(fault, other, Service(None, {"LoadState": "loaded"})) == fault


@needs_root
def test_many_files_that_cannot_be_read_are_told_in_bounded_lines(host: Host) -> None:
    for number in range(100, 150):
        host.declare(f"[guest.{number}.config]\ncores = 1\n", f"{number}.toml").chmod(0o600)
    faults = [fault for fault in host.faults() if "seen" not in fault]
    assert len(faults) == 21
    assert faults[-1] == "and 30 more guest files that the service's user may not read"


def test_a_mistake_that_the_agent_knows_of_too_is_told_once(site: Site, host: Host) -> None:
    site.declare(GOOD)
    agent = Process(site.write_config("[reconcile]\ninterval = 1\n"))
    try:
        agent.wait_for("keeps 1 guest")
        site.declare("[guest.100.config]\ncorse = 1\n")
        wait_until(lambda: bool(agent_of(site.config()).problems))
        assert main(["--config", str(site.directory / "agent.toml"), "check"]) == 1
        out = host.capsys.readouterr().out
        (fault,) = (line for line in out.splitlines() if line.startswith("FAIL"))
        assert "did you mean 'cores'?" in fault
        assert "last good version of" in fault
        assert "the running agent" not in fault
    finally:
        assert agent.end() == 0


Status = Callable[..., dict[str, Any]]


@pytest.fixture
def status() -> Status:
    def made(*problems: tuple[str, int, str], declared: int = 1, **more: object) -> dict[str, Any]:
        rows = [{"file": file, "line": line, "text": text} for file, line, text in problems]
        at = {"at": "2026-11-24T09:00:00Z", "seconds": 0.1, "ok": True, "why": ""}
        return {
            "schema": 1, "version": __version__, "node": "pve1", "guests": [], "problems": rows,
            "last_pass": at, "counts": {"declared": declared}, "mode": "enforce", **more,
        }  # fmt: skip

    return made


def test_a_mistake_that_the_agent_has_not_read_yet_says_so(host: Host, status: Status) -> None:
    path = host.declare("[guest.100.config]\ncorse = 1\n")
    with answering(host.directory / "control.sock", status=status()):
        (fault,) = host.faults()
    assert fault.startswith(f"{path}:2: ")
    assert fault.endswith("(the running agent has not read that yet)")


def test_a_mistake_of_which_the_agent_knows_the_time_in_force_is_told_once_with_it(
    host: Host, status: Status
) -> None:
    path = host.declare("[guest.100.config]\ncorse = 1\n")
    (alone,) = host.faults()
    text = alone.removeprefix(f"{path}:2: ").partition("; has errors")[0]
    told = f"{text}; its guests: last good version of 09:12"
    with answering(host.directory / "control.sock", status=status((str(path), 2, told))):
        (fault,) = host.faults()
    assert fault.startswith(f"{path}:2: {told}")


def test_what_only_the_agent_finds_wrong_is_told_as_its_word(host: Host, status: Status) -> None:
    path = host.declare(GOOD)
    with answering(host.directory / "control.sock", status=status((str(path), 3, "is odd"))):
        (fault,) = host.faults()
    assert fault == f"{path}:3: is odd (so the running agent, as it last read it)"


@needs_root
def test_a_file_that_the_agent_could_not_read_is_one_fault_with_what_is_in_force(
    host: Host, status: Status
) -> None:
    path = host.declare(GOOD)
    path.chmod(0o600)
    kept = "cannot be read: Permission denied; its guests: last good version of 09:12"
    problems = ((str(path), 0, kept), (str(path), 0, "its last good version stays in force"))
    with answering(host.directory / "control.sock", status=status(*problems)):
        (fault,) = host.faults()
    assert f"user nobody may not read {path}" in fault
    assert "; its last good version of 09:12 stays in force; as root:" in fault


def test_an_agent_that_knows_other_guests_than_the_files_is_told(
    host: Host, status: Status
) -> None:
    host.declare(GOOD)
    with answering(host.directory / "control.sock", status=status(declared=7)):
        code, findings = host.check()
    notes = [f["text"] for f in findings if f["level"] == "note"]
    assert code == 0
    assert any("the running agent knows 7 declared guests" in text for text in notes)


def test_what_becomes_of_a_file_as_a_whole_stands_with_its_fault(host: Host) -> None:
    path = host.declare("[guest.100\n")
    (fault,) = host.faults()
    assert fault.startswith(f"{path}:1: is not valid TOML")
    assert fault.endswith("; has errors; nothing of it is in force")


class TestFilesThatAreNamed:
    """`check DIR|FILE...`: without agent.toml, without a node."""

    def check(self, capsys: pytest.CaptureFixture[str], *paths: object) -> tuple[int, list[str]]:
        code = main(["--config", "/nowhere/agent.toml", "check", *map(str, paths)])
        return code, capsys.readouterr().out.splitlines()

    def test_says_how_many_guests_they_declare(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a.toml").write_text(GOOD)
        (tmp_path / "b.toml").write_text("[guest.200]\n[guest.201]\n")
        (tmp_path / ".hidden.toml").write_text("nonsense")
        (tmp_path / "README").write_text("nonsense")
        code, lines = self.check(capsys, tmp_path)
        assert (code, lines) == (
            0, ["ok    guest files declare 3 guests", "No fault; 1 good."],
        )  # fmt: skip
        code, lines = self.check(capsys, tmp_path / "a.toml")
        assert (code, lines[0]) == (0, "ok    guest files declare 1 guest")

    @pytest.mark.parametrize(
        ("text", "line", "words"),
        [
            ("[guest.100\n", 1, "is not valid TOML"),
            ("[guest.100.config]\ncorse = 1\n", 2, "did you mean 'cores'?"),
            ("[guest.100.config]\ncores = 0\n", 2, "cores"),
            ("x = 1\n", 1, "outside of any guest"),
            ("[guest.7]\n", 1, "from 100"),
        ],
    )
    def test_tells_what_is_wrong_with_file_and_line(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        text: str,
        line: int,
        words: str,
    ) -> None:
        path = tmp_path / "a.toml"
        path.write_text(text)
        for given in (path, tmp_path):
            code, lines = self.check(capsys, given)
            assert code == 78
            assert lines[0].startswith(f"FAIL  {path}:{line}: ")
            assert words in lines[0]
            assert len(lines) == 3
            assert lines[1] == "note  guest files declare 0 guests rightly"

    def test_finds_a_guest_that_two_files_declare(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "x.toml").write_text(GOOD)
        (tmp_path / "y.toml").write_text(GOOD)
        code, lines = self.check(capsys, tmp_path / "a", tmp_path / "y.toml")
        assert code == 78
        assert f"FAIL  {tmp_path}/y.toml:1: guest 100 is declared twice" in lines[0]

    def test_of_a_file_that_is_named_twice_it_is_read_once(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a.toml").write_text(GOOD)
        assert self.check(capsys, tmp_path, tmp_path / "a.toml")[0] == 0

    def test_a_path_that_is_not_there_is_a_fault(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, lines = self.check(capsys, tmp_path / "no.toml")
        assert code == 78
        assert lines[0] == f"FAIL  {tmp_path}/no.toml: cannot be read: No such file or directory"

    def test_an_agent_toml_is_checked_as_one(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "agent.toml").write_text("[proxmox]\nx = 1\n")
        code, lines = self.check(capsys, tmp_path / "agent.toml")
        assert code == 78
        assert any("agent.toml:2: [proxmox] x: unknown key" in line for line in lines)

    def test_a_fifo_does_not_hold_it_up(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        subprocess.run(["mkfifo", str(tmp_path / "a.toml")], check=True)
        code, lines = self.check(capsys, tmp_path)
        assert code == 78
        assert "it is a FIFO, not a file" in lines[0]
