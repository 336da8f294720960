"""Guest files: what is understood, and what is told about what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from felhom_agent.config import tomlfile
from felhom_agent.desired.guestfile import guests_of
from felhom_agent.model import DesiredGuest, Kind, Mode, RunState, StopPolicy

FULL = """
[guest.101]
kind = "lxc"
state = "running"
mode = "observe"
stop = "power-off"
unset = ["cpulimit"]
[guest.101.config]
description = "DNS"
cores = 2
memory = 2048
onboot = true
tags = ["dns", "prod"]
"""


def read(text: str) -> tuple[dict[int, DesiredGuest], list[str]]:
    guests, problems = guests_of(tomlfile.parse(text, Path("g.toml")))
    return guests, [str(problem) for problem in problems]


def test_a_full_declaration_is_understood() -> None:
    guests, problems = read(FULL)
    assert problems == []
    assert guests[101] == DesiredGuest(
        vmid=101,
        kind=Kind.LXC,
        state=RunState.RUNNING,
        mode=Mode.OBSERVE,
        stop=StopPolicy.POWER_OFF,
        unset=frozenset({"cpulimit"}),
        config={
            "description": "DNS",
            "cores": 2,
            "memory": 2048,
            "onboot": True,
            "tags": ("dns", "prod"),
        },
    )
    assert str(guests[101].place) == "g.toml:2"


def test_what_is_not_said_is_unmanaged() -> None:
    guests, _ = read("[guest.101]\n")
    assert guests[101] == DesiredGuest(101)


def test_an_empty_file_declares_nothing() -> None:
    assert read("") == ({}, [])


def test_all_that_is_wrong_is_told_at_once_with_its_line() -> None:
    _, problems = read("""[gest.100]
[guest.99]
[guest.0101]
[guest.web]
[guest.101]
kind = "vm"
state = "started"
cores = 2
sate = "running"
unset = ["nosuch", "cores"]
[guest.101.config]
cores = 0
coers = 2
onboot = "perhaps"
memory = 1.5
net0 = { bridge = "vmbr0" }
""")
    lines = [problem.split(": ", 1)[0] for problem in problems]
    assert lines == [f"g.toml:{n}" for n in (1, 2, 3, 4, 6, 7, 8, 9, 10, 10, 12, 13, 14, 15, 16)]
    told = "\n".join(problems)
    assert "unknown table [gest]; did you mean 'guest'?" in told
    assert 'kind must be "qemu" or "lxc"' in told
    assert 'state must be "running" or "stopped"' in told
    assert 'unknown key "cores"; an option of the guest belongs in [guest.101.config]' in told
    assert "unknown key \"sate\"; did you mean 'state'?" in told
    assert "coers: no such option; did you mean 'cores'?" in told
    assert "unset: nosuch: no such option" in told
    assert "unset: cores: is also declared in config" in told


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("qemu", "digest", '"x"'),
        ("qemu", "ide2", '"local:iso/a.iso"'),
        ("qemu", "smp", "2"),
        ("qemu", "net0", '"virtio,newpart=7"'),
        ("qemu", "lock", '"backup"'),
        ("qemu", "delete", '"cores"'),
        ("qemu", "name", '"web_01"'),
        ("qemu", "hostname", '"web"'),
        ("lxc", "name", '"web"'),
        ("lxc", "memory", "8"),
        ("lxc", "tags", '["a/b"]'),
    ],
)
def test_what_pve_would_refuse_whoever_asks_is_refused_here(
    kind: str, key: str, value: str
) -> None:
    _, problems = read(f'[guest.101]\nkind = "{kind}"\n[guest.101.config]\n{key} = {value}\n')
    assert len(problems) == 1
    assert problems[0].startswith(
        (f"g.toml:4: guest 101: {key}: ", f"g.toml:4: guest 101: {key} must ")
    )


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("qemu", "args", '"-no-reboot"'),
        ("qemu", "usb0", '"host=1234:5678"'),
        ("qemu", "cipassword", '"**********"'),
        ("lxc", "unprivileged", "true"),
        ("lxc", "features", '"nesting=1,keyctl=1"'),
        ("lxc", "mp0", '"/srv,mp=/srv"'),
        ("lxc", "'lxc.cap.drop'", '["sys_time", "sys_module"]'),
        ("lxc", "lxc.apparmor.profile", '"unconfined"'),
    ],
)
def test_what_only_root_may_set_may_be_declared(kind: str, key: str, value: str) -> None:
    guests, problems = read(
        f'[guest.101]\nkind = "{kind}"\n[guest.101.config]\n{key} = {value}\ncores = 2\n'
    )
    assert problems == []
    assert set(guests[101].config) == {key.strip("'"), "cores"}


def test_an_unknown_part_is_told_as_one_that_this_version_does_not_know() -> None:
    _, problems = read('[guest.101]\nkind = "qemu"\nconfig.net0 = "virtio,newpart=7"\n')
    assert "net0: newpart: this version of felhom-agent does not know it" in problems[0]


def test_without_a_kind_an_option_of_either_kind_is_good() -> None:
    _, problems = read('[guest.101.config]\nsockets = 2\n[guest.102.config]\nhostname = "x"\n')
    assert problems == []


def test_what_pve_cannot_do_without_cannot_be_unset() -> None:
    _, problems = read('[guest.101]\nkind = "lxc"\nunset = ["memory"]\n')
    assert "PVE cannot do without it" in problems[0]
    _, problems = read('[guest.101]\nkind = "qemu"\nunset = ["digest"]\n')
    assert "belongs to PVE" in problems[0]
    _, problems = read('[guest.101]\nkind = "qemu"\nunset = ["args"]\n')
    assert problems == []


@pytest.mark.parametrize(
    "text",
    [
        "guest = 1",
        "[guest]\n101 = 1",
        "[guest.101]\nconfig = 1",
        "[guest.101]\nunset = 'cpulimit'",
        "[guest.101]\nunset = [1]",
        "[guest.101]\nstate = ['running']",
        "[guest.101.config]\ntags = [['a']]",
        "[guest.101.config]\ncores = 2026-01-01",
    ],
)
def test_a_wrong_shape_is_told_and_never_raises(text: str) -> None:
    _, problems = read(text)
    assert len(problems) == 1


def test_a_restart_may_be_allowed_only_for_a_guest_that_shall_run() -> None:
    _, problems = read('[guest.101]\nstate = "running"\nrestart = "allowed"\n')
    assert problems == []
    _, problems = read('[guest.101]\nrestart = "allowed"\n')
    assert problems == ['g.toml:2: guest 101: restart = "allowed" needs state = "running"']


def test_an_identity_is_a_text() -> None:
    guests, problems = read('[guest.101]\nidentity = "uuid=x"\n[guest.102]\nidentity = 1\n')
    assert guests[101].identity == "uuid=x"
    assert problems == ["g.toml:4: guest 102: identity must be text in quotes, not 1"]


@pytest.mark.parametrize("name", ["dns", "web01", "vm-101", "'101 web'", '""', "'1O1'", "guest"])
def test_a_name_in_place_of_a_number_is_told(name: str) -> None:
    shown = name.strip("'\"")
    _, problems = read(f'[guest.{name}]\nkind = "lxc"\n')
    assert problems == [
        f"g.toml:1: [guest.{shown}]: the name must be the guest's number, like [guest.101]"
    ]


@pytest.mark.parametrize("name", ["0", "99", "099", "0101", "1000000000"])
def test_a_number_that_no_guest_can_have_is_told(name: str) -> None:
    _, problems = read(f"[guest.{name}]\n")
    assert f"[guest.{name}]: a guest's number is from 100 to 999999999" in problems[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[101]\ncores = 2\n", "unknown table [101]; a guest is declared as [guest.101]"),
        ("cores = 2\n", '"cores" stands outside of any guest; put it under [guest.101]'),
        ("[[guest.101]]\n", "guest 101 must be a table: [guest.101] on a line of its own"),
        ("[guest]\n101 = 1\n", "guest 101 must be a table"),
        ("[guest]\ndns = 1\n", '"dns" under [guest]: the name must be the guest\'s number'),
        ("guest = 1\n", "[guest] must hold tables like [guest.101]"),
        ("[guest.101]\nmemory = 2\n", "an option of the guest belongs in [guest.101.config]"),
        ("[guest.101]\nqqqqqq = 2\n", "known are kind, state, mode"),
        ("[guest.101]\nstate = 1\n", 'state must be "running" or "stopped", not 1'),
        ("[guest.101]\nstate = true\n", 'state must be "running" or "stopped", not true'),
        ("[guest.101]\nstate = []\n", 'state must be "running" or "stopped", not a list'),
        ("[guest.101]\nstate = 2026-01-01\n", ' must be "running" or "stopped", not a date'),
        ("[guest.101]\nstart = 1\n", '"start"; known are kind, state, mode'),
        ("[guest.101]\norder = 1\n", '"order"; known are kind, state, mode'),
        ("[guest.101]\nrestrat = 1\n", "did you mean 'restart'?"),
        ("[guest.101]\nidentity = 5.5\n", "identity must be text in quotes, not 5.5"),
        ("[guest.101]\nunset = 'cores'\n", 'unset must be a list of options, like ["cpulimit"]'),
        ("[guest.101]\nconfig = 1\n", "config must be a table: [guest.101.config]"),
        ("[guest.101.config]\ncores = {}\n", "cores must be text, a number, true, false or a list"),
        ("[guest.101.config]\ncores = 2026-01-01\n", "cores must be a whole number from 1"),
        ("[guest.101.config]\ncores = 07:32:00\n", "cores must be a whole number from 1"),
        ("[guest.101.config]\nstartdate = 2026-01-01\n", "must be text, not a date; put it in qu"),
        ("[guest.101.config]\ndescription = 07:32:00\n", "must be text, not a time; put it in quo"),
        ("[guest.101.config]\nvmid = 1\n", "vmid: "),
    ],
)
def test_what_people_get_wrong_around_a_guest_is_told_with_what_to_write(
    text: str, words: str
) -> None:
    _, problems = read(text)
    assert words in problems[0]
    assert problems[0].isprintable()


@pytest.mark.parametrize(
    ("config", "unset", "words"),
    [
        ('boot = "order=scsi0;usb1"', '["usb1"]', "boot: names usb1, which unset removes"),
        ('boot = ["ide2", "scsi0"]', '["ide2"]', "boot: names ide2, which unset removes"),
        ("memory = 1024\nballoon = 1025", "[]", "balloon must be at most memory, 1024 MiB"),
        ('memory = "current=512"\nballoon = "0600"', "[]", "balloon must be at most memory"),
        (
            'ide0 = "st:cloudinit"\nsata1 = "st:100/vm-100-cloudinit.qcow2,media=cdrom"',
            "[]",
            "sata1: is a second cloud-init drive beside ide0",
        ),
    ],
)
@pytest.mark.parametrize("kind", ['kind = "qemu"', ""])
def test_what_pve_refuses_of_two_options_together_is_told(
    config: str, unset: str, words: str, kind: str
) -> None:
    extra = "" if kind else "sockets = 1\n"
    _, problems = read(
        f"[guest.101]\n{kind}\nunset = {unset}\n[guest.101.config]\n{extra}{config}\n"
    )
    assert len(problems) == 1
    assert words in problems[0]


@pytest.mark.parametrize(
    ("config", "unset"),
    [
        ('boot = "order=scsi0"', '["usb1", "ide3"]'),
        ('boot = "cdn"', '["usb1"]'),
        ("memory = 1024\nballoon = 1024", "[]"),
        ("memory = 1024\nballoon = 0", "[]"),
        ("balloon = 4096", "[]"),
        ('ide0 = "st:cloudinit"\nsata1 = "none,media=cdrom"', '["ide2"]'),
    ],
)
def test_what_pve_takes_together_is_good(config: str, unset: str) -> None:
    _, problems = read(
        f'[guest.101]\nkind = "qemu"\nunset = {unset}\n[guest.101.config]\n{config}\n'
    )
    assert problems == []
