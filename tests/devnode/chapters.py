"""The chapters of the recordings: how each is shown here, and what of them is not imitated.

A replayed chapter may need what no call did: somebody edited a file, a guest had no operating
system that could hear a shutdown, a process was killed. These acts are its directions, by the
number of the recording before which they happened.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from felhom_agent.devnode import Behaviour
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES
from tests.devnode.conftest import NEWER, RECORDINGS
from tests.devnode.stage import AUDITOR, NOBODY, Stage, container, vm

Act = Callable[[Stage], None]
DEAF = Behaviour(obeys_shutdown=False, cleanup_gap=0.0)
"""Does not hear a shutdown; it was left the time to be cleaned up after each stop."""


@dataclass(frozen=True)
class Chapter:
    """`subject` is the guest whose file was recorded, `running` the one that ran from the start."""

    subject: int = 0
    running: int = 0
    directions: Mapping[str, Act] = field(default_factory=dict)


def behave(vmid: int, behaviour: Behaviour) -> Act:
    return lambda stage: stage.world.behave(vmid, behaviour)


def fail(vmid: int, why: str) -> Act:
    return behave(vmid, Behaviour(start_error=why))


def edit(vmid: int, *delete: str, **changes: object) -> Act:
    return lambda stage: stage.world.edit(vmid, changes, delete)


def lock(vmid: int, word: str) -> Act:
    return lambda stage: stage.world.lock(vmid, word)


def unlock(vmid: int) -> Act:
    return lambda stage: stage.world.unlock(vmid)


def hold_lock(vmid: int) -> Act:
    return lambda stage: stage.world.hold_lock(vmid)


def release_lock(vmid: int) -> Act:
    return lambda stage: stage.world.release_lock(vmid)


def stop(vmid: int) -> Act:
    return lambda stage: stage.world.stop(vmid)


def crash(vmid: int) -> Act:
    return lambda stage: stage.world.crash(vmid)


def manage(vmid: int, state: str) -> Act:
    return lambda stage: stage.world.ha(vmid, state)


def move(vmid: int, node: str) -> Act:
    return lambda stage: stage.world.move(vmid, node)


def let_pass(seconds: float) -> Act:
    return lambda stage: stage.clock.pass_by(seconds)


def withdraw(token: str) -> Act:
    def act(stage: Stage) -> None:
        stage.world.token(token, {"/": AGENT_PRIVILEGES})

    return act


def give(token: str, **privileges: tuple[str, ...]) -> Act:
    given = {path.replace("_", "/"): words for path, words in privileges.items()}
    return lambda stage: stage.give(token, given)


def both(*acts: Act) -> Act:
    def act(stage: Stage) -> None:
        for one in acts:
            one(stage)

    return act


def unresolved(stage: Stage) -> None:
    """Let no resolver know the other nodes' names."""
    stage.world.peers.clear()


def put(vmid: int, **changes: object) -> Act:
    """Write a guest's configuration as somebody did who was not recorded."""

    def act(stage: Stage) -> None:
        kind = stage.world.guests[vmid].kind
        stage.operate("PUT", f"/nodes/pve1/{kind}/{vmid}/config", changes)

    return act


def described(storage: str, kind: str) -> Act:
    return lambda stage: stage.world.storages.update({storage: kind})


def again(vmid: int, **changes: object) -> Act:
    """Make a guest of the demo again, and change its file by hand."""

    def act(stage: Stage) -> None:
        kind, config = ("qemu", vm(vmid)) if vmid < 200 else ("lxc", container(vmid))
        stage.world.add(kind, vmid, {**config, **changes})

    return act


def with_volumes(vmid: int) -> Act:
    """Make a guest again with volumes, one of which no key names."""

    def act(stage: Stage) -> None:
        disk = f"local:{vmid}/vm-{vmid}-disk-0.raw"
        if vmid < 200:
            again(vmid, scsi0=f"{disk},size=1G")(stage)
        else:
            again(vmid, mp0=f"{disk},mp=/mnt,size=102M")(stage)
        stage.world.guests[vmid].sizes[f"local:{vmid}/vm-{vmid}-disk-9.raw"] = "1M"

    return act


def dropped(volume: str) -> Act:
    return lambda stage: stage.world.drop_volume(volume)


def left_behind(stage: Stage) -> None:
    """Let one of the nodes have a volume on another storage that no key names."""
    if stage.world.version != NEWER:
        stage.world.guests[202].sizes["bt:202/vm-202-disk-0.raw"] = "1G"


def slow_destruction(vmid: int) -> Act:
    return both(again(vmid), behave(vmid, Behaviour(destroy_seconds=0.1)))


def no_snapshot(stage: Stage) -> None:
    """Let the snapshot of a container's volume be gone that is deleted next."""
    name = "snap3" if stage.world.version == NEWER else "snap2"
    path = f"/var/lib/vz-bt/images/201/subvol-201-disk-0.subvol@{name}"
    error = f"command 'btrfs subvolume delete -- {path}' failed: ERROR: Could not statfs"
    words = f"{error}: No such file or directory"
    stage.world.behave(201, Behaviour(snapshot_error=words))


def running(*vmids: int) -> Act:
    def act(stage: Stage) -> None:
        for vmid in vmids:
            if not stage.world.running(vmid):
                stage.world.start(vmid)

    return act


def disarm(mode: str) -> Act:
    return lambda stage: stage.world.disarm_ha(mode)


def without_quorum(stage: Stage) -> None:
    stage.world.quorum_lost()


def with_quorum(stage: Stage) -> None:
    stage.world.quorum_back()


def waiting_containers(stage: Stage) -> None:
    """Let something wait for a restart of one of the containers."""
    put(201, nameserver="1.1.1.1")(stage)


ROOT = "local:202/vm-202-disk-0.raw"
SUBVOLUME = "bt:201/subvol-201-disk-0.subvol"
NO_QCOW2 = (
    "command '/usr/bin/qemu-img snapshot -d d2 /var/lib/vz/images/103/vm-103-disk-0.qcow2' failed:"
    " exit code 1"
)
NO_DISK = "volume 'local:103/vm-103-disk-0.raw' does not exist"
NO_ROOT = "volume 'local:203/vm-203-disk-0.raw' does not exist"
QEMU_FAILED = "start failed: QEMU exited with code 1"
HOTPLUG = {"numa": 1, "cores": 2, "vcpus": 1, "memory": 1024}

REPLAYED: Mapping[str, Chapter] = {
    "01-reads": Chapter(),
    "02-auth": Chapter(),
    "03-notfound": Chapter(),
    "20-writes-qemu": Chapter(subject=100),
    "20-writes-lxc": Chapter(subject=202),
    "30-running-qemu": Chapter(
        subject=101,
        running=101,
        directions={
            "054": stop(101),
            "062": edit(104, hotplug="network,disk,usb,cpu,memory", **HOTPLUG),
        },
    ),
    "31-running-lxc": Chapter(subject=200, running=200),
    "40-tasks-qemu": Chapter(
        directions={
            "001": behave(100, DEAF),
            "061": behave(101, Behaviour(shutdown_seconds=1.0)),
            "066": let_pass(10),
            "038": lambda stage: stage.world.suspend(100),
            "044": lambda stage: stage.world.resume(100),
            "068": let_pass(5),
            "071": fail(103, NO_DISK),
            "073": fail(103, "storage 'nosuch' does not exist"),
            "075": fail(103, QEMU_FAILED),
            "077": fail(103, "bridge 'vmbr9' does not exist"),
            "079": fail(103, "volume 'local:iso/none.iso' does not exist"),
            "081": behave(103, DEAF),
            "088": edit(103, "onboot"),
            "095": edit(103, "onboot", template=1),
            "102": both(
                edit(103, "onboot", "template"),
                fail(103, "MAX 2 vcpus allowed per VM on this node"),
            ),
            "104": hold_lock(103),
            "108": release_lock(103),
            "111": lambda stage: stage.world.kill_tasks(100),
            "115": lambda stage: stage.world.interrupt_tasks(100),
        },
    ),
    "41-tasks-lxc": Chapter(
        directions={
            "020": fail(203, NO_ROOT),
            "027": edit(203, "onboot", cores="banana"),
            "032": edit(203, "onboot", cores=1, template=1),
            "037": behave(201, Behaviour(start_seconds=1.0, obeys_shutdown=False)),
            "047": hold_lock(202),
        }
    ),
    "42-warnings": Chapter(directions={"001": behave(103, Behaviour(warnings=2))}),
    "50-locks": Chapter(
        directions={
            "001": lock(103, "backup"),
            "015": lock(103, "migrate"),
            "027": lock(103, "snapshot"),
            "039": unlock(103),
            "041": lock(103, "backup"),
            "048": unlock(103),
            "050": edit(103, protection=1),
            "056": lock(201, "backup"),
            "067": lock(201, "mounted"),
            "078": lock(201, "migrate"),
            "087": unlock(201),
            "089": lock(201, "backup"),
            "095": unlock(201),
            "096": edit(201, protection=1),
        }
    ),
    "81-http": Chapter(),
    "91-auth-more": Chapter(
        directions={
            "001": edit(100, description="posted", cpulimit="0.5", onboot=1),
            "003": withdraw(AUDITOR),
            "004": give(AUDITOR, _=("VM.Audit",)),
            "006": withdraw(AUDITOR),
            "007": give(AUDITOR, _=("VM.Audit",)),
            "009": withdraw(AUDITOR),
            "012": give(NOBODY, _vms_100=AGENT_PRIVILEGES),
        }
    ),
    "100-snapshots-qemu": Chapter(
        directions={
            "001": edit(100, description="before\nsecond", tags="a;b"),
            "076": put(
                100, description="after", cores=2, memory=96, name="renamed", onboot=1, tags="z"
            ),
            "079": put(100, description="third", cores=1, name="third", tags="y"),
            "106": put(100, description="pending mem", cores=2),
            "125": let_pass(1),
            "150": lock(100, "backup"),
            "165": lock(100, "snapshot"),
            "180": lock(100, "snapshot-delete"),
            "195": lock(100, "rollback"),
            "210": edit(100, "lock", protection=1),
            "224": put(103, scsi1="local:1,format=qcow2"),
            "233": edit(103, scsi0="local:103/vm-103-disk-0.qcow2,size=2G"),
            "261": behave(103, Behaviour(snapshot_error=NO_QCOW2)),
        }
    ),
    "101-snapshots-lxc": Chapter(
        directions={
            "001": described("bt", "btrfs"),
            "011": edit(201, description="before", tags="a;b", rootfs=f"{SUBVOLUME},size=0T"),
            "038": put(
                201, description="after", cores=2, memory=96, hostname="renamed", onboot=1, tags="z"
            ),
            "040": put(201, description="third", cores=1, hostname="third", tags="y"),
            "077": lock(201, "backup"),
            "091": lock(201, "snapshot"),
            "105": lock(201, "snapshot-delete"),
            "119": lock(201, "rollback"),
            "133": both(unlock(201), no_snapshot),
            "139": unlock(201),
        }
    ),
    "110-destroy-qemu": Chapter(
        directions={
            "016": edit(102, protection=1),
            "017": edit(102, "protection", lock="backup"),
            "020": lock(102, "snapshot"),
            "023": lock(102, "migrate"),
            "026": lock(102, "create"),
            "029": lock(102, "suspended"),
            "032": again(102, scsi0="local:102/vm-102-disk-77.raw"),
            **dict.fromkeys(["045", "050", "055", "060", "065"], with_volumes(102)),
            "070": both(
                dropped("local:102/vm-102-disk-9.raw"),
                again(102, unused0="local:102/vm-102-disk-0.raw"),
            ),
            "074": slow_destruction(102),
            "075": both(stop(100), let_pass(1), again(102)),
        }
    ),
    "111-destroy-lxc": Chapter(
        directions={
            "018": both(again(200), edit(202, protection=1)),
            "020": edit(202, "protection", lock="backup"),
            "023": lock(202, "snapshot"),
            "025": lock(202, "migrate"),
            "027": lock(202, "create"),
            "029": lock(202, "mounted"),
            "031": lock(202, "destroyed"),
            "033": again(202, rootfs="local:202/vm-202-disk-0.raw"),
            **dict.fromkeys(["045", "050", "055", "060", "065"], with_volumes(202)),
            "070": both(dropped("local:202/vm-202-disk-9.raw"), again(202)),
            "074": slow_destruction(202),
            "075": both(again(202), behave(200, Behaviour(stop_seconds=0.5))),
        }
    ),
    # As far as disks are made, detached and destroyed; resizing, CDs and cloud-init come after it.
    "120-disks-qemu": Chapter(
        directions={
            "001": described("bt", "btrfs"),
            "029": both(edit(102, "virtio1"), dropped("nosuch:102/vm-102-disk-0.raw")),
            "032": both(edit(102, "virtio2"), dropped("local:102/vm-102-disk-7.raw")),
            "039": both(edit(102, "sata2"), dropped("local:102/vm-102-disk-7.raw")),
            "064": edit(102, protection=1),
            "071": edit(102, scsi0="local:102/vm-102-disk-0.raw,size=1025M"),
        }
    ),
    "121-disks-lxc": Chapter(
        directions={
            "001": left_behind,
            "015": both(edit(202, "mp2"), dropped("nosuch:202/vm-202-disk-0.raw")),
            "019": put(202, delete="mp4"),
            "034": edit(202, rootfs=f"{ROOT},size=128M"),
            "043": edit(202, rootfs=f"{ROOT},size=1G"),
            "048": edit(202, protection=1),
            "054": edit(202, rootfs=f"{ROOT},size=1025M"),
            "055": both(edit(202, "protection"), put(202, delete="mp1"), edit(202, protection=1)),
            "061": edit(202, "lock", "protection"),
            "064": fail(202, "unable to parse directory volume name '1'"),
            "073": edit(200, "mp0"),
        }
    ),
    "130-stop": Chapter(directions={"001": behave(100, DEAF), "078": crash(100)}),
    "140-ha-no-crm": Chapter(
        directions={
            "009": both(manage(100, "stopped"), manage(200, "stopped")),
            "053": manage(100, "ignored"),
            "060": manage(100, "disabled"),
            "067": manage(100, "enabled"),
            "074": manage(100, "started"),
            "081": manage(100, "stopped"),
        }
    ),
    "141-ha-running": Chapter(
        directions={
            "001": behave(104, DEAF),
            "003": manage(104, "stopped"),
            "019": crash(104),
            "024": fail(104, QEMU_FAILED),
            "033": manage(104, "disabled"),
            "035": manage(104, ""),
        }
    ),
    "160-other-node": Chapter(
        directions={
            "006": both(move(102, "pve2"), move(202, "pve2"), unresolved),
            "058": let_pass(15),
            "083": both(move(102, "pve1"), move(202, "pve1")),
        }
    ),
    "161-other-node-offline": Chapter(
        directions={"001": both(move(102, "pve2"), lock(103, "suspended"))}
    ),
}
"""Chapters whose recordings are replayed in their order."""

REPLAYED_NEWER: Mapping[str, Chapter] = {
    # As far as no moment counts: what the worker finds is told in test_devnode_delay.
    "200-post-worker": Chapter(directions={"032": lock(102, "backup"), "033": unlock(102)}),
    # What is written and what is started and stopped without quorum; all else is as with it.
    "201-quorum": Chapter(
        directions={
            "060": both(
                running(100, 101, 103, 200, 201),
                put(103, memory=96),
                put(201, nameserver="1.1.1.1"),
                behave(100, DEAF),
                without_quorum,
            )
        }
    ),
    "201c-containers-no-corosync": Chapter(
        directions={
            number: both(with_quorum, running(200, 201), waiting_containers, without_quorum)
            for number in ("001", "004", "007")
        }
    ),
    # The parameters that are refused; the lists are those of the recording machine.
    "203-task-list": Chapter(),
    "205-ha-armed": Chapter(
        directions={
            "001": both(running(104, 200), behave(104, DEAF)),
            "002": both(manage(104, "started"), manage(200, "started")),
            "006": let_pass(30),
            "010": disarm("freeze"),
            "034": disarm(""),
            "036": let_pass(30),
            "041": disarm("ignore"),
            "066": disarm(""),
            "069": let_pass(60),
            "073": both(manage(104, ""), manage(200, "")),
        }
    ),
}
"""The same, of 9.2 alone."""

VALUE_BY_VALUE = frozenset(
    ["10-qemu-roundtrip", "11-lxc-roundtrip", "12-qemu-roundtrip-root", "13-lxc-roundtrip-root",
     "14-fixpoints"]
)  # fmt: skip
"""Chapters of which each recording stands for itself: `test_devnode_replay`."""

SINGLE = ("200b-post-worker-privileges", "202-values")
"""Chapters of 9.2 of which each write stands for itself: `test_devnode_single_writes`."""

TOLD: Mapping[str, tuple[str, ...]] = {
    "70-resources-lag": (
        "devnode/test_devnode_faults.py::test_the_clusters_resources_are_late_in_name_and_status_and_not_in_tags_and_lock",
        "devnode/test_devnode_faults.py::test_a_guest_that_pvestatd_has_not_told_of_is_unknown",
    ),
    "82-keepalive": (
        "proxmox/test_client.py::test_a_connection_that_idled_is_not_used_again",
        "proxmox/test_client.py::test_the_end_of_a_connection_after_a_hundred_requests_is_not_noticed",
    ),
    "92-outages": (
        "devnode/test_devnode_faults.py::test_a_guest_that_pvestatd_has_not_told_of_is_unknown",
        "reconcile/test_reconciliation.py::test_a_request_that_the_proxy_could_not_pass_on_leaves_nothing_to_look_up",
    ),
    "170-bulk": (
        "devnode/test_devnode_bulk.py::test_refusals",
        "devnode/test_devnode_bulk.py::test_startall_starts_what_has_onboot_or_what_is_named_by_force",
        "devnode/test_devnode_bulk.py::test_stopall_ends_well_whether_its_guests_obeyed_or_not",
    ),
}
"""Chapters that tests tell in their own words; each test names the recording."""

TOLD_NEWER: Mapping[str, tuple[str, ...]] = {
    "206-digest-pending": (
        "devnode/test_devnode_versions.py::test_a_deletion_of_what_only_waits_is_passed_over_by_a_container_and_done_by_a_vm",
    ),
    "208b-lock-after-restart-tries": (
        "devnode/test_devnode_versions.py::test_a_vm_started_right_after_its_stop_is_locked_by_the_newer",
    ),
    "209-small-changes": (
        "devnode/test_devnode_versions.py::test_an_unused_volume_of_another_guest_needs_a_right_on_the_storage",
        "devnode/test_devnode_snapshots.py::test_only_the_newer_asks_for_the_right_to_start",
    ),
}
"""The same, of 9.2 alone."""

NOT_IMITATED: Mapping[str, str] = {
    "40-tasks-qemu/047-tasks-default-while-running": "its newest task is an agent's resume",
    "130-stop/072-hang-shutdown-5-result": "a guest may be deaf, but no QEMU here hangs",
    "60-pmxcfs": "the agent reads no file of /etc/pve, so there are none",
    "80-timing": "durations are the recording machine's",
    "90-proxmoxer": "what proxmoxer makes of answers is shown by the client's own tests",
    "95-access": "roles, users, tokens and pools are made by hand on the world, not by the API",
    "120-disks-qemu/028-put-alloc-unknown-storage": "every storage is known here",
    "120-disks-qemu/031-put-alloc-huge": "volumes are names here, as large as they are asked for",
    "120-disks-qemu/032-put-file-path": "the words end with the line of a file of PVE",
    "120-disks-qemu/033-put-file-path-root": "the words end with the line of a file of PVE",
    "120-disks-qemu/038-put-import-from": "nothing is imported here; the agent makes no volumes",
    "121-disks-lxc/014-mp-unknown-storage": "every storage is known here",
    "121-disks-lxc/072-run-alloc": "the recording machine could not mount into a container",
    "150-privilege-matrix": "the option table's own tests compare it with the recorded matrix",
    "141-ha-running/004-status": "of the HA manager only the quorum is told",
    "141-ha-running/031-error-status": "of the HA manager only the quorum is told",
    "151-lxc-lock-by-put": "the agent refuses to declare a lock",
    "180-read-race": "there are no files that could be read while they are replaced",
}
"""Recordings, or whole chapters, whose answers are not to be had here, and why."""

_NOT_SERVED = tomllib.loads(
    (RECORDINGS[NEWER].parent / "pve-9.2-not-served.toml").read_text(encoding="utf-8")
)
"""The same, of PVE 9.2 alone: `recordings`, and whole `chapters`."""

NOT_SERVED_CHAPTERS: Mapping[str, str] = _NOT_SERVED["chapters"]


def not_imitated(version: str) -> Mapping[str, str]:
    """Given a version of PVE, return which of its recordings are not to be had here, and why."""
    return {**NOT_IMITATED, **_NOT_SERVED["recordings"]} if version == NEWER else NOT_IMITATED


UNKNOWN_CALLS: Mapping[str, str] = {
    r"\w+ /cluster/ha/(?!status/current).*": "HA resources are declared by hand on the world",
    r"\w+ /cluster/nextid.*": "the agent makes no guests",
    r"\w+ /access/(acl|roles|users).*": "rights are given by hand on the world",
    r"POST .*/status/(reset|suspend|resume)": "the agent only starts, stops and restarts",
    r"\w+ .*/(migrate|resize)(\?.*)?": "the agent moves no guest, and grows no disk",
    r"POST .*/template": "the agent makes no templates",
    r"GET .*/feature\?.*": "the agent asks for no features; a task tells that there are none",
    r"\w+ (/nodes/\w+)?/storage": "storages are described by hand on the world",
    r"DELETE /nodes/\w+/tasks/[^/]+": "the agent ends no task",
    r"GET /nodes/\w+/tasks/[^/]+": "an index of words",
}
"""Calls, as method and path, that this node answers as PVE answers to what it does not know."""
