"""A value that is written is taken, refused and stored as a real node did it, value by value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from felhom_agent.devnode import DevNode, World
from tests.devnode.conftest import AGENT, RECORDINGS, Caller, Clock, recorded
from tests.devnode.stage import Stage, masked, write_demo


@pytest.fixture(scope="module", params=RECORDINGS)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    clock = Clock()
    with DevNode(World(now=clock, version=request.param)) as node:
        stage = Stage(node, clock)
        yield stage
        stage.close()


CHAPTERS = (
    "10-qemu-roundtrip", "11-lxc-roundtrip", "12-qemu-roundtrip-root", "13-lxc-roundtrip-root",
)  # fmt: skip
ROUND_TRIPS = [
    pytest.param(version, line, id=f"{version}-{line['case']}")
    for version in RECORDINGS
    for chapter in CHAPTERS
    for line in recorded(chapter, version=version)
]


@pytest.mark.parametrize(("stage", "line"), ROUND_TRIPS, indirect=["stage"])
def test_a_value_is_taken_refused_and_stored_as_it_was(stage: Stage, line: dict[str, Any]) -> None:
    write_demo(stage.world)
    got, want = stage.call(line)
    assert got == want
    vmid = int(line["path"].split("/")[4])
    stored = stage.world.config(vmid).get(line["key"], "<absent>")
    assert masked(stored, line["read_back"]) == line["read_back"]


@pytest.mark.parametrize(
    "line",
    recorded("14-fixpoints", "001"),
    ids=lambda line: f"{line['kind']}-{line['written']!r:.30}",
)
def test_a_description_is_stored_as_it_was(stage: Stage, line: dict[str, Any]) -> None:
    write_demo(stage.world)
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
    recorded("14-fixpoints", "003"),
    ids=lambda line: f"{line['kind']}-{line['style'] or 'default'}-{line['written']}",
)
def test_tags_are_stored_as_the_datacenters_style_says(line: dict[str, Any]) -> None:
    world = World(tag_style=line["style"].removeprefix("tag-style: "))
    write_demo(world)
    vmid = 100 if line["kind"] == "qemu" else 202
    with DevNode(world) as node:
        caller = Caller(node, AGENT, world.token(AGENT))
        path = f"/nodes/pve1/{line['kind']}/{vmid}/config"
        assert caller("PUT", path, {"tags": line["written"]}).status == 200
        caller.connection.close()
    assert world.config(vmid)["tags"] == line["read"]
