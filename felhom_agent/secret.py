"""Secrets, each from a file of its own: the API token's, and the key for a hub.

They are no part of the configuration, and show themselves nowhere: not in a log, an error or a
`repr`, and not where somebody else's text quotes them (felhom_agent/redaction.py).
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

from felhom_agent.config import HubConfig, ProxmoxConfig
from felhom_agent.errors import ConfigError
from felhom_agent.model import Place, Problem
from felhom_agent.redaction import remember


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
        mode = path.stat().st_mode
        words = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise _refuse(path, f"the {what}'s file cannot be read: {why}") from None
    if mode & stat.S_IROTH:
        raise _refuse(path, f"every user can read the {what}'s secret; run: chmod 600 {path}")
    if len(words) != 1 or not words[0].isascii():
        raise _refuse(path, f"must hold the {what}'s secret and nothing else")
    return words[0]


def _refuse(path: Path, text: str) -> ConfigError:
    return ConfigError((Problem(Place(str(path)), text),))
