"""`felhom-agent status`: how the running agent and its guests are. Looks, and changes nothing.

The agent is asked at its control socket; the node and the journal are not. Where no agent runs,
that is said, and nothing is made up. `--watch` draws a frame as a whole and over the one before, so
that a terminal does not flicker.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, Final, TextIO

from felhom_agent.cli import answers, ask, statustext
from felhom_agent.cli.codes import DIFFERS, ERROR, OK, TEMPFAIL
from felhom_agent.cli.command import Commands, add_command, vmid
from felhom_agent.cli.out import complain, say, say_json, say_styled
from felhom_agent.cli.spans import span
from felhom_agent.cli.statustext import Asked
from felhom_agent.cli.terminal import Part, Style, put, put_table, width
from felhom_agent.config.agentfile import load
from felhom_agent.errors import FelhomError
from felhom_agent.journal.content import NAME
from felhom_agent.service.controlclient import NoAgent, call

WATCH_PAUSE: Final = 2.0
"""Seconds from one frame to the next."""
NAMES_TIMEOUT: Final = 2.0
"""Seconds that a shell waits for the names of guests."""

_HOME, _END_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR, _HIDE_CURSOR, _SHOW_CURSOR = "\x1b[2J", "\x1b[?25l", "\x1b[?25h"
_FEWEST_LINES: Final = 5


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "status",
        run,
        summary="Show how the running agent and its guests are "
        "(exit code 0: all as declared, 3: something is not, or files have errors).",
        example="status --watch",
    )
    parser.add_argument("vmid", nargs="*", type=vmid, help="only these guests")
    parser.add_argument("--all", action="store_true", help="every guest, declared or not")
    parser.add_argument("--watch", action="store_true", help="again every 2 s, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print JSON")
    # For the completion of a shell: lines of number, tab and name, or nothing.
    parser.add_argument("--names", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    if arguments.names:
        return _names(arguments.config)
    if arguments.watch and arguments.json:
        arguments.usage_error("--watch and --json do not go together")
    if arguments.watch and width() is None:
        arguments.usage_error("--watch needs a terminal")
    if arguments.watch:
        _watch(arguments)
    path = ask.socket_of(arguments.config)
    try:
        status = asked(path)
    except NoAgent as error:
        if error.runs is False:
            _tell_of_none(arguments.config)
        raise
    wanted = Asked(frozenset(arguments.vmid), arguments.all)
    if arguments.json:
        say_json(_narrowed(status, wanted.vmids))
    else:
        show(status, wanted, time.time())
    if unknown := statustext.unknown_guests(status, wanted.vmids):
        named = ", ".join(map(str, unknown))
        complain(f"neither declared nor known to be on this node: {named}")
        return ERROR
    if not answers.table(status, "last_pass"):
        return TEMPFAIL
    return DIFFERS if statustext.differs(status, wanted.vmids) else OK


def asked(path: Path, timeout: float = 15.0) -> dict[str, Any]:
    """Given the control socket, return what the agent answers of its status.

    Raise NoAgent or ControlRefused as `call` does, FelhomError if it is no agent that answers.
    """
    status = call(path, "GET", "/v1/status", timeout=timeout)
    if not (answers.text(status, "version") and isinstance(status.get("guests"), list)):
        raise FelhomError(f"{path}: what answers there is no felhom-agent")
    return status


def show(status: answers.Answer, wanted: Asked, now: float) -> None:
    """Given an answer and the present time, print it for a person."""
    put(statustext.agent_line(status, now), hang=2)
    for line in statustext.news(status, now):
        put(line, hang=2)
    if rows := statustext.guest_rows(status, wanted, now):
        put_table(statustext.HEAD, rows)
    if rest := statustext.rest_line(status, wanted):
        put(f"  {rest}", hang=2)
    for line in statustext.problem_lines(status, every=wanted.every):
        put(["  ", *([line] if isinstance(line, str) else line)], hang=4)


def _narrowed(status: dict[str, Any], vmids: frozenset[int]) -> dict[str, Any]:
    """Return an answer with these guests alone; without any it stays as it is."""
    if not vmids:
        return status
    few = {
        name: [guest for guest in answers.guests(status, name) if guest["vmid"] in vmids]
        for name in ("guests", "others")
        if isinstance(status.get(name), list)
    }
    return {**status, **few}


def _tell_of_none(config: Path) -> None:
    """Tell what can be known while no agent runs."""
    with suppress(FelhomError, OSError):
        path = load(config).journal.directory / NAME
        since = time.time() - path.stat().st_mtime
        complain(f"the agent last wrote its journal {span(since)} ago ({path})")
    complain("`felhom-agent plan` shows what would be done; it needs no running agent")


def _names(config: Path) -> int:
    """Print the numbers and names of all guests that the agent knows; nothing if it cannot tell."""
    with suppress(FelhomError):
        status = asked(ask.socket_of(config), NAMES_TIMEOUT)
        found = {
            g["vmid"]: g for name in ("others", "guests") for g in answers.guests(status, name)
        }
        for number, guest in sorted(found.items()):
            say(number, end="\t")
            say(answers.text(guest, "name"))
    return OK


class _Frame(io.StringIO):
    """What is printed to a terminal, kept until it is drawn; of all else it is that terminal."""

    def __init__(self, terminal: TextIO) -> None:
        super().__init__()
        self._terminal = terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The terminal's."""
        return self._terminal.encoding

    def isatty(self) -> bool:
        """Return what the terminal does."""
        return self._terminal.isatty()

    def fileno(self) -> int:
        """Return the terminal's."""
        return self._terminal.fileno()


def _watch(arguments: argparse.Namespace) -> None:
    """Draw one frame after the other, until Ctrl-C. Raise as `say` does."""
    path = ask.socket_of(arguments.config)
    wanted = Asked(frozenset(arguments.vmid), arguments.all)
    pause = threading.Event()
    with _bare_screen():
        while True:
            frame = _Frame(sys.stdout)
            with redirect_stdout(frame):
                _show_once(path, wanted)
            say_styled(drawn(frame.getvalue().splitlines(), _height()))
            pause.wait(WATCH_PAUSE)


def _show_once(path: Path, wanted: Asked) -> None:
    now = time.time()
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    put([Part(f"{clock}, every {WATCH_PAUSE:.0f} s; Ctrl-C ends it", Style.DIM)])
    try:
        status = asked(path)
    except FelhomError as error:
        put([Part(str(error), Style.BAD)], hang=2)
        return
    show(status, wanted, now)


def drawn(lines: list[str], height: int) -> str:
    """Given the lines of a frame and of the screen, return what draws it over the one before."""
    room = max(_FEWEST_LINES, height - 1)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"... {len(lines) - room + 1} more lines"]
    # The line feed that follows must not scroll: the last line has none of its own.
    return _HOME + "\n".join(line + _END_OF_LINE for line in lines) + _REST_OF_SCREEN


def _height() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines or 24
    except (OSError, ValueError):
        return 24


@contextmanager
def _bare_screen() -> Iterator[None]:
    """Clear the screen and hide the cursor for the length of a block."""
    say_styled(_CLEAR + _HIDE_CURSOR)
    try:
        yield
    finally:
        with suppress(FelhomError):
            say_styled(_SHOW_CURSOR)
