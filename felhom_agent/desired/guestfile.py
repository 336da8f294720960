"""Guest files: TOML in which an operator declares guests.

    [guest.101]
    kind = "lxc"
    state = "running"
    unset = ["cpulimit"]
    [guest.101.config]
    cores = 2
    tags = ["dns", "prod"]

`declarations_of` turns a parsed file into guests and tells everything that is wrong with it at
once. What PVE would refuse is refused here, where the file and line are at hand. What is wrong
inside of a guest's table costs that guest, and no other one of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

from felhom_agent.config.suggest import did_you_mean
from felhom_agent.config.tomlfile import TomlFile
from felhom_agent.desired.dangerous import unconfirmed
from felhom_agent.model import (
    DeclaredValue,
    DesiredGuest,
    Kind,
    Mode,
    Problem,
    RestartPolicy,
    RunState,
    Source,
    StopPolicy,
)
from felhom_agent.options import (
    Invalid,
    clashes,
    declared,
    keys,
    lookup,
    lost_by_unset,
    spoken,
)
from felhom_agent.printable import printable

MAX_PROBLEMS: Final = 20
"""How many problems of one file are told; of the others only their number."""
MAX_VALUE: Final = 60
"""How many characters of a declared value, or of a name, are shown."""
MAX_UNSET: Final = 1000
MAX_IDENTITY: Final = 1000

_KEYS = ("kind", "state", "mode", "stop", "restart", "identity", "config", "unset", "dangerous")
# PVE: pve-common JSONSchema.pm pve_verify_vmid
_VMID = re.compile(r"[1-9][0-9]{2,8}")

E = TypeVar("E", bound=StrEnum)


@dataclass
class Declarations:
    """What a file declares: the guests that can be followed; those that cannot, each with the first
    thing that is wrong with it; all problems, and remarks on guests that are good.

    `whole` is false where something is wrong outside of the guests' tables, so that nobody knows
    whether it was meant to declare one.
    """

    guests: dict[int, DesiredGuest] = field(default_factory=dict)
    wrong: dict[int, Problem] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    remarks: dict[int, str] = field(default_factory=dict)
    whole: bool = True


def declarations_of(
    file: TomlFile, *, hints: bool = True, source: Source = Source.FILE
) -> Declarations:
    """Given a parsed file, return what it declares; with `hints`, problems guess at what was meant
    by a wrong word, which takes its time. `source` is who wrote it.
    """
    return _Reader(file, hints=hints, source=source).read()


def guests_of(
    file: TomlFile, *, hints: bool = True, source: Source = Source.FILE
) -> tuple[dict[int, DesiredGuest], list[Problem]]:
    """Given a parsed file, return the guests it declares rightly, and the problems found in it."""
    found = declarations_of(file, hints=hints, source=source)
    return found.guests, found.problems


class _Reader:
    """Walks one file and collects what is wrong on the way."""

    def __init__(self, file: TomlFile, *, hints: bool, source: Source) -> None:
        self._file = file
        self._hints = hints
        self._source = source
        self._found = Declarations()
        self._count = 0
        self._vmid = 0  # of the guest whose table is being read; 0: it is none's

    def read(self) -> Declarations:
        found = self._found
        for name in self._file.data:
            if name != "guest":
                hint = self._did_you_mean(name, ["guest"])
                self._outside(_not_of_a_guest(name, self._file.data[name], hint), name)
        table = self._file.data.get("guest", {})
        if isinstance(table, dict):
            for name, body in table.items():
                self._entry(name, body)
        else:
            self._outside("[guest] must hold tables like [guest.101]", "guest")
        found.problems.sort(key=lambda problem: problem.place.line)
        if self._count > MAX_PROBLEMS:
            text = f"and {self._count - MAX_PROBLEMS} more problems"
            found.problems.append(self._file.problem(text))
        return found

    def _entry(self, name: str, body: Any) -> None:
        """Read what stands under a guest's number."""
        if not _VMID.fullmatch(name):
            self._outside(_not_a_number(name, body), "guest", name)
            return
        self._vmid = int(name)
        if isinstance(body, dict):
            guest = self._guest(name, body)
            if self._vmid not in self._found.wrong:
                self._found.guests[self._vmid] = guest
        else:
            text = f"guest {name} must be a table: [guest.{name}] on a line of its own"
            self._wrong(text, "guest", name)
        if self._vmid in self._found.wrong:
            self._found.remarks.pop(self._vmid, None)
        self._vmid = 0

    def _did_you_mean(self, word: str, known: Iterable[str]) -> str:
        # A guess costs a comparison with every known word, and is of use to who reads it.
        wanted = self._hints and self._count < MAX_PROBLEMS
        return did_you_mean(word, known) if wanted else ""

    def _guest(self, name: str, body: Mapping[str, Any]) -> DesiredGuest:
        path = ("guest", name)
        for key in body:
            if key not in _KEYS:
                hint = self._hint(key)
                self._wrong(f'guest {name}: unknown key "{_shown(key)}"{hint}', *path, key)
        kind = self._word(body, Kind, path, "kind")
        config = self._config(body.get("config", {}), kind, path)
        state = self._word(body, RunState, path, "state")
        restart = self._restart(body, state, path)
        unset = self._unset(body.get("unset", []), config, kind, path)
        for key, why in clashes(kind, config, unset):
            self._wrong(f"guest {name}: {spoken(key, why)}", *path, "config", key)
        if self._source is Source.FILE:  # a hub has no say in it, whether once or twice
            for where, text in unconfirmed(kind, config, body.get("dangerous", [])):
                self._wrong(f"guest {name}: {text}", *path, *where)
        return DesiredGuest(
            vmid=int(name),
            kind=kind,
            state=state,
            mode=self._word(body, Mode, path, "mode") or Mode.ENFORCE,
            stop=self._word(body, StopPolicy, path, "stop") or StopPolicy.GRACEFUL,
            restart=restart,
            identity=self._text(body, path, "identity"),
            config=MappingProxyType(config),
            unset=unset,
            source=self._source,
            place=self._file.place(*path),
        )

    def _hint(self, key: str) -> str:
        if any(lookup(kind, key) for kind in Kind):
            return f"; an option of the guest belongs in [guest.{self._vmid}.config]"
        return self._did_you_mean(key, _KEYS) or f"; known are {', '.join(_KEYS)}"

    def _restart(
        self, body: Mapping[str, Any], state: RunState | None, path: tuple[str, ...]
    ) -> RestartPolicy:
        restart = self._word(body, RestartPolicy, path, "restart") or RestartPolicy.NEVER
        if restart is RestartPolicy.ALLOWED and state is RunState.STOPPED:
            self._found.remarks[int(path[1])] = (
                'restart = "allowed" says nothing while state = "stopped"'
            )
            return RestartPolicy.NEVER
        if restart is RestartPolicy.ALLOWED and state is None:
            # Else nobody would start the guest again if the agent died between stop and start.
            text = f'guest {path[1]}: restart = "allowed" needs state = "running"'
            self._wrong(text, *path, "restart")
        return restart

    def _word(
        self, body: Mapping[str, Any], cls: type[E], path: tuple[str, ...], key: str
    ) -> E | None:
        if key not in body:
            return None
        try:
            return cls(body[key])
        except ValueError:
            words = " or ".join(f'"{word}"' for word in cls)
            text = f"guest {path[1]}: {key} must be {words}, not {_given(body[key])}"
            self._wrong(text, *path, key)
            return None

    def _text(self, body: Mapping[str, Any], path: tuple[str, ...], key: str) -> str:
        value = body.get(key, "")
        if not isinstance(value, str):
            text = f"guest {path[1]}: {key} must be text in quotes, not {_given(value)}"
            self._wrong(text, *path, key)
            return ""
        if len(value) > MAX_IDENTITY or not value.isprintable():
            text = f"guest {path[1]}: {key} must be one line of at most {MAX_IDENTITY} characters"
            self._wrong(text, *path, key)
            return ""
        return value

    def _config(
        self, table: Any, kind: Kind | None, path: tuple[str, ...]
    ) -> dict[str, DeclaredValue]:
        config: dict[str, DeclaredValue] = {}
        if not isinstance(table, dict):
            text = f"guest {path[1]}: config must be a table: [guest.{path[1]}.config]"
            self._wrong(text, *path, "config")
            return config
        for steps, value in _options(table):
            key = ".".join(steps)
            try:
                if isinstance(value, date | time):  # a date with a time is a date
                    self._check(key, value.isoformat(), kind)
                config[key] = _declared_value(value)
                self._check(key, config[key], kind)
            except Invalid as error:
                text = f"guest {path[1]}: {spoken(_shown(key), _told(error, value))}"
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
            text = f'guest {path[1]}: unset must be a list of options, like ["cpulimit"]'
            self._wrong(text, *path, "unset")
            return frozenset()
        if len(names) > MAX_UNSET:
            text = f"guest {path[1]}: unset must be a list of at most {MAX_UNSET} options"
            self._wrong(text, *path, "unset")
            return frozenset()
        for key in names:
            if why := self._why_not_unset(key, config, kind):
                self._wrong(f"guest {path[1]}: unset: {_shown(key)}: {why}", *path, "unset")
        return frozenset(names)

    def _check(self, key: str, value: DeclaredValue, kind: Kind | None) -> None:
        """Raise Invalid if PVE would refuse the value; of an unknown kind, if both would."""
        known = _kinds_that_know(key, kind)
        if not known:
            raise Invalid(f"no such option{self._did_you_mean(key, _all_keys(kind))}")
        refusals: list[Invalid] = []
        for candidate in known:
            try:
                declared(candidate, key, value)
            except Invalid as error:
                refusals.append(error)
        if len(refusals) == len(known):
            raise refusals[0]

    def _why_not_unset(
        self, key: str, config: Mapping[str, DeclaredValue], kind: Kind | None
    ) -> str:
        options = [lookup(k, key) for k in _kinds_that_know(key, kind)]
        known = [option for option in options if option]
        if not known:
            return f"no such option{self._did_you_mean(key, _all_keys(kind))}"
        if key in config:
            return "is also declared in config"
        if all(option.required for option in known):
            return "PVE cannot do without it"
        if all(option.server_owned for option in known):
            return "belongs to PVE; nobody can remove it"
        return next(filter(None, map(lost_by_unset, known)), "")

    def _outside(self, text: str, *path: str) -> None:
        """Note what is wrong where no guest's table is."""
        self._found.whole = False
        self._wrong(text, *path)

    def _wrong(self, text: str, *path: str) -> None:
        problem = self._file.problem(text, *path)
        if self._vmid:
            self._found.wrong.setdefault(self._vmid, problem)
        self._count += 1
        if self._count <= MAX_PROBLEMS:
            self._found.problems.append(problem)


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
        raise Invalid("must be a list of texts or numbers; one element is neither")
    if isinstance(value, (str, int, float)):
        return value
    if isinstance(value, date | time):
        raise Invalid(f"must be text, not {_given(value)}; put it in quotes")
    raise Invalid(f"must be text, a number, true, false or a list, not {_given(value)}")


def _not_of_a_guest(name: str, body: Any, hint: str) -> str:
    """Return what is wrong with what stands at a file's top, and is not `guest`."""
    if isinstance(body, dict):
        wanted = f"[guest.{name}]" if _VMID.fullmatch(name) else "[guest.101]"
        return f"unknown table [{_shown(name)}]{hint or f'; a guest is declared as {wanted}'}"
    return f'"{_shown(name)}" stands outside of any guest; put it under [guest.101] or its config'


def _not_a_number(name: str, body: Any) -> str:
    """Return what is wrong with a name that is no guest's number."""
    shown = f"[guest.{_shown(name)}]"
    if name.isascii() and name.isdigit():
        return f"{shown}: a guest's number is from 100 to 999999999, without a leading zero"
    lead = f"{shown}: " if isinstance(body, dict) else f'"{_shown(name)}" under [guest]: '
    return f"{lead}the name must be the guest's number, like [guest.101]"


def _given(value: Any) -> str:
    """Return a TOML value as it is shown where another one was wanted."""
    if isinstance(value, str):
        return f'"{_shown(value)}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return _shown(str(value))
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    return "a time" if isinstance(value, time) else "a date"


def _kinds_that_know(key: str, kind: Kind | None) -> list[Kind]:
    return [k for k in ([kind] if kind else Kind) if lookup(k, key)]


def _all_keys(kind: Kind | None) -> Iterable[str]:
    return {name for k in ([kind] if kind else Kind) for name in keys(k)}


def _shown(name: str) -> str:
    return printable(name, MAX_VALUE)


def _told(error: Invalid, value: Any) -> str:
    """Given a refusal, return it in one line, with as much of the value as can be read."""
    text = str(error).strip()
    if isinstance(value, str) and len(value) > MAX_VALUE:
        text = text.replace(value, _shown(value))
    return "; ".join(text.splitlines())
