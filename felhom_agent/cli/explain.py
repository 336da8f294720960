"""`felhom-agent explain`: why a declared value and PVE's answer count as equal, or do not."""

from __future__ import annotations

import argparse
import json

from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.out import say
from felhom_agent.config import did_you_mean
from felhom_agent.errors import FelhomError
from felhom_agent.model import ABSENT, DeclaredValue, Kind, TypeOfAbsent
from felhom_agent.options import Invalid, keys, lookup
from felhom_agent.reconcile.normalize import Context, Verdict, compare, to_wire

_ABSENT_WORD = "absent"


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "explain",
        run,
        summary="Tell how a declared value compares with what PVE answers, and why. Values are "
        "read as JSON where they are that, else as text; the word absent is no value.",
        example='explain qemu tags "b;A" "a;b"',
    )
    parser.add_argument("kind", choices=[str(kind) for kind in Kind])
    parser.add_argument("option", help="as in `qm set` or `pct set`: cores, net0, ...")
    parser.add_argument("desired", help="what is declared")
    parser.add_argument("actual", help="what PVE answers")
    parser.add_argument(
        "--case-sensitive-tags", action="store_true", help="the datacenter's tag-style says so"
    )
    parser.add_argument("--cgroup", type=int, choices=(1, 2), default=2, help="of the host")
    parser.add_argument("--pending", action="store_true", help="PVE holds the value back")


def run(arguments: argparse.Namespace) -> int:
    kind, key = arguments.kind, arguments.option
    option = lookup(kind, key)
    if option is None:
        raise FelhomError(f"{kind} has no option {key!r}{did_you_mean(key, keys(kind))}")
    context = Context(
        case_sensitive_tags=arguments.case_sensitive_tags,
        cgroup=arguments.cgroup,
        pending=arguments.pending,
    )
    desired, actual = _declared(arguments.desired), _value(arguments.actual)
    comparison = compare(kind, key, desired, actual, context)
    say(f"{comparison.verdict}{': ' if comparison.why else ''}{comparison.why}")
    if comparison.verdict is Verdict.DRIFT and desired is not ABSENT:
        try:
            say(f"would be sent: {key}={to_wire(kind, key, desired, actual, context)}")
        except Invalid as error:
            say(f"would not be sent: {str(error).strip()}")
    if option.default is not None:
        say(f"when absent, PVE uses: {option.default or '(nothing)'}")
    if option.privileges:
        also = f", and {option.also}" if option.also else ""
        say(f"setting it needs: {' or '.join(option.privileges)}{also}")
    return 0


def _declared(text: str) -> DeclaredValue | TypeOfAbsent:
    value = _value(text)
    if isinstance(value, list):
        return tuple(str(item) for item in value)
    return value if isinstance(value, (str, int, float)) or value is ABSENT else text


def _value(text: str) -> object:
    if text == _ABSENT_WORD:
        return ABSENT
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if value is None or isinstance(value, dict) else value
