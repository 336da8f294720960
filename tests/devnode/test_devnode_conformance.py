"""The node answers what a real one answered: chapters of recordings, replayed in their order.

Compared are status, reason, body, the end of tasks, and files; what is deliberately not imitated
is listed in `chapters`, and the list is held to: what it names must really differ.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.devnode import DevNode, World
from tests.devnode.chapters import (
    NOT_IMITATED,
    NOT_SERVED_CHAPTERS,
    REPLAYED,
    REPLAYED_NEWER,
    SINGLE,
    TOLD,
    TOLD_NEWER,
    UNKNOWN_CALLS,
    VALUE_BY_VALUE,
    Chapter,
    not_imitated,
)
from tests.devnode.conftest import NEWER, RECORDINGS, Clock, recorded
from tests.devnode.stage import Stage, write_demo

HERE = Path(__file__).parent

CHAPTERS = frozenset(
    [
        "01-reads", "02-auth", "03-notfound", "10-qemu-roundtrip",
        "11-lxc-roundtrip", "12-qemu-roundtrip-root", "13-lxc-roundtrip-root", "14-fixpoints",
        "20-writes-lxc", "20-writes-qemu", "30-running-qemu", "31-running-lxc",
        "40-tasks-qemu", "41-tasks-lxc", "42-warnings", "50-locks",
        "60-pmxcfs", "70-resources-lag", "80-timing", "81-http",
        "82-keepalive", "90-proxmoxer", "91-auth-more", "92-outages",
        "95-access", "100-snapshots-qemu", "101-snapshots-lxc", "110-destroy-qemu",
        "111-destroy-lxc", "120-disks-qemu", "121-disks-lxc", "130-stop",
        "140-ha-no-crm", "141-ha-running", "150-privilege-matrix", "151-lxc-lock-by-put",
        "160-other-node", "161-other-node-offline", "170-bulk", "180-read-race",
    ]
)  # fmt: skip

NEWER_CHAPTERS = frozenset(
    [
        "200-post-worker", "200b-post-worker-privileges", "201-quorum", "201b-no-corosync",
        "201c-containers-no-corosync", "202-values", "203-task-list", "204-resources",
        "205-ha-armed", "206-digest-pending", "207-version-vmlist", "207b-version-guest-os",
        "208-lock-after-restart", "208b-lock-after-restart-tries", "209-small-changes",
        "210-lxc-foreign-unused",
    ]
)  # fmt: skip
"""The chapters of 9.2 that 9.1.7 has not; of the others it has the same."""


def imitated(line: Mapping[str, Any], version: str) -> bool:
    """Given a recording, return whether this node is meant to answer the same."""
    call = f"{line.get('method')} {line.get('path')}"
    unknown = any(re.fullmatch(pattern, call) for pattern in UNKNOWN_CALLS)
    return line["case"] not in not_imitated(version) and not unknown


@pytest.fixture(params=RECORDINGS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stage(version: str) -> Iterator[Stage]:
    clock = Clock()
    with DevNode(World(now=clock, version=version)) as node:
        stage = Stage(node, clock)
        yield stage
        stage.close()


def play(stage: Stage, chapter: Chapter, lines: list[dict[str, Any]]) -> Iterator[str]:
    """Replay a chapter; yield what is wrong, recording by recording."""
    directions = dict(chapter.directions)
    version = stage.world.version
    for line in lines:
        number = line["case"].split("/")[1][:3]
        if "upid" in line and not stage.began(line["upid"]):
            continue  # the result of a call that is not imitated
        for due in [key for key in directions if key <= number]:
            directions.pop(due)(stage)
        got, want = stage.compare(line, chapter.subject)
        if imitated(line, version) and got != want:
            yield f"{line['case']}:\n  answered {got}\n  recorded {want}"
        if not imitated(line, version) and got == want:
            yield f"{line['case']} is answered as it was recorded, but listed as not imitated"


@pytest.mark.parametrize("name", sorted(REPLAYED))
def test_a_recorded_chapter_is_answered_as_it_was(stage: Stage, version: str, name: str) -> None:
    chapter = REPLAYED[name]
    write_demo(stage.world, chapter.running)
    wrong = list(play(stage, chapter, recorded(name, version=version)))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("version", [NEWER], indirect=True)
@pytest.mark.parametrize("name", sorted(REPLAYED_NEWER))
def test_a_recorded_chapter_of_the_newer_is_answered_as_it_was(
    stage: Stage, version: str, name: str
) -> None:
    chapter = REPLAYED_NEWER[name]
    write_demo(stage.world, chapter.running)
    lines = recorded(name, version=version)
    assert lines
    wrong = list(play(stage, chapter, lines))
    assert not wrong, "\n".join(wrong)


def test_every_recorded_chapter_is_accounted_for_once() -> None:
    accounts = [*REPLAYED, *VALUE_BY_VALUE, *TOLD, *(NOT_IMITATED.keys() & CHAPTERS)]
    assert sorted(accounts) == sorted(CHAPTERS)


def test_every_recorded_chapter_of_the_newer_is_accounted_for_once() -> None:
    accounts = [*SINGLE, *REPLAYED_NEWER, *TOLD_NEWER, *NOT_SERVED_CHAPTERS]
    assert sorted(accounts) == sorted(NEWER_CHAPTERS)


def test_there_are_recordings_of_what_is_replayed_and_of_nothing_else(version: str) -> None:
    newer = (*SINGLE, *REPLAYED_NEWER) if version == NEWER else ()
    replayed = {*REPLAYED, *VALUE_BY_VALUE, *newer}
    assert {path.stem for path in RECORDINGS[version].iterdir()} == replayed


def test_what_is_not_imitated_exists(version: str) -> None:
    newer = (*SINGLE, *REPLAYED_NEWER) if version == NEWER else ()
    chapters = [*REPLAYED, *newer]
    names = {line["case"] for chapter in chapters for line in recorded(chapter, version=version)}
    assert set(not_imitated(version)) <= names | CHAPTERS


@pytest.mark.parametrize("pattern", sorted(UNKNOWN_CALLS))
def test_an_unknown_call_is_one_that_was_recorded(pattern: str) -> None:
    lines = [line for chapter in REPLAYED for line in recorded(chapter)]
    calls = (f"{line.get('method')} {line.get('path')}" for line in lines)
    assert any(re.fullmatch(pattern, call) for call in calls)


@pytest.mark.parametrize(("chapter", "tests"), sorted({**TOLD, **TOLD_NEWER}.items()))
def test_a_told_chapter_is_named_by_the_tests_that_tell_it(
    chapter: str, tests: tuple[str, ...]
) -> None:
    """The words of a test name the recording, and the test makes calls: it is no remark."""
    assert tests
    for test in tests:
        file, _, name = test.partition("::")
        module = ast.parse((HERE.parent / file).read_text())
        found = [f for f in module.body if isinstance(f, ast.FunctionDef) and f.name == name]
        assert found, test
        assert chapter in (ast.get_docstring(found[0]) or ""), test
        assert any(isinstance(part, ast.Assert) for part in ast.walk(found[0])), test
