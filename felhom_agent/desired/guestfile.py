"""Guest files: TOML in which an operator declares guests.

    [guest.101]
    kind = "lxc"
    state = "running"
    unset = ["cpulimit"]
    [guest.101.config]
    cores = 2
    tags = ["dns", "prod"]

`guests_of` turns a parsed file into guests and tells everything that is wrong with it at once. What
PVE would refuse is refused here, where the file and line are at hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

from felhom_agent.config import did_you_mean
from felhom_agent.model import (
    DeclaredValue,
    DesiredGuest,
    Kind,
    Mode,
    Problem,
    RestartPolicy,
    RunState,
    StopPolicy,
)
from felhom_agent.options import Invalid, declared, keys, lookup
from felhom_agent.tomlfile import TomlFile

_KEYS = ("kind", "state", "mode", "stop", "restart", "identity", "config", "unset")
# PVE: pve-common JSONSchema.pm pve_verify_vmid
_VMID = re.compile(r"[1-9][0-9]{2,8}")

E = TypeVar("E", bound=StrEnum)


def guests_of(file: TomlFile) -> tuple[dict[int, DesiredGuest], list[Problem]]:
    """Given a parsed file, return the guests it declares and the problems found in it."""
    reader = _Reader(file)
    guests = list(reader.guests())
    problems = sorted(reader.problems, key=lambda p: p.place.line)
    return {g.vmid: g for g in guests}, problems


class _Reader:
    """Walks one file and collects what is wrong on the way."""

    def __init__(self, file: TomlFile) -> None:
        self._file = file
        self.problems: list[Problem] = []

    def guests(self) -> Iterator[DesiredGuest]:
        for name in self._file.data:
            if name != "guest":
                self._wrong(f"unknown table [{name}]{did_you_mean(name, ['guest'])}", name)
        table = self._file.data.get("guest", {})
        if not isinstance(table, dict):
            self._wrong("[guest] must hold tables like [guest.101]", "guest")
            return
        for name, body in table.items():
            if not _VMID.fullmatch(name) or not isinstance(body, dict):
                self._wrong(f"guest {name!r}: must be a table with a vmid from 100", "guest", name)
            else:
                yield self._guest(name, body)

    def _guest(self, name: str, body: Mapping[str, Any]) -> DesiredGuest:
        path = ("guest", name)
        for key in body:
            if key not in _KEYS:
                hint = self._hint(key, did_you_mean(key, _KEYS))
                self._wrong(f"guest {name}: unknown key {key!r}{hint}", *path, key)
        kind = self._word(body, Kind, path, "kind")
        config = self._config(body.get("config", {}), kind, path)
        state = self._word(body, RunState, path, "state")
        restart = self._word(body, RestartPolicy, path, "restart") or RestartPolicy.NEVER
        if restart is RestartPolicy.ALLOWED and state is not RunState.RUNNING:
            # Else nobody would start the guest again if the agent died between stop and start.
            text = f'guest {name}: restart = "allowed" needs state = "running"'
            self._wrong(text, *path, "restart")
        return DesiredGuest(
            vmid=int(name),
            kind=kind,
            state=state,
            mode=self._word(body, Mode, path, "mode") or Mode.ENFORCE,
            stop=self._word(body, StopPolicy, path, "stop") or StopPolicy.GRACEFUL,
            restart=restart,
            identity=self._text(body, path, "identity"),
            config=MappingProxyType(config),
            unset=self._unset(body.get("unset", []), config, kind, path),
            place=self._file.place(*path),
        )

    def _hint(self, key: str, otherwise: str) -> str:
        if any(lookup(kind, key) for kind in Kind):
            return "; an option of the guest belongs into its config table"
        return otherwise

    def _word(
        self, body: Mapping[str, Any], cls: type[E], path: tuple[str, ...], key: str
    ) -> E | None:
        if key not in body:
            return None
        try:
            return cls(body[key])
        except ValueError:
            words = " or ".join(f'"{word}"' for word in cls)
            self._wrong(f"guest {path[1]}: {key} must be {words}", *path, key)
            return None

    def _text(self, body: Mapping[str, Any], path: tuple[str, ...], key: str) -> str:
        value = body.get(key, "")
        if not isinstance(value, str):
            self._wrong(f"guest {path[1]}: {key} must be a text in quotes", *path, key)
            return ""
        return value

    def _config(
        self, table: Any, kind: Kind | None, path: tuple[str, ...]
    ) -> dict[str, DeclaredValue]:
        config: dict[str, DeclaredValue] = {}
        if not isinstance(table, dict):
            self._wrong(f"guest {path[1]}: config must be a table", *path, "config")
            return config
        for steps, value in _options(table):
            key = ".".join(steps)
            try:
                config[key] = _declared_value(value)
                _check(key, config[key], kind)
            except Invalid as error:
                text = f"guest {path[1]}: {key}: {str(error).strip()}"
                self._wrong(text, *path, "config", *steps)
        return config

    def _unset(
        self,
        names: Any,
        config: Mapping[str, DeclaredValue],
        kind: Kind | None,
        path: tuple[str, ...],
    ) -> frozenset[str]:
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            self._wrong(f"guest {path[1]}: unset must be a list of option names", *path, "unset")
            return frozenset()
        for key in names:
            if why := _why_not_unset(key, config, kind):
                self._wrong(f"guest {path[1]}: unset: {key}: {why}", *path, "unset")
        return frozenset(names)

    def _wrong(self, text: str, *path: str) -> None:
        self.problems.append(self._file.problem(text, *path))


def _options(table: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and value of each option; for TOML, `lxc.cap.drop` is a table in a table."""
    for key, value in table.items():
        if key == "lxc" and isinstance(value, dict):
            yield from (((key, *steps), leaf) for steps, leaf in _leaves(value))
        else:
            yield (key,), value


def _leaves(table: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from (((key, *steps), leaf) for steps, leaf in _leaves(value))
        else:
            yield (key,), value


def _declared_value(value: Any) -> DeclaredValue:
    """Given a TOML value, return it as declared. Raise Invalid if no option has such a value."""
    if isinstance(value, list):
        if all(isinstance(v, (str, int, float)) for v in value):
            return tuple(value)
        raise Invalid("a list must hold texts or numbers")
    if isinstance(value, (str, int, float)):
        return value
    raise Invalid("must be a text, a number, true, false or a list")


def _check(key: str, value: DeclaredValue, kind: Kind | None) -> None:
    """Raise Invalid if PVE would refuse the value; of an unknown kind, if both would."""
    known = _kinds_that_know(key, kind)
    if not known:
        raise Invalid(f"no such option{did_you_mean(key, _all_keys(kind))}")
    refusals: list[Invalid] = []
    for candidate in known:
        try:
            declared(candidate, key, value)
        except Invalid as error:
            refusals.append(error)
    if len(refusals) == len(known):
        raise refusals[0]


def _kinds_that_know(key: str, kind: Kind | None) -> list[Kind]:
    return [k for k in ([kind] if kind else Kind) if lookup(k, key)]


def _all_keys(kind: Kind | None) -> Iterable[str]:
    return {name for k in ([kind] if kind else Kind) for name in keys(k)}


def _why_not_unset(key: str, config: Mapping[str, DeclaredValue], kind: Kind | None) -> str:
    options = [lookup(k, key) for k in _kinds_that_know(key, kind)]
    known = [option for option in options if option]
    if not known:
        return f"no such option{did_you_mean(key, _all_keys(kind))}"
    if key in config:
        return "is also declared in config"
    if all(option.required for option in known):
        return "PVE cannot do without it"
    if all(option.server_owned for option in known):
        return "belongs to PVE; nobody can remove it"
    return ""
