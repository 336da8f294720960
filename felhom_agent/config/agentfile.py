"""`agent.toml`, read and checked.

A file is checked whole: every problem is reported at once, with its line.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, get_type_hints
from urllib.parse import urlsplit

from felhom_agent import regularfile
from felhom_agent.config import tomlfile
from felhom_agent.config.huboptions import Grant, granted
from felhom_agent.config.notifywords import EVENT_NAMES
from felhom_agent.config.place import CREDENTIALS, DEFAULT_PATH
from felhom_agent.config.settings import (
    MAX_SIGNATURES,
    SECTIONS,
    SIGNED_ACTS,
    AuthzConfig,
    Config,
    ControlConfig,
    JournalConfig,
    KeyRole,
    ProxmoxConfig,
    Threshold,
)
from felhom_agent.config.suggest import did_you_mean
from felhom_agent.errors import ConfigError
from felhom_agent.model import Problem
from felhom_agent.printable import printable

MAX_PROBLEMS = 20
"""How many problems are told; of the others only their number."""
MAX_TEXT = 4096
"""How many characters a setting may have: as many as a path."""

_TOKEN_ID = re.compile(r"[^\s@!=:/]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]+")
_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}")
_SECRET_ITSELF = re.compile(r"(?:.*=)?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_FINGERPRINT_ADVICE = (
    "must be 32 pairs of hex digits with colons (SHA-256), as `pvenode cert info` shows it"
)
_NODE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_HOST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# PVE: pve-common JSONSchema.pm pve_verify_vmid
_RANGE = re.compile(r"([1-9][0-9]{2,8})(?:-([1-9][0-9]{2,8}))?", re.ASCII)
_MAX_RANGES = 1000
_SECRETS = frozenset({"key", "token", "token_secret", "token_value", "secret", "password"})

# Which credential of the service stands for which setting; a blank one stands for none.
_CREDENTIALS = {"token_file": "token", "ca_file": "pve-root-ca.pem"}

T = TypeVar("T")


def load(path: Path) -> Config:
    """Given a path, return its configuration. Raise ConfigError with all that is wrong in it."""
    file = _read(path)
    problems: list[Problem] = []
    for name in file.data:
        if name not in SECTIONS:
            hint = did_you_mean(name, SECTIONS) if len(problems) < MAX_PROBLEMS else ""
            known = hint or f"; known are {', '.join(f'[{section}]' for section in SECTIONS)}"
            problems.append(file.problem(f"{_unknown_top(file.data[name], name)}{known}", name))
    parts: dict[str, Any] = {
        name: _section(file, name, cls, path.resolve().parent, problems)
        for name, cls in SECTIONS.items()
    }
    config = Config(**parts, path=path)
    problems += _contradictions(file, config)
    if problems:
        told = sorted(problems, key=lambda p: p.place.line)
        if len(told) > MAX_PROBLEMS:
            more = file.problem(f"and {len(told) - MAX_PROBLEMS} more problems")
            told = [*told[:MAX_PROBLEMS], more]
        raise ConfigError(tuple(told))
    proxmox = _completed(config.proxmox, file.data.get("proxmox", {}))
    hub = dataclasses.replace(config.hub, host_id=config.hub.host_id or proxmox.node)
    if "key_file" not in file.data.get("hub", {}) and (key := _credential("hub-key")):
        hub = dataclasses.replace(hub, key_file=key)
    notify = config.notify
    if "token_file" not in file.data.get("notify", {}):
        notify = dataclasses.replace(notify, token_file=_notify_token())
    return dataclasses.replace(config, proxmox=proxmox, hub=hub, notify=notify)


def _read(path: Path) -> tomlfile.TomlFile:
    try:
        return tomlfile.read(path)
    except ConfigError as error:
        if not _is_missing(path):
            raise
        (problem,) = error.problems
        text = f"{problem.text}; write it, or name another file with --config"
        raise ConfigError((dataclasses.replace(problem, text=text),)) from None


def _is_missing(path: Path) -> bool:
    try:
        path.lstat()
    except PermissionError:  # nobody knows
        return False
    except OSError:
        return True
    return False


def load_control(path: Path) -> ControlConfig:
    """Given a path, return how the agent of that configuration is spoken to, whatever else is wrong
    with it: who wants to stop an agent must not have to mend its file first.

    Raise ConfigError if that cannot be told.
    """
    return _load_section(path, "control", ControlConfig)


def load_authz(path: Path) -> AuthzConfig:
    """Given a path, return who may sign by that configuration, whatever else is wrong with it.

    Raise ConfigError if that cannot be told.
    """
    return _load_section(path, "authz", AuthzConfig)


def load_journal(path: Path) -> JournalConfig:
    """As `load_control`, of [journal]."""
    return _load_section(path, "journal", JournalConfig)


def _load_section(path: Path, name: str, cls: type[T]) -> T:
    problems: list[Problem] = []
    try:
        file = tomlfile.read(path)
        found = _section(file, name, cls, path.resolve().parent, problems)
    except ConfigError:
        if path == DEFAULT_PATH:
            return cls()
        raise
    if problems:
        raise ConfigError(tuple(problems))
    return found


def _section(
    file: tomlfile.TomlFile, name: str, cls: type[T], base: Path, problems: list[Problem]
) -> T:
    table = file.data.get(name, {})
    if not isinstance(table, dict):
        problems.append(file.problem(f"[{name}] must be a table, on a line of its own", name))
        return cls()
    hints = get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        try:
            if key not in known:
                raise ValueError(_unknown(key, known, hint=len(problems) < MAX_PROBLEMS))
            if hints[key] == tuple[Grant, ...]:
                values[key] = _granted(file, (name, key), value, problems)
            elif hints[key] == tuple[Threshold, ...]:
                values[key] = _thresholds(file, (name, key), value, problems)
            else:
                values[key] = _convert(value, hints[key], known[key], base)
        except ValueError as error:
            problems.append(file.problem(f"[{name}] {_shown(key)}: {error}", name, key))
    return cls(**values)


def _granted(
    file: tomlfile.TomlFile, path: tuple[str, str], value: Any, problems: list[Problem]
) -> tuple[Grant, ...]:
    """Return the grants of a table; what is wrong with one has its own line."""
    found, wrong = granted(_typed(value, dict, "a table"))
    for key, text in wrong:
        section = ".".join(path)
        problems.append(file.problem(f"[{section}] {_shown(key)}: {text}", *path, key))
    return found


def _thresholds(
    file: tomlfile.TomlFile, path: tuple[str, str], value: Any, problems: list[Problem]
) -> tuple[Threshold, ...]:
    """Return the thresholds of a table; what is wrong with one has its own line."""
    found: list[Threshold] = []
    for key, keys in _typed(value, dict, "a table").items():
        wrong = ""
        if key not in SIGNED_ACTS:
            wrong = f"is no class of signed acts{did_you_mean(key, SIGNED_ACTS)}"
        elif type(keys) is not int or not 1 <= keys <= MAX_SIGNATURES:
            wrong = f"must be a whole number from 1 to {MAX_SIGNATURES}, not {_given(keys)}"
        if wrong:
            problems.append(file.problem(f"[{'.'.join(path)}] {_shown(key)}: {wrong}", *path, key))
        else:
            found.append(Threshold(key, keys))
    return tuple(found)


def _unknown_top(value: Any, name: str) -> str:
    """Return what is wrong with what stands at the file's top and is no section."""
    if isinstance(value, dict):
        return f"unknown section [{_shown(name)}]"
    return f'"{_shown(name)}" stands outside of any section'


def _shown(name: str) -> str:
    return printable(name, 60)


def _unknown(key: str, known: dict[str, Any], *, hint: bool) -> str:
    if key in _SECRETS:
        return "a secret does not belong in this file; put it into a file of its own, token_file"
    if not hint:
        return "unknown key"
    return f"unknown key{did_you_mean(key, known) or '; docs/agent.toml.md has all of them'}"


def _convert(value: Any, hint: Any, setting: dataclasses.Field[Any], base: Path) -> Any:
    """Given a TOML value and a field, return the field's value. Raise ValueError in words."""
    if hint is bool:
        return _typed(value, bool, "true or false, without quotes")
    if hint in (int, float):
        return _number(value, hint, setting)
    if hint in _LISTS:
        words, read = _LISTS[hint]
        return tuple(read(each) for each in _listed(value, words))
    text = str(_typed(value, str, "a string in quotes"))
    if len(text) > MAX_TEXT or not text.isprintable():
        raise ValueError(f"must be one line of at most {MAX_TEXT} characters")
    if hint is str:
        return text
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _word(text, hint)
    if not text and setting.metadata.get("may_be_empty"):
        return None
    if not text:
        raise ValueError("must be a path, not empty")
    return base / text


def _typed(value: Any, cls: type, words: str) -> Any:
    if not isinstance(value, cls):
        raise ValueError(f"must be {words}, not {_given(value)}")
    return value


def _given(value: Any) -> str:
    """Return a TOML value as it is shown where another one was wanted."""
    if isinstance(value, str):
        return f'"{printable(value, 40)}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return printable(str(value), 40)
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    return "a date"


def _word(text: str, words: type[StrEnum]) -> StrEnum:
    """Given a text and the words it may be, return the word. Raise ValueError in words."""
    try:
        return words(text)
    except ValueError:
        known = " or ".join(f'"{word}"' for word in words)
        raise ValueError(f"must be {known}{did_you_mean(text, map(str, words))}") from None


def _listed(value: Any, words: str) -> list[Any]:
    found: list[Any] = _typed(value, list, words)
    if len(found) > _MAX_RANGES:
        raise ValueError(f"must have at most {_MAX_RANGES} entries; use ranges")
    return found


def _event(value: Any) -> str:
    """Given a value, return it as the name of an event. Raise ValueError if it is none."""
    name: str = _typed(value, str, "names of events in quotes")
    if name not in EVENT_NAMES:
        end = did_you_mean(name, EVENT_NAMES) or "; felhom-agent(1) has all of them"
        raise ValueError(f"{_given(name)} is no event that can be told{end}")
    return name


def _vmids(value: Any) -> range:
    """Given a vmid or a text like "200-299", return the vmids. Raise ValueError if it is none."""
    text = str(value) if type(value) is int and value < 10**9 else value
    found = _RANGE.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found[2] or found[1]) < int(found[1]):
        raise ValueError(f'must hold vmids from 100 and ranges like "200-299", not {_given(value)}')
    return range(int(found[1]), int(found[2] or found[1]) + 1)


def _role(value: Any) -> StrEnum:
    """Given a value, return it as a key's role. Raise ValueError if it is none."""
    return _word(_typed(value, str, "a role in quotes"), KeyRole)


_LISTS: Mapping[Any, tuple[str, Callable[[Any], Any]]] = {
    tuple[str, ...]: ("a list of events", _event),
    tuple[range, ...]: ("a list of vmids and ranges", _vmids),
    tuple[KeyRole, ...]: ("a list of roles", _role),
}


def _number(value: Any, cls: type[int] | type[float], setting: dataclasses.Field[Any]) -> float:
    low, high = setting.metadata["range"]
    words = f"{'a whole number' if cls is int else 'a number'} from {low:g} to {high:g}"
    kinds = int if cls is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise ValueError(f"must be {words}, not {_given(value)}")
    return cls(value)


def _contradictions(file: tomlfile.TomlFile, config: Config) -> list[Problem]:
    """Return what is wrong although every value for itself is of the right type."""
    found: list[Problem] = []

    def wrong(section: str, key: str, text: str) -> None:
        found.append(file.problem(f"[{section}] {key}: {text}", section, key))

    _of_proxmox(file, config.proxmox, wrong)
    if config.hub.url and not _is_server(config.hub.url):
        wrong("hub", "url", "must be like https://hub.example; http only towards this host")
    if config.notify.url and not _is_server(config.notify.url):
        text = "must be like https://push.example/topic, without user, password or query; http only"
        wrong("notify", "url", f"{text} towards this host; a token belongs into token_file")
    if config.hub.host_id and not _HOST_ID.fullmatch(config.hub.host_id):
        wrong("hub", "host_id", "must be letters, digits, dots, dashes and underscores")
    if config.metrics.textfile is not None and config.metrics.textfile.suffix != ".prom":
        wrong("metrics", "textfile", "must end in .prom; node_exporter reads no other files")
    if config.reconcile.backoff_first > config.reconcile.backoff_cap:
        wrong("reconcile", "backoff_first", "is greater than backoff_cap")
    return found


def _of_proxmox(
    file: tomlfile.TomlFile, pve: ProxmoxConfig, wrong: Callable[[str, str, str], None]
) -> None:
    """Tell what is wrong with how the node is reached."""
    if why := _why_no_endpoint(pve.endpoint):
        wrong("proxmox", "endpoint", f"must be like https://localhost:8006; {why}")
    if not _TOKEN_ID.fullmatch(pve.token_id):
        wrong("proxmox", "token_id", _token_id_advice(pve.token_id))
    if _SECRET_ITSELF.fullmatch(pve.token_file.name):
        wrong("proxmox", "token_file", "must be a file's path; the secret itself belongs in there")
    if pve.node and not _NODE.fullmatch(pve.node):
        wrong("proxmox", "node", "must be a node's short name, as `pvesh get /nodes` shows it")
    if pve.fingerprint and not _FINGERPRINT.fullmatch(pve.fingerprint):
        wrong("proxmox", "fingerprint", _FINGERPRINT_ADVICE)
    if pve.insecure and (pve.fingerprint or "ca_file" in file.data.get("proxmox", {})):
        wrong("proxmox", "insecure", "contradicts ca_file or fingerprint; keep one of them")


def _why_no_endpoint(url: str) -> str:
    """Return why a text is no URL of a PVE API; empty if it is one."""
    if not url.lower().startswith("https://"):
        return "PVE's API speaks https alone" if "://" in url else "https:// is missing in front"
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "an IPv6 address stands in brackets: https://[2001:db8::1]:8006"
    if not host or any(c.isspace() for c in host):
        return "there is no host's name in it"
    if parts.username is not None or parts.query or parts.fragment or parts.path.strip("/"):
        return "nothing may be there but the host and the port: no path, no user, no password"
    if host.count(":") > 1 and "[" not in url:
        return "an IPv6 address stands in brackets: https://[2001:db8::1]:8006"
    return _why_no_port(parts.netloc)


def _why_no_port(netloc: str) -> str:
    """Return why what stands behind a host's name is no port; empty if it is one, or is none."""
    colon, port = netloc.rpartition("]")[2].rpartition(":")[1:]
    if not colon or (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
        return ""
    shown = printable(port, 20)
    return f'the port must be a whole number from 1 to 65535, not "{shown}"; that of PVE is 8006'


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        plain = bool(parts.hostname) and not (parts.query or parts.fragment or parts.username)
        plain = plain and parts.port != 0 and url.isascii() and url.isprintable() and " " not in url
        here = parts.hostname in ("localhost", "127.0.0.1", "::1")
        return plain and (parts.scheme == "https" or (parts.scheme == "http" and here))
    except ValueError:
        return False


def _token_id_advice(token_id: str) -> str:
    if "=" in token_id:
        # The value is not shown: what follows the equals sign is the secret.
        return "must end before the '='; what follows is the secret and belongs in token_file"
    return "must be like user@realm!name, as `pveum user token list USER` shows it"


def _completed(proxmox: ProxmoxConfig, declared: Mapping[str, Any]) -> ProxmoxConfig:
    """Return the settings with what this host and its systemd know."""
    known: dict[str, Any] = {"node": proxmox.node or os.uname().nodename.split(".")[0]}
    for setting, name in _CREDENTIALS.items():
        if setting not in declared and (credential := _credential(name)):
            known[setting] = credential
    return dataclasses.replace(proxmox, **known)


def _notify_token() -> Path | None:
    """Return where the receiver's token is unless a setting tells; None if there is none."""
    path = CREDENTIALS["notify-token"]
    return _credential("notify-token") or (path if os.path.lexists(path) else None)


def _credential(name: str) -> Path | None:
    """Return where systemd put a credential (systemd.exec(5)); None if it has none, or a blank."""
    path = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"), name)
    try:
        return path if regularfile.read(path).data.strip() else None
    except regularfile.FileUnreadable:
        return None
