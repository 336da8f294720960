"""Pages of docs/ on what people type and programs read: commands, events, and the forms of JSON."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from felhom_agent.cli.commands import COMMANDS, PACKAGES
from felhom_agent.cli.main import parsers
from felhom_agent.service.events import EVENTS

DOCS = Path(__file__).parent.parent / "docs"

_COMMANDS = """\
# Commands

Generated from `felhom_agent/cli/`; `make docs` rewrites it. `felhom-agent COMMAND --help` and
felhom-agent(1) say the same. What looks changes nothing. What acts asks first, or needs `--yes`
where there is no terminal. What each exit code means is in [exit-codes.md](exit-codes.md), what
`--json` prints in [json.md](json.md).

These options go before and after the name of every command:
"""

_EVENTS = """\
# Events

Generated from `felhom_agent/service/events.py`; `make docs` rewrites it. Each line that is worth
a name says its kind in journald's field `FELHOM_EVENT`, and has the id below as `MESSAGE_ID`.
Names and ids never change. `journalctl FELHOM_EVENT=NAME` finds the lines of one kind, and
`journalctl -x` shows what stands here below each of them.

A line also has, where it belongs to one: its guest (`VMID`), action (`ACTION`), operation
(`OP_ID`), PVE task (`UPID`), pass (`PASS`) and outcome (`OUTCOME`).
"""

_FORMS = """\
# JSON forms

Generated from the schemas in `docs/json/` and `docs/control/`; `make docs` rewrites it. Each is a
JSON Schema (draft 2020-12), and the tests validate every answer against it. A member is always
there unless its type says otherwise. Members are added at any time. None is taken away or changes
its meaning while the number `schema` of an answer stays; what that promises over versions is in
[versions.md](versions.md).

Where a command ends in an error before it has an answer, stdout is empty, and the error is on
stderr as without `--json`; the [exit code](exit-codes.md) tells of it first. `check` answers in
JSON also where agent.toml is wrong. Where a part of the answer is missing (a guest that nobody
knows, a damaged line of the journal), the answer is printed, and the error is told beside it.
"""


def commands() -> str:
    """Return the page on all commands, by what a person wants."""
    return _COMMANDS + "\n".join(_command_lines()) + "\n"


def events() -> str:
    """Return the page on all kinds of events."""
    lines = [_EVENTS]
    for event in EVENTS:
        lines += [f"## {event.name}", f"{event.subject}. `{event.message_id}`", "", event.advice]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def forms() -> str:
    """Return the page on what programs read."""
    lines = [_FORMS]
    for title, directory in (("Commands with `--json`", "json"), ("Control socket", "control")):
        lines.append(f"## {title}")
        for path in sorted((DOCS / directory).glob("*.json")):
            lines += [*form(path, json.loads(path.read_text())), ""]
    return "\n".join(lines).rstrip() + "\n"


def _command_lines() -> Iterator[str]:
    top, all_of_them = parsers()
    yield from _options(top, "felhom-agent")
    groups: dict[str, list[str]] = {}
    for name, (group, _) in COMMANDS.items():
        groups.setdefault(group, []).append(name)
    for group, names in groups.items():
        yield f"\n## {group[0].upper()}{group[1:]}"
        if package := PACKAGES.get(group):
            yield f"These are in the package `{package}`."
        for name in names:
            yield from _command(name, all_of_them[name])


def _command(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    usage = " ".join(command.format_usage().removeprefix("usage: ").split())
    yield f"\n### {name}"
    yield f"```text\n{usage}\n```"
    yield _plain(command.description)
    if options := list(_options(command, name)):
        yield ""
        yield from options
    if command.epilog:
        yield f"\n```text\n{_plain(command.epilog)}\n```"


def _options(command: argparse.ArgumentParser, name: str) -> Iterator[str]:
    rows = []
    for action in command._actions:  # noqa: SLF001  # argparse has no public name for it
        if action.help in (None, argparse.SUPPRESS) or action.dest in ("help", "command"):
            continue
        words = ", ".join(f"`{word}`" for word in action.option_strings) or f"`{action.dest}`"
        value = f" {action.metavar}" if action.option_strings and action.metavar else ""
        text = str(action.help) % {"default": action.default, "prog": name}
        rows.append(f"| {words}{value} | {_cell(text)} |")
    if rows:
        yield "| option | meaning |"
        yield "|---|---|"
        yield from rows


def form(path: Path, schema: Mapping[str, Any]) -> Iterator[str]:
    """Given a schema and its path, yield the lines of its part of the page on JSON forms."""
    yield f"### {path.parent.name}/{path.name}"
    yield f"[The schema]({path.parent.name}/{path.name}): {_inline(schema['title'])}."
    members = schema.get("properties") or {}
    # Nearly every schema says so for itself; the head of the page says it once.
    if text := re.sub(r"\s*Members are added and none .*", "", schema.get("description", "")):
        yield ""
        yield _inline(text)
    if members:
        yield ""
        yield "| member | type | meaning |"
        yield "|---|---|---|"
    required = schema.get("required", ())
    for name, member in members.items():
        kind = _type(member) + ("" if name in required else ", or not there")
        text = _cell(_inline(str(member.get("description", ""))))
        yield f"| `{name}` | {_cell(kind)} | {text} |"


def _type(member: Mapping[str, Any]) -> str:
    match member:
        case {"type": "array", "items": {"$ref": ref}}:
            return f"array of {str(ref).rpartition('/')[2]}"
        case {"type": "array", "items": {"type": str(inner)}}:
            return f"array of {inner}"
        case {"type": [*kinds]}:
            return " or ".join(kinds)
        case {"type": str(kind)}:
            return kind
        case {"const": value}:
            return f"`{json.dumps(value)}`"
        case {"enum": values}:
            return " or ".join(f"`{json.dumps(value)}`" for value in values)
        case {"$ref": ref}:
            return str(ref).rpartition("/")[2]
        case {"anyOf": kinds} | {"oneOf": kinds}:
            return " or ".join(_type(kind) for kind in kinds)
    return ""


def _plain(text: str | None) -> str:
    return (text or "").strip()


def _inline(text: str) -> str:
    """Return a text of a schema as Markdown: what looks like a tag or an emphasis is plain text."""
    return text.strip().replace("<", "\\<").replace("*", "\\*")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
