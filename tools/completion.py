"""Makes the completions of bash and zsh of the commands' own parsers.

What a word may be is taken from its argument: choices, a path, a guest (`vmid`, `guests`), an
option of a guest. Guests come from `felhom-agent status --names`, which says nothing where it knows
none.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from felhom_agent.cli.adoptguests import guests
from felhom_agent.cli.command import any_path, file_path, vmid
from felhom_agent.cli.commands import COMMANDS
from felhom_agent.cli.explain import option_name
from felhom_agent.cli.main import parsers
from felhom_agent.model import Kind
from felhom_agent.options import keys

HERE = Path(__file__).parent
GUEST, FILE, TEXT = "guest", "file", "text"


def bash() -> str:
    """Return the completion of bash."""
    top, commands = parsers()
    named = {"": top, **commands}
    return _filled(
        "completion.bash",
        commands=" ".join(commands),
        options="\n".join(
            f"        {name or repr(name)}) REPLY='{' '.join(_names(parser))}' ;;"
            for name, parser in named.items()
        ),
        values="\n".join(_bash_values(named)),
        words="\n".join(_bash_words(commands)),
    )


def zsh() -> str:
    """Return the completion of zsh."""
    top, commands = parsers()
    summaries = (f"        {_zsh(f'{n}:{text}')}" for n, (_, text) in COMMANDS.items())
    cases = (
        f"        {name}) _arguments -s {_zsh_arguments(parser)} ;;"
        for name, parser in commands.items()
    )
    return _filled(
        "completion.zsh",
        commands="\n".join(summaries),
        options=_zsh_arguments(top),
        cases="\n".join(cases),
    )


def _filled(template: str, **parts: str) -> str:
    text = (HERE / template).read_text()
    return re.sub(r"@([A-Z]+)@", lambda found: parts[found[1].lower()], text)


def _names(parser: argparse.ArgumentParser) -> list[str]:
    return [name for action in _options(parser) for name in action.option_strings]


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        action
        for action in parser._actions  # noqa: SLF001  # argparse has no public name for it
        if action.option_strings and not _hidden(action)
    ]


def _hidden(action: argparse.Action) -> bool:
    """Return whether an option is for programs alone; those of every command are told once."""
    return action.help == argparse.SUPPRESS and action.dest not in ("config_after", "debug")


def _words(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        action
        for action in parser._actions  # noqa: SLF001  # argparse has no public name for it
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    ]


def _takes(action: argparse.Action) -> str:
    """Return what an argument takes: a kind of thing, or the words that it may be."""
    if action.choices is not None:
        return " ".join(map(str, action.choices))
    if action.type in (vmid, guests):
        return GUEST
    if action.type is option_name:
        named = {name.replace("[n]", "0") for kind in Kind for name in keys(kind)}
        return " ".join(sorted(named))
    return FILE if action.type in (any_path, file_path) else TEXT


def _bash_values(named: dict[str, argparse.ArgumentParser]) -> Iterator[str]:
    for name, parser in named.items():
        for action in _options(parser):
            if action.nargs != 0:
                pattern = "|".join(f"'{name} {option}'" for option in action.option_strings)
                yield f"        {pattern}) REPLY='{_takes(action)}' ;;"


def _bash_words(commands: dict[str, argparse.ArgumentParser]) -> Iterator[str]:
    for name, parser in commands.items():
        for at, action in enumerate(_words(parser)):
            number = "*" if action.nargs in ("*", "+") else str(at)
            yield f"        '{name} '{number}) REPLY='{_takes(action)}' ;;"


def _zsh_arguments(parser: argparse.ArgumentParser) -> str:
    specs = [_zsh_option(action) for action in _options(parser)]
    specs += [_zsh_word(action) for action in _words(parser)]
    return " ".join(f"\\\n            {spec}" for spec in specs)


def _zsh_option(action: argparse.Action) -> str:
    names = action.option_strings
    alone = isinstance(action, argparse._HelpAction | argparse._VersionAction)  # noqa: SLF001
    many = isinstance(action, argparse._AppendAction)  # noqa: SLF001
    head = "(- *)" if alone else "*" if many else f"({' '.join(names)})"
    text = "" if action.help in (None, argparse.SUPPRESS) else str(action.help)
    text = text % {"default": action.default} if "%" in text else text
    text = re.sub(r"([\[\]:\\])", r"\\\1", text or "agent.toml, or where an error came from")
    value = "" if action.nargs == 0 else f":{action.dest}:{_zsh_action(action)}"
    each = [f"{name}{'=' if value and name.startswith('--') else ''}" for name in names]
    start = _zsh(head) + (f"{{{','.join(each)}}}" if len(each) > 1 else each[0])
    return f"{start}{_zsh(f'[{text}]{value}')}"


def _zsh_word(action: argparse.Action) -> str:
    head = "*" if action.nargs in ("*", "+") else ""
    return _zsh(f"{head}:{action.dest}:{_zsh_action(action)}")


def _zsh_action(action: argparse.Action) -> str:
    takes = _takes(action)
    known = {GUEST: "_felhom_agent_guests", FILE: "_files", TEXT: " "}
    return known.get(takes) or f"({takes})"


def _zsh(text: str) -> str:
    """Return a text as one word of zsh."""
    quoted = text.replace("'", "'\\''")
    return f"'{quoted}'"
