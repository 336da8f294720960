"""`felhom-agent trust` trusts the certificate that the node shows now, when a person says so."""

from __future__ import annotations

import os
import pty
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent.cli.main import main
from felhom_agent.config.agentfile import load
from felhom_agent.devnode import DevNode, World
from felhom_agent.errors import NotSent
from felhom_agent.proxmox.node import Node
from tests.commands import QUICK
from tests.conftest import Site
from tests.process import Process


@pytest.fixture
def path(site: Site) -> Path:
    """An agent.toml whose fingerprint is that of the certificate before the present one."""
    path = site.write_config()
    other = ":".join(["AB"] * 32)
    text = path.read_text().splitlines(keepends=True)
    lines = [line for line in text if not line.startswith("ca_file")]
    lines.insert(1, f'fingerprint = "{other}"  # pvenode cert info\n')
    path.write_text("".join(lines))
    path.chmod(0o640)
    return path


def trust(path: Path, *words: str) -> int:
    return main(["--config", str(path), "trust", *words])


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal as stdin; the other end of it."""
    master, slave = pty.openpty()
    with os.fdopen(slave) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield master
    os.close(master)


def test_the_error_of_another_fingerprint_names_the_command(path: Path) -> None:
    node = Node.connect(load(path).proxmox)
    with pytest.raises(NotSent, match="felhom-agent trust") as caught:
        node.client.get("version")
    assert len(caught.value.text) <= 500
    node.client.close()


def test_it_shows_the_certificate_and_writes_its_fingerprint_alone(
    path: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    before, mode = path.read_text(), path.stat().st_mode
    assert trust(path, "--yes") == 0
    shown = capsys.readouterr().out
    new = site.devnode.fingerprint
    assert f"fingerprint  {new}" in shown
    assert "localhost" in shown
    assert "trustme" in shown, "its issuer"
    assert "valid        " in shown
    assert "EXPIRED" not in shown
    assert shown.endswith("No agent runs; it counts from its next start on.\n")
    assert path.read_text() == before.replace(":".join(["AB"] * 32), new)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(mode) == 0o640
    assert [p.name for p in path.parent.iterdir() if "new" in p.name] == []
    node = Node.connect(load(path).proxmox)
    assert node.client.get("version")
    node.client.close()
    assert site.devnode.mutations == ()


def test_what_is_trusted_already_is_not_written(
    path: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trust(path, "--yes") == 0
    before = path.read_bytes()
    assert trust(path) == 0
    assert "trusts it already, by fingerprint" in capsys.readouterr().out
    assert path.read_bytes() == before
    site.write_config()
    assert trust(path) == 0
    assert "trusts it already, by ca_file" in capsys.readouterr().out


def test_without_a_terminal_it_is_not_done_unasked(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = path.read_bytes()
    assert trust(path) == 1
    assert "say --yes" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 1), (b"\n", 1)])
def test_a_person_is_asked(path: Path, terminal: int, answer: bytes, code: int) -> None:
    before = path.read_bytes()
    os.write(terminal, answer)
    assert trust(path) == code
    assert (path.read_bytes() == before) is (code == 1)


def test_a_link_stays_one(path: Path, site: Site) -> None:
    real = path.rename(path.with_name("real.toml"))
    path.symlink_to("real.toml")
    assert trust(path, "--yes") == 0
    assert path.is_symlink()
    assert site.devnode.fingerprint in real.read_text()


def test_a_node_that_does_not_answer_is_told(
    path: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    with DevNode(World()) as gone:
        endpoint = gone.endpoint
    path.write_text(path.read_text().replace(site.devnode.endpoint, endpoint))
    before = path.read_bytes()
    assert trust(path, "--yes") in (1, 75)
    assert endpoint in capsys.readouterr().err
    assert path.read_bytes() == before


def test_insecure_is_told_to_contradict_it(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    path = site.write_config()
    text = "".join(x for x in path.read_text().splitlines(keepends=True) if "ca_file" not in x)
    path.write_text(text.replace("[proxmox]\n", "[proxmox]\ninsecure = true\n"))
    assert trust(path, "--yes") == 1
    assert "insecure contradicts" in capsys.readouterr().err


SYSTEMCTL = """#!/bin/sh
case "$1" in
show)
    printf 'LoadState=loaded\\nActiveState=active\\nExecStart=felhom-agent --config {config}\\n' ;;
reload) {reload} ;;
*) exit 1 ;;
esac
"""


@pytest.mark.parametrize("is_told", [True, False])
def test_a_running_agent_takes_the_new_fingerprint(
    path: Path,
    site: Site,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    is_told: bool,
) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    path.write_text(path.read_text() + QUICK)
    agent = Process(path)
    try:
        agent.wait_for("felhom-agent trust")
        programs = site.directory / "programs"
        programs.mkdir()
        reload = f"kill -HUP {agent.pid}" if is_told else "exit 1"
        (programs / "systemctl").write_text(SYSTEMCTL.format(config=path, reload=reload))
        (programs / "systemctl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        assert trust(path, "--yes") == 0
        out = capsys.readouterr().out
        if is_told:
            assert "The running agent was told to take it" in out
            agent.wait_for("done: set cores: 1 -> 2")
            assert not agent.count("takes effect at a restart")
        else:
            assert out.endswith("systemctl restart felhom-agent.service\n")
    finally:
        agent.end()
