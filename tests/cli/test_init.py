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
from felhom_agent.devnode.demo.world import demo_world
from tests.commands import Felhom, typed
from tests.conftest import Site
from tests.e2e import pvesh
from tests.e2e.pveum import CLIENT, Pveum, PveumError, outcome

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="init sets up a host, and needs root")


@pytest.fixture
def pve(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pveum]:
    """A host with `pveum` and `pvesh`, whose words reach the embedded node, and without systemd."""

    def members(pool: str) -> list[int]:
        return [vmid for vmid, guest in site.world.guests.items() if guest.pool == pool]

    pveum = Pveum(site.world.token, members)
    path, programs = tmp_path / "pveum.sock", tmp_path / "programs"

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            program, *words = json.loads(self.rfile.readline())
            if program == "pveum":
                answer = outcome(pveum, words)
            else:
                answer = pvesh.outcome(site.world, words, ("empty",))
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    programs.mkdir()
    for name in ("pveum", "pvesh"):
        client = programs / name
        client.write_text(CLIENT.format(python=sys.executable, path=str(path), before=[name]))
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
    assert "once you trust it" not in out
    assert "the agent keeps the guests as declared" in out


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


def _refusing(pve: Pveum, *what: str, after: int = 0) -> Callable[[list[str]], str]:
    """Return what runs all but the lines that begin so, of which the first ones are run, too."""
    run, left = pve.run, [after]

    def refuse(words: list[str]) -> str:
        if words[:2] == list(what or ("user", "add")):
            left[0] -= 1
            if left[0] < 0:
                raise PveumError("no")
        return run(words)

    return refuse


def test_without_an_agent_toml_one_is_made(
    site: Site, pve: Pveum, felhom: Felhom, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = site.directory / "agent.toml"
    path.unlink()
    monkeypatch.setattr(pve, "run", _refusing(pve))
    code, out, _ = felhom("init", "--yes")
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
    fresh = Existing(frozenset(), frozenset(), frozenset())
    again = Existing(frozenset({"FelhomAgent"}), frozenset({initplan.USER}), frozenset())
    assert initplan.new_token(fresh, "agent").before[0].startswith("pveum user add ")
    assert initplan.new_token(again, "agent").before == ()
    token = f"{initplan.USER}!agent"
    assert initplan.look_lines((), ("/",), token)[0].startswith("pveum role add FelhomAgent ")
    role, *lines = initplan.look_lines(again.roles, ("/vms/101", "/nodes/pve1"), token)
    assert role == 'pveum role modify FelhomAgent --append 1 --privs "VM.Audit Sys.Audit"'
    assert [line.split()[3] for line in lines] == [
        "/vms/101", "/vms/101", "/nodes/pve1", "/nodes/pve1",
    ]  # fmt: skip
    assert initplan.look_lines(again.roles, (), token) == ()


class TestAnotherRun:
    """`init` goes on wherever it was stopped, and takes what is named now."""

    @pytest.mark.parametrize(
        ("words", "done"),
        [
            *(((), done) for done in range(2)),
            *((("100", "200"), done) for done in range(6)),
            *((("--pool", "shop"), done) for done in range(4)),
        ],
    )
    def test_it_gives_the_rights_that_a_failure_left_out(
        self,
        site: Site,
        pve: Pveum,
        felhom: Felhom,
        monkeypatch: pytest.MonkeyPatch,
        words: tuple[str, ...],
        done: int,
    ) -> None:
        site.world.pool(100, "shop")
        site.world.pool(200, "shop")
        with monkeypatch.context() as failing:
            failing.setattr(pve, "run", _refusing(pve, "acl", "modify", after=done))
            code, out, err = felhom("init", "--yes", *words)
        assert code == 1
        assert "failed: no" in err
        assert f" {' '.join(('init', '--yes', *words))}` goes on from here" in out
        code, out, err = felhom("init", "--yes", *words)
        assert (code, err) == (0, ""), out
        assert "No fault" in out
        assert len(pve.tokens) == 1
        assert felhom("plan")[0] == 0
        text = (site.guests_directory / "adopted.toml").read_text()
        assert "[guest.100" in text
        assert "[guest.200" in text

    def test_guests_that_are_named_later_are_granted_and_adopted(
        self, site: Site, pve: Pveum, felhom: Felhom
    ) -> None:
        assert felhom("init", "--yes", "100")[0] == 0
        first = (site.guests_directory / "adopted.toml").read_bytes()
        code, out, err = felhom("init", "--yes", "100", "200")
        assert (code, err) == (0, ""), out
        assert set(pve.acl) == {"/vms/100", "/vms/200", "/nodes/pve1"}
        assert (site.guests_directory / "adopted.toml").read_bytes() == first
        text = (site.guests_directory / "adopted-2.toml").read_text()
        assert "[guest.200" in text
        assert "[guest.100" not in text
        assert felhom("plan", "100", "200")[0] == 0
        asked = len(pve.tokens), list(site.guests_directory.iterdir())
        code, out, _ = felhom("init", "--yes", "100", "200")
        assert "all of them are declared already" in out
        assert (len(pve.tokens), list(site.guests_directory.iterdir())) == asked

    def test_a_run_that_names_nobody_does_not_widen_what_the_token_sees(
        self, site: Site, pve: Pveum, felhom: Felhom
    ) -> None:
        assert felhom("init", "--yes", "100")[0] == 0
        held = set(pve.acl)
        code, out, _ = felhom("init", "--yes")
        assert code == 0, out
        assert set(pve.acl) == held

    @pytest.mark.parametrize("role", ["VM.Audit", "Sys.Audit"])
    def test_what_somebody_took_away_is_given_again(
        self, site: Site, pve: Pveum, felhom: Felhom, role: str
    ) -> None:
        assert felhom("init", "--yes")[0] == 0
        pve.roles["FelhomAgent"] -= {role}
        assert felhom("init", "--yes")[0] == 0
        assert role in pve.roles["FelhomAgent"]

    def test_a_token_that_pve_has_no_more_is_told_with_what_to_do(
        self, site: Site, pve: Pveum, felhom: Felhom
    ) -> None:
        assert felhom("init", "--yes")[0] == 0
        pve.tokens.clear()
        code, _, err = felhom("init", "--yes")
        assert code == 1
        assert "PVE has no token felhom-agent@pve!agent: remove that file" in err
        (site.directory / "the-token").unlink()
        assert felhom("init", "--yes")[0] == 0

    def test_a_service_that_runs_already_is_left_alone(
        self, site: Site, pve: Pveum, felhom: Felhom, tmp_path: Path
    ) -> None:
        systemctl = tmp_path / "programs" / "systemctl"
        said = tmp_path / "said"
        systemctl.write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
        systemctl.chmod(0o755)
        code, out, _ = felhom("init", "--yes")
        assert code == 0, out
        assert "it runs, and is started at each boot, already" in out
        assert "enable --now" not in said.read_text()


class TestWhoIsNamed:
    """Whom a person names must be there: that is said before anything is done."""

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("150",), "150: there is no such guest on node pve1"),
            (("100", "150"), "150: there is no such guest on node pve1"),
            (("110-190",), "110-190: there is no guest of these on node pve1"),
            (("300",), "300: it is on node pve2; run init there"),
            (("--pool", "shp"), "there is no pool 'shp' (there are: empty, shop)"),
            (("--pool", "empty"), "the pool 'empty' has no guest on node pve1"),
        ],
    )
    def test_who_is_not_there_is_said_and_nothing_is_done(
        self, site: Site, pve: Pveum, felhom: Felhom, words: tuple[str, ...], told: str
    ) -> None:
        site.world.pool(100, "shop")
        site.world.add("qemu", 300, {})
        site.world.move(300, "pve2")
        before = (site.directory / "agent.toml").read_bytes()
        code, out, err = felhom("init", "--yes", *words)
        assert (code, out) == (1, "")
        assert f"{told}; nothing was done" in err
        assert (pve.acl, pve.tokens, pve.users) == ({}, {}, {"root@pam"})
        assert (site.directory / "agent.toml").read_bytes() == before

    def test_a_range_grants_the_guests_that_there_are_and_no_number(
        self, site: Site, pve: Pveum, felhom: Felhom
    ) -> None:
        site.world.add("qemu", 9000, {})
        site.world.move(9000, "pve2")
        assert felhom("init", "--yes", "100-9999999")[0] == 0
        assert set(pve.acl) == {"/vms/100", "/vms/200", "/nodes/pve1"}


class TestAHousehold:
    """The demo's guests, with disks and cards on bridges, as nearly every host has them."""

    @pytest.fixture
    def site(self, make_site: Callable[..., Site]) -> Site:
        site = make_site(demo_world())
        for vmid in site.world.guests:
            site.world.pool(vmid, "home")
        return site

    @pytest.mark.parametrize("words", [(), ("100-999",), ("--pool", "home"), ("--state",)])
    def test_it_is_set_up_with_the_rights_of_its_cards(
        self, site: Site, pve: Pveum, felhom: Felhom, words: tuple[str, ...]
    ) -> None:
        code, out, err = felhom("init", "--yes", *words)
        assert (code, err) == (0, ""), out
        assert "--propagate 0" in out
        assert "No fault" in out
        assert felhom("plan")[0] == 0
        assert felhom("check")[0] == 0
        assert site.devnode.mutations == ()
        # The bridge itself, and none of its VLANs.
        held = pve.acl["/sdn/zones/localnetwork/vmbr0"]["felhom-agent@pve!agent"]
        assert held == {"FelhomAgentSDN": False}
