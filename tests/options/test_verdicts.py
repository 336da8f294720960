"""PVE's own verdicts of thousands of values, against what a guest file may hold.

`tests/data/verdicts.jsonl` was made by running PVE's own API calls (its schema, then all of
`update_vm` down to the text of the guest's file, read back) over generated values, with the
packages of four releases: 7.4 (qemu-server 7.4-7, pve-container 4.4-7), 8.4 (8.4.10, 5.3.5),
9.1 (9.1.6, 6.1.2) and 9.2 (9.2.6, 6.1.10). Storages and hardware answered that all is there: what
they decide is not in the file. Two things were left to PVE's own code: its storage plugins read the
names of volumes (what is refused for its name is so by every kind of storage that was tried:
directory, NFS, BTRFS, LVM, LVM-thin, ZFS, RBD, iSCSI; what is taken, by the kind that the storage
was of), and it looked for the bridge of a container's card, in a host that has every bridge with a
name. A line says what was `set` (and `delete`d in the same call), which releases have `taken` it,
what 9.2 has `said` against it, and as what it was `stored` where that is another text; null where
PVE could not read it back.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from felhom_agent.options import Invalid, Volume, clashes, declared, lookup

VERDICTS: Final = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "verdicts.jsonl").read_text().splitlines()
]
NEWEST: Final = {"9.1", "9.2"}
# PVE's own, or compared and never sent, or brought between bounds of the host's (planning)
NOT_DECLARED: Final = {"smp", "template", "lock", "cdrom", "unprivileged", "cpuunits"}
WHY_NOT: Final = (
    "PVE turns bps",  # into mbps=0.000, which is no limit
    "ends before it begins",  # no guest starts with such a range
    "has a number that is too large",
    "PVE itself keeps it",
)


def refusal(verdict: dict[str, Any]) -> str:
    """Return why a guest file may not hold what PVE was told to set; empty if it may."""
    kind, told = verdict["kind"], verdict["set"]
    unset = [key for key in verdict.get("delete", "").split(",") if key]
    try:
        for key, value in told.items():
            declared(kind, key, value)
    except Invalid as error:
        return str(error)
    return "; ".join(why for _, why in clashes(kind, told, unset))


def lost(verdict: dict[str, Any]) -> bool:
    """Return whether PVE has stored what it could not read again, or another value."""
    for key, now in verdict.get("stored", {}).items():
        option = lookup(verdict["kind"], key)
        assert option is not None
        if now is None or _is_another_media(key, verdict["set"][key], now):
            return True
        if Volume(verdict["set"][key].partition(",")[0]).is_request or "size=" in now:
            continue  # a new volume, and the size of one: planning/volumes has them
        if "media=cdrom" in now:
            continue
        try:
            if not option.type.same(verdict["set"][key], now):
                return True
        except Invalid:
            return True
    return False


def _is_another_media(key: str, told: str, now: str) -> bool:
    """Return whether a CD was made of a disk, or of what can be none."""
    return "media=cdrom" in now and ("media=disk" in told or key.startswith("virtio"))


def of(wanted: bool) -> Iterator[dict[str, Any]]:
    """Yield the verdicts of what a file may hold, or of what it may not."""
    for verdict in VERDICTS:
        taken = set(verdict["taken"]) >= NEWEST
        if NOT_DECLARED & set(verdict["set"]) or (verdict["taken"] and not taken):
            continue
        if wanted is (taken and not lost(verdict)):
            yield verdict


def test_the_verdicts_are_of_all_options_but_those_that_depend_on_a_host() -> None:
    assert len(VERDICTS) > 2000
    keys = Counter(key for verdict in VERDICTS for key in verdict["set"])
    for key in ("scsi1", "ide1", "virtio1", "machine", "vga", "cpu", "boot", "net1", "mp1"):
        assert keys[key] > 20, key


def test_what_no_release_of_pve_takes_or_keeps_is_refused_when_a_file_is_loaded() -> None:
    passed = [verdict for verdict in of(wanted=False) if not refusal(verdict)]
    assert passed == []


def test_what_pve_takes_and_keeps_may_stand_in_a_file() -> None:
    refused = [(why, verdict) for verdict in of(wanted=True) if (why := refusal(verdict))]
    assert [each for each in refused if not any(word in each[0] for word in WHY_NOT)] == []


@pytest.mark.parametrize("verdict", VERDICTS[::23], ids=lambda v: str(v["set"])[:60])
def test_what_is_refused_is_told_in_one_printable_line(verdict: dict[str, Any]) -> None:
    why = refusal(verdict)
    assert why.isprintable()
    assert len(why) < 500
