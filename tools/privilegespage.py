"""The page `docs/privileges.md`: what a token needs to set each option, from the two tables."""

from __future__ import annotations

from collections.abc import Iterator

from felhom_agent.options import Option, keys, lookup
from felhom_agent.options.since import FIRST
from felhom_agent.planning.privilegerules import BY_VALUE, ValueRule
from felhom_agent.planning.privileges import rules_of

_HEAD = """\
# What the token needs

Generated from `felhom_agent/options/` and `felhom_agent/planning/privilegerules.py`; `make docs`
rewrites it. An option that is not declared needs nothing. `felhom-agent check` compares what the
declared values need with what the token has, and prints the `pveum` lines for what is lacking;
`felhom-agent plan` shows what it may not do.

Seeing a guest needs `VM.Audit` on it, a start or a shutdown `VM.PowerMgmt`. Without any
`VM.Config.*` PVE looks at no change at all. Where several privileges are named with "or", the first
is the one that `check` names. What the last table says of a value counts for the one that is set
and, where it says so, for the one that it replaces or that is deleted.
"""

_KINDS = (("qemu", "VMs (QEMU)"), ("lxc", "containers (LXC)"))


def page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *_options(), *_rules()]) + "\n"


def _options() -> Iterator[str]:
    for kind, title in _KINDS:
        yield f"## Options of {title}"
        yield "| privilege on the guest | options |"
        yield "|---|---|"
        found: dict[str, list[str]] = {}
        for name in sorted(keys(kind)):
            option = lookup(kind, name.replace("[n]", "0"))
            if option is not None and not option.server_owned and not option.read_only:
                found.setdefault(_needs(kind, option), []).append(f"`{name}`")
        yield from (f"| {needs} | {', '.join(names)} |" for needs, names in found.items())
        yield ""


def _needs(kind: str, option: Option) -> str:
    if option.token_never:
        return "none will do: root alone sets it"
    if (kind, option.name) in BY_VALUE:
        return "by the value, see below"
    return " or ".join(f"`{name}`" for name in option.privileges)


def _rules() -> Iterator[str]:
    yield "## By the value"
    yield "| option | value | privilege | on | counts for | source |"
    yield "|---|---|---|---|---|---|"
    for rule in _all():
        names = ", ".join(f"`{name}`" for name in rule.options)
        kinds = "" if len(rule.kinds) > 1 else f" ({'VM' if rule.kinds == ('qemu',) else 'CT'})"
        privileges = " or ".join(f"`{name}`" for name in rule.any_of)
        since = "" if rule.since == FIRST else f"; since {rule.since}"
        since += f"; until {rule.until}" if rule.until else ""
        yield (
            f"| {names}{kinds} | {rule.when} | {privileges} | {rule.where} | {_counts(rule)} "
            f"| {rule.source}{since} |"
        )


def _all() -> Iterator[ValueRule]:
    seen: list[ValueRule] = []
    for kind, _ in _KINDS:
        for name in keys(kind):
            option = lookup(kind, name.replace("[n]", "0"))
            for rule in rules_of(kind, option) if option else ():
                if rule not in seen:
                    seen.append(rule)
    yield from sorted(seen, key=lambda rule: (rule.options[0], rule.kinds, rule.when, rule.any_of))


def _counts(rule: ValueRule) -> str:
    words = {"set": rule.new, "replaced": rule.old, "deleted": rule.gone}
    return ", ".join(word for word, holds in words.items() if holds)
