"""Since when PVE knows what: the tables against the history of PVE's own packages.

`recorded/since.json` has the first version of qemu-server and pve-container whose schema has a key,
for every key that came after PVE 7.0: an option, or "option.part". A part that had another name
before counts from that one (`freeze-fs` was `freeze-fs-on-backup`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent.options import PropertyString, keys, lookup
from felhom_agent.options.since import FIRST, Since, numbers

RECORDED = json.loads((Path(__file__).parent / "recorded" / "since.json").read_text())
PACKAGES = {"qemu": "qemu-server", "lxc": "pve-container"}


def known(kind: str) -> Iterator[tuple[str, Since | None]]:
    """Yield each option and each part that may be declared, with its version."""
    for name in keys(kind):
        option = lookup(kind, name.replace("[n]", "0"))
        if option is None or option.server_owned or name == "cdrom":
            continue
        yield name, option.since
        if isinstance(option.type, PropertyString):
            for part, spec in option.type.keys.items():
                # A part that is as old as its option says no more than that.
                same = spec.since == FIRST or spec.since == option.since
                yield f"{name}.{part}", option.since if same else spec.since


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_each_version_is_that_of_the_packages_history(kind: str) -> None:
    for name, since in known(kind):
        option = name.partition(".")[0]
        version = RECORDED[kind].get(name) or RECORDED[kind].get(option)
        expected = (PACKAGES[kind], version) if version else ("", "")
        assert since is not None, name
        assert (since.package, since.version) == expected, name


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_of_no_option_is_it_unknown_since_when_pve_has_it(kind: str) -> None:
    assert [name for name, since in known(kind) if since is None] == []


@pytest.mark.parametrize(
    ("older", "newer"),
    [("7.0-18", "7.1-5"), ("7.2-7", "7.2-10"), ("9.0.9", "9.0.25"), ("8.3.11", "9.0.1")],
)
def test_versions_are_ordered_as_debian_orders_them(older: str, newer: str) -> None:
    assert numbers(older) < numbers(newer)
