"""The node answers what a real one answered: status, reason, body, and what it stored.

The recordings are replayed in their order against a world that stands as theirs stood. A `*` in a
recording stands for what cannot be the same twice (an invented MAC address, a digest of a file
that was written by hand). What only exists on a real node (CPU load, names of tasks) is compared
by its shape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from felhom_agent.devnode import DevNode, World
from tests.devnode.conftest import AGENT, Caller, Reply, recorded

AUDITOR, NOBODY, NOACL = "auditor@pve!tk", "nobody@pve!tk", "felhom-agent@pve!noacl"
ADMINISTRATOR = "root@pam!adm"
EVERYTHING = (
    "VM.Audit", "VM.Allocate", "VM.PowerMgmt", "VM.Config.Disk", "VM.Config.CDROM",
    "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.HWType",
    "VM.Config.Options", "VM.Config.Cloudinit", "Sys.Audit", "Sys.Modify", "Sys.Console",
    "SDN.Use", "Datastore.AllocateSpace", "Datastore.Audit",
)  # fmt: skip
PRIVILEGES: dict[str, dict[str, tuple[str, ...]] | None] = {
    AGENT: None,
    AUDITOR: {"/": ("VM.Audit",)},
    NOBODY: {},
    NOACL: {},
    ADMINISTRATOR: {"/": EVERYTHING},
}
MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
UPID = re.compile(r"UPID:(\w+):\w+:\w+:\w+:")


def vm(vmid: int) -> dict[str, object]:
    config: dict[str, object] = {
        "boot": " ",
        "cores": 1,
        "cpu": "qemu64",
        "memory": "128" if vmid in (101, 105) else "64",
        "meta": "creation-qemu=10.1.2,ctime=1764000000",
        "name": f"vm{vmid}",
        "numa": 0,
        "ostype": "l26",
        "scsihw": "virtio-scsi-single",
        "smbios1": f"uuid=6f6b1d0e-7b6c-4b6b-8f62-1d4f8a1c0{vmid}",
        "sockets": 1,
        "vga": "none",
        "vmgenid": f"0d6f1c1a-3a94-4f11-9a8c-2f50b54d0{vmid}",
    }
    return {**config, "args": "-S"} if vmid == 101 else config


def container(vmid: int) -> dict[str, object]:
    subvolume = f"local:{vmid}/subvol-{vmid}-disk-0.subvol,size=0T"
    image = f"local:{vmid}/vm-{vmid}-disk-0.raw,size=64M"
    config: dict[str, object] = {
        "arch": "amd64",
        "cores": 1,
        "features": "nesting=1",
        "hostname": f"ct{vmid}",
        "memory": 128,
        "ostype": "unmanaged",
        "rootfs": subvolume if vmid < 202 else image,
        "swap": 0,
    }
    return config if vmid < 202 else {**config, "unprivileged": 1}


def furnish(world: World, running: int = 0) -> None:
    """Put the guests of the recordings into a world; those that are there are made anew."""
    for vmid in range(100, 106):
        world.add("qemu", vmid, vm(vmid), running=vmid == running)
    for vmid in range(200, 204):
        world.add("lxc", vmid, container(vmid), running=vmid == running)


class Stage:
    """A node on which recordings are replayed."""

    def __init__(self, node: DevNode) -> None:
        self.world = node.world
        self.world.bridges.clear()  # the recorded node had none
        self.secrets = {
            token: self.world.token(token, privileges) for token, privileges in PRIVILEGES.items()
        }
        self.caller = Caller(node, AGENT, self.secrets[AGENT])

    def replay(self, line: Mapping[str, Any]) -> Reply:
        return self.caller(
            line["method"],
            line["path"],
            sent=line["sent"].encode() if "sent" in line else None,
            content_type=line.get("type", ""),
            authorization=self._authorization(line["authorization"] or ""),
        )

    def _authorization(self, header: str) -> str:
        for token, secret in self.secrets.items():
            header = header.replace(f"{token}=<uuid>", f"{token}={secret}")
        return header

    def file(self, vmid: int) -> str:
        return self.world.guests[vmid].conf.text()


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with DevNode(World()) as node:
        stage = Stage(node)
        yield stage
        stage.caller.connection.close()


def shape(answer: Any) -> Any:
    """Given the data of an answer, return which keys it has; the order of rows means nothing."""
    if isinstance(answer, list):
        return sorted(json.dumps(shape(row)) for row in answer)
    return sorted(answer) if isinstance(answer, dict) else answer


def sorted_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row["key"]))


def masked(got: Any, want: Any) -> Any:
    """Given an answer and the recorded one, return the answer with its `*` where that has one."""
    if isinstance(got, dict) and isinstance(want, dict):
        return {key: masked(value, want.get(key)) for key, value in got.items()}
    if isinstance(got, list) and isinstance(want, list) and len(got) == len(want):
        return [masked(g, w) for g, w in zip(got, want, strict=True)]
    if not (isinstance(got, str) and isinstance(want, str)):
        return got
    if want == "*":
        return "*"
    got = UPID.sub(r"UPID:\1:*:", got)
    return MAC.sub("*", got) if "*" in want else got


def comparable(line: Mapping[str, Any], reply: Reply) -> tuple[Any, Any]:
    """Return what came and what was recorded, both as far as they can be the same."""
    want: Any = line["answer"] if line["answer"] is not None else ""
    got: Any = reply.body
    both_fine = reply.status == line["status"] == 200
    if both_fine and line["path"].endswith("/pending"):
        got, want = sorted_rows(got["data"]), sorted_rows(want["data"])
    elif both_fine and line["method"] == "GET" and "/config" not in line["path"]:
        got, want = shape(got["data"]), shape(want["data"])
    want = masked(want, want)
    return (reply.status, reply.reason, masked(got, want)), (line["status"], line["reason"], want)


def play(stage: Stage, prefix: str, subject: int) -> None:
    """Replay a chapter; `subject` is the guest whose file is compared where it was recorded."""
    lines = recorded(prefix)
    assert lines, f"no recordings of {prefix}"
    for line in lines:
        if "after-stop" in line["case"] and stage.world.running(subject):
            stage.world.stop(subject)
        if "method" in line:
            got, want = comparable(line, stage.replay(line))
            assert got == want, line["case"]
        if "conf" in line:
            assert stage.file(subject) == line["conf"], line["case"]


@pytest.mark.parametrize(
    ("chapter", "subject", "running"),
    [
        ("01-reads", 100, 0),
        ("02-auth", 100, 0),
        ("03-notfound", 100, 0),
        ("20-writes-qemu", 100, 0),
        ("20-writes-lxc", 202, 0),
        ("30-running-qemu", 101, 101),
        ("31-running-lxc", 200, 200),
    ],
)
def test_a_recorded_chapter_is_answered_as_it_was(
    stage: Stage, chapter: str, subject: int, running: int
) -> None:
    furnish(stage.world, running)
    play(stage, f"{chapter}/", subject)


ROUND_TRIPS = [
    line
    for chapter in ("10-qemu-roundtrip", "11-lxc-roundtrip", "12-qemu-", "13-lxc-")
    for line in recorded(chapter)
]


@pytest.mark.parametrize("line", ROUND_TRIPS, ids=lambda line: str(line["case"]))
def test_a_value_is_taken_refused_and_stored_as_it_was(stage: Stage, line: dict[str, Any]) -> None:
    furnish(stage.world)
    got, want = comparable(line, stage.replay(line))
    assert got == want
    vmid = int(line["path"].split("/")[4])
    stored = stage.world.config(vmid).get(line["key"], "<absent>")
    assert masked(stored, line["read_back"]) == line["read_back"]


@pytest.mark.parametrize(
    "line", recorded("14-fixpoints/001"), ids=lambda line: f"{line['kind']}-{line['written']!r:.30}"
)
def test_a_description_is_stored_as_it_was(stage: Stage, line: dict[str, Any]) -> None:
    furnish(stage.world)
    vmid = 100 if line["kind"] == "qemu" else 202
    path = f"/nodes/pve1/{line['kind']}/{vmid}/config"
    assert stage.caller("PUT", path, {"description": line["written"]}).status == line["status"]
    stored = stage.world.config(vmid)
    assert stored.get("description") == line["read"]
    file = [row for row in stage.file(vmid).splitlines() if row.startswith("#")]
    assert file == line["file_lines"]
    if line["read"] is not None:
        stage.caller("PUT", path, {"description": line["read"]})
        assert stage.world.config(vmid) == stored


@pytest.mark.parametrize(
    "line",
    recorded("14-fixpoints/003"),
    ids=lambda line: f"{line['kind']}-{line['style'] or 'default'}-{line['written']}",
)
def test_tags_are_stored_as_the_datacenters_style_says(line: dict[str, Any]) -> None:
    world = World(tag_style=line["style"].removeprefix("tag-style: "))
    furnish(world)
    vmid = 100 if line["kind"] == "qemu" else 202
    with DevNode(world) as node:
        caller = Caller(node, AGENT, world.token(AGENT))
        path = f"/nodes/pve1/{line['kind']}/{vmid}/config"
        assert caller("PUT", path, {"tags": line["written"]}).status == 200
        caller.connection.close()
    assert world.config(vmid)["tags"] == line["read"]
