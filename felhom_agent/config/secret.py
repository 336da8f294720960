"""Secrets, each from a file of its own: the API token's, the key for a hub, and the token for a
receiver of notifications.

They are no part of the configuration, and show themselves nowhere: not in a log, an error or a
`repr`, and not where somebody else's text quotes them (felhom_agent/redaction.py).
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from felhom_agent import regularfile
from felhom_agent.config.settings import HubConfig, NotifyConfig, ProxmoxConfig
from felhom_agent.errors import ConfigError
from felhom_agent.model import Place, Problem
from felhom_agent.printable import printable
from felhom_agent.redaction import remember

MAX_BYTES: Final = 10_000
"""How large a secret's file may be."""

_TOKEN_ID: Final = re.compile(r"[^\s@!=:/]{1,100}@[\w.-]{1,100}![\w.-]{1,100}", re.ASCII)

_TOKEN: Final = "token"
_HUB_KEY: Final = "hub key"
_RECEIVERS: Final = "receiver's token"
_SETTING: Final = {
    _TOKEN: "token_file in [proxmox]",
    _HUB_KEY: "key_file in [hub]",
    _RECEIVERS: "token_file in [notify]",
}


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
    """Given the settings, return the token's secret; its file may hold the id before it.

    Raise ConfigError if its file cannot be read, is readable by every user, does not hold exactly
    one word, or holds another token's id.
    """
    path = config.token_file
    word = _only_word(path, _TOKEN, "token")
    holder, _, text = word.rpartition("=")
    named = holder.removeprefix("PVEAPIToken=")
    if _TOKEN_ID.fullmatch(named) and config.token_id and named != config.token_id:
        raise _refuse(
            path, f"holds the secret of {named}, but token_id in agent.toml is {config.token_id}"
        )
    if not text:
        raise _refuse(path, "ends with =, so the token's secret is missing; copy it whole")
    return Secret(text)


def read_key(config: HubConfig) -> Secret:
    """Given the settings, return the key for the hub. Raise ConfigError as `read_secret` does."""
    return Secret(_only_word(config.key_file, _HUB_KEY, "hub-key"))


def read_notify_token(config: NotifyConfig) -> Secret | None:
    """Given the settings, return the receiver's token; None if none is set. Raise ConfigError as
    `read_secret` does.
    """
    if config.token_file is None:
        return None
    return Secret(_only_word(config.token_file, _RECEIVERS, "notify-token"))


def _only_word(path: Path, what: str, credential: str) -> str:
    """Given a secret's file, what it is of, and the credential's name that systemd may hand over
    in its place, return the one word in it.
    """
    try:
        content = regularfile.read(path, MAX_BYTES)
        words = content.data.decode("utf-8-sig").split()
    except regularfile.FileUnreadable as error:
        raise _refuse(path, _why_unreadable(what, error, credential)) from None
    except UnicodeDecodeError:
        text = f"the {what}'s file cannot be read: it is not text; {_how_to_fill(what)}"
        raise _refuse(path, text) from None
    if content.mode & stat.S_IROTH:
        raise _refuse(path, f"every user can read the {what}'s secret; run: chmod 600 {path}")
    if why := _why_no_word(words, what):
        raise _refuse(path, why)
    return words[0]


def _why_unreadable(what: str, error: regularfile.FileUnreadable, credential: str) -> str:
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if directory and _is_blank(Path(directory, credential)):
        # The unit hands over a blank where the file is empty or not there; the file itself is
        # root's, so the service would only hear that it may not read it.
        return (
            f"the {what}'s file is empty or missing; {_how_to_fill(what)}, and restart the service"
        )
    if error.denied:
        advice = "run this as root, or as the service's user"
    elif error.missing and what == _TOKEN:
        advice = f"`felhom-agent init` makes the token and this file, which {_SETTING[what]} names"
    else:
        advice = f"{_SETTING[what]} names it; {_how_to_fill(what)}"
    return f"the {what}'s file {error}; {advice}"


def _is_blank(path: Path) -> bool:
    try:
        return not regularfile.read(path, MAX_BYTES).data.strip()
    except regularfile.FileUnreadable:
        return False


def _why_no_word(words: list[str], what: str) -> str:
    """Return why the words of a file are no secret, without showing one; empty if they are one."""
    if not words:
        return f"is empty; {_how_to_fill(what)}"
    must = f"must hold the {what}'s secret and nothing else"
    if len(words) > 1:
        return f"{must}, in one line without blanks; it has {len(words)} words"
    if not words[0].isascii():
        return f"{must}; it has a character that no secret has, such as a typographic quote"
    if words[0][0] in "\"'`" or words[0][-1] in "\"'`":
        return f"{must}; take the quotes away"
    return ""


def _how_to_fill(what: str) -> str:
    if what == _TOKEN:
        return "put the token's secret in, as `pveum user token add USER NAME` shows it once"
    return f"put the {what}'s secret in, as its provider gave it"


def _refuse(path: Path, text: str) -> ConfigError:
    return ConfigError((Problem(Place(printable(str(path), 300)), printable(text, 400)),))
