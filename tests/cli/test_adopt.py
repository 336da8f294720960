"""Adopting guests of a node: which, where to, and that nothing is planned then."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from felhom_agent.cli.adoptguests import MAX_NAMED
from felhom_agent.daemon.assembly import desired_now
from felhom_agent.devnode import World
from felhom_agent.devnode.demo.world import demo_world
from felhom_agent.devnode.http.faults import Fault
from felhom_agent.model import Mode, RunState
from tests.commands import Felhom, typed
from tests.conftest import Clock, Site
from tests.planning.optionvalues import settable, values_of
from tests.planning.test_round_trip import BASE

MakeSite = Callable[..., Site]


@pytest.fixture
def adopt(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command on a site; return exit code, stdout and stderr."""

    def run(site: Site, *words: str) -> tuple[int, str, str]:
        return typed(site.write_config(), capsys)(*words)

    return run


def file_of(site: Site, name: str = "adopted.toml") -> Path:
    return site.guests_directory / name


def declared(site: Site) -> set[int]:
    desired = desired_now(site.config())
    assert desired.problems == ()
    return set(desired.guests)


def pending(world: World) -> World:
    """Return a world with what a host has: changes that wait, raw lines, odd tags and text."""
    world.add(
        "qemu",
        110,
        {
            "name": "router",
            "memory": "1024",
            "cores": 1,
            "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0",
            "cipassword": "x",
            "scsi0": "local-lvm:vm-110-disk-0,size=8G",
            "description": 'Grüße\n"""\n\\ \x07',
            "tags": "infra;felhom-x",
            "unused0": "local-lvm:vm-110-disk-1",
        },
        running=True,
    )
    world.guests[110].conf.postpone("cores", "4")
    world.guests[110].conf.postpone("vga", "std")
    world.guests[110].conf.postpone_drop("cpulimit")
    world.add(
        "lxc",
        210,
        {
            "hostname": "dns",
            "memory": 512,
            "arch": "amd64",
            "unprivileged": 1,
            "lxc.cap.drop": "sys_time\nmknod",
            "features": "nesting=1",
            "ostype": "debian",
            "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:02,ip=dhcp,type=veth",
            "rootfs": "local-lvm:vm-210-disk-0,size=8G",
        },
        running=True,
    )
    return world  # fmt: skip


@pytest.mark.parametrize("words", [[], ["--observe"], ["--state"], ["--only", "net,scsi,memory"]])
def test_what_is_adopted_plans_nothing_and_nothing_was_changed(
    make_site: MakeSite, adopt: Felhom, clock: Clock, words: list[str]
) -> None:
    site = make_site(pending(demo_world(clock)))
    before = {vmid: site.world.guests[vmid].conf.text() for vmid in site.world.guests}
    code, out, err = adopt(site, "adopt", "--all", *words)
    assert (code, err) == (0, "")
    assert out.startswith(f"wrote {file_of(site)}: 10 guests, ")
    assert out.endswith("plan now: all 10 as declared. Nothing was changed on the node.\n")
    code, out, err = adopt(site, "plan")
    assert (code, err) == (0, ""), out
    assert site.devnode.mutations == ()
    assert before == {vmid: site.world.guests[vmid].conf.text() for vmid in site.world.guests}
    desired = desired_now(site.config())
    assert {g.mode for g in desired.guests.values()} == (
        {Mode.OBSERVE} if "--observe" in words else {Mode.ENFORCE}
    )
    states = {vmid: guest.state for vmid, guest in desired.guests.items()}
    if "--state" in words:
        assert states[100] is RunState.RUNNING
        assert states[102] is RunState.STOPPED
    else:
        assert set(states.values()) == {None}
    assert "cipassword: a secret" in file_of(site).read_text() or "--only" in words


def test_guests_with_every_option_are_adopted_over_the_wire(
    make_site: MakeSite, adopt: Felhom, clock: Clock
) -> None:
    world = World("pve1", clock)
    for number in range(8):
        for kind, base in (("qemu", 1000), ("lxc", 2000)):
            config = dict(BASE[kind])
            for family in settable(kind):
                if family in {"template", "lock"} or not (values := values_of(kind, family)):
                    continue
                config[family.replace("[n]", "1")] = values[number % len(values)]
            world.add(kind, base + number, config, running=number % 2 == 1)
    site = make_site(world)
    code, out, err = adopt(site, "adopt", "--all", "--state")
    assert (code, err) == (0, ""), out
    assert "16 guests" in out
    assert "all 16 as declared" in out
    code, out, _ = adopt(site, "plan")
    assert code == 0, out


# Which guests.


@pytest.mark.parametrize(
    ("words", "vmids"),
    [
        (["101"], {101}),
        (["101", "200-202", "202"], {101, 200, 201, 202}),
        (["100-999999999"], {100, 101, 102, 103, 200, 201, 202, 203}),
        (["--tag", "infra"], {100, 200, 203}),
        (["--tag", "INFRA"], {100, 200, 203}),
        (["--pool", "shop"], {101, 201}),
        (["--all"], {100, 101, 102, 103, 200, 201, 202, 203}),
    ],
)
def test_guests_are_named_by_number_range_tag_or_pool(
    make_site: MakeSite, adopt: Felhom, clock: Clock, words: list[str], vmids: set[int]
) -> None:
    site = make_site(demo_world(clock))
    site.world.pool(101, "shop")
    site.world.pool(201, "shop")
    code, _, err = adopt(site, "adopt", *words)
    assert (code, err) == (0, "")
    assert declared(site) == vmids


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name guests"),
        (["101", "--all"], "name guests"),
        (["--tag", "a", "--pool", "b"], "name guests"),
        (["210-200"], "'210-200' runs backwards; say 200-210"),
        (["99"], "'99' is not a vmid"),
        (["200-"], "'' is not a vmid"),
        (["1-9999999999"], "is not a vmid"),
        (["x"], "'x' is not a vmid"),
        (["--all", "--only", "corse"], "no guest has an option 'corse'; did you mean 'cores'?"),
        (["--all", "--only", "cores,"], "no guest has an option ''"),
        (["--all", "--only", "net99"], "no guest has an option 'net99'"),
    ],
)
def test_wrong_words_are_told_in_one_line(
    site: Site, adopt: Felhom, words: list[str], told: str
) -> None:
    code, out, err = adopt(site, "adopt", *words)
    assert (code, out) == (64, "")
    assert told in err
    assert err.count("\n") == 1
    assert not file_of(site).exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["100", "999"], "999: there is no such guest; nothing was written"),
        (["100", "300"], "300: it is on node pve2; adopt it there; nothing was written"),
        (["500-600"], "sees no guest in 500-600 on node pve1"),
        (["300-310"], "other nodes have 1: adopt them there"),
        (["--tag", "nobody"], "sees no guest with the tag 'nobody'"),
        (["--pool", "nobody\x1b[2J"], "sees no guest in the pool"),
    ],
)
def test_guests_that_are_not_there_are_told_and_nothing_is_written(
    site: Site, adopt: Felhom, words: list[str], told: str
) -> None:
    site.world.peer("pve2")
    site.world.add("qemu", 300, {"name": "far"})
    site.world.move(300, "pve2")
    code, out, err = adopt(site, "adopt", *words)
    assert (code, out) == (1, "")
    assert told in err
    assert "\x1b" not in err
    assert err.count("\n") == 1
    assert not file_of(site).exists()


def test_a_token_without_rights_is_told_which_it_lacks(make_site: MakeSite, adopt: Felhom) -> None:
    world = World("pve1")
    world.add("qemu", 100, {"name": "web"})
    site = make_site(world, {"/nodes": ["Sys.Audit"]})
    for words in (["--all"], ["100"], ["100-200"], ["--tag", "x"], ["--pool", "x"]):
        code, _, err = adopt(site, "adopt", *words)
        assert code == 1
        assert "VM.Audit" in err
    assert not file_of(site).exists()


def test_of_a_pool_or_guest_that_the_token_may_see_the_rest_is_not_needed(
    make_site: MakeSite, adopt: Felhom
) -> None:
    world = World("pve1")
    world.add("qemu", 100, {"name": "web", "cores": 1})
    world.add("qemu", 101, {"name": "hidden", "cores": 1})
    site = make_site(world, {"/vms/100": ["VM.Audit"]})
    assert adopt(site, "adopt", "--all")[0] == 0
    assert declared(site) == {100}
    code, _, err = adopt(site, "adopt", "101", "-o", "-")
    assert code == 1
    assert "101: the token may not see it, if it exists: it lacks VM.Audit on /vms/101" in err


def test_guests_that_a_plan_would_not_be_silent_about_are_told_and_left_out(
    make_site: MakeSite, adopt: Felhom, clock: Clock
) -> None:
    site = make_site(demo_world(clock))
    site.world.lock(101, "backup")
    site.world.suspend(103)
    site.world.edit(102, {"template": 1})
    site.world.edit(203, {"tags": "felhom-pause"})
    code, out, err = adopt(site, "adopt", "--all")
    assert (code, err) == (0, "")
    assert "101 web: left out: locked (backup); adopt it when that is over\n" in out
    assert "102 build: left out: it is a template, which is never changed\n" in out
    assert "103 legacy: left out: it is paused" in out
    assert "203 monitor: left out: paused by the tag felhom-pause" in out
    assert "plan now: all 4 as declared." in out
    assert declared(site) == {100, 200, 201, 202}


def test_a_guest_that_cannot_be_read_is_an_error_and_costs_no_other(
    make_site: MakeSite, adopt: Felhom, clock: Clock
) -> None:
    site = make_site(demo_world(clock))
    site.devnode.faults.add(Fault("GET", "qemu/102/pending$", "status:500", times=9))
    code, out, _ = adopt(site, "adopt", "--all")
    assert code == 1
    assert "102 build: left out: it could not be read" in out
    assert len(declared(site)) == 7


def test_a_guest_that_is_declared_already_is_told_and_left_out(site: Site, adopt: Felhom) -> None:
    site.declare("[guest.100.config]\ncores = 1\n[guest.200.config]\ncorse = 1\n")
    code, out, _ = adopt(site, "adopt", "--all")
    assert code == 0
    assert re.search(r"^100 web: left out: declared already: .*guests.toml:1$", out, re.MULTILINE)
    assert re.search(r"^200 dns: left out: declared already: .*corse.*$", out, re.MULTILINE)
    assert out.endswith("nothing is left to adopt; nothing was written.\n")
    assert not file_of(site).exists()


def test_many_guests_that_are_left_out_are_told_in_few_lines(
    make_site: MakeSite, adopt: Felhom, clock: Clock
) -> None:
    site = make_site(demo_world(clock, guests=100))
    site.declare("".join(f"[guest.{v}]\n" for v in site.world.guests if v != 101))
    code, out, _ = adopt(site, "adopt", "--all")
    assert code == 0
    assert out.count("left out: declared already") == MAX_NAMED
    assert f"and {99 - MAX_NAMED} more are left out" in out
    assert declared(site) == set(site.world.guests)


# Where to.


def test_a_file_that_is_there_is_never_overwritten(site: Site, adopt: Felhom) -> None:
    file_of(site).write_text("# mine\n")
    code, out, err = adopt(site, "adopt", "--all")
    assert (code, out) == (1, "")
    assert f"{file_of(site)} exists, and is never overwritten; name another file with -o" in err
    assert file_of(site).read_text() == "# mine\n"
    code, out, _ = adopt(site, "adopt", "--all", "-o", str(file_of(site, "more.toml")))
    assert (code, declared(site)) == (0, {100, 200})


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    site: Site, adopt: Felhom, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def late(*words: object, **more: object) -> None:
        file_of(site).write_text("# mine\n")
        real(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", late)
    code, _, err = adopt(site, "adopt", "--all")
    assert code == 1
    assert "exists, and is never overwritten" in err
    assert file_of(site).read_text() == "# mine\n"
    assert [path.name for path in site.guests_directory.iterdir()] == ["adopted.toml"]


@pytest.mark.parametrize(("directory", "mode"), [(0o2750, 0o640), (0o755, 0o644)])
def test_the_service_can_read_the_file_as_its_directory_says(
    site: Site, adopt: Felhom, directory: int, mode: int
) -> None:
    site.guests_directory.chmod(directory)
    before = os.umask(0o077)
    try:
        assert adopt(site, "adopt", "100")[0] == 0
    finally:
        os.umask(before)
    status = file_of(site).stat()
    assert status.st_mode & 0o777 == mode
    assert status.st_gid == site.guests_directory.stat().st_gid


def test_to_stdout_goes_the_file_alone(site: Site, adopt: Felhom) -> None:
    code, out, err = adopt(site, "adopt", "--all", "-o", "-")
    assert code == 0
    assert out.startswith("# Guests of node pve1")
    assert "felhom-agent: wrote to stdout: 2 guests" in err
    assert "plan now: all 2 as declared" in err
    site.declare(out)
    assert adopt(site, "plan")[0] == 0
    assert not file_of(site).exists()


def test_a_stream_that_takes_ascii_alone_gets_the_same_values(site: Site, tmp_path: Path) -> None:
    site.world.edit(100, {"description": "Grüße\n\x01 \u202e"})
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "felhom_agent", "--config", str(site.write_config()),
         "adopt", "100", "-o", "-"],
        capture_output=True, timeout=60, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    site.declare(done.stdout.decode("ascii"))
    desired = desired_now(site.config())
    assert desired.guests[100].config["description"] == "Grüße\n\x01 \u202e"


def test_elsewhere_a_file_is_written_under_the_name_that_was_given(
    site: Site, adopt: Felhom, tmp_path: Path
) -> None:
    code, out, _ = adopt(site, "adopt", "100", "-o", str(tmp_path / "x.txt"))
    assert (code, (tmp_path / "x.txt").exists()) == (0, True)
    assert f"wrote {tmp_path / 'x.txt'}: 1 guest, " in out


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("guests.d/x.txt", "would not be read: a guest file's name ends in .toml"),
        ("guests.d/.x.toml", "would not be read"),
        ("nowhere/x.toml", "there is no directory"),
        ("/proc/adopted.toml", "cannot be written: "),
        ("guests.d", "exists, and is never overwritten"),
        ("guests.d/" + "x" * 300 + ".toml", "cannot be written: File name too long"),
    ],
)
def test_a_file_that_cannot_be_made_is_told_in_one_line(
    site: Site, adopt: Felhom, name: str, told: str
) -> None:
    code, out, err = adopt(site, "adopt", "--all", "-o", str(site.directory / name))
    assert (code, out) == (1, "")
    assert told in err
    assert err.count("\n") == 1
    assert list(site.guests_directory.iterdir()) == []


def test_a_directory_that_is_missing_is_told(site: Site, adopt: Felhom) -> None:
    site.guests_directory.rmdir()
    code, _, err = adopt(site, "adopt", "--all")
    assert code == 1
    assert f"there is no directory {site.guests_directory}" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_read_only_is_told(site: Site, adopt: Felhom) -> None:
    site.guests_directory.chmod(0o555)
    code, _, err = adopt(site, "adopt", "--all")
    assert code == 1
    assert "cannot be written: Permission denied; run it as root" in err


def test_while_a_file_cannot_be_read_nobody_knows_what_is_declared(
    site: Site, adopt: Felhom
) -> None:
    site.declare("[guest.100\n")
    code, _, err = adopt(site, "adopt", "--all")
    assert code == 1
    assert "guests.toml:1: is not valid TOML" in err
    assert "mend it first" in err
    assert not file_of(site).exists()


def test_more_guests_than_a_file_holds_get_several_files(
    make_site: MakeSite, adopt: Felhom, clock: Clock
) -> None:
    world = World("pve1", clock)
    for vmid in range(1000, 1150):
        world.add("qemu", vmid, {"cores": 1, "description": f"{vmid} {'x' * 8000}"})
    site = make_site(world)
    code, out, _ = adopt(site, "adopt", "--all")
    assert code == 0
    assert "adopted.toml, " in out
    assert "adopted-2.toml: 150 guests" in out
    assert declared(site) == set(world.guests)
    assert adopt(site, "plan")[0] == 0


# What happens meanwhile.


def test_a_guest_that_was_changed_between_reading_and_planning_is_told(
    site: Site, adopt: Felhom, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def meanwhile(*words: object, **more: object) -> None:
        real(*words, **more)  # type: ignore[arg-type]
        site.world.edit(100, {"cores": 3})
        site.world.remove(200)

    monkeypatch.setattr(os, "link", meanwhile)
    code, out, _ = adopt(site, "adopt", "--all")
    assert code == 0
    assert "plan now: 0 as declared; 2 changed meanwhile, so edit the file: " in out
    assert "100 web: would set cores: 3 -> 1" in out
    assert "200: there is no such guest" in out


def test_hundreds_of_guests_are_read_twice_and_no_more(
    make_site: MakeSite, adopt: Felhom, clock: Clock
) -> None:
    site = make_site(demo_world(clock, guests=300))
    code, out, _ = adopt(site, "adopt", "--all")
    assert code == 0
    assert "plan now: all 300 as declared." in out
    reads = [r.path for r in site.devnode.requests if r.path.endswith(("/config", "/pending"))]
    # A container that runs takes two calls where its raw lines are wanted.
    assert len(reads) <= 3 * 300
    assert len(site.devnode.requests) - len(reads) < 40


@pytest.mark.parametrize("changes", [{"template": 1}, {"lock": "backup"}])
def test_a_guest_that_was_named_and_is_left_out_is_an_error(
    site: Site, adopt: Felhom, changes: dict[str, object]
) -> None:
    site.world.edit(100, changes)
    assert adopt(site, "adopt", "100", "-o", "-")[0] == 1
    assert adopt(site, "adopt", "100-200", "-o", "-")[0] == 0
    assert adopt(site, "adopt", "--all", "-o", "-")[0] == 0


def test_a_stdout_that_is_closed_takes_no_file_and_that_is_said(
    site: Site,
) -> None:
    path = site.write_config()
    script = f'{sys.executable} -m felhom_agent --config "$0" adopt 100 -o - >&-'
    done = subprocess.run(
        ["sh", "-c", script, str(path)], stderr=subprocess.PIPE, timeout=60, check=False
    )
    assert done.returncode == 1
    assert b"stdout is closed; nothing was written" in done.stderr
