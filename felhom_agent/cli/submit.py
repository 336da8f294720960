"""`felhom-agent submit`: hands a signed job to the agent, and follows it to its end.

The agent alone judges it, and does it. Ctrl-C, or an end of this command, takes nothing back: the
job is the agent's from the moment it was taken. An agent that goes away is waited for a while,
since it may be restarted, and its jobs outlive that.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from felhom_agent.authz.jobs import JobState
from felhom_agent.cli import answers, jobfiles
from felhom_agent.cli.ask import socket_of
from felhom_agent.cli.codes import ERROR, INTERRUPTED, OK
from felhom_agent.cli.command import Commands, add_command, file_path
from felhom_agent.cli.out import say, wait
from felhom_agent.cli.terminal import Part, Style, put
from felhom_agent.config.settings import MAX_SIGNATURES
from felhom_agent.errors import FelhomError
from felhom_agent.printable import printable
from felhom_agent.service.controlclient import AgentBusy, ControlRefused, NoAgent, call

PAUSE: Final = 0.5
"""Seconds between two looks."""
AWAY: Final = 30.0
"""Seconds for which an agent that went away is waited for."""
FINAL: Final = frozenset(str(state) for state in JobState if state.final)
"""The states that nothing comes after."""
_TRIED: Final = frozenset(str(state) for state in JobState if state.final and state.tried)
_STYLES: Final = {
    "done": Style.GOOD, "failed": Style.BAD, "unknown": Style.BAD, "refused": Style.BAD,
    "expired": Style.WARN, "pending": Style.WARN,
}  # fmt: skip
_WIDTH: Final = len("refused")
_MAX_TEXT: Final = 1000
_MAX_NAME: Final = 200

Ask = Callable[[str, str, Mapping[str, Any] | None], dict[str, Any]]


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "submit",
        run,
        summary="Hand a signed job to the agent, and follow it to its end; Ctrl-C leaves it to the "
        "agent. Exit code 0: it was done (with --no-wait: it was taken); 1: it was refused, "
        "failed, ended before it was done, or nobody knows what came of it.",
        example="submit web.job web.job.sig",
    )
    add_files(parser)
    parser.add_argument("--no-wait", action="store_true", help="do not follow it")
    parser.add_argument(
        "--envelope", type=_job_name, metavar="NAME",
        help="print the job as a hub takes it, under that name, and ask no agent",
    )  # fmt: skip


def _job_name(text: str) -> str:
    if not (0 < len(text) <= _MAX_NAME and text.isprintable()):
        raise argparse.ArgumentTypeError(f"a job's name has 1 to {_MAX_NAME} printable characters")
    return text


def add_files(parser: argparse.ArgumentParser) -> None:
    """Let a command take a job and its signatures."""
    parser.add_argument("job", type=file_path, metavar="JOB", help="what was signed")
    parser.add_argument(
        "signatures", nargs="*", type=file_path, metavar="SIG",
        help="its signatures, one of each signer (default: JOB.sig, and JOB.2.sig and so on where "
        "they are)",
    )  # fmt: skip
    parser.set_defaults(usage_error=parser.error)


def job_of(arguments: argparse.Namespace) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the job and the signatures that a command was given. Raise FelhomError if they are
    none.
    """
    given: list[Path] = arguments.signatures
    if len(given) > MAX_SIGNATURES:
        arguments.usage_error(f"at most {MAX_SIGNATURES} signatures are taken")
    first, *more = jobfiles.signatures_of(arguments.job)
    return jobfiles.read_job(arguments.job, given or [first, *(p for p in more if p.exists())])


def body_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the job and the signatures that a command was given, as the agent takes them. Raise
    FelhomError if they are none.
    """
    blob, signatures = job_of(arguments)
    shown = [jobfiles.in_base64(each) for each in signatures]
    return {"job": jobfiles.in_base64(blob), "signatures": shown}


def _envelope(arguments: argparse.Namespace) -> int:
    """Print the job as a hub takes it."""
    blob, signatures = job_of(arguments)
    try:
        texts = [each.decode("ascii") for each in signatures]
    except UnicodeDecodeError:
        raise FelhomError("a signature is no text as ssh-keygen writes it") from None
    say(json.dumps({
        "job_id": arguments.envelope, "op_blob_b64": jobfiles.in_base64(blob),
        "sigs_armored": texts,
    }))  # fmt: skip
    return OK


def run(arguments: argparse.Namespace) -> int:
    if arguments.envelope:
        return _envelope(arguments)
    body = body_of(arguments)
    ask = partial(call, socket_of(arguments.config))
    shown = _Shown()
    try:
        found = ask("POST", "/v1/submit", body)
    except AgentBusy as error:
        raise FelhomError(f"{error}; `felhom-agent jobs` tells whether it took the job") from None
    except KeyboardInterrupt:
        say("Interrupted while it was handed over: `felhom-agent jobs` tells whether it was taken.")
        return INTERRUPTED
    try:
        name = answers.text(found, "job")
        shown.begin(found)
        shown.show(found)
        if answers.text(found, "state") in _TRIED:
            say("These bytes were brought before; nothing is done twice.")
        if not arguments.no_wait:
            found = _followed(ask, name, found, shown)
    except KeyboardInterrupt:
        say("The job is left to the agent, which goes on with it: felhom-agent jobs")
        return INTERRUPTED
    state = answers.text(found, "state")
    if state not in FINAL:
        say("It is the agent's now: `felhom-agent jobs` tells what comes of it.")
        return OK
    return OK if state == "done" else ERROR


def _followed(ask: Ask, name: str, found: dict[str, Any], shown: _Shown) -> dict[str, Any]:
    """Show how a job gets on until it has ended; return what the agent tells last. Raise
    FelhomError if the agent stays away, or does not know the job.
    """
    heard = time.monotonic()
    while answers.text(found, "state") not in FINAL:
        wait(PAUSE)
        try:
            found = ask("GET", f"/v1/job?job={name}", None)
        except (NoAgent, ControlRefused) as error:
            is_away = isinstance(error, NoAgent) or error.temporary
            if not is_away or time.monotonic() - heard > AWAY:
                raise FelhomError(
                    f"what came of the job is not known here: {error}; `felhom-agent jobs` tells"
                ) from None
        else:
            heard = time.monotonic()
            shown.show(found)
    return found


class _Shown:
    """What was told of a job; belongs to the command's thread."""

    def __init__(self) -> None:
        self._last: tuple[str, ...] = ()

    def begin(self, found: answers.Answer) -> None:
        """Tell which job it is."""
        vmid = answers.vmid(found)
        guest = f"{vmid or ''} {answers.text(found, 'name')}".strip()
        words = [answers.text(found, "act"), guest, f"job {answers.text(found, 'job')[:12]}"]
        put(printable(" ".join(filter(None, words)), _MAX_TEXT))

    def show(self, found: answers.Answer) -> None:
        """Tell how it is, if that is news."""
        news = tuple(answers.text(found, key) for key in ("state", "stage", "why", "upid"))
        if news == self._last:
            return
        self._last = news
        state, stage, why, upid = (printable(text, _MAX_TEXT) for text in news)
        rest = "   ".join(filter(None, (": ".join(filter(None, (stage, why))), upid)))
        now = datetime.now().astimezone()
        style = _STYLES.get(state)
        put((f"  {now:%H:%M:%S}  ", Part(f"{state:{_WIDTH}}", style), f"  {rest}"), hang=12)
