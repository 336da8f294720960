"""`felhom-agent verify`: what each check of the agent finds of a signed job, as it is now.

Nothing is done, and the job may still be submitted afterwards: no nonce is burnt by a look.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from felhom_agent.cli import answers
from felhom_agent.cli.ask import socket_of
from felhom_agent.cli.codes import ERROR, OK
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.out import say
from felhom_agent.cli.submit import add_files, body_of
from felhom_agent.cli.terminal import Part, Style, put, put_table
from felhom_agent.errors import FelhomError
from felhom_agent.printable import printable
from felhom_agent.service.controlclient import call

_MAX_TEXT: Final = 500
_FOUND: Final = {
    True: Part("good", Style.GOOD),
    False: Part("refused", Style.BAD),
    None: Part("-", Style.DIM),
}


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "verify",
        run,
        summary="Ask the agent what each of its checks finds of a signed job, as it is now; "
        "nothing is done. Exit code 0: all is good; 1: something is not.",
        example="verify web.job web.job.sig",
    )
    add_files(parser)


def run(arguments: argparse.Namespace) -> int:
    body = body_of(arguments)
    answer = call(socket_of(arguments.config), "POST", "/v1/verify", body)
    stages = answers.rows(answer, "stages")
    if not stages:
        raise FelhomError("the agent tells of no check; is it of another version?")
    put_table(("CHECK", "FOUND", "WHAT"), [_row(stage) for stage in stages], indent=0)
    first = next((s for s in stages if _passed(s) is not True), None)
    if first is None:
        say("It would be taken now. Nothing was done.")
        return OK
    where = printable(answers.text(first, "stage"), 40)
    put(f"It would not be done now: {where}. Nothing was done, and no nonce is burnt.")
    return ERROR


def _row(stage: dict[str, Any]) -> tuple[str | Part, ...]:
    what = answers.text(stage, "text") or f"against {answers.text(stage, 'attack')}"
    name = printable(answers.text(stage, "stage"), 40)
    return name, _FOUND[_passed(stage)], printable(what, _MAX_TEXT)


def _passed(stage: dict[str, Any]) -> bool | None:
    found = stage.get("passed")
    return found if isinstance(found, bool) else None
