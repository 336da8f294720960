"""What pages tell a person at a desk to type does what they say."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from felhom_agent.cli.codes import DIFFERS, OK, WOULD_CHANGE
from tests.cli.pty_of import with_yes
from tests.commands import QUICK, Start, typed
from tests.conftest import Site
from tests.control import valid
from tests.e2e.pveum import Pveum
from tests.pages import ROOT, commands
from tests.process import SOON, Process, wait_until

HERE = "/tmp/site"  # noqa: S108 - what the page says; it is replaced
FELHOM = "felhom-agent --config /tmp/site/agent.toml"


class Desk:
    """A terminal in a checkout, where a page's `/tmp/site` is a directory of the test's."""

    def __init__(self, directory: Path) -> None:
        self.site = directory / "site"
        programs = directory / "programs"
        programs.mkdir()
        program = programs / "felhom-agent"
        python = shlex.quote(sys.executable)
        program.write_text(f'#!/bin/sh\nexec {python} -m felhom_agent "$@"\n')
        program.chmod(0o755)
        self.environment = {
            **os.environ,
            "NO_COLOR": "1",
            "PATH": f"{programs}:{os.environ['PATH']}",
        }

    def here(self, line: str) -> str:
        """Return a line of a page as it is typed at this desk."""
        return line.replace(HERE, str(self.site))

    def type(self, line: str, *codes: int) -> str:
        """Type a line, and yes to what is asked; return what was said. It must end with one of
        `codes`, well if there are none.
        """
        ended, said = with_yes(["/bin/bash", "-c", self.here(line)], self.environment)
        assert ended in (codes or (OK,)), f"{line}\n{said}"
        return said

    def status(self) -> str:
        """Return what `status` says; guest 201, which is only observed, always differs."""
        return self.type(f"{FELHOM} status", DIFFERS)

    @contextmanager
    def node(self, line: str) -> Iterator[list[str]]:
        """Type the line that lets a node listen, in a terminal of its own; hold the two lines that
        it prints to cause drift.
        """
        words = ["/bin/bash", "-c", f"exec {self.here(line)}"]
        with subprocess.Popen(
            words, env=self.environment, stdout=subprocess.PIPE, text=True
        ) as node:
            try:
                assert node.stdout is not None
                curls: list[str] = []
                while len(curls) < 2 and (said := node.stdout.readline()):
                    curls += [said.strip()] if said.startswith("  curl ") else []
                yield curls
            finally:
                node.terminate()
                node.wait(SOON)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_tutorial_leads_from_a_node_to_a_guest_that_is_kept(desk: Desk) -> None:
    lines = iter(commands("docs/tutorial.md"))

    def follow(wanted: str, *codes: int) -> str:
        line = next(lines)
        assert line.startswith(wanted), line
        return desk.type(line, *codes)

    assert next(lines) == "make demo"  # the checks of a change run it
    follow("export PATH=")
    with desk.node(next(lines)) as (edit, stop):
        shown = follow(f"{FELHOM} plan", WOULD_CHANGE)
        page = (ROOT / "docs/tutorial.md").read_text()
        for part in ("~ memory  8192 -> 4096", "! power-off if it ignores the shutdown for 3 s"):
            assert part in shown
            assert part in page
        why = follow("felhom-agent explain")
        assert all(part in why for part in ("equal: ", "lower-cases tags", "a set: order does"))
        assert "102 build done" in " ".join(follow(f"{FELHOM} apply 102").split())
        assert "set memory: 8192 -> 4096" in follow(f"{FELHOM} history")
        assert next(lines) == f"{FELHOM} run"
        agent = Process(desk.site / "agent.toml")
        try:
            agent.wait_for("guest 201 db: differs: observed only")
            agent.wait_for("guest 101 web: done: set")
            agent.wait_for("guest 200 dns: done: set")
            wait_until(lambda: "7 more as declared" in desk.status(), SOON)
            assert "observed" in follow(f"{FELHOM} status", DIFFERS)
            assert "guest-changed" in follow(f"{FELHOM} events")
            desk.type(edit)
            agent.wait_for("guest 101 web: done: set description: 'out of order' -> ")
            desk.type(stop)
            agent.wait_for("guest 200 dns: done: start")
            assert "set description" in follow(f"{FELHOM} history 101")
            follow(f"{FELHOM} pause 200")
            desk.type(stop)
            wait_until(lambda: "200   dns   stopped" in desk.status(), SOON)
            assert "disk swap" in follow(f"{FELHOM} status", DIFFERS)
            follow(f"{FELHOM} resume 200")
            agent.wait_for("guest 200 dns: done: start", times=2)
            follow("sed -i")
            # A slow desk may ask only after the agent has followed: then it is written, and waits.
            shown = " ".join(follow(f"{FELHOM} plan 102", WOULD_CHANGE, DIFFERS).split())
            followed = "needs a restart: memory 4096 -> 6144"
            assert "~ memory 4096 -> 6144" in shown or followed in shown
            agent.wait_for("set memory: 4096 -> 6144")
        finally:
            agent.end()
    assert list(lines) == []


def test_the_control_socket_answers_the_page_s_calls(
    site: Site, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare("[guest.100]\n[guest.101]\n")
    start(settings=QUICK)
    socket = site.directory / "control.sock"
    wait_until(socket.exists)
    status, pause = commands("docs/control.md")
    for line, form in ((status, "status"), (pause, "done")):
        typed_line = line.replace("/run/felhom-agent/control.sock", str(socket))
        assert str(socket) in typed_line
        answer = subprocess.run(
            ["/bin/bash", "-c", typed_line],
            capture_output=True,
            text=True,
            timeout=SOON,
            check=True,
        )
        valid(form, json.loads(answer.stdout))
    felhom = typed(site.directory / "agent.toml", capsys)
    # With the guests of the first pass, which may go on still.
    wait_until(lambda: "disk swap" in felhom("status", "--all")[1])


def test_the_lines_for_less_rights_give_the_token_these_guests_and_no_other(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    site.world.add("qemu", 101, {"name": "one"})
    site.world.add("qemu", 102, {"name": "in the pool"})
    site.world.add("qemu", 103, {"name": "another"})
    site.world.pool(102, "homelab")
    members = {"homelab": [102]}
    pveum = Pveum(site.world.token, lambda pool: members[pool])
    first = [line for line in commands("docs/install.md") if line.startswith("pveum")]
    kept = [line for line in first if not line.startswith("pveum acl modify / ")]
    assert len(first) - len(kept) == 2
    for line in [*kept, *commands("docs/rights.md")]:
        pveum.run(shlex.split(line)[1:])
    secret = pveum.tokens["felhom-agent@pve!agent"]
    site.proxmox.token_file.write_text(secret)
    seen = site.connect().observer.snapshot((101, 102, 103)).guests
    assert sorted(seen) == [101, 102]
