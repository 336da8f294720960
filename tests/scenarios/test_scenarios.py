"""Scenarios: a directory each, in which commands go in and a log comes out.

    README         one sentence: what it shows
    world.json     the node at the beginning
    guests.toml    what is declared at the beginning
    events         what happens, a line each (below)
    log.expect     what was logged and asked of PVE; `UPDATE=1 pytest` rewrites it, and the
                   difference is what a reviewer reads

Events: `look` (the agent looks at the node and does what that asks for), `restart` (the agent
ends and begins again), `declare FILE` (that file's text becomes guests.toml), `pause VMID WHO WHY`,
`resume VMID`, `freeze WHO WHY`, `thaw`, and on the node
`edit VMID KEY=VALUE...`, `start VMID`, `stop VMID`, `lock VMID WORD`, `unlock VMID`,
`move VMID NODE`, `remove VMID`, `create VMID KIND KEY=VALUE...`, `add VMID KIND KEY=VALUE...`,
`fault METHOD PATH ACTION`.

The node's clock goes on by some seconds whenever somebody asks it, so that nothing is ever slept
away. Lines of one event are sorted by guest, since guests are worked on side by side; what is
different in each run (ids) is shown as `*`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from felhom_agent.daemon.assembly import Parts, assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.devnode import Fault, World
from felhom_agent.devnode.world.release import BUILDS
from felhom_agent.service.logging import TailFormatter
from tests.conftest import Clock, Site, TickingClock

HERE = Path(__file__).parent
SCENARIOS = sorted(path.parent for path in HERE.glob("*/events"))
CHANGING = re.compile(
    r"\b(op|upid)=\S+|UPID:[^ ;)]*|digest='\w+'|felhom-agent [0-9][0-9.]*|(?<= )endpoint=\S+|"
    r"https://127.0.0.1:\d+|retry in \d+ s"
)
VMID = re.compile(r"vmid=(\d+)|/(\d{3,})/|guest (\d+)")


class Play:
    """One scenario in progress."""

    def __init__(self, site: Site, clock: Clock, scenario: Path, logged: list[str]) -> None:
        self._site = site
        self._clock = clock
        self._scenario = scenario
        self._logged = logged
        self._seen = 0
        self._stack = ExitStack()
        self._daemon = self._begin()
        self.lines: list[str] = []

    def do(self, event: str) -> None:
        """Let one event happen, and note what it brought about."""
        verb, *words = shlex.split(event)
        getattr(self, f"_{verb}")(*words)
        self.lines += [f"> {event}", *self._news()]

    def end(self) -> None:
        self._stack.close()

    def _begin(self) -> Daemon:
        config = self._site.config(
            parallel=2, drain_timeout=0.0, start_timeout=2.0, stop_timeout=5.0
        )
        parts: Parts = self._stack.enter_context(
            assembled(config, self._clock, monotonic=self._clock)
        )
        self._suspensions = parts.suspensions
        daemon = Daemon(config, parts, chance=lambda: 0.5)
        daemon.begin()
        return daemon

    def _news(self) -> list[str]:
        asked = [
            f"  PVE <- {r.method} {r.path} {' '.join(f'{k}={v!r}' for k, v in r.params.items())}"
            for r in self._site.devnode.mutations[self._seen :]
        ]
        self._seen += len(asked)
        said = [f"  {line}" for line in self._logged]
        self._logged.clear()
        shown = [CHANGING.sub(_star, line).rstrip() for line in said + asked]
        return sorted(shown, key=_vmid)

    def _look(self) -> None:
        self._daemon.run_pass()

    def _restart(self) -> None:
        self._stack.close()
        self._daemon = self._begin()

    def _declare(self, name: str) -> None:
        self._site.declare((self._scenario / name).read_text())

    def _pause(self, vmid: str, who: str, why: str) -> None:
        self._suspensions.pause(int(vmid), None, why, who)

    def _resume(self, vmid: str) -> None:
        assert self._suspensions.resume(int(vmid), "root")

    def _freeze(self, who: str, why: str) -> None:
        self._suspensions.freeze(None, why, who)

    def _thaw(self) -> None:
        assert self._suspensions.thaw("root")

    def _edit(self, vmid: str, *assignments: str) -> None:
        changes = dict(word.split("=", 1) for word in assignments)
        self._site.world.edit(int(vmid), changes)

    def _add(self, vmid: str, kind: str, *assignments: str) -> None:
        self._site.world.add(kind, int(vmid), dict(word.split("=", 1) for word in assignments))

    def _create(self, vmid: str, kind: str, *assignments: str) -> None:
        config = dict(word.split("=", 1) for word in assignments)
        self._site.world.create(kind, int(vmid), config)

    def _fault(self, method: str, path: str, action: str) -> None:
        self._site.devnode.faults.add(Fault(method, path, action))

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Whatever else a person does to a guest is the world's own word for it."""
        act = getattr(self._site.world, name.removeprefix("_"))
        return lambda vmid, *words: act(int(vmid), *words)


def _star(found: re.Match[str]) -> str:
    text = found[0]
    for name in ("op=", "upid=", "digest=", "endpoint=", "felhom-agent ", "retry in "):
        if text.startswith(name):
            return f"{name}*"
    return "*"


def _vmid(line: str) -> int:
    found = VMID.search(line)
    return int(next(filter(None, found.groups()))) if found else 0


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Collector(logging.INFO)
    handler.setFormatter(TailFormatter(priorities=True))
    logger = logging.getLogger("felhom_agent")
    logger.addHandler(handler)
    before, logger.level = logger.level, logging.INFO
    yield lines
    logger.removeHandler(handler)
    logger.level = before


@pytest.mark.parametrize("version", BUILDS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_scenario(
    scenario: Path, version: str, make_site: Callable[..., Site], logged: list[str]
) -> None:
    """The same is logged and asked on either version of PVE."""
    spec = {"version": version, **json.loads((scenario / "world.json").read_text())}
    clock = TickingClock()
    site = make_site(World.from_dict(spec, clock))
    site.declare((scenario / "guests.toml").read_text())
    play = Play(site, clock, scenario, logged)
    try:
        for event in (scenario / "events").read_text().splitlines():
            if event and not event.startswith("#"):
                play.do(event)
    finally:
        play.end()
    happened = "\n".join(play.lines).replace(str(site.directory), "") + "\n"
    expected = scenario / "log.expect"
    if os.environ.get("UPDATE"):
        expected.write_text(happened)
    assert happened == expected.read_text()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_a_scenario_says_in_one_sentence_what_it_shows(scenario: Path) -> None:
    text = (scenario / "README").read_text().strip()
    assert text.endswith(".")
    assert "\n" not in text
