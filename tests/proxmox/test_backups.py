"""What a person is told of a guest's latest backup, and that nothing is claimed that PVE hides."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.authz.form import is_plain
from felhom_agent.devnode import Fault
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES
from felhom_agent.devnode.world.backups import Backup, BackupStorage
from felhom_agent.errors import Unchanged
from felhom_agent.proxmox.backups import Backup as Found
from felhom_agent.proxmox.backups import LatestBackup, backups_of, latest_backup, storages_of
from felhom_agent.proxmox.node import Node
from tests.conftest import TOKEN_ID, Site

MONDAY = 1_795_000_000
AUDIT, SPACE, ALLOCATE = "Datastore.Audit", "Datastore.AllocateSpace", "Datastore.Allocate"


@pytest.fixture
def nas(site: Site) -> BackupStorage:
    """A storage with two backups of guest 100 and a later one of another guest."""
    site.world.backup_storages["nas"] = BackupStorage(
        backups=[
            Backup("qemu", 100, MONDAY + 60),
            Backup("qemu", 100, MONDAY),
            Backup("qemu", 1000, MONDAY + 9000),
        ]
    )
    allow(site, {"/storage": (AUDIT, SPACE), "/vms/100": ("VM.Audit", "VM.Backup")})
    return site.world.backup_storages["nas"]


def allow(site: Site, more: Mapping[str, tuple[str, ...]]) -> None:
    site.world.grant(TOKEN_ID, {"/": AGENT_PRIVILEGES, **more})


def told(site: Site, node: Node | None = None) -> str:
    node = node or site.connect()
    return latest_backup(node.client, 100, node.shutting_down).text()


def test_the_latest_backup_of_that_guest_is_told(site: Site, nas: BackupStorage) -> None:
    assert told(site) == "of VMID 100 at 2026-11-18T11:07:40Z on nas"


def test_the_latest_of_all_storages_counts(site: Site, nas: BackupStorage) -> None:
    later = Backup("qemu", 100, MONDAY + 120)
    site.world.backup_storages["pbs"] = BackupStorage("pbs", backups=[later])
    assert told(site) == "of VMID 100 at 2026-11-18T11:08:40Z on pbs"


def test_a_backup_that_the_backup_server_found_broken_is_told_as_such(
    site: Site, nas: BackupStorage
) -> None:
    broken = Backup("qemu", 100, MONDAY + 120, verification="failed")
    site.world.backup_storages["pbs"] = BackupStorage("pbs", backups=[broken])
    assert told(site).endswith("on pbs, which the backup server found broken")


def test_where_there_is_no_backup_the_storages_that_were_looked_at_are_named(
    site: Site, nas: BackupStorage
) -> None:
    nas.backups.clear()
    assert told(site) == "none on nas"


@pytest.mark.parametrize(
    "rights",
    [
        {},
        {"/storage": (AUDIT,)},
        {"/storage": (SPACE,)},
        {"/storage": (AUDIT, SPACE)},
        {"/storage": (AUDIT,), "/vms/100": ("VM.Audit", "VM.Backup")},
        {"/storage": (AUDIT, SPACE), "/vms/100": ("VM.Audit",), "/vms/1000": ("VM.Backup",)},
    ],
)
def test_a_token_that_may_not_see_the_backups_says_unknown_and_never_none(
    site: Site, nas: BackupStorage, rights: Mapping[str, tuple[str, ...]]
) -> None:
    allow(site, rights)
    assert told(site) == "unknown"
    nas.backups.clear()
    assert told(site) == "unknown"


def test_whoever_may_allocate_the_storage_sees_all_of_it(site: Site, nas: BackupStorage) -> None:
    allow(site, {"/storage": (AUDIT, ALLOCATE)})
    assert told(site) == "of VMID 100 at 2026-11-18T11:07:40Z on nas"


@pytest.mark.parametrize("lost", ["not available", "not online", "no right"])
def test_a_storage_that_cannot_be_looked_at_is_named_beside_what_was_found(
    site: Site, nas: BackupStorage, lost: str
) -> None:
    site.world.backup_storages["tape"] = tape = BackupStorage()
    tape.available, tape.online = lost != "not available", lost != "not online"
    if lost == "no right":
        rights = {"/storage": (AUDIT, SPACE), "/storage/tape": (AUDIT,), "/vms": ("VM.Backup",)}
        allow(site, rights)
    assert told(site) == "of VMID 100 at 2026-11-18T11:07:40Z on nas; not looked at: tape"
    nas.backups.clear()
    assert told(site) == "none on nas; not looked at: tape"


def test_a_storage_that_does_not_answer_costs_its_own_part_and_a_bounded_time(
    site: Site, nas: BackupStorage
) -> None:
    site.world.backup_storages["dead"] = BackupStorage()
    site.devnode.faults.add(Fault(path="storage/dead/content", action="hang"))
    node = site.connect(read_timeout=0.5)
    assert told(site, node) == "of VMID 100 at 2026-11-18T11:07:40Z on nas; not looked at: dead"


def test_all_storages_together_have_a_time_and_the_rest_is_not_looked_at(
    site: Site, nas: BackupStorage
) -> None:
    site.devnode.faults.add(Fault(path="storage/nas/content", action="hang"))
    node = site.connect(read_timeout=600.0)
    found = latest_backup(node.client, 100, threading.Event(), patience=0.5)
    assert (found.looked, found.text()) == ((), "unknown")


def test_an_agent_that_stops_asks_for_no_backups(site: Site, nas: BackupStorage) -> None:
    stopping = threading.Event()
    stopping.set()
    assert latest_backup(site.connect().client, 100, stopping).text() == "unknown"


ODD = st.one_of(
    st.none(),
    st.integers(-2, 2**70),
    st.text(max_size=3),
    st.lists(st.none(), max_size=1),
    st.dictionaries(st.sampled_from(["ctime", "verification", "state"]), st.none(), max_size=2),
)


@given(st.one_of(ODD, st.lists(ODD, max_size=3)))
def test_what_makes_no_sense_is_no_storage(answer: object) -> None:
    assert storages_of(answer, "pve1") == {}


@pytest.mark.parametrize(
    "row",
    [
        {"node": "pve2"},
        {"type": "sdn"},
        {"content": "images,rootdir"},
        {"content": ["backup"]},
        {"content": "nobackup"},
        {"storage": "a\nb"},
        {"storage": "../../access/users"},
        {"storage": ""},
        {"storage": 7},
    ],
)
def test_another_nodes_storage_or_one_without_backups_does_not_count(
    row: dict[str, object],
) -> None:
    good = {
        "type": "storage", "node": "pve1", "storage": "nas",
        "content": "iso,backup", "status": "available",
    }  # fmt: skip
    assert storages_of([good], "pve1") == {"nas": True}
    assert storages_of([{**good, **row}], "pve1") == {}


@pytest.mark.parametrize("ctime", [None, -1, 1.5, True, "1795000000", []])
def test_a_backup_without_a_time_cannot_be_compared_with_the_others(ctime: object) -> None:
    row = {"volid": "nas:backup/x", "content": "backup", "ctime": ctime}
    with pytest.raises(Unchanged):
        backups_of([row], "nas")


@pytest.mark.parametrize("answer", [None, {}, "x", [None], [7], [[]]])
def test_a_content_that_is_no_list_of_backups_is_not_none(answer: object) -> None:
    with pytest.raises(Unchanged):
        backups_of(answer, "nas")


NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9._-]{0,99}", fullmatch=True), max_size=9)


@given(
    NAMES,
    NAMES,
    st.none() | st.builds(Found, st.just("n" * 100), st.integers(0, 2**80), st.booleans()),
)
def test_it_is_always_one_plain_line_that_a_request_can_carry(
    looked: list[str], unseen: list[str], found: Found | None
) -> None:
    text = LatestBackup(999_999_999, found, tuple(looked), tuple(unseen)).text()
    assert is_plain(text, 200)
