"""Whether what an operator declared and what PVE answered are the same, and what to send if not.

Two values are equal when PVE, given the one, would answer with the other. So values are never
compared as text: each is read by its option's type, parts that PVE fills in by itself count only
where they were declared, and a value that equals what PVE uses in its absence equals absence.
False drift is worse than a missed one: what cannot be compared is never written.

Pure: what a comparison depends on besides the two values is in its `Context`.
"""

from __future__ import annotations

from felhom_agent.model import ABSENT, DeclaredValue, TypeOfAbsent
from felhom_agent.options import (
    Invalid,
    Option,
    PropertyString,
    Volume,
    beyond_token,
    declared,
    harm,
    lookup,
)
from felhom_agent.options.formats import split_list
from felhom_agent.options.special import Boot
from felhom_agent.reconcile.comparison import EQUAL, Comparison, Context, Verdict
from felhom_agent.reconcile.conditions import beyond_token_here, in_context
from felhom_agent.reconcile.volumes import (
    compare_volume,
    has_volume,
    volume_wire,
)

__all__ = ["Comparison", "Context", "Verdict", "compare", "compare_unset", "to_wire"]

_NO_CONTEXT = Context()
_UNKNOWN = "PVE knows no such option"


def compare(
    kind: str,
    key: str,
    desired: DeclaredValue | TypeOfAbsent,
    actual: object,
    context: Context = _NO_CONTEXT,
) -> Comparison:
    """Given a declared value and PVE's answer for one key, return how they compare.

    `actual` is a JSON value, `ABSENT` where the key is not there, and `None` where nothing was
    read: then the declaration alone is judged. An undeclared key (`ABSENT`) is always equal.
    """
    if desired is ABSENT:
        return EQUAL
    try:
        option, wire = _declaration(kind, key, desired, context)
        if actual is None:
            declared(kind, key, desired)
            return Comparison(Verdict.INCOMPARABLE, "nothing was read to compare it with")
    except Invalid as error:
        return Comparison(Verdict.REJECT, str(error).strip())
    comparison = _compare(option, wire, actual, context)
    if comparison is EQUAL and context.pending:
        return Comparison(Verdict.PENDING, "in effect when the guest has been restarted")
    return comparison


def compare_unset(
    kind: str, key: str, actual: object, context: Context = _NO_CONTEXT
) -> Comparison:
    """Given PVE's answer for a key that shall not be set, return how that compares.

    A value that equals the run-time default is as good as none.
    """
    option = lookup(kind, key)
    if option is None or option.server_owned or option.required or option.read_only:
        return Comparison(Verdict.REJECT, _why_not_unset(option))
    if actual is ABSENT or actual is None:
        return EQUAL
    option, text = in_context(option, context), _text(actual)
    if _is_default(option, text):
        return EQUAL
    if why := _why_keep(option, key, text):
        return Comparison(Verdict.FORBIDDEN, why)
    return Comparison(Verdict.DRIFT, "is set, declared unset")


def to_wire(
    kind: str,
    key: str,
    desired: DeclaredValue,
    actual: object,
    context: Context = _NO_CONTEXT,
) -> str:
    """Given a value that drifted, return the text to send so that nothing of PVE's is lost.

    The present MAC address and volume are carried along. Raise `Invalid`, in words for an
    operator, if the value must not be sent.
    """
    option, wire = _declaration(kind, key, desired, context)
    declared(kind, key, desired)
    text = "" if actual is ABSENT else _text(actual)
    if why := beyond_token_here(option, text, context):
        raise Invalid(why)
    if has_volume(option):
        return volume_wire(option, wire, text, context)
    return _carried(option.type, wire, text) if isinstance(option.type, PropertyString) else wire


def _declaration(
    kind: str, key: str, desired: DeclaredValue, context: Context
) -> tuple[Option, str]:
    """Return the option and the declared value's wire text. Raise `Invalid` if PVE refuses it."""
    option = lookup(kind, key)
    if option is None:
        raise Invalid(_UNKNOWN)
    wire = option.type.wire(desired)
    option.type.check(wire)
    if why := harm(option, wire) or _missing_boot_device(option, wire, context):
        raise Invalid(why)
    return in_context(option, context), wire


def _missing_boot_device(option: Option, wire: str, context: Context) -> str:
    if not isinstance(option.type, Boot) or context.devices is None:
        return ""
    order = split_list(option.type.split(wire).get("order", ""))
    missing = next((device for device in order if device not in context.devices), "")
    # recorded: 10-qemu-roundtrip/157, with PVE's stray quote
    return f"invalid bootorder: device '{missing}' does not exist'" if missing else ""


def _compare(option: Option, wire: str, actual: object, context: Context) -> Comparison:
    if actual is ABSENT:
        return _compare_absent(option, wire)
    if option.secret:
        return Comparison(Verdict.INCOMPARABLE, "PVE never tells it")
    text = _text(actual)
    try:
        if has_volume(option):
            return compare_volume(option, wire, text, context)
        if _same(option, wire, text):
            return EQUAL
    except Invalid:
        return Comparison(Verdict.DRIFT, f"PVE has {text!r}, which it could not read itself")
    return Comparison(Verdict.DRIFT, f"is {text!r}, declared {wire!r}")


def _compare_absent(option: Option, wire: str) -> Comparison:
    return EQUAL if _is_default(option, wire) else Comparison(Verdict.DRIFT, "is not set")


def _is_default(option: Option, text: str) -> bool:
    """Return whether a text means what PVE does where there is none."""
    if option.default is None:
        return False
    try:
        return _same(option, option.default, text)
    except Invalid:
        return False


def _same(option: Option, wire: str, text: str) -> bool:
    """Return whether two texts mean the same, apart from what PVE filled in by itself."""
    if not isinstance(option.type, PropertyString):
        return option.type.same(wire, text)
    wanted, present = option.type.parts(wire), option.type.parts(text)
    for key in _filled_in(option.type, wire):
        present.pop(key, None)
    return wanted == present


def _filled_in(kind: PropertyString, wire: str) -> set[str]:
    """Return the parts that PVE fills in and that were not declared."""
    return {key for key, spec in kind.keys.items() if spec.owned} - set(kind.split(wire))


def _carried(kind: PropertyString, wire: str, text: str) -> str:
    try:
        present = kind.split(text)
    except Invalid:
        return wire
    kept = {key: present[key] for key in _filled_in(kind, wire) if key in present}
    return kind.print(kind.split(wire) | kept) if kept else wire


def _why_not_unset(option: Option | None) -> str:
    if option is None:
        return _UNKNOWN
    if option.required:
        return f"unable to delete required option '{option.name}'"
    return f"'{option.name}' cannot be unset"


def _why_keep(option: Option, key: str, text: str) -> str:
    """Return why a key must not be deleted although it may be set; empty if it may."""
    if option.name == "arch":
        # recorded: 20-writes-lxc/060-062
        return "a container without 'arch' can neither be written nor started"
    if has_volume(option):
        parts = option.type.split(text) if isinstance(option.type, PropertyString) else {}
        volume = Volume(parts.get("file", parts.get("volume", "")))
        return "" if volume.is_empty or volume.is_iso else f"it would take {volume.text} away"
    try:
        return beyond_token(option, key, text)
    except Invalid:
        return ""


def _text(actual: object) -> str:
    """Return what PVE answered as text; JSON's own booleans as PVE writes them."""
    return str(int(actual)) if isinstance(actual, bool) else str(actual)
