"""What a person types, what it prints, and how it exits."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from felhom_agent import __version__
from felhom_agent.authz.sshkeygen import SSH_KEYGEN
from felhom_agent.cli.devnode import VERSIONS
from felhom_agent.cli.main import main
from felhom_agent.config.agentfile import load
from felhom_agent.devnode import World
from felhom_agent.devnode.world import release
from felhom_agent.proxmox.node import Node
from tests.commands import DRIFTED, Felhom
from tests.conftest import Clock, Site


def test_an_unreachable_node_is_one_line(site: Site, felhom: Felhom) -> None:
    path = site.directory / "agent.toml"
    path.write_text(path.read_text().replace(site.devnode.endpoint, "https://127.0.0.1:9"))
    code, out, err = felhom("plan")
    assert (code, out) == (75, "")
    assert err.startswith("felhom-agent: https://127.0.0.1:9 cannot be reached: ")
    assert err.count("\n") == 1


def test_a_wrong_configuration_exits_with_78_and_a_line_per_problem(
    site: Site, felhom: Felhom
) -> None:
    (site.directory / "agent.toml").write_text("[proxmox]\nx = 1\n[y]\n")
    code, _, err = felhom("check")
    assert code == 78
    assert err.count("\n") == 3
    assert "agent.toml:2: [proxmox] x: unknown key" in err


def test_check_tells_that_all_is_well(site: Site, felhom: Felhom) -> None:
    site.declare(DRIFTED.replace("[guest.300]", ""))
    code, out, _ = felhom("check")
    assert code == 0
    *lines, last = out.splitlines()
    assert not [line for line in lines if line.startswith("FAIL")]
    assert last.startswith("No fault, ")
    assert "guest files declare 2 guests" in out
    assert "takes the token (PVE 9.1.7)" in out


def test_check_tells_each_thing_that_is_wrong(site: Site, felhom: Felhom) -> None:
    site.declare("[guest.100]\nsate = 1\n")
    path = site.directory / "agent.toml"
    path.write_text(path.read_text().replace('"pve1"', '"other"'))
    code, out, _ = felhom("check")
    assert code == 1
    assert "FAIL  " in out
    assert "unknown key \"sate\"; did you mean 'state'?" in out
    assert (
        'the cluster has no node "other" (it has: pve1); set node in [proxmox] of agent.toml' in out
    )


def test_check_tells_of_a_bad_token(site: Site, felhom: Felhom) -> None:
    site.proxmox.token_file.write_text("00000000-0000-0000-0000-000000000000")
    code, out, _ = felhom("check")
    assert code == 1
    assert "FAIL  the API token was not accepted" in out
    site.proxmox.token_file.chmod(0o644)
    code, out, _ = felhom("check")
    assert "FAIL" in out
    assert "chmod 600" in out


def test_selftest_read_finds_all_that_a_pass_needs(site: Site, felhom: Felhom) -> None:
    site.declare(DRIFTED.replace("[guest.300]", ""))
    code, out, _ = felhom("selftest", "read")
    assert code == 0, out
    assert "the node can be observed: 2 guests are seen" in out
    assert "ok    the token has every privilege that is needed (2 guests)" in out
    assert site.devnode.mutations == ()


def test_selftest_read_names_missing_privileges_and_how_to_grant_them(
    make_site: Callable[..., Site], capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site(privileges={"/": ["VM.Audit", "Sys.Audit"]})
    site.world.add("qemu", 100, {"cores": 1})
    site.declare('[guest.100]\nstate = "running"\n[guest.100.config]\ncores = 2\n[guest.300]\n')
    code = main(["--config", str(site.write_config()), "selftest", "read"])
    out = capsys.readouterr().out
    assert code == 1
    assert "/vms/100: the token lacks VM.PowerMgmt,VM.Config.CPU; as root:" in out
    assert "--privs VM.Audit,VM.PowerMgmt,VM.Config.CPU" in out
    assert "pveum acl modify /vms/100 --tokens 'felhom-agent@pve!agent' --roles" in out
    assert "FAIL  guest 300 is not seen" in out


@pytest.mark.parametrize(
    ("vmid", "before"),
    [(100, None), (100, "web"), (100, "a\nb"), (200, None), (200, "dns\n"), (200, "two\nlines\n")],
)
def test_selftest_task_restores_what_was_there_and_absent_stays_absent(
    site: Site, felhom: Felhom, vmid: int, before: str | None
) -> None:
    if before is not None:
        site.world.edit(vmid, {"description": before})
    was = site.world.config(vmid).get("description")
    code, out, _ = felhom("selftest", "task", "--vmid", str(vmid), "--yes")
    assert (code, out) == (
        0,
        "ok    write and read back: as declared\nok    restore: as declared\n",
    )
    assert site.world.config(vmid).get("description") == was
    writes = [m.params for m in site.devnode.mutations]
    assert len(writes) == 2
    assert "selftest" in writes[0]["description"]


def test_selftest_task_asks_first_and_takes_no_for_an_answer(
    site: Site, felhom: Felhom, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer in ("n\n", "", "perhaps\n"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        code, out, _ = felhom("selftest", "task", "--vmid", "100")
        assert code == 1
        assert out.endswith("Nothing was changed.\n")
    assert site.devnode.mutations == ()
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert felhom("selftest", "task", "--vmid", "100")[0] == 0


def test_selftest_task_leaves_a_locked_guest_alone(site: Site, felhom: Felhom) -> None:
    site.world.lock(100, "backup")
    code, _, err = felhom("selftest", "task", "--vmid", "100", "--yes")
    assert code == 1
    assert "felhom-agent: guest 100: locked (backup)\n" in err
    assert felhom("selftest", "task")[0] == 64


class LockingClock(Clock):
    """A clock whose node locks guest 200 once the agent has written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.site: Site | None = None

    def __call__(self) -> float:
        site = self.site
        if site is not None and any(m.status == 200 for m in site.devnode.mutations):
            self.site = None
            site.world.lock(200, "backup")
        return self.now


def test_selftest_task_that_cannot_restore_tells_what_was_there(
    make_site: Callable[..., Site], capsys: pytest.CaptureFixture[str]
) -> None:
    clock = LockingClock()
    site = make_site(World(now=clock))
    site.world.add("lxc", 200, {"description": "precious"})
    clock.site = site
    config = str(site.write_config())
    code = main(["--config", config, "selftest", "task", "--vmid", "200", "--yes"])
    captured = capsys.readouterr()
    assert code == 1
    assert "FAIL  restore: waits: locked (backup)" in captured.out
    assert r"The description of guest 200 was: 'precious\n'" in captured.err


def test_a_vms_startup_needs_a_privilege_on_the_root(site: Site, felhom: Felhom) -> None:
    site.declare('[guest.100.config]\nstartup = "order=1"\n[guest.200.config]\nstartup = "1"\n')
    code, out, _ = felhom("check")
    assert code == 1
    assert out.count("lacks Sys.Modify on /") == 1
    assert "the token lacks Sys.Modify on /, for startup of 100 web (Sys.Modify is a strong" in out


@pytest.mark.parametrize(
    ("words", "told", "exits"),
    [
        (("qemu", "tags", "b;a", "a;b"), "equal: a set: order does not count (", 0),
        (("qemu", "tags", '["b","A"]', "a;b"), "equal: PVE lower-cases tags", 0),
        (("qemu", "tags", "b;A", "a;b", "--case-sensitive-tags"), "drift: ", 2),
        (
            ("qemu", "memory", "2048", "absent"),
            "drift: memory: is not set\nwould be sent: memory=2048\n",
            2,
        ),
        (("qemu", "onboot", "false", "absent"), "equal: where it is absent, PVE uses 0, ", 0),
        (("lxc", "cpuunits", "1", "2", "--cgroup", "1"), "equal: ", 0),
        (("qemu", "cores", "4", "4", "--pending"), "pending: ", 0),
        (("qemu", "scsi0", "local:32", "lvm:vm-1-disk-0,size=32G"), "forbidden: ", 2),
        (
            ("qemu", "args", "x", "absent"),
            "drift: args: is not set\nwould not be sent: only root",
            2,
        ),
        (("qemu", "cores", "absent", "4"), "equal: what is not declared makes no difference", 0),
        (
            ("qemu", "cores", "null", "4"),
            'reject: cores must be a whole number from 1, not "null"',
            1,
        ),
        (("qemu", "cores", "unset", "4"), "drift: ", 2),
        (("qemu", "tablet", "0", "absent", "--with", "vga=qxl"), "equal: ", 0),
        (("qemu", "tablet", "0", "absent"), "drift: ", 2),
        (
            ("lxc", "hostname", "CT105", "absent", "--vmid", "105"),
            "equal: where it is absent, PVE uses CT105",
            0,
        ),
    ],
)
def test_explain_tells_a_verdict_and_why(
    words: tuple[str, ...], told: str, exits: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *words]) == exits
    assert capsys.readouterr().out.startswith(told)


@pytest.mark.parametrize(
    ("words", "rules"),
    [
        (
            ("qemu", "tags", "b;A", "a;b"),
            ("a set: order does not count", "PVE lower-cases tags", "GuestHelpers.pm"),
        ),
        (("qemu", "boot", "order=a", "order=a"), ("parts in any order",)),
        (("qemu", "smbios1", "", "uuid=x"), ("PVE fills in uuid: kept",)),
        (("qemu", "machine", "q35", "q35"), ("type: a version without +pve is that with +pve0",)),
        (("lxc", "net0", "name=a", "name=a"), ("hwaddr: a text; upper and lower case are one",)),
        (("lxc", "nameserver", "", "absent"), ("blank is none", "order counts", "Base.pm")),
        (("qemu", "tpmstate0", "a:x", "a:x"), ("decided when the volume was made",)),
        (("lxc", "unprivileged", "1", "1"), ("compared, never sent",)),
        (("qemu", "allow-ksm", "1", "1"), ("since: qemu-server 9.0.27 (PVE 9.1)",)),
    ],
)
def test_explain_tells_the_rule_and_where_pve_has_it(
    words: tuple[str, ...], rules: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["explain", *words])
    out = capsys.readouterr().out
    for rule in rules:
        assert rule in out


def test_explain_of_an_unknown_option_helps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "qemu", "memry", "1", "2"]) == 1
    assert "qemu has no option 'memry'; did you mean 'memory'?" in capsys.readouterr().err


def test_history_tells_the_story_from_the_journal(site: Site, felhom: Felhom) -> None:
    site.declare(DRIFTED)
    felhom("run", "--once")
    code, out, _ = felhom("history", "100")
    assert code == 0
    # Past midnight the second one has a day of its own.
    lines = [line for line in out.splitlines() if line.startswith("  ")]
    assert len(lines) == 2
    assert "  100 web  set cores: 1 -> 2, description: (absent) -> " in lines[0]
    assert "  100 web  start  " in lines[1]
    assert all("  succeeded  " in line for line in lines)
    assert felhom("history", "200")[1].startswith("Nothing matches: ")


@pytest.mark.parametrize(
    "words", [[], ["nosuch"], ["plan", "99"], ["plan", "x"], ["selftest", "write"]]
)
def test_wrong_usage_is_one_line_and_exits_with_64(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 64
    told = capsys.readouterr().err
    assert told.startswith("felhom-agent")
    assert told.endswith("--help` tells how\n")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    ["run", "plan", "check", "explain", "selftest", "history", "demo", "devnode"],
)
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert "Example: felhom-agent" in capsys.readouterr().out.replace("\n", " ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"felhom-agent {__version__}\n"


def test_a_reader_that_leaves_early_is_no_error_to_see(site: Site) -> None:
    site.declare(DRIFTED)
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [sys.executable, "-m", "felhom_agent", "--config", str(site.write_config()), "plan"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (process.returncode, process.stderr) == (1, "")


def test_the_demo_heals_its_guests_and_says_so() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "felhom_agent", "demo"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert (
        "every declared value is there; nothing else was touched without a signature"
        in process.stdout
    )
    assert "guest 200 dns: done: start" in process.stdout
    assert process.stderr == ""
    if SSH_KEYGEN.exists():
        _, unsigned, forged, signed = process.stdout.split("\n  $ felhom-agent submit ")
        assert "refused  key: there is no " in unsigned
        assert "refused  signature: " in forged
        assert "guest_destroy 104 old-shop job " in signed
        assert "  104 old-shop is gone\n  the other 8 are as they were\n" in signed


def test_a_bug_of_ours_is_one_line_and_no_traceback(
    site: Site, felhom: Felhom, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("felhom_agent.cli.plan.show", broken)
    site.declare(DRIFTED)
    code, _, err = felhom("plan")
    assert code == 70
    assert err.startswith("felhom-agent: internal error, please report it: ZeroDivisionError: oops")
    assert err.count("\n") == 1


def test_the_devnode_serves_a_site_that_the_other_commands_work_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "felhom_agent", "devnode", "--dir", str(tmp_path / "site")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        told = [process.stdout.readline() for _ in range(3)]
        assert told[0].startswith("A PVE node listens on https://127.0.0.1:")
        config = str(tmp_path / "site" / "agent.toml")
        assert told[1] == f"  felhom-agent --config {config} plan\n"
        assert main(["--config", config, "plan"]) == 2
        assert "Plan: 5 to change, 2 to start, 2 to stop; 1 observed." in capsys.readouterr().out
    finally:
        process.terminate()
        assert process.wait(30) == 0
        process.stdout.close()


@pytest.mark.parametrize(("asked", "told"), [("9.1", "9.1.7"), ("9.2", "9.2.11")])
def test_the_devnode_answers_as_the_version_that_was_asked_for(
    tmp_path: Path, asked: str, told: str
) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "felhom_agent", "devnode", "--pve", asked, "--dir", str(site)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("A PVE node listens on ")
            node = Node.connect(load(site / "agent.toml").proxmox)
            assert node.client.get("version")["version"] == told
            node.client.close()
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_the_devnode_knows_the_versions_that_were_recorded() -> None:
    assert [release.exact(version) for version in VERSIONS] == list(release.BUILDS)


def test_a_role_on_one_guest_is_enough_for_it_and_for_no_other(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(None, {"/vms/200": ["VM.Audit", "VM.Config.CPU"]})
    site.world.add("lxc", 200, {"hostname": "dns", "cores": 1})
    site.world.add("lxc", 201, {"hostname": "web", "cores": 1})
    site.declare("[guest.200.config]\ncores = 2\n[guest.201.config]\ncores = 2\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "felhom_agent",
            "--config",
            str(site.write_config()),
            "run",
            "--once",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "guest 200 dns: done: set cores: 1 -> 2" in done.stderr
    assert "guest 201: waits: the token may not see it" in done.stderr
