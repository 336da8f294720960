"""Writes of which each was recorded with the guest's file before and after it, of PVE 9.2.

A world is made of the file before, the write is done, and what came of it is compared: answer,
end of the task, file. What of them the node does not imitate is in `NOT_SERVED`, with the reason,
and must really differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from felhom_agent.devnode import DevNode, World
from felhom_agent.devnode.world.conf import Conf
from tests.devnode.chapters import SINGLE, not_imitated
from tests.devnode.conftest import NEWER, Clock, recorded
from tests.devnode.stage import Stage, masked, write_demo

FEW = "few@pve!tt"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    clock = Clock()
    with DevNode(World(now=clock, version=NEWER)) as node:
        stage = Stage(node, clock)
        yield stage
        stage.close()


LINES = [line for chapter in SINGLE for line in recorded(chapter, version=NEWER)]


@pytest.mark.parametrize("line", LINES, ids=lambda line: str(line["case"]))
def test_a_write_comes_to_what_it_came_to(stage: Stage, line: dict[str, Any]) -> None:
    got, want = compare(stage, line)
    if line["case"] in not_imitated(NEWER):
        assert got != want, f"{line['case']} is answered as recorded, but listed as not imitated"
    else:
        assert got == want


def compare(stage: Stage, line: dict[str, Any]) -> tuple[Any, Any]:
    vmid = prepare(stage, line)
    reply = stage.replay(line)
    got: list[Any] = [reply.status, reply.reason, reply.body]
    want: list[Any] = [line["status"], line["reason"], line["answer"]]
    if str(line["answer"].get("data", "")).startswith("UPID"):
        task = stage.caller("GET", f"/nodes/pve1/tasks/{reply.data}/status").data
        got[2] = {"data": re.sub(":.*", "", reply.data)}
        got.append(task.get("exitstatus"))
        want.append(line["exitstatus"])
    got.append(lines_of(stage.file(vmid)))
    want.append(lines_of(line.get("after", line["before"])))
    return masked(got, want), want


def prepare(stage: Stage, line: dict[str, Any]) -> int:
    """Make the world that the write found; return the guest's number."""
    _, _, _, kind, number, _ = line["path"].split("/")
    vmid = int(number)
    write_demo(stage.world)
    guest = stage.world.guests[vmid]
    after = line.get("after", "")
    guest.conf = parsed(kind, line["before"])
    for image in line.get("images", ()):
        name = f"local:{vmid}/{image}"
        told = re.search(rf"{re.escape(name)},[^\n]*size=(\w+)", line["before"] + after)
        guest.sizes[name] = told[1] if told else "16M"
    for volume in line.get("foreign", ()):
        stage.world.guests[103].sizes[volume] = "16M"
    stage.world.guests[105].sizes["local:iso/test.iso"] = "1M"
    if line.get("running"):
        guest.started(stage.clock())
    if "rights" in line:
        stage.give(FEW, {"/": tuple(line["rights"])})
    return vmid


def parsed(kind: str, text: str) -> Conf:
    """Given the text of a guest's file, return it."""
    conf = Conf(kind)
    waiting = False
    comment: list[str] = []
    for row in text.splitlines():
        if row in ("[PENDING]", "[pve:pending]"):
            waiting = True
        elif row.startswith("#"):
            comment.append(row[1:])
        elif row:
            key, _, value = row.partition(": ")
            if key == "lxc.environment.runtime":
                key = "env"
            if waiting and key == "delete":
                conf.unset = {word.lstrip("!") for word in value.split(",")}
            else:
                (conf.pending if waiting else conf.values)[key] = value.strip() or " "
    if comment:
        conf.values["description"] = "\n".join(comment)
    return conf


def lines_of(text: str) -> list[str]:
    return sorted(row.rstrip() for row in text.splitlines() if row)
