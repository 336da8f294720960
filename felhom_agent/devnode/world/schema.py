"""What PVE's schema says of parameters: which a call takes, which values it refuses with 400.

Options of guests come from the table in `felhom_agent.options`; the few other parameters of the
calls are described here. PVE collects everything that is wrong before it answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import cache

from felhom_agent.devnode.world.refusal import bad
from felhom_agent.options import Invalid, lookup
from felhom_agent.options.special import Description, Environment
from felhom_agent.options.types import Boolean, Choice

Raw = str | list[str] | None
"""A parameter as it came: text, repeated text, or JSON's null."""

Check = Callable[[str], str]
"""Given a value, return PVE's complaint about it, or ""."""

UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"

MISSING = "property is missing and it is not optional"

# Of more digits Python makes no number; what they tell is too large in any case.
_MAX_DIGITS = 1000
_LONGEST_NAME = 40

_TYPE_WORD = re.compile(r"type check \('(\w+)'\) failed")


def text(longest: int = 0) -> Check:
    """Return the check of a string of at most that many characters (0: of any length)."""

    def check(value: str) -> str:
        if longest and len(value) > longest:
            return f"value may only be {longest} characters long"
        return ""

    return check


def integer(least: int | None = None, most: int | None = None) -> Check:
    """Return the check of a whole number, not less than `least` and not more than `most`."""

    def check(value: str) -> str:
        if not re.fullmatch(r"[+-]?\d+", value):
            return f"type check ('integer') failed - got '{value}'"
        if least is not None and int(value[:_MAX_DIGITS]) < least:
            return f"value must have a minimum value of {least}"
        if most is not None and int(value[:_MAX_DIGITS]) > most:
            return f"value must have a maximum value of {most}"
        return ""

    return check


def boolean(value: str) -> str:
    """Given a value, complain unless it is 0 or 1."""
    return "" if value in ("0", "1") else f"type check ('boolean') failed - got '{value}'"


def snapshot_name(value: str) -> str:
    """Given a snapshot's name, complain as PVE does. recorded: 100-snapshots-qemu/011-036."""
    if len(value) > _LONGEST_NAME:
        return f"value may only be {_LONGEST_NAME} characters long"
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_-]+", value):
        return f"invalid format - invalid configuration ID '{value}'\n"
    return ""


def one_of(*words: str) -> Check:
    """Return the check of an enumeration."""
    listed = ", ".join(words)

    def check(value: str) -> str:
        if value in words:
            return ""
        return f"value '{value}' does not have a value in the enumeration '{listed}'"

    return check


def vmid(value: str) -> str:
    """Given a guest's number in a path, complain as PVE does. recorded: 03-notfound/016-017."""
    if not re.fullmatch(r"\d+", value):
        return f"type check ('integer') failed - got '{value}'"
    if not 100 <= int(value[:_MAX_DIGITS]) <= 999999999:
        return "invalid format - value does not look like a valid VM ID\n"
    return ""


def vmids(value: str) -> str:
    """Given a list of guests' numbers, complain as PVE does. recorded: 170-bulk/004."""
    wrong = any(
        not re.fullmatch(r"[1-9][0-9]{2,8}", each) for each in re.split(r"[,; ]+", value) if each
    )
    return "invalid format - value does not look like a valid VM ID\n" if wrong else ""


def task_states(value: str) -> str:
    """Given a list of how tasks ended, complain as PVE does. recorded: 9.2 203/030, 090."""
    for word in filter(None, re.split(r"[,; \0]+", value)):
        if word not in ("ok", "error", "warning", "unknown"):
            return f"invalid format - invalid status '{word}'\n"
    return ""


def option_check(kind: str, key: str) -> Check | None:
    """Given a guest's kind and a key, return the check of that option; None if there is none."""
    option = lookup(kind, key)
    if option is None:
        return None
    # PVE's patterns end in Perl's `$`, which also matches before a line feed at the end of a value:
    # whoever writes the file finds it (recorded: 202-values/309-310). Words are compared whole.
    strict = isinstance(option.type, (Boolean, Choice, Description, Environment))

    def check(value: str) -> str:
        try:
            option.type.check(value if strict else value.removesuffix("\n"))
        except Invalid as complaint:
            return str(complaint)
        return ""

    return check


@cache
def type_word(kind: str, key: str) -> str:
    """Given an option, return the schema's word for its JSON type ("integer", "string", ...).

    The table speaks PVE's words, so it is asked with a value that only a string can be.
    """
    check = option_check(kind, key)
    match = _TYPE_WORD.match(check("?")) if check else None
    return match[1] if match else "string"


def json_value(kind: str, key: str, value: str) -> str | int:
    """Given an option's text in the file, return it with the JSON type of PVE's answers.

    Whole numbers and booleans are numbers, all else is text, `number` too
    (recorded: 10-qemu-roundtrip/101-106); an unreadable one is handed out as it is (41-tasks-lxc
    /029).
    """
    if type_word(kind, key) == "boolean" and value.lower() in ("yes", "on", "true"):
        return 1
    if type_word(kind, key) in ("integer", "boolean") and re.fullmatch(r"[+-]?\d+", value):
        return int(value)
    return value


def verify(
    params: Mapping[str, Raw],
    find: Callable[[str], Check | None],
    word: Callable[[str], str],
    required: Collection[str] = (),
) -> dict[str, str]:
    """Given raw parameters, return them as texts. Raise `Refusal` (400) naming all that is wrong.

    `find` knows the check of a parameter, `word` its type; what is `required` must be there. A
    repeated one is joined where the schema has a list, else refused.
    recorded: 20-writes-qemu/035, 047.
    """
    errors, values = {key: MISSING for key in required if params.get(key) is None}, {}
    for key, raw in params.items():
        check = find(key)
        if check is None:
            errors[key] = UNKNOWN
        elif isinstance(raw, list) and key not in _LISTS:
            errors[key] = f"type check ('{word(key)}') failed - got ARRAY"
        elif raw is not None:
            values[key] = _LISTS.get(key, ",").join(raw) if isinstance(raw, list) else raw
            if complaint := check(values[key]):
                errors[key] = complaint
    if errors:
        raise bad(errors)
    return values


def verify_simple(
    params: Mapping[str, Raw], checks: Mapping[str, Check], required: Collection[str] = ()
) -> dict[str, str]:
    """Given a call's parameters and their checks, return them as texts. Raise `Refusal` (400)."""

    def word(key: str) -> str:
        return "boolean" if checks[key] is boolean else "string"

    return verify(params, checks.get, word, required)


_LISTS = {"tags": ";", "delete": ",", "revert": ",", "nameserver": " ", "searchdomain": " "}
