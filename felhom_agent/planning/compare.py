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
    holds_secrets,
    lookup,
    mask,
    never_settles,
    understood,
)
from felhom_agent.options.formats import split_list
from felhom_agent.options.special import Boot, Tags
from felhom_agent.planning.conditional import in_context
from felhom_agent.planning.context import EQUAL, Comparison, Context, Verdict
from felhom_agent.planning.rights import (
    features_wire,
    root_remedy,
    roots_alone,
    roots_alone_to_unset,
)
from felhom_agent.planning.volumes import (
    compare_no_volume,
    compare_volume,
    has_volume,
    volume_wire,
)

__all__ = [
    "Comparison",
    "Context",
    "Verdict",
    "blank_is_absence",
    "compare",
    "compare_unset",
    "is_written",
    "text_of",
    "to_wire",
    "unset_wire",
]

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
    read: then the declaration alone is judged, as if it were to be sent. An undeclared key
    (`ABSENT`) is always equal. What is equal is never rejected for what could not be sent.
    """
    if desired is ABSENT:
        return EQUAL
    try:
        option, wire = understood(kind, key, desired)
        option = in_context(option, context)
        if actual is None:
            _raise_unless_sendable(option, wire, context)
            _raise_if_roots(option, kind, key, wire, "", context)
            return Comparison(Verdict.INCOMPARABLE, "nothing was read to compare it with")
        comparison = _compare(option, key, wire, actual, context)
        if comparison.verdict is Verdict.DRIFT:
            _raise_unless_sendable(option, wire, context)
    except Invalid as error:
        return Comparison(Verdict.REJECT, str(error).strip())
    if comparison is EQUAL and context.pending:
        return Comparison(Verdict.PENDING, "in effect when the guest has been restarted")
    return comparison


def compare_unset(
    kind: str, key: str, actual: object, context: Context = _NO_CONTEXT
) -> Comparison:
    """Given PVE's answer for a key that shall not be set, return how that compares.

    A value that equals the run-time default is as good as none, unless its presence alone means
    something.
    """
    option = lookup(kind, key)
    if option is None or option.server_owned or option.required:
        return Comparison(Verdict.REJECT, _why_not_unset(option))
    if actual is ABSENT or actual is None:
        return EQUAL
    option, text = in_context(option, context), text_of(actual)
    if _is_default(option, _lasting(option, text)[1]):
        return EQUAL
    if why := _why_keep(option, kind, key, text, context):
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

    What PVE filled in, and what this version does not know, is carried along. Raise `Invalid`, in
    words for an operator, if the value must not be sent.
    """
    option, wire = understood(kind, key, desired)
    option = in_context(option, context)
    _raise_unless_sendable(option, wire, context)
    text = "" if actual is ABSENT else text_of(actual)
    sent = _sent(option, key, wire, text, context)
    _raise_if_roots(option, kind, key, sent, text, context)
    return sent


def is_written(
    kind: str, key: str, wire: str, actual: object, context: Context = _NO_CONTEXT
) -> bool:
    """Given a text that was sent and PVE's answer, return whether that answer is what came of it.

    Other than a declaration, what was sent may carry parts that this version does not know.
    """
    option = lookup(kind, key)
    if option is None:
        return False
    return _compare(option, key, wire, actual, context).verdict is Verdict.EQUAL


def unset_wire(kind: str, key: str, actual: object) -> str:
    """Given a key that shall not be set and PVE's answer, return the text that says so.

    Empty where the key is to be deleted; else what stays of it, which no declaration takes away.
    """
    option = lookup(kind, key)
    return "" if option is None or actual is ABSENT else _lasting(option, text_of(actual))[0]


def blank_is_absence(kind: str, key: str, wire: str, context: Context = _NO_CONTEXT) -> bool:
    """Given a blank text to send, return whether deleting the key comes to the same."""
    option = lookup(kind, key)
    return option is not None and _is_default(in_context(option, context), wire)


def _sent(option: Option, key: str, wire: str, text: str, context: Context) -> str:
    if has_volume(option):
        return volume_wire(option, key, wire, text, context)
    if option.name == "features" and text:
        wire = features_wire(option, wire, text)
    return option.type.carried(wire, text) if text else wire


def _raise_unless_sendable(option: Option, wire: str, context: Context) -> None:
    """Raise `Invalid` if whoever sent that value would not have it afterwards."""
    why = (
        never_settles(option, wire)
        or mask(option, wire)
        or _missing_boot_device(option, wire, context)
    )
    if why:
        raise Invalid(why)


def _raise_if_roots(
    option: Option, kind: str, key: str, wire: str, text: str, context: Context
) -> None:
    if why := roots_alone(option, key, wire, text, context):
        raise Invalid(f"{why}; {root_remedy(option, kind, key, wire, context)}")


def _missing_boot_device(option: Option, wire: str, context: Context) -> str:
    if not isinstance(option.type, Boot) or context.devices is None:
        return ""
    order = split_list(option.type.split(wire).get("order", ""))
    missing = next((device for device in order if device not in context.devices), "")
    # recorded: 10-qemu-roundtrip/157 "invalid bootorder: device 'x' does not exist'"
    return f"must name devices that the guest has, and {missing!r} is none" if missing else ""


def _compare(option: Option, key: str, wire: str, actual: object, context: Context) -> Comparison:
    if actual is ABSENT:
        return _compare_absent(option, key, wire, context)
    text = text_of(actual)
    if option.secret:
        return _compare_secret(option, wire, text)
    hides = holds_secrets(option)
    try:
        if has_volume(option):
            return compare_volume(option, key, wire, text, context)
        if option.type.same(wire, text):
            return EQUAL
    except Invalid:
        found = "a value" if hides else repr(text)
        return Comparison(Verdict.DRIFT, f"PVE has {found}, which it could not read itself")
    why = "is another value" if hides else f"is {text!r}, declared {wire!r}"
    return Comparison(Verdict.DRIFT, why)


def _compare_secret(option: Option, wire: str, text: str) -> Comparison:
    """A mask declared asks for some password, and there is one."""
    if mask(option, wire) and mask(option, text):
        return EQUAL
    return Comparison(Verdict.INCOMPARABLE, "PVE never tells it")


def _compare_absent(option: Option, key: str, wire: str, context: Context) -> Comparison:
    if has_volume(option):
        return compare_no_volume(option, key, wire, context)
    return EQUAL if _is_default(option, wire) else Comparison(Verdict.DRIFT, "is not set")


def _is_default(option: Option, text: str) -> bool:
    """Return whether a text means what PVE does where there is none."""
    if option.default is None:
        return False
    try:
        return option.type.same(option.default, text)
    except Invalid:
        return False


def _lasting(option: Option, text: str) -> tuple[str, str]:
    """Return what of a text stays even where the option shall not be set, and what does not."""
    kind = option.type
    if isinstance(kind, Tags):
        return kind.carried("", text), text
    if not isinstance(kind, PropertyString):
        return "", text
    try:
        parts = kind.split(text)
    except Invalid:
        return "", text
    stays = {
        key: value for key, value in parts.items() if key in kind.keys and kind.keys[key].lasting
    }
    goes = {key: value for key, value in parts.items() if key not in stays}
    return kind.print(stays), kind.print(goes)


def _why_not_unset(option: Option | None) -> str:
    if option is None:
        return _UNKNOWN
    if option.required:
        return "PVE cannot do without it; take it out of unset"
    return "belongs to PVE, nobody can remove it; take it out of unset"


def _why_keep(option: Option, kind: str, key: str, text: str, context: Context) -> str:
    """Return why a key must not be deleted although it may be set; empty if it may."""
    if option.name == "arch":
        # recorded: 20-writes-lxc/060-062
        return "a container without 'arch' can neither be written nor started"
    if has_volume(option):
        parts = option.type.split(text) if isinstance(option.type, PropertyString) else {}
        volume = Volume(parts.get("file", parts.get("volume", "")))
        return "" if volume.is_empty or volume.is_iso else f"it would take {volume.text} away"
    try:
        why = roots_alone_to_unset(option, key, text, context)
    except Invalid:
        return ""
    return f"{why}; {root_remedy(option, kind, key, None, context)}" if why else ""


def text_of(actual: object) -> str:
    """Return what PVE answered as text; JSON's own booleans as PVE writes them."""
    if isinstance(actual, bool):
        return str(int(actual))
    return "\n".join(map(str, actual)) if isinstance(actual, (list, tuple)) else str(actual)
