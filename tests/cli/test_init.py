"""`init`: from the installed package to a watched host, each step shown, asked for, done once."""

from __future__ import annotations

import json
import os
import socketserver
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from felhom_agent.cli import initplan
from felhom_agent.cli.initplan import Existing
from felhom_agent.config.agentfile import load
from tests.commands import Felhom, typed
from tests.conftest import Site
from tests.e2e.pveum import CLIENT, Pveum, PveumError, outcome

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="init sets up a host, and needs root")


@pytest.fixture
def pve(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pveum]:
    """A host with `pveum`, whose words reach the embedded node, and without systemd."""

    def members(pool: str) -> list[int]:
        return [vmid for vmid, guest in site.world.guests.items() if guest.pool == pool]

    pveum = Pveum(site.world.token, members)
    path, programs = tmp_path / "pveum.sock", tmp_path / "programs"

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            answer = outcome(pveum, json.loads(self.rfile.readline()))
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    programs.mkdir()
    client = programs / "pveum"
    client.write_text(CLIENT.format(python=sys.executable, path=str(path), before=[]))
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield pveum
        server.shutdown()
        thread.join(30)


@pytest.fixture
def felhom(site: Site, capsys: pytest.CaptureFixture[str]) -> Felhom:
    """Run a command on a host where the package was just installed."""
    path = site.write_config()
    token = site.directory / "the-token"
    text = path.read_text().replace(str(site.proxmox.token_file), str(token))
    path.write_text(text + '\n# a person\'s words\n[reconcile]\n#mode = "enforce"\n')

    return typed(path, capsys)


def test_from_the_package_to_a_watched_host(site: Site, pve: Pveum, felhom: Felhom) -> None:
    before = site.world.config(100)
    code, out, err = felhom("init", "--yes")
    assert (code, err) == (0, ""), out
    token = site.directory / "the-token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    secret = token.read_text().strip()
    assert secret == pve.tokens["felhom-agent@pve!agent"]
    assert secret not in out
    config = load(site.directory / "agent.toml")
    assert config.reconcile.mode == "observe"
    assert "# a person's words" in config.path.read_text()
    assert (site.guests_directory / "adopted.toml").exists()
    assert "all 2 as declared" in out
    assert site.world.config(100) == before
    assert site.devnode.mutations == ()
    assert felhom("plan")[0] == 0
    assert felhom("check")[0] == 0


def test_the_token_may_do_what_the_guest_files_need_and_no_more(
    site: Site, pve: Pveum, felhom: Felhom
) -> None:
    site.world.guests.clear()
    site.world.add("qemu", 100, {"cores": 2, "memory": "512"})
    assert felhom("init", "--yes")[0] == 0
    privileges = pve.roles["FelhomAgent"]
    assert privileges == {"VM.Audit", "Sys.Audit", "VM.Config.CPU", "VM.Config.Memory"}


def test_a_second_run_does_nothing_again(site: Site, pve: Pveum, felhom: Felhom) -> None:
    assert felhom("init", "--yes")[0] == 0
    secret = (site.directory / "the-token").read_bytes()
    adopted = (site.guests_directory / "adopted.toml").read_bytes()
    config = (site.directory / "agent.toml").read_bytes()
    code, out, _ = felhom("init", "--yes")
    assert code == 0
    assert out.count("left as it is") == 2
    assert (site.directory / "the-token").read_bytes() == secret
    assert (site.guests_directory / "adopted.toml").read_bytes() == adopted
    assert (site.directory / "agent.toml").read_bytes() == config
    assert len(pve.tokens) == 1


def test_a_pool_is_all_that_its_token_sees(site: Site, pve: Pveum, felhom: Felhom) -> None:
    site.world.pool(100, "shop")
    code, out, _ = felhom("init", "--yes", "--pool", "shop")
    assert code == 0, out
    assert set(pve.acl) == {"/pool/shop", "/nodes/pve1"}
    text = (site.guests_directory / "adopted.toml").read_text()
    assert "[guest.100]" in text
    assert "[guest.200]" not in text


def test_each_host_of_a_cluster_has_a_token_of_its_own(
    site: Site, pve: Pveum, felhom: Felhom
) -> None:
    pve.run(["user", "add", "felhom-agent@pve"])
    pve.run(["user", "token", "add", "felhom-agent@pve", "agent", "--privsep", "1"])
    assert felhom("init", "--yes")[0] == 0
    assert load(site.directory / "agent.toml").proxmox.token_id == "felhom-agent@pve!agent-pve1"


def test_where_all_tokens_are_there_the_secret_is_lost_and_that_is_told(
    site: Site, pve: Pveum, felhom: Felhom
) -> None:
    assert felhom("init", "--yes")[0] == 0
    pve.run(["user", "token", "add", "felhom-agent@pve", "agent-pve1", "--privsep", "1"])
    (site.directory / "the-token").unlink()
    code, _, err = felhom("init", "--yes")
    assert code == 1
    assert "pveum user token remove felhom-agent@pve agent-pve1" in err


def test_an_agent_that_runs_here_already_is_not_put_into_observe_mode(
    site: Site, pve: Pveum, felhom: Felhom
) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    (site.directory / "journal").mkdir()
    (site.directory / "journal" / "journal.jsonl").write_text("")
    code, out, _ = felhom("init", "--yes")
    assert code == 0, out
    assert load(site.directory / "agent.toml").reconcile.mode == "enforce"


def test_without_a_terminal_it_asks_for_yes(site: Site, pve: Pveum, felhom: Felhom) -> None:
    code, _, err = felhom("init")
    assert code == 64
    assert "--yes" in err
    assert not pve.tokens


def test_a_host_without_pveum_is_told_what_to_do_by_hand(
    site: Site, felhom: Felhom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    code, _, err = felhom("init", "--yes")
    assert code == 1
    assert "pveum is not on this host" in err
    assert "the-token" in err


def test_what_pveum_refuses_is_told_with_the_line(
    site: Site, pve: Pveum, felhom: Felhom, monkeypatch: pytest.MonkeyPatch
) -> None:
    pve.roles["FelhomAgentSDN"] = set()
    monkeypatch.setattr(pve, "run", _refusing(pve))
    code, _, err = felhom("init", "--yes")
    assert code == 1
    assert "`pveum user add felhom-agent@pve --comment felhom-agent` failed: no" in err
    assert not (site.directory / "the-token").exists()


def _refusing(pve: Pveum) -> Callable[[list[str]], str]:
    run = pve.run

    def refuse(words: list[str]) -> str:
        if words[:2] == ["user", "add"]:
            raise PveumError("no")
        return run(words)

    return refuse


def test_without_an_agent_toml_one_is_made(site: Site, pve: Pveum, felhom: Felhom) -> None:
    path = site.directory / "agent.toml"
    path.unlink()
    code, out, _ = felhom("init", "--yes", "100-400")
    assert code == 1
    assert "was not there, and was made" in out
    assert load(path).reconcile.mode == "observe"


@pytest.mark.parametrize(
    ("tokens", "name"),
    [((), "agent"), (("agent",), "agent-pve1"), (("agent", "agent-pve1"), "")],
)
def test_a_new_token_has_a_name_that_is_free(tokens: tuple[str, ...], name: str) -> None:
    access = Existing(frozenset(), frozenset(), frozenset(tokens))
    assert initplan.token_name(access, "pve1") == name


def test_what_is_there_is_not_made_again() -> None:
    fresh = initplan.steps(Existing(frozenset(), frozenset(), frozenset()), "agent", ("/",), "pve1")
    again = initplan.steps(
        Existing(frozenset({"FelhomAgent"}), frozenset({initplan.USER}), frozenset()),
        "agent",
        ("/vms/101",),
        "pve1",
    )
    assert fresh.before[0].startswith("pveum role add FelhomAgent ")
    assert fresh.before[1].startswith("pveum user add ")
    assert again.before == (
        'pveum role modify FelhomAgent --append 1 --privs "VM.Audit Sys.Audit"',
    )
    assert [line.split()[3] for line in again.after] == [
        "/vms/101", "/vms/101", "/nodes/pve1", "/nodes/pve1",
    ]  # fmt: skip
