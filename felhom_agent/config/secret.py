"""Secrets, each from a file of its own: the API token's, and the key for a hub.

They are no part of the configuration, and show themselves nowhere: not in a log, an error or a
`repr`, and not where somebody else's text quotes them (felhom_agent/redaction.py).
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from felhom_agent import regularfile
from felhom_agent.config.settings import HubConfig, ProxmoxConfig
from felhom_agent.errors import ConfigError
from felhom_agent.model import Place, Problem
from felhom_agent.printable import printable
from felhom_agent.redaction import remember

MAX_BYTES: Final = 10_000
"""How large a secret's file may be."""


@dataclass(frozen=True)
class Secret:
    """A text that must not be shown; `reveal` is the only way to it."""

    _text: str = field(repr=False)

    def __post_init__(self) -> None:
        remember(self._text)

    def reveal(self) -> str:
        return self._text

    def __str__(self) -> str:
        return "(secret)"


def read_secret(config: ProxmoxConfig) -> Secret:
    """Given the settings, return the token's secret.

    Raise ConfigError if its file cannot be read, is readable by every user, or does not hold
    exactly one word.
    """
    return Secret(_only_word(config.token_file, "token").rpartition("=")[2])


def read_key(config: HubConfig) -> Secret:
    """Given the settings, return the key for the hub. Raise ConfigError as `read_secret` does."""
    return Secret(_only_word(config.key_file, "hub key"))


def _only_word(path: Path, what: str) -> str:
    try:
        content = regularfile.read(path, MAX_BYTES)
        words = content.data.decode("utf-8-sig").split()
    except regularfile.FileUnreadable as error:
        raise _refuse(path, f"the {what}'s file {error}") from None
    except UnicodeDecodeError:
        raise _refuse(path, f"the {what}'s file cannot be read: it is not text") from None
    if content.mode & stat.S_IROTH:
        raise _refuse(path, f"every user can read the {what}'s secret; run: chmod 600 {path}")
    if len(words) != 1 or not words[0].isascii():
        raise _refuse(path, f"must hold the {what}'s secret and nothing else")
    return words[0]


def _refuse(path: Path, text: str) -> ConfigError:
    return ConfigError((Problem(Place(printable(str(path), 300)), text),))
