"""A stage on which recordings are replayed, and how an answer is compared with the recorded one.

A `*` in a recording stands for what cannot be the same twice (an invented MAC address, a digest of
a file that was written by hand). Of rows, the keys are compared, and the values of those that a
guest's declaration and its calls determine; CPU load and names of tasks are not among them.

The clock passes by what the recorded call took, and a task must have ended when it had ended there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from felhom_agent.devnode import DevNode, World
from felhom_agent.devnode.world import ha
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES
from felhom_agent.devnode.world.volumes import owner
from tests.devnode.conftest import AGENT, NEWER, Caller, Clock, Reply

AUDITOR, NOBODY, NOACL = "auditor@pve!tk", "nobody@pve!tk", "felhom-agent@pve!noacl"
OPERATOR, ADMINISTRATOR = "felhom-ops@pve!ops", "root@pam!adm"
IRREVERSIBLE = (
    "VM.Allocate", "VM.Snapshot", "VM.Snapshot.Rollback", "Datastore.AllocateSpace",
    "Datastore.Audit",
)  # fmt: skip
EVERYTHING = (
    "VM.Audit", "VM.Allocate", "VM.PowerMgmt", "VM.Config.Disk", "VM.Config.CDROM",
    "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.HWType",
    "VM.Config.Options", "VM.Config.Cloudinit", "Sys.Audit", "Sys.Modify", "Sys.Console",
    "SDN.Use", "Datastore.AllocateSpace", "Datastore.Audit", "Mapping.Use", "VM.Snapshot",
    "VM.Snapshot.Rollback",
)  # fmt: skip
PRIVILEGES: dict[str, dict[str, tuple[str, ...]]] = {
    AGENT: {"/": AGENT_PRIVILEGES},
    OPERATOR: {"/": (*AGENT_PRIVILEGES, *IRREVERSIBLE)},
    AUDITOR: {"/": ("VM.Audit",)},
    NOBODY: {},
    NOACL: {},
    ADMINISTRATOR: {"/": EVERYTHING},
}
DETERMINED = frozenset(
    [
        "vmid", "name", "status", "node", "type", "id", "tags", "lock", "template", "qmpstatus",
        "ha", "hastate", "exitstatus", "user", "tokenid", "n", "t", "parent", "snapstate",
        "vmstate", "running", "cmd",
    ]
)  # fmt: skip
MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
# The resolver's words, of the machine that recorded 9.2, and of the other.
_OTHER_RESOLVER, _RESOLVER = "Temporary failure in name resolution", "Name or service not known"
# Which process of PVE's would have written the file.
_TEMPORARY, _OUR_TEMPORARY = re.compile(r"\.conf\.tmp\.\d+"), ".conf.tmp.4928"
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


def write_demo(world: World, running: int = 0) -> None:
    """Put the guests of the recordings into a world; those that are there are made again."""
    for vmid in range(100, 106):
        world.add("qemu", vmid, vm(vmid), running=vmid == running)
    for vmid in range(200, 204):
        world.add("lxc", vmid, container(vmid), running=vmid == running)


class Stage:
    """A node on which recordings are replayed, with the clock of its world."""

    def __init__(self, node: DevNode, clock: Clock) -> None:
        self.world = node.world
        self.clock = clock
        # What the recorded nodes had.
        self.world.bridges = {"vmbr0", "vmbr1"} if self.world.version == NEWER else set()
        self.secrets = {
            token: self.world.token(token, privileges) for token, privileges in PRIVILEGES.items()
        }
        self.caller = Caller(node, AGENT, self.secrets[AGENT])
        self.operate = Caller(node, OPERATOR, self.secrets[OPERATOR])
        self._upids: dict[str, str] = {}

    def close(self) -> None:
        self.caller.connection.close()
        self.operate.connection.close()

    def give(self, token: str, privileges: Mapping[str, tuple[str, ...]]) -> None:
        """Give a token a new secret, and tell its owner."""
        self.secrets[token] = self.world.token(token, privileges)

    def compare(self, line: Mapping[str, Any], subject: int) -> tuple[Any, Any]:
        """Given a recording, do the same; return what came of it and what had come of it.

        `subject` is the guest whose file was recorded; 0: the one that the file names.
        """
        line = json.loads(_TEMPORARY.sub(_OUR_TEMPORARY, json.dumps(line)))
        if "upid" in line:
            return self._result(line), {"status": line["exitstatus"], "last": line.get("last")}
        if "run" in line:
            # The moments of the real manager's cycles are its own.
            self.clock.pass_by(max(line["took"], ha.CYCLE))
            row = self.caller("GET", "/nodes/pve1/qemu/104/status/current").data
            return (row["status"], row["ha"]), (line["run"], line["ha"])
        if "volumes" in line:
            volumes = [name for name in self.world.volumes() if owner(name) == line["vmid"]]
            return sorted(volumes), line["volumes"]
        if "by_hand" in line:
            file = line["by_hand"]
            here = _masked_file(self.file(line.get("vmid") or _owner(file)), file)
            return _unordered(here), _unordered(file)
        got, want = self.call(line) if "method" in line else ((), ())
        if "conf" in line:
            file = line["conf"]
            here = self.file(line.get("vmid") or subject or _owner(file))
            return (got, _masked_file(here, file)), (want, file)
        return got, want

    def call(self, line: Mapping[str, Any]) -> tuple[Any, Any]:
        """Given a recorded call, make it; return what came and what was recorded."""
        reply = self.replay(line)
        if reply.status == line["status"] == 200 and line["method"] in ("POST", "DELETE"):
            self._upids[str(line["answer"]["data"])] = str(reply.data)
        self.clock.pass_by(line.get("took", 0))
        return comparable(line, reply)

    def replay(self, line: Mapping[str, Any]) -> Reply:
        sent = None if "sent" not in line else line["sent"] + "x" * line.get("padding", 0)
        return self.caller(
            line["method"],
            self._translated(line["path"]),
            sent=None if sent is None else sent.encode(),
            content_type=line.get("type", ""),
            authorization=self._authorization(line["authorization"] or ""),
        )

    def file(self, vmid: int) -> str:
        return self.world.guests[vmid].conf.text()

    def began(self, upid: str) -> bool:
        """Given the name of a recorded task, return whether there is one like it here."""
        return upid in self._upids

    def _translated(self, path: str) -> str:
        for theirs, ours in self._upids.items():
            path = path.replace(theirs, ours)
        return path

    def _authorization(self, header: str) -> str:
        for token, secret in self.secrets.items():
            header = header.replace(f"{token}=<uuid>", f"{token}={secret}")
        return header

    def _result(self, line: Mapping[str, Any]) -> dict[str, object]:
        self.clock.pass_by(line.get("took", 0))
        task = f"/nodes/pve1/tasks/{self._upids[line['upid']]}"
        status = self.caller("GET", f"{task}/status").data.get("exitstatus", "running")
        log = self.caller("GET", f"{task}/log?limit=1000").data
        return {"status": status, "last": log[-1]["t"] if "last" in line else None}


def _unordered(file: str) -> list[str]:
    # A file written by hand is not sorted, and its empty values have one blank less.
    return sorted(row.rstrip() for row in file.splitlines())


def _masked_file(got: str, want: str) -> str:
    """Return a file with what cannot be the same twice as `*`, if the recorded one has it so."""
    keys = [key for key in ("snaptime", "vmgenid", "runningmachine") if f"\n{key}: *\n" in want]
    demo = r"(?!0d6f1c1a-3a94-4f11-9a8c-2f50b54d0)"
    for key in keys:
        got = re.sub(rf"^{key}: {demo}.*$", f"{key}: *", got, flags=re.MULTILINE)
    return got


def _owner(conf: str) -> int:
    match = re.search(r"^(?:name: vm|hostname: ct)(\d+)$", conf, re.MULTILINE)
    assert match, conf
    return int(match[1])


def shape(answer: Any) -> Any:
    """Given the data of an answer, return its keys and the values that are determined."""
    if isinstance(answer, list):
        return sorted(json.dumps(shape(row), sort_keys=True) for row in answer)
    if isinstance(answer, dict):
        return {k: v if k in DETERMINED else None for k, v in answer.items()}
    return answer


def newest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Given a list of tasks, return the first; the others are those of other recordings."""
    return rows[:1]


def sorted_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row["key"]))


def masked(got: Any, want: Any) -> Any:
    """Given an answer and the recorded one, return the answer with its `*` where that has one."""
    if isinstance(got, dict) and isinstance(want, dict):
        return {key: masked(value, want.get(key)) for key, value in got.items()}
    if isinstance(got, list) and isinstance(want, list) and len(got) == len(want):
        return [masked(g, w) for g, w in zip(got, want, strict=True)]
    if want == "*":
        return "*"
    if not (isinstance(got, str) and isinstance(want, str)):
        return got
    got = UPID.sub(r"UPID:\1:*:", got)
    return MAC.sub("*", got) if "*" in want else got


def comparable(line: Mapping[str, Any], reply: Reply) -> tuple[Any, Any]:
    """Return what came and what was recorded, both as far as they can be the same."""
    if line["reason"] is None:
        return reply.status, line["status"]
    line = json.loads(json.dumps(line).replace(_OTHER_RESOLVER, _RESOLVER))
    want: Any = line["answer"] if line["answer"] is not None else ""
    got: Any = reply.body
    path = line["path"].partition("?")[0]
    if reply.status == line["status"] == 200 and line["method"] == "GET":
        if path.endswith("/pending"):
            got, want = sorted_rows(got["data"]), sorted_rows(want["data"])
        elif path.endswith("/tasks"):
            got, want = shape(newest(got["data"])), shape(newest(want["data"]))
        elif "/config" not in path:
            got, want = shape(got["data"]), shape(want["data"])
    want = masked(want, want)
    return (reply.status, reply.reason, masked(got, want)), (line["status"], line["reason"], want)
