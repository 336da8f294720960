"""What of the recorded API this node imitates, and how that is shown, chapter by chapter.

A chapter of the recordings is either replayed (status, reason, body and effect are compared, see
`test_devnode_replay`), or told by tests that name the recordings they rest on, or deliberately
not imitated, with the reason.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.devnode.conftest import recorded

HERE = Path(__file__).parent
CODE = HERE.parent.parent / "felhom_agent" / "devnode"

CHAPTERS = frozenset(
    [
        "01-reads",
        "02-auth",
        "03-notfound",
        "10-qemu-roundtrip",
        "100-snapshots-qemu",
        "101-snapshots-lxc",
        "11-lxc-roundtrip",
        "110-destroy-qemu",
        "111-destroy-lxc",
        "12-qemu-roundtrip-root",
        "120-disks-qemu",
        "121-disks-lxc",
        "13-lxc-roundtrip-root",
        "130-stop",
        "14-fixpoints",
        "140-ha-no-crm",
        "141-ha-running",
        "150-privilege-matrix",
        "151-lxc-lock-by-put",
        "160-other-node",
        "161-other-node-offline",
        "170-bulk",
        "180-read-race",
        "20-writes-lxc",
        "20-writes-qemu",
        "30-running-qemu",
        "31-running-lxc",
        "40-tasks-qemu",
        "41-tasks-lxc",
        "42-warnings",
        "50-locks",
        "60-pmxcfs",
        "70-resources-lag",
        "80-timing",
        "81-http",
        "82-keepalive",
        "90-proxmoxer",
        "91-auth-more",
        "92-outages",
        "95-access",
    ]
)

REPLAYED = frozenset(
    [
        "01-reads",
        "02-auth",
        "03-notfound",
        "10-qemu-roundtrip",
        "11-lxc-roundtrip",
        "12-qemu-roundtrip-root",
        "13-lxc-roundtrip-root",
        "14-fixpoints",
        "20-writes-qemu",
        "20-writes-lxc",
        "30-running-qemu",
        "31-running-lxc",
    ]
)

TOLD = frozenset(
    [
        "40-tasks-qemu",
        "41-tasks-lxc",
        "42-warnings",
        "50-locks",
        "70-resources-lag",
        "81-http",
        "82-keepalive",
        "91-auth-more",
        "92-outages",
        "120-disks-qemu",
        "130-stop",
        "140-ha-no-crm",
        "141-ha-running",
        "160-other-node",
        "161-other-node-offline",
    ]
)

NOT_IMITATED = {
    "121-disks-lxc": "volumes are texts here; what the agent must not write to them it never sends",
    "150-privilege-matrix": "the option table's own tests compare it with the recorded matrix",
    "60-pmxcfs": "the agent reads no file of /etc/pve, so there are none",
    "80-timing": "durations are the recording machine's",
    "90-proxmoxer": "what proxmoxer makes of answers is shown by the client's own tests",
    "95-access": "roles, users, tokens and pools are made by hand on the world, not by the API",
    "100-snapshots-qemu": "the agent makes no snapshots",
    "101-snapshots-lxc": "the agent makes no snapshots",
    "110-destroy-qemu": "the agent destroys nothing",
    "111-destroy-lxc": "the agent destroys nothing",
    "151-lxc-lock-by-put": "the agent refuses to declare a lock",
    "170-bulk": "the agent works on one guest at a time",
    "180-read-race": "there are no files that could be read while they are replaced",
}


def test_every_recorded_chapter_is_accounted_for_once() -> None:
    assert set(NOT_IMITATED) | REPLAYED | TOLD == CHAPTERS
    assert len(NOT_IMITATED) + len(REPLAYED) + len(TOLD) == len(CHAPTERS)


@pytest.mark.parametrize("chapter", sorted(REPLAYED))
def test_a_replayed_chapter_has_recordings(chapter: str) -> None:
    assert recorded(chapter)


@pytest.mark.parametrize("chapter", sorted(set(NOT_IMITATED) | TOLD))
def test_a_chapter_that_is_not_replayed_has_none(chapter: str) -> None:
    assert not recorded(f"{chapter}/")


@pytest.mark.parametrize("chapter", sorted(TOLD))
def test_a_told_chapter_is_named_where_it_is_told(chapter: str) -> None:
    number = re.escape(chapter.partition("-")[0])
    told = re.compile(rf"recorded: [^\n]*\b{number}[-/]|\b{re.escape(chapter)}\b")
    files = [*CODE.glob("*.py"), *(p for p in HERE.glob("test_*.py") if p != Path(__file__))]
    assert any(told.search(path.read_text()) for path in files)
