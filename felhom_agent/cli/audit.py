"""`felhom-agent audit`: every decision on signed operations; `verify`: is the log what was written?

Needs no agent, and is safe beside a running one. `verify` compares each line with the one before
it, with the lines that the journal knows, and with a head that somebody has kept elsewhere.
"""

from __future__ import annotations

import argparse
import re
import time

from felhom_agent.cli import auditlog
from felhom_agent.cli.auditlog import AuditLook
from felhom_agent.cli.codes import DATAERR, OK
from felhom_agent.cli.command import Commands, add_command, whole
from felhom_agent.cli.moment import day_of
from felhom_agent.cli.out import complain, say, say_json
from felhom_agent.cli.terminal import put
from felhom_agent.config.agentfile import load
from felhom_agent.journal.audit import AuditEntry

USUAL = 20
MAX_TOLD = 10
"""How many problems are told."""
_HEAD = re.compile(r"[0-9a-f]{64}")


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "audit",
        run,
        summary="Show every decision on signed operations, newest last; `verify` checks that the "
        "log is what was written. Exit code 65: it is not.",
        example="audit verify",
    )
    parser.add_argument("what", nargs="?", choices=("verify",), help="check the log")
    parser.add_argument(
        "--against", dest="head", type=_head, metavar="HEAD",
        help="of `verify`: a head that was kept elsewhere; it must be in the log",
    )  # fmt: skip
    parser.add_argument(
        "-n", "--limit", dest="limit", type=whole(0, 999_999_999), metavar="N",
        help=f"only the last N decisions (default: {USUAL}; 0: all)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON (docs/json/audit.json)")
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    verifies = arguments.what == "verify"
    if arguments.head and not verifies:
        arguments.usage_error("--against is of `audit verify`")
    if arguments.limit is not None and verifies:
        arguments.usage_error("--limit is of `audit` without verify")
    found = auditlog.examine(load(arguments.config).journal.directory, arguments.head or "")
    limit = USUAL if arguments.limit is None else arguments.limit
    entries = () if verifies else found.report.entries[-limit:]
    if arguments.json:
        say_json(_answer(found, entries))
        _complain(found)
    elif verifies:
        _say_verdict(found)
    else:
        _say(found, entries)
        _complain(found)
    return DATAERR if found.problems else OK


def _head(text: str) -> str:
    if not _HEAD.fullmatch(text.lower()):
        raise argparse.ArgumentTypeError("a head is 64 hex digits, as `audit verify` shows it")
    return text.lower()


def _answer(found: AuditLook, entries: tuple[AuditEntry, ...]) -> dict[str, object]:
    return {
        "log": str(found.path),
        "good": not found.problems,
        "lines": found.report.lines,
        "head": found.report.head,
        "known": found.known,
        "problems": list(found.problems),
        "entries": [auditlog.as_json(entry) for entry in entries],
    }


def _say(found: AuditLook, entries: tuple[AuditEntry, ...]) -> None:
    if not found.report.lines:
        if not found.problems:
            say(f"Nothing yet: no agent has begun the log {found.path}.")
        return
    for line in auditlog.lines(entries, day_of(time.time())):
        put(line, hang=auditlog.HANG)


def _complain(found: AuditLook) -> None:
    for problem in found.problems[:MAX_TOLD]:
        complain(problem)
    if more := len(found.problems[MAX_TOLD:]):
        complain(f"{found.path}: and {more} more problems")


def _say_verdict(found: AuditLook) -> None:
    """Print how the log is, and what to do."""
    if not (found.present or found.problems):
        say(f"Nothing yet: no agent has begun the log {found.path}.")
        return
    state = "NOT what was written" if found.problems else "good"
    count = found.report.lines
    say(f"{found.path}: {state}, {count} {'line' if count == 1 else 'lines'}")
    for problem in found.problems[:MAX_TOLD]:
        say(f"  {problem}")
    if more := len(found.problems[MAX_TOLD:]):
        say(f"  and {more} more problems")
    if found.problems:
        say("  no signed operation is done on it; what can be undone goes on. As root, once you")
        say(f"  know why: mv {found.path} {found.path}.kept; systemctl restart felhom-agent")
        return
    if found.known:
        say(f"  the journal knows {found.known} of them, and they are there")
    say(f"  head {found.report.head}")
    say("  Keep the head elsewhere: `felhom-agent audit verify --against HEAD` finds it again")
