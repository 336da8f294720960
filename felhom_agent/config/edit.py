"""Changing one setting of agent.toml, and nothing else of it.

The file is a person's: comments, order, line ends and blanks stay as they are, byte for byte. What
was made is read again, and is taken only if it says the same as before but for that setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from felhom_agent.config import tomlfile
from felhom_agent.errors import ConfigError, FelhomError


def with_setting(data: bytes, path: Path, section: str, key: str, value: str) -> bytes:
    """Given a file's content and path, return it with a setting of this value, a plain text without
    quotes. Raise ConfigError if it is no TOML, FelhomError if a person has to change it.
    """
    before = tomlfile.parse_bytes(data, path)
    wanted = _expected(before.data, section, key, value)
    for changed in _candidates(data, before, section, key, value):
        try:
            if tomlfile.parse_bytes(changed, path).data == wanted:
                return changed
        except ConfigError:
            continue
    text = f"{before.path}: cannot be changed by itself; write into [{section}]: "
    raise FelhomError(f'{text}{key} = "{value}"')


def _expected(before: Any, section: str, key: str, value: str) -> dict[str, Any]:
    table = before.get(section, {})
    return {**before, section: {**(table if isinstance(table, dict) else {}), key: value}}


def _candidates(
    data: bytes, before: tomlfile.TomlFile, section: str, key: str, value: str
) -> Iterator[bytes]:
    """Yield contents that may be what is wanted, the best first."""
    lines = data.splitlines(keepends=True)
    end = b"\r\n" if b"\r\n" in data else b"\n"
    quoted = f'"{value}"'.encode()
    table = before.data.get(section)
    if isinstance(table, dict) and key in table:
        # Of a key in an inline table only the table's line is known.
        place = before.place(section, key).line or 1
        # The text after its `=`, in whatever quotes; on that line, or in a table on that line.
        text = rb"(\"\"\"|'''|\"|')[^\"']*\2"
        assigned = re.compile(rb"(\b" + re.escape(key.encode()) + rb"[\"']?[ \t]*=[ \t]*)" + text)
        head, tail = b"".join(lines[: place - 1]), b"".join(lines[place - 1 :])
        yield head + assigned.sub(lambda found: found[1] + quoted, tail, count=1)
        return
    setting = key.encode() + b" = " + quoted + end
    header = re.compile(rb"[ \t]*\[[ \t]*[\"']?" + re.escape(section.encode()) + rb"[\"']?[ \t]*\]")
    for number, line in enumerate(lines, start=1):
        if header.match(line):
            whole = line if line.endswith(b"\n") else line + end
            yield b"".join([*lines[: number - 1], whole, setting, *lines[number:]])
    if (place := before.place(section).line) > 0:  # dotted keys: `proxmox.node = "pve1"`
        dotted = section.encode() + b"." + setting
        yield b"".join([*lines[: place - 1], dotted, *lines[place - 1 :]])
    whole = data if data.endswith(b"\n") or not data else data + end
    yield whole + end + b"[" + section.encode() + b"]" + end + setting
