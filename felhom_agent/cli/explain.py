"""`felhom-agent explain`: why a declared value and PVE's answer count as equal, or do not."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from felhom_agent.cli.command import Commands, add_command, vmid
from felhom_agent.cli.out import say, say_json
from felhom_agent.config.suggest import did_you_mean
from felhom_agent.errors import FelhomError
from felhom_agent.model import ABSENT, DeclaredValue, Kind, TypeOfAbsent
from felhom_agent.options import Invalid, Option, keys, lookup, may_be_secret, spoken, understood
from felhom_agent.options.deciding import deciding
from felhom_agent.options.rules import rules_of
from felhom_agent.options.since import FIRST
from felhom_agent.planning.compare import (
    Comparison,
    Context,
    Verdict,
    compare,
    compare_unset,
    text_of,
    to_wire,
)
from felhom_agent.planning.conditional import in_context
from felhom_agent.planning.defaults import DECIDED_BY

_ABSENT_WORD = "absent"
_UNSET_WORD = "unset"
_HIDDEN = "(not shown)"
_EXIT = {
    Verdict.EQUAL: 0,
    Verdict.PENDING: 0,
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
        "declares that there shall be none. Exits with 0 if they are equal, 2 if they differ or "
        "nobody can tell, 1 if the declaration is refused.",
        example='explain qemu tags "b;A" "a;b"',
    )
    parser.add_argument("kind", choices=[str(kind) for kind in Kind])
    parser.add_argument(
        "option", type=option_name, help="as in `qm set` or `pct set`: cores, net0, ..."
    )
    parser.add_argument("desired", help="what is declared")
    parser.add_argument("actual", help="what PVE answers")
    parser.add_argument(
        "--with",
        dest="others",
        action="append",
        type=_other,
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
    parser.add_argument("--json", action="store_true", help="print JSON (docs/json/explain.json)")
    parser.set_defaults(usage_error=parser.error)


def option_name(text: str) -> str:
    """Given an argument, return it as the name of a guest's option: so a completion knows it."""
    return text


def run(arguments: argparse.Namespace) -> int:
    kind, key = arguments.kind, arguments.option
    option = lookup(kind, key)
    if option is None:
        raise FelhomError(f"{kind} has no option {key!r}{did_you_mean(key, keys(kind))}")
    for other, _ in arguments.others:
        if lookup(kind, other) is None:
            text = f"--with: {kind} has no option {other!r}{did_you_mean(other, keys(kind))}"
            arguments.usage_error(text)
    context = Context(
        vmid=arguments.vmid,
        config=dict(arguments.others),
        case_sensitive_tags=arguments.case_sensitive_tags,
        cgroup=arguments.cgroup,
        pending=arguments.pending,
    )
    actual = _value(arguments.actual)
    if arguments.desired == _UNSET_WORD:
        comparison = compare_unset(kind, key, actual, context)
    else:
        comparison = compare(kind, key, _declared(arguments.desired), actual, context)
    option = in_context(option, context)
    why = _why(arguments, option, comparison)
    sent, not_sent = _sent(arguments, comparison, context)
    if arguments.json:
        say_json(_as_json(arguments, option, comparison, why, sent, not_sent))
    else:
        say(f"{comparison.verdict}{': ' if why else ''}{why}")
        for line in _lines(kind, key, option, sent, not_sent):
            say(line)
    return _EXIT.get(comparison.verdict, _DIFFERS)


def _why(arguments: argparse.Namespace, option: Option, comparison: Comparison) -> str:
    """Return why values compare as they do; no value of a secret is in it."""
    if comparison.verdict is Verdict.INCOMPARABLE:
        return f"{comparison.why}, so nobody can compare it"
    if comparison.verdict is not Verdict.EQUAL:
        told = comparison.verdict is Verdict.REJECT or not may_be_secret(option)
        return spoken(arguments.option, comparison.why) if told and comparison.why else (
            "" if told else "the two differ, and are not shown"
        )  # fmt: skip
    if (desired := _declared(arguments.desired)) is ABSENT:
        return "what is not declared makes no difference (felhom-agent)"
    actual, is_unset = _value(arguments.actual), arguments.desired == _UNSET_WORD
    if actual is ABSENT and is_unset:
        return "it is declared unset, and PVE has none"
    default = option.default or ""
    wire = default if is_unset else understood(arguments.kind, arguments.option, desired)[1]
    text = default if actual is ABSENT else text_of(actual)
    rules = "; ".join(map(str, deciding(arguments.kind, option, wire, text)))
    if actual is ABSENT:
        return f"where it is absent, PVE uses {default or 'nothing'}, which is the same: {rules}"
    return f"PVE has its default, which is as good as none: {rules}" if is_unset else rules


def _lines(
    kind: str, key: str, option: Option, sent: str | None, not_sent: str | None
) -> Iterator[str]:
    if sent is not None:
        yield f"would be sent: {key}={sent}"
    if not_sent:
        yield f"would not be sent: {not_sent}"
    if option.default is not None:
        by = f", decided by {DECIDED_BY[option.name]}" if option.name in DECIDED_BY else ""
        yield f"when absent, PVE uses: {option.default or '(nothing)'}{by}"
    if option.privileges:
        also = f", and {option.also}" if option.also else ""
        yield f"setting it needs: {' or '.join(option.privileges)}{also}"
    if option.since not in (None, FIRST):
        yield f"since: {option.since}"
    yield from (f"rule: {rule}" for rule in rules_of(kind, option))


def _sent(
    arguments: argparse.Namespace, comparison: Comparison, context: Context
) -> tuple[str | None, str | None]:
    """Return what would be sent to mend a difference, and why it would not; of a secret neither."""
    kind, key = arguments.kind, arguments.option
    desired = _declared(arguments.desired)
    mends = comparison.verdict is Verdict.DRIFT and arguments.desired != _UNSET_WORD
    if not mends or desired is ABSENT:
        return None, None
    try:
        wire = to_wire(kind, key, desired, _value(arguments.actual), context)
    except Invalid as error:
        return None, str(error).strip()
    option = lookup(kind, key)
    return (_HIDDEN if option is None or may_be_secret(option) else wire), None


def _as_json(
    arguments: argparse.Namespace,
    option: Option,
    comparison: Comparison,
    why: str,
    sent: str | None,
    not_sent: str | None,
) -> dict[str, object]:
    since = None if option.since in (None, FIRST) else str(option.since)
    hidden = may_be_secret(option)
    return {
        "kind": arguments.kind,
        "option": arguments.option,
        "verdict": str(comparison.verdict),
        "why": why,
        "secret": hidden,
        "desired": None if hidden else arguments.desired,
        "actual": None if hidden else arguments.actual,
        "would_send": None if hidden else sent,
        "would_not_send": not_sent,
        "default": option.default,
        "decided_by": DECIDED_BY.get(option.name),
        "privileges": list(option.privileges),
        "also_needs": option.also or None,
        "since": since,
        "rules": [
            {"text": rule.text, "source": rule.source, "compares": rule.compares}
            for rule in rules_of(arguments.kind, option)
        ],
    }


def _other(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is no OPTION=VALUE")
    return key, _value(value)


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
