"""Adopted guests plan nothing: over what was recorded, every option, and what nobody expects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.config import tomlfile
from felhom_agent.desired.adoption import (
    MAX_FILE,
    AdoptedGuest,
    LeftOut,
    Wish,
    adopt,
    files_of,
    sum_of,
)
from felhom_agent.desired.guestfile import declarations_of
from felhom_agent.devnode.world.refusal import Refusal
from felhom_agent.model import (
    Actual,
    ActualGuest,
    DesiredGuest,
    Facts,
    History,
    Kind,
    Known,
    Mode,
    RunState,
)
from felhom_agent.options import lookup
from felhom_agent.planning.plan import plan_guest
from felhom_agent.proxmox import rows
from tests.planning.optionvalues import settable, values_of
from tests.planning.test_round_trip import BASE, Node, wishes

DATA = Path(__file__).parent.parent / "data"
RUNNING, STOPPED = RunState.RUNNING, RunState.STOPPED
FACTS = Facts((9, 1))
EVERYTHING = Wish()
SAME = [
    Wish(),
    Wish(observe=True),
    Wish(state=True, plain=True),
    Wish(only=frozenset({"scsi", "virtio", "ide", "sata", "mp", "rootfs", "net", "cores"})),
]


def guest(kind: str = "qemu", state: Any = STOPPED, **config: object) -> ActualGuest:
    return ActualGuest(100, Kind(kind), "pve1", state, "web", {"digest": "d1", **config}, "d1")


def read(text: str) -> DesiredGuest:
    """Read a guest file with one guest, as the agent does; nothing is wrong with it."""
    found = declarations_of(tomlfile.parse_bytes(text.encode(), Path("adopted.toml")))
    assert (found.problems, found.whole) == ([], True)
    (declared,) = found.guests.values()
    return declared


def adopted(
    there: ActualGuest, wish: Wish = EVERYTHING, facts: Facts = FACTS
) -> AdoptedGuest | LeftOut:
    """Adopt a guest; what is written of it is read again and plans nothing."""
    actual = Actual("pve1", {there.vmid: there}, facts=facts)
    found = adopt(there, actual, wish)
    if isinstance(found, AdoptedGuest):
        declared = read(found.text)
        plan = plan_guest(declared, actual)
        assert not plan.drifted, (found.text, plan)
        assert found.options == len(declared.config)
        assert (declared.mode is Mode.OBSERVE) == wish.observe
    return found


def text_of(there: ActualGuest, wish: Wish = EVERYTHING) -> str:
    found = adopted(there, wish)
    assert isinstance(found, AdoptedGuest), found
    return found.text


def mentioned(text: str) -> set[str]:
    """Return the keys that a text declares, or names in a comment."""
    return set(re.findall(r"^(?:# )?([a-z][a-z0-9_.-]*)(?: =|:)", text, re.MULTILINE))


# What was recorded of real nodes.


def recorded() -> Iterator[Any]:
    """Yield each configuration that a real node answered."""
    for path in sorted((DATA / "pve").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            call = json.loads(line)
            found = re.fullmatch(
                r"/nodes/[^/]+/(qemu|lxc)/(\d+)/(config|pending)", call.get("path", "")
            )
            if found and call["method"] == "GET" and call.get("status") == 200:
                yield pytest.param(found[1], found[3], call["answer"]["data"], id=call["case"])


@pytest.mark.parametrize(("kind", "what", "answer"), list(recorded()))
@pytest.mark.parametrize("wish", SAME, ids=["all", "observed", "state", "only"])
def test_each_recorded_guest_is_adopted_so_that_nothing_is_planned(
    kind: str, what: str, answer: Any, wish: Wish
) -> None:
    there = replace(guest(kind, RUNNING if what == "pending" else STOPPED), config=None)
    taken = rows.with_pending if what == "pending" else rows.with_config
    try:
        there = taken(there, answer)
    except rows.Odd:
        pytest.skip("the answer was of another kind")
    found = adopted(there, wish)
    if isinstance(found, LeftOut):
        assert there.template or there.lock or wish.only
    elif not wish.only:
        assert mentioned(found.text) >= (there.config or {}).keys() - {"lxc"}


@pytest.mark.parametrize("wish", SAME, ids=["all", "observed", "state", "only"])
def test_every_configuration_that_was_recorded_is_adopted_so_that_nothing_is_planned(
    wish: Wish,
) -> None:
    """The distinct answers of all recordings: kind, call, and PVE's data."""
    lines = (DATA / "configurations.jsonl").read_text(encoding="utf-8").splitlines()
    written = 0
    for kind, what, answer in map(json.loads, lines):
        there = replace(guest(kind, RUNNING if what == "pending" else STOPPED), config=None)
        try:
            there = (rows.with_pending if what == "pending" else rows.with_config)(there, answer)
        except rows.Odd:
            continue
        written += isinstance(adopted(there, wish), AdoptedGuest)
    assert written > len(lines) // 2


def drifted() -> list[tuple[str, str, object]]:
    """Return (kind, key, PVE's answer) of each recorded comparison."""
    found = set()
    for name in ("drift_cases", "kinds_cases"):
        for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            if isinstance(case.get("actual"), str | int) and not case.get("actual_absent"):
                found.add((case["guest"], case["field"], case["actual"]))
    return sorted(found, key=repr)


@pytest.mark.parametrize(("kind", "key", "answer"), drifted())
def test_each_recorded_value_is_declared_or_told_why_not(
    kind: str, key: str, answer: object
) -> None:
    there = guest(kind, **{**BASE[kind], key: answer})
    option = lookup(kind, key)
    family = option.family if option else "cores"
    for wish in (EVERYTHING, Wish(only=frozenset({family, "cores"}))):
        found = adopted(there, wish)
        if isinstance(found, AdoptedGuest) and option:
            assert key in mentioned(found.text)


# Every option.


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
@pytest.mark.parametrize("state", [STOPPED, RUNNING])
def test_values_of_every_option_are_adopted_so_that_nothing_is_planned(
    kind: str, state: RunState
) -> None:
    declared = 0
    for family in settable(kind):
        key = family.replace("[n]", "1")
        for value in values_of(kind, family):
            there = guest(kind, state, **{**BASE[kind], key: value})
            for only in (frozenset[str](), frozenset({key})):
                found = adopted(there, Wish(only=only))
                if isinstance(found, AdoptedGuest):
                    declared += key in read(found.text).config
                    assert key in mentioned(found.text)
    assert declared > (100 if kind == "qemu" else 40)


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
@pytest.mark.parametrize("number", range(4))
def test_a_guest_that_has_every_option_at_once_is_adopted(kind: str, number: int) -> None:
    config: dict[str, object] = dict(BASE[kind])
    for family in settable(kind):
        if values := values_of(kind, family):
            config[family.replace("[n]", "1")] = values[number % len(values)]
    config.pop("template", None)
    there = guest(kind, RUNNING, **config)
    assert mentioned(text_of(there)) >= config.keys()


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_what_the_node_made_of_every_declaration_is_adopted(kind: str) -> None:
    """As in the round trip: each value is written to the embedded node, and its answer adopted."""
    tried = 0
    for key, value in wishes(kind):
        node = Node(kind, dict(BASE[kind]))
        try:
            node.write(node.plan(key, value))
        except Refusal:
            continue
        there = replace(guest(kind), config=node.guest.conf.answer())
        found = adopted(there)
        tried += 1
        assert isinstance(found, AdoptedGuest), found
    assert tried > 200


# What it looks like.


def test_a_machine_is_written_as_a_person_would_with_reasons_for_the_rest() -> None:
    there = guest(
        state=RUNNING, name="web", cores=2, memory="2048", boot="order=scsi0;net0",
        net0="virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1", tags="prod;web", onboot=1,
        scsi0="local-lvm:vm-100-disk-0,discard=on,size=32G", cpulimit="1.5", agent="1",
        description="one\ntwo", smbios1="uuid=0d6f1c1a-3a94-4f11-9a8c-2f50b54d0100",
        vmgenid="0d6f1c1a-3a94-4f11-9a8c-2f50b54d0100", meta="creation-qemu=9.0,ctime=1",
        args="-S", cipassword="**********", startup="order=1", usb0="host=1234:5678",
        unused0="local-lvm:vm-100-disk-1", ide2="none,media=cdrom", newkey="x=1",
        name_="?", sshkeys="ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIA%3D%3D%20me%0A",
    )  # fmt: skip
    assert (
        text_of(there, Wish(observe=True, state=True))
        == """\
# 100 web
[guest.100]
kind = "qemu"
mode = "observe"
state = "running"
[guest.100.config]
agent = true
# args = "-S"  # only root can set 'args' config
boot = ["scsi0", "net0"]
# cipassword: a secret; it is never written into a file by this command
cores = 2
cpulimit = 1.5
description = \"\"\"
one
two\"\"\"
# digest: PVE's own
# ide2 = "none,media=cdrom"  # its volume is moved and exchanged by hand
memory = 2048
# meta = "creation-qemu=9.0,ctime=1"  # PVE's own
name = "web"
# name_ = "?"  # this version of felhom-agent does not know it
net0 = "virtio,bridge=vmbr0,firewall=1"  # MAC BC:24:11:00:00:01, PVE's own
# newkey = "x=1"  # this version of felhom-agent does not know it
onboot = true
# scsi0 = "local-lvm:vm-100-disk-0,discard=on"  # its volume is moved and exchanged by hand; \
size 32G, PVE's own
# smbios1: uuid 0d6f1c1a-3a94-4f11-9a8c-2f50b54d0100, PVE's own
sshkeys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== me"]
# startup = "order=1"  # needs Sys.Modify on / besides; better set by hand
tags = ["prod", "web"]
# unused0 = "local-lvm:vm-100-disk-1"  # PVE's own
# usb0 = "host=1234:5678"  # only root can set 'usb0' config for real devices
# vmgenid = "0d6f1c1a-3a94-4f11-9a8c-2f50b54d0100"  # PVE's own
"""
    )


def test_a_container_is_written_with_its_raw_lines_as_comments() -> None:
    there = guest(
        "lxc", hostname="dns", memory=512, unprivileged=1, swap=0, arch="amd64", ostype="debian",
        net0="name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:02,ip=dhcp,type=veth",
        rootfs="local-lvm:vm-100-disk-0,size=8G", mp0="/srv/data,mp=/data", description="DNS\n",
        features="nesting=1", env="A=1\0B=2", startup="order=2",
        lxc=[["lxc.cap.drop", "sys_time"], ["lxc.cap.drop", "mknod"], ["lxc.idmap", "u 0 1 2"]],
    )  # fmt: skip
    text = text_of(there)
    assert 'net0 = "name=eth0,bridge=vmbr0,ip=dhcp"  # MAC BC:24:11:00:00:02, PVE\'s own\n' in text
    assert 'description = "DNS"\n' in text
    assert "# env: may be a secret; it is never written into a file by this command\n" in text
    assert 'startup = "order=2"\n' in text
    assert '# mp0 = "/srv/data,mp=/data"  # mount point type bind is only allowed' in text
    assert '# unprivileged = "1"  # fixed when the guest was made' in text
    assert '# lxc.cap.drop = ["sys_time", "mknod"]  # only root can set' in text
    assert "# lxc.idmap = " in text


@pytest.mark.parametrize(
    "config",
    [
        {"scsi0": "local-lvm:vm-100-disk-0,discard=on,size=32G", "ide2": "none,media=cdrom"},
        {"ide2": "local:iso/a.iso,media=cdrom,size=4M"},
        {"efidisk0": "local:vm-100-disk-1,efitype=4m,pre-enrolled-keys=1,size=4M,ms-cert=2023"},
        {"tpmstate0": "local:vm-100-disk-2,size=4M,version=v2.0", "args": "-S"},
        {"ide0": "local:vm-100-cloudinit,media=cdrom,size=4M", "startup": "order=1,up=3"},
        {"usb0": "host=1234:5678,usb3=1", "hostpci0": "0000:01:00.0,pcie=1"},
    ],
)  # fmt: skip
def test_what_stands_in_a_comment_with_its_value_may_be_taken_in(config: dict[str, str]) -> None:
    there = guest(cores=1, **config)
    text = re.sub(r"^# (\w+ = .*)$", r"\1", text_of(there), flags=re.MULTILINE)
    declared = read(text.replace("digest: PVE's own", ""))
    assert declared.config.keys() >= config.keys()
    assert not plan_guest(declared, Actual("pve1", {100: there})).drifted


def test_a_containers_card_on_no_bridge_is_a_comment_with_the_reason() -> None:
    there = guest("lxc", hostname="dns", net0="name=eth0,hwaddr=BC:24:11:00:00:02,type=veth")
    text = text_of(there)
    assert '# net0 = "name=eth0"  # net0 must have bridge: ' in text
    assert set(read(text).config) == {"hostname"}


def test_volumes_are_declared_only_where_they_are_named() -> None:
    there = guest(scsi0="local-lvm:vm-100-disk-0,size=32G", scsi1="nfs:100/a.raw", cores=1)
    assert set(read(text_of(there)).config) == {"cores"}
    assert set(read(text_of(there, Wish(only=frozenset({"scsi"})))).config) == {"scsi0", "scsi1"}
    assert set(read(text_of(there, Wish(only=frozenset({"scsi1"})))).config) == {"scsi1"}


def test_a_value_that_loses_data_is_not_declared_for_anybody() -> None:
    there = guest(scsi0="local-lvm:vm-100-disk-0,snapshot=1", cores=1)
    text = text_of(there, Wish(only=frozenset({"scsi", "cores"})))
    assert set(read(text).config) == {"cores"}
    assert "can lose data" in text


def test_what_waits_for_a_restart_is_told_and_not_declared() -> None:
    there = replace(
        guest(state=RUNNING, cores=4, memory="2048", vga="std"),
        pending={"cores": 2, "vga": None, "cpulimit": "1", "cipassword": "**********"},
    )
    text = text_of(there)
    assert set(read(text).config) == {"memory"}
    assert '# cores = "4"  # waits for a restart; 2 is in effect' in text
    assert '# vga = "std"  # waits for a restart; it is not in effect' in text
    assert '# cpulimit = "1"  # goes at the next restart' in text
    assert "# cipassword: a secret" in text


def test_tags_of_the_agents_own_are_left_to_pve() -> None:
    text = text_of(guest(tags="felhom-hub;prod", cores=1))
    assert 'tags = ["prod"]  # felhom-hub: set in PVE' in text
    assert "# tags: felhom-x" in text_of(guest(tags="felhom-x", cores=1))


def test_tags_in_a_datacenter_where_case_counts_keep_it() -> None:
    found = adopted(guest(tags="Prod;web"), facts=Facts((9, 1), case_sensitive_tags=True))
    assert isinstance(found, AdoptedGuest)
    assert read(found.text).config["tags"] == ("Prod", "web")


@pytest.mark.parametrize("password", ["**********", "in clear, by a bug", ""])
def test_a_secret_is_named_and_never_written(password: str) -> None:
    text = text_of(guest(cores=1, cipassword=password))
    assert "# cipassword: a secret" in text
    assert not password or password not in text


HIDDEN = "hunter2"


@pytest.mark.parametrize(
    "config",
    [
        {"env": f"DB_PASSWORD={HIDDEN}"},
        {"env": f"A=1\0B={HIDDEN}\0"},
        {"env": HIDDEN},
        {"env": ["DB_PASSWORD", HIDDEN]},
        {"lxc": [["lxc.environment", f"A={HIDDEN}"]]},
        {"lxc": [["lxc.environment.runtime", f"A={HIDDEN}"], ["lxc.cap.drop", "mknod"]]},
        {"lxc": [["lxc.environment.hooks", HIDDEN], ["lxc.environment", HIDDEN]]},
    ],
)
@pytest.mark.parametrize("only", [(), ("env", "lxc"), ("env", "lxc.environment", "cores")])
@pytest.mark.parametrize("state", [STOPPED, RUNNING])
def test_what_may_be_a_secret_of_a_container_is_named_and_never_written(
    config: dict[str, object], only: tuple[str, ...], state: RunState
) -> None:
    there = guest("lxc", state, memory=512, cores=1, **config)
    found = adopted(there, Wish(only=frozenset(only)))
    if isinstance(found, AdoptedGuest):
        assert HIDDEN not in found.text
        assert not only or "env" not in config or "# env: may be a secret" in found.text
    waits = replace(there, pending=dict.fromkeys(config, f"B={HIDDEN}"))
    assert HIDDEN not in repr(adopted(waits, Wish(only=frozenset(only))))


# Guests that are left out.


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lock": "backup"}, "locked (backup); adopt it when that is over"),
        ({"template": True}, "it is a template"),
        ({"paused": True}, "it is paused"),
        ({"state": None}, "PVE does not know its state"),
        ({"hung": "io-error", "state": RUNNING}, "it hangs"),
        ({"unread": "no answer", "config": None}, "it could not be read: no answer"),
        ({"config": None}, "it could not be read"),
        ({"config": {"digest": "d", "tags": "felhom-pause"}}, "paused by the tag felhom-pause"),
        ({"config": {"digest": "d"}}, "there is nothing to declare"),
    ],
)
def test_a_guest_that_a_plan_would_not_be_silent_about_is_left_out(
    changes: dict[str, Any], why: str
) -> None:
    found = adopted(replace(guest(cores=1), **changes))
    assert isinstance(found, LeftOut)
    assert why in found.why
    assert found.failed == ("could not be read" in why)


def test_another_guest_than_the_one_that_was_known_is_left_out() -> None:
    there = guest(cores=1, smbios1="uuid=0d6f1c1a-3a94-4f11-9a8c-2f50b54d0100")
    known = Known("uuid=11111111-2222-3333-4444-555555555555")
    found = adopt(there, Actual("pve1", {100: there}), EVERYTHING, known, History())
    assert isinstance(found, LeftOut)
    assert "given to another guest" in found.why


@pytest.mark.parametrize("state", [RUNNING, STOPPED])
def test_a_guest_under_ha_is_adopted_with_the_state_that_it_has(state: RunState) -> None:
    there = replace(guest(state=state, cores=1), ha_state="started")
    assert f'state = "{state}"' in text_of(there, Wish(state=True))


# What nobody expects.

ODD = st.text(st.characters(), max_size=60) | st.sampled_from(
    ["", " ", "\n", '"', "'", "\\", '"""', "a\x00b", "\x1b[2J", "\u202e", "\ud800", "#", "]", "=",
     "a,b", ",", "=,=", "a=b=c", "0", "1", "x" * 20_000, "\r\n", "é" * 9000]
)  # fmt: skip
KEYS = st.sampled_from(
    ["cores", "memory", "description", "name", "tags", "net0", "scsi0", "boot", "cpu", "smbios1",
     "sshkeys", "nameserver", "ciuser", "args", "startup", "hotplug", "agent", "vga", "features",
     "rootfs", "mp0", "env", "hostname", "newest", "odd key", "cipassword", "net99", "machine",
     "a\n[guest.999]\nstate", 'a"', "\x1b[2J"]
)  # fmt: skip


@given(st.sampled_from(["qemu", "lxc"]), st.dictionaries(KEYS, ODD | st.integers() | st.booleans()))
def test_whatever_pve_answers_costs_at_most_its_own_value(
    kind: str, config: Mapping[str, object]
) -> None:
    there = guest(kind, **{**config, "onboot": 1})
    found = adopted(there)
    if isinstance(found, AdoptedGuest):
        assert read(found.text).config["onboot"] is True
    else:
        assert "felhom-pause" in found.why or "template" in found.why


@pytest.mark.parametrize(
    ("config", "only", "kept", "why"),
    [
        ({"memory": "1024", "balloon": 2048}, (), {"cores", "balloon"}, "must be at most memory"),
        (
            {"ide0": "local-lvm:cloudinit", "ide2": "local-lvm:vm-100-cloudinit,media=cdrom"},
            ("ide", "cores"),
            {"cores", "ide0"},
            "is a second cloud-init drive",
        ),
    ],
)
def test_of_values_that_are_refused_beside_each_other_one_is_left_out(
    config: dict[str, Any], only: tuple[str, ...], kept: set[str], why: str
) -> None:
    text = text_of(guest(**config, cores=2), Wish(only=frozenset(only)))
    assert set(read(text).config) == kept
    assert why in text
    assert mentioned(text) >= config.keys()


@given(ODD)
def test_a_description_of_any_characters_is_kept_exactly(text: str) -> None:
    there = guest(description=text, cores=1)
    written = text_of(there)
    if "description" in (config := read(written).config):
        assert str(config["description"]).rstrip() == text.rstrip()


@given(ODD)
def test_a_guest_of_any_name_begins_with_one_comment_line(name: str) -> None:
    text = text_of(replace(guest(cores=1), name=name))
    assert text.startswith("# 100")
    assert text.split("\n")[1] == "[guest.100]"


# Several files.


def test_guests_share_a_file_as_long_as_it_holds_them() -> None:
    one = adopted(guest(description="x" * 8000, cores=1))
    assert isinstance(one, AdoptedGuest)
    many = [replace(one, vmid=v, text=one.text.replace("100", str(v))) for v in range(1000, 1300)]
    texts = files_of(many, "# head\n")
    assert len(texts) == 4
    assert all(len(text.encode()) < MAX_FILE + 10_000 for text in texts)
    read_back = [declarations_of(tomlfile.parse(text, Path("a.toml"))).guests for text in texts]
    assert sorted(v for guests in read_back for v in guests) == list(range(1000, 1300))


def test_a_file_gets_no_more_keys_than_are_read_of_one() -> None:
    tags = ";".join(f"t{n}" for n in range(900))
    one = adopted(guest(tags=tags, cores=1))
    assert isinstance(one, AdoptedGuest)
    many = [replace(one, vmid=v, text=one.text.replace("100]", f"{v}]").replace("100.", f"{v}."))
            for v in range(1000, 1100)]  # fmt: skip
    texts = files_of(many, "")
    assert len(texts) > 1
    for text in texts:
        tomlfile.parse(text, Path("a.toml"))


def test_the_sum_counts_each_sort_of_comment() -> None:
    found = [adopted(guest(cores=1, args="-S", net0="virtio=BC:24:11:00:00:01", cipassword="x"))]
    told = sum_of([one for one in found if isinstance(one, AdoptedGuest)])
    assert told == (
        "1 guest, 2 options; as comments: 1 MAC, 1 that only root can set, "
        "1 that PVE keeps itself, 1 secret"
    )
