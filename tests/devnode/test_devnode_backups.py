"""The node's storages that take backups, and who sees what is on them.

PVE: pve-storage API2/Storage/Content.pm index, Storage.pm check_volume_access; recorded:
120-disks-qemu/151, 95-access/112.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from felhom_agent.devnode import World
from felhom_agent.devnode.world.backups import Backup, BackupStorage
from tests.devnode.conftest import Caller

MADE = 1_795_000_000
CONTENT = "/nodes/pve1/storage/nas/content?content=backup"
RESOURCES = "/cluster/resources?type=storage"
SPACE = ("Datastore.Audit", "Datastore.AllocateSpace")


@pytest.fixture
def nas(world: World) -> BackupStorage:
    backups = [Backup("lxc", 200, MADE), Backup("qemu", 100, MADE)]
    world.backup_storages["nas"] = BackupStorage(backups=backups)
    return world.backup_storages["nas"]


@pytest.fixture
def seer(callers: Callable[..., Caller]) -> Caller:
    return callers("seer@pve!t", privileges={"/storage": SPACE, "/vms": ("VM.Backup",)})


def volumes(caller: Caller, path: str = CONTENT) -> list[str]:
    return [row["volid"] for row in caller("GET", path).data]


def test_a_token_without_a_right_on_the_storage_is_denied_in_pves_words(
    nas: BackupStorage, callers: Callable[..., Caller]
) -> None:
    few = callers("few@pve!t", privileges={"/": ("VM.Audit",)})
    words = "Permission check failed (/storage/nas, Datastore.Audit|Datastore.AllocateSpace)"
    reply = few("GET", CONTENT)
    assert (reply.status, reply.reason) == (403, words)
    assert few("GET", RESOURCES).data == []


@pytest.mark.parametrize(
    ("held", "seen"),
    [
        ({"/storage": ("Datastore.Audit",)}, ""),
        ({"/storage": SPACE}, ""),
        ({"/storage": ("Datastore.Audit",), "/vms": ("VM.Backup",)}, ""),
        ({"/storage": SPACE, "/vms/100": ("VM.Backup",)}, "qemu"),
        ({"/storage": SPACE, "/vms": ("VM.Backup",)}, "lxc qemu"),
        ({"/storage": ("Datastore.Audit", "Datastore.Allocate")}, "lxc qemu"),
    ],
)
def test_a_backup_that_the_caller_may_not_read_is_left_out_without_a_word(
    nas: BackupStorage,
    callers: Callable[..., Caller],
    held: dict[str, tuple[str, ...]],
    seen: str,
) -> None:
    found = callers("some@pve!t", privileges=held)("GET", CONTENT)
    assert found.status == 200
    assert " ".join(row["subtype"] for row in found.data) == seen


def test_the_content_is_told_by_guest(nas: BackupStorage, seer: Caller) -> None:
    assert volumes(seer) == [
        "nas:backup/vzdump-lxc-200-2026_11_18-11_06_40.tar.zst",
        "nas:backup/vzdump-qemu-100-2026_11_18-11_06_40.vma.zst",
    ]
    assert volumes(seer, f"{CONTENT}&vmid=100") == [
        "nas:backup/vzdump-qemu-100-2026_11_18-11_06_40.vma.zst"
    ]
    assert volumes(seer, f"{CONTENT}&vmid=300") == []


def test_a_backup_server_names_its_backups_in_its_own_way(nas: BackupStorage, seer: Caller) -> None:
    nas.kind, nas.backups = "pbs", [Backup("lxc", 200, MADE, "ok")]
    row = seer("GET", CONTENT).data[0]
    assert (row["volid"], row["format"]) == ("nas:backup/ct/200/2026-11-18T11:06:40Z", "pbs-ct")
    assert row["verification"] == {"state": "ok"}


def test_a_storage_that_there_is_not_and_one_that_is_away_answer_500(
    nas: BackupStorage, seer: Caller
) -> None:
    nas.online = False
    assert (seer("GET", CONTENT).status, seer("GET", CONTENT).reason) == (
        500, "storage 'nas' is not online",
    )  # fmt: skip
    gone = seer("GET", CONTENT.replace("nas", "none"))
    assert (gone.status, gone.reason) == (500, "storage 'none' does not exist")


def test_the_storages_stand_among_the_clusters_resources(nas: BackupStorage, seer: Caller) -> None:
    (row,) = seer("GET", RESOURCES).data
    assert (row["id"], row["status"], row["plugintype"]) == ("storage/pve1/nas", "available", "dir")
    assert row in seer("GET", "/cluster/resources").data
    nas.available = False
    (row,) = seer("GET", RESOURCES).data
    assert (row["status"], "disk" in row) == ("unknown", False)
