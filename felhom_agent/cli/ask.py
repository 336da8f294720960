"""How commands ask the running agent; shared by those that do."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from felhom_agent.cli.command import vmid
from felhom_agent.cli.out import say
from felhom_agent.config.agentfile import load_control
from felhom_agent.service.controlclient import NoAgent, call

_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MAX_DAYS = 366


def socket_of(config: Path) -> Path:
    """Given the path of agent.toml, return its agent's socket.

    Raise NoAgent if it has none, ConfigError if that cannot be told.
    """
    path = load_control(config).socket
    if path is None:
        raise NoAgent("this agent has no control socket: [control] socket in agent.toml is empty")
    return path


def tell(config: Path, route: str, given: Mapping[str, Any] | None = None) -> bool:
    """Given the path of agent.toml, a route and its fields, ask the agent, and say what it did;
    return whether that was anything. Raise FelhomError if it cannot be asked, or says no.
    """
    answer = call(socket_of(config), "POST", route, given)
    say(answer.get("text", ""))
    return bool(answer.get("done"))


def duration(text: str) -> int:
    """Given an argument like `90`, `90s`, `15m`, `2h` or `1d`, return the seconds. Raise
    ArgumentTypeError if it is none.
    """
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 1 <= seconds <= _MAX_DAYS * 86400:
        words = f"{text!r} is no time like 90s, 15m, 2h or 1d, of at most {_MAX_DAYS}d"
        raise argparse.ArgumentTypeError(words)
    return seconds


def add_guests(parser: argparse.ArgumentParser) -> None:
    """Let a command take guests, or all."""
    parser.add_argument("vmid", nargs="*", type=vmid, help="these guests")
    parser.add_argument("--all", action="store_true", help="all guests of this host")


def guests_of(arguments: argparse.Namespace) -> list[int | str]:
    """Return the guests that a command was given, or all. Raise SystemExit if it is neither."""
    if bool(arguments.vmid) == arguments.all:
        arguments.usage_error("name guests by their VMID, or say --all")
    return ["all"] if arguments.all else list(dict.fromkeys(arguments.vmid))
