"""A value that may be a secret is printed in clear nowhere, whoever asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from felhom_agent.devnode import World
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.operation import State, replay
from felhom_agent.service.controlclient import call
from tests.commands import QUICK, Felhom, typed
from tests.conftest import Clock, Site
from tests.process import Process

OLD, NEW, RAW = "hunter2-there", "hunter3-declared", "hunter4-raw"
DECLARED = f"""
[guest.200.config]
env = ["DB_PASSWORD={NEW}"]
"lxc.environment" = "PASSWORD={RAW}"
"""
COMMANDS = (
    ("plan",), ("plan", "--json"), ("status",), ("status", "--json"), ("check",),
    ("check", "--json"), ("history",), ("history", "--json"), ("events",), ("events", "--json"),
    ("journal",), ("adopt", "200", "-o", "-"),
)  # fmt: skip


@pytest.fixture
def site(make_site: Callable[..., Site], clock: Clock) -> Site:
    site = make_site(World(node="pve1", now=clock, version="9.2"))
    site.world.add(
        "lxc", 200,
        {"hostname": "dns", "memory": 512, "env": f"DB_PASSWORD={OLD}",
         "lxc": [["lxc.environment", f"PASSWORD={OLD}"]]},
    )  # fmt: skip
    return site


def hides(text: str) -> bool:
    return not any(value in text for value in (OLD, NEW, RAW))


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_an_agent_and_its_commands_never_print_it(
    site: Site, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    site.declare(DECLARED)
    path = site.write_config(QUICK + f'mode = "{mode}"\n')
    felhom = typed(path, capsys)
    agent = Process(path)
    try:
        agent.wait_for("would set env" if mode == "observe" else "done: set env")
        for words in COMMANDS:
            _, out, err = felhom(*words)
            assert hides(out + err), words
        assert hides(json.dumps(call(site.directory / "control.sock", "GET", "/v1/status")))
        _, out, err = felhom("apply", "--yes")
        assert hides(out + err)
        assert site.world.config(200)["env"] == f"DB_PASSWORD={NEW}"
    finally:
        agent.end()
    assert hides("\n".join(agent.lines))
    assert hides((site.directory / "journal" / NAME).read_text())


def test_a_plan_tells_that_it_is_set_changed_or_taken_away(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    felhom: Felhom = typed(site.write_config(), capsys)
    site.declare(DECLARED)
    assert "  ~ env  (hidden) -> (hidden)" in felhom("plan")[1]
    site.declare('[guest.200]\nunset = ["env"]\n')
    assert "  - env  (hidden) -> " in felhom("plan")[1]
    site.world.edit(200, {}, ["env"])
    site.declare(DECLARED)
    assert "  + env  (absent) -> (hidden)" in felhom("plan")[1]


def test_what_was_set_can_be_known_again_from_the_journal(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare(DECLARED)
    felhom: Felhom = typed(site.write_config('[reconcile]\nmode = "observe"\n'), capsys)
    felhom("apply", "--yes")
    (operation,) = replay(read(Path(site.directory / "journal" / NAME)))
    assert operation.state is State.SUCCEEDED
    assert operation.text == "set env: (hidden) -> (hidden)"
