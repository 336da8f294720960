"""`felhom-agent explain`: why a declared value and PVE's answer count as equal, or do not."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from felhom_agent.cli.command import Commands, add_command, vmid
from felhom_agent.cli.out import say
from felhom_agent.config.suggest import did_you_mean
from felhom_agent.errors import FelhomError
from felhom_agent.model import ABSENT, DeclaredValue, Kind, TypeOfAbsent
from felhom_agent.options import Invalid, Option, keys, lookup
from felhom_agent.options.rules import rules_of
from felhom_agent.options.since import FIRST
from felhom_agent.planning.compare import (
    Comparison,
    Context,
    Verdict,
    compare,
    compare_unset,
    to_wire,
)
from felhom_agent.planning.conditional import in_context
from felhom_agent.planning.defaults import DECIDED_BY

_ABSENT_WORD = "absent"
_UNSET_WORD = "unset"
_EXIT = {
    Verdict.EQUAL: 0,
    Verdict.PENDING: 0,
    Verdict.INCOMPARABLE: 0,
    Verdict.REJECT: 1,
}
_DIFFERS = 2


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "explain",
        run,
        summary="Tell how a declared value compares with what PVE answers, and why. Values are "
        "read as JSON where they are that, else as text; the word absent is no value, and unset "
        "declares that there shall be none. Exits with 0 if they are equal, 2 if they differ, "
        "1 if the declaration is refused.",
        example='explain qemu tags "b;A" "a;b"',
    )
    parser.add_argument("kind", choices=[str(kind) for kind in Kind])
    parser.add_argument("option", help="as in `qm set` or `pct set`: cores, net0, ...")
    parser.add_argument("desired", help="what is declared")
    parser.add_argument("actual", help="what PVE answers")
    parser.add_argument(
        "--with",
        dest="others",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="another option of the guest, for defaults that it decides; may be repeated",
    )
    parser.add_argument("--vmid", type=vmid, default=0, help="of the guest")
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
        vmid=arguments.vmid,
        config=_others(arguments.others),
        case_sensitive_tags=arguments.case_sensitive_tags,
        cgroup=arguments.cgroup,
        pending=arguments.pending,
    )
    actual = _value(arguments.actual)
    if arguments.desired == _UNSET_WORD:
        comparison = compare_unset(kind, key, actual, context)
    else:
        comparison = compare(kind, key, _declared(arguments.desired), actual, context)
    say(f"{comparison.verdict}{': ' if comparison.why else ''}{comparison.why}")
    for line in _lines(arguments, in_context(option, context), comparison, context):
        say(line)
    return _EXIT.get(comparison.verdict, _DIFFERS)


def _lines(
    arguments: argparse.Namespace, option: Option, comparison: Comparison, context: Context
) -> Iterator[str]:
    if comparison.verdict is Verdict.DRIFT and arguments.desired != _UNSET_WORD:
        yield _sent(arguments, context)
    if option.default is not None:
        by = f", decided by {DECIDED_BY[option.name]}" if option.name in DECIDED_BY else ""
        yield f"when absent, PVE uses: {option.default or '(nothing)'}{by}"
    if option.privileges:
        also = f", and {option.also}" if option.also else ""
        yield f"setting it needs: {' or '.join(option.privileges)}{also}"
    if option.since not in (None, FIRST):
        yield f"since: {option.since}"
    yield from (f"rule: {rule}" for rule in rules_of(option))


def _sent(arguments: argparse.Namespace, context: Context) -> str:
    kind, key = arguments.kind, arguments.option
    desired = _declared(arguments.desired)
    if desired is ABSENT:
        return "not declared: nothing is sent"
    try:
        wire = to_wire(kind, key, desired, _value(arguments.actual), context)
    except Invalid as error:
        return f"would not be sent: {str(error).strip()}"
    return f"would be sent: {key}={wire}"


def _others(texts: list[str]) -> dict[str, object]:
    pairs = (text.partition("=") for text in texts)
    return {key: _value(value) for key, _, value in pairs}


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
    except (ValueError, RecursionError):
        return text
    return text if value is None or isinstance(value, dict) else value
