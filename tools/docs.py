"""Writes what is taken from the code: parts of docs/ and of packaging/. A test sees to it that they
are current.

`docs/agent.toml.md` comes from the settings' own docstrings, `docs/equality.md` from the option
table, `docs/privileges.md` from that and the rules on values, `docs/metrics.md` from the table of
families, `docs/commands.md`, `docs/events.md` and `docs/json.md` from commands, events and schemas.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from felhom_agent.cli.codes import MEANINGS
from felhom_agent.config import settings as config
from felhom_agent.options import Option, PropertyString, keys, lookup
from felhom_agent.options.rules import rules_of
from felhom_agent.options.since import FIRST
from felhom_agent.options.types import Choice, Number
from felhom_agent.planning.defaults import DECIDED_BY
from tools import referencepages
from tools.manual import files
from tools.metricspage import page as metrics
from tools.privilegespage import page as privileges
from tools.settings import default_of, texts_of

DOCS = Path(__file__).parent.parent / "docs"
KINDS = Path(__file__).parent / "equality_kinds.md"

_SETTINGS = """\
# agent.toml

Generated from `felhom_agent/config/settings.py`; `make docs` rewrites it. Relative paths are
taken from the file's own directory. A file is checked whole, and every problem is told with its
line.
"""

_CODES = """\
# Exit codes

Generated from `felhom_agent/cli/codes.py`; `make docs` rewrites it. They are the same for every
command. Wrong usage and errors are one line on stderr each: what, where, and what to do.
`--debug` adds where in the program an error came from.

| code | meaning |
|---|---|
"""

_EQUALITY = """\
# What counts as equal

Generated from `felhom_agent/options/`; `make docs` rewrites it. Two values are equal when PVE,
given the one, would answer with the other. `felhom-agent explain KIND OPTION DESIRED ACTUAL` tells
the verdict on a pair, and why.

An option that is not declared is never looked at. A declared value that equals what PVE uses when
the option is absent (third column) equals absence. Parts marked with * belong to PVE: they count
only where they are declared, and are carried along when something else changes.
"""


def pages() -> dict[Path, str]:
    """Return each page that is made of the code, with its text."""
    return {
        **files(),
        DOCS / "agent.toml.md": "\n".join([_SETTINGS, *_settings()]) + "\n",
        DOCS / "exit-codes.md": _CODES + "\n".join(_codes()) + "\n",
        DOCS / "metrics.md": metrics(),
        DOCS / "commands.md": referencepages.commands(),
        DOCS / "events.md": referencepages.events(),
        DOCS / "json.md": referencepages.forms(),
        DOCS / "privileges.md": privileges(),
        DOCS / "equality.md": "\n".join([_EQUALITY, KINDS.read_text(), *_options()]) + "\n",
    }


def _codes() -> Iterator[str]:
    yield from (f"| {code} | {text} |" for code, text in MEANINGS.items())


def _settings() -> Iterator[str]:
    for section, cls in config.SECTIONS.items():
        texts = texts_of(cls)
        yield f"## [{section}]"
        yield f"{inspect.getdoc(cls)}\n"
        yield "| setting | default | meaning |"
        yield "|---|---|---|"
        for setting in dataclasses.fields(cls):
            yield f"| `{setting.name}` | {_default(setting)} | {texts[setting.name]} |"
        yield ""


def _default(setting: dataclasses.Field[Any]) -> str:
    default = default_of(setting).strip('"')
    return f"`{default}`" if default else ""


def _options() -> Iterator[str]:
    for kind, title in (("qemu", "VMs (QEMU)"), ("lxc", "containers (LXC)")):
        yield f"## Options of {title}"
        yield "| option | compared as | absent means | set with | remarks |"
        yield "|---|---|---|---|---|"
        for name in sorted(keys(kind)):
            option = lookup(kind, name.replace("[n]", "0"))
            if option is not None and not option.server_owned:
                yield _row(name, option)
        yield ""


def _row(name: str, option: Option) -> str:
    cells = [_compared(option), _absent(option), _privileges(option), _remarks(option)]
    return f"| `{name}` | {' | '.join(cells)} |"


def _compared(option: Option) -> str:
    kind = option.type
    match kind:
        case PropertyString():
            return "parts, in any order: " + ", ".join(_part(kind, k) for k in sorted(kind.keys))
        case Number():
            return f"{'whole number' if kind.integer else 'number'}{_bounds(kind)}"
        case Choice():
            return f"one of {', '.join(kind.values)}"
        case _:
            return "; ".join(rule.text for rule in rules_of("qemu", option) if rule.compares)


def _part(kind: PropertyString, key: str) -> str:
    spec = kind.keys[key]
    notes = [f"absent: {spec.default}"] if spec.default else []
    notes += [f"since {spec.since}"] if spec.since not in (None, FIRST) else []
    told = f" ({', '.join(notes)})" if notes else ""
    return f"{key}{'*' if spec.owned else ''}{told}"


def _bounds(kind: Number) -> str:
    if kind.minimum is None:
        return ""
    return f" from {kind.minimum}" + (f" to {kind.maximum}" if kind.maximum is not None else "")


def _absent(option: Option) -> str:
    if by := DECIDED_BY.get(option.name):
        return f"{f'`{option.default}`, ' if option.default else ''}decided by {by}"
    if option.default is None:
        return "not what blank is" if option.presence else "like no value"
    return f"`{option.default}`" if option.default else "empty"


def _privileges(option: Option) -> str:
    also = f", and {option.also}" if option.also else ""
    return " or ".join(option.privileges) + also


def _remarks(option: Option) -> str:
    remarks = {
        "root's alone; compared, never sent": bool(option.token_never),
        "PVE never tells it; never compared": option.secret,
        "fixed when the guest is made; compared, never sent": option.read_only,
        "cannot be unset": option.required,
        f"since {option.since}": option.since not in (None, FIRST),
    }
    return "; ".join(text for text, holds in remarks.items() if holds)


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {path.name}")
