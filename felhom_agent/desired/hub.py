"""What a hub desires, as far as it was found good, and kept on the disk.

A generation is validated whole, by the same rules as a guest file and some more, stored durably,
and only then used; or it is refused whole, and the one before stays. It survives a restart, and is
used while the hub is away. A generation that goes back, or ahead by more than hubs ever do, is
refused.

The hub may ask for what can be undone, and only of the guests that the owner named for it (`[hub]
guests`); what it declares of others is ignored and told. Which options it may set, and to what, is
the owner's word, too (`hubpolicy`); where the owner takes it back, a generation that needs it is in
force no more, until it is given again. What only the host's owner may say is refused from it: to
pull a plug (`stop`), to restart (`restart`), to confirm another guest (`identity`) or what loses
data (`dangerous`).

What was kept and cannot be used any more is set aside; then nothing is the hub's desire until it
answers.

Threads: one lock guards what is in force, for moments. Another one, `_changing`, is held from the
reading of what is kept to the end of writing what comes in its place, so that no change undoes
another: `accept`, `block` and `answered` belong to the hub loop, `let_block` and `forget` to
whoever speaks for the owner, `load` to the main loop, which never waits for the disk here.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from felhom_agent.config.settings import HubConfig
from felhom_agent.config.tomlfile import TomlFile
from felhom_agent.desired.guestfile import guests_of
from felhom_agent.desired.hubfile import HubFile, OddContent, problem_of
from felhom_agent.desired.hubpolicy import HubPolicy
from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.errors import ConfigError, FelhomError
from felhom_agent.model import Desired, DesiredGuest, Place, Problem, Source

_log = logging.getLogger(__name__)

NAME = "hub.json"
OWNER_ONLY_KEYS = ("stop", "restart", "identity", "dangerous")
MAX_GENERATION = 2**53 - 1
MAX_GENERATION_STEP = 1_000_000
MAX_PROBLEMS = 20
"""How much of what is wrong with one generation is told."""
# It comes back to the hub in a header; a blank one is none.
ETAG = re.compile(r"[\x21-\x7e]{0,200}")


@dataclass(frozen=True)
class HubState:
    """What the disk has: the state as the hub gave it, its generation and ETag, whether it blocks
    this host, and whether the owner lets it.
    """

    generation: int = 0
    etag: str = ""
    blocked: bool = False
    state: Mapping[str, Any] | None = None
    may_block: bool = True


@dataclass(frozen=True)
class _Judged:
    """What a generation came to by the owner's word: its guests, or what is wrong with it."""

    config: HubConfig
    source: str
    guests: Mapping[int, DesiredGuest]
    problems: tuple[Problem, ...]


class HubProvider:
    """Desires what the hub last asked for and was found good."""

    def __init__(
        self, directory: Path, config: HubConfig, disk: Disk = DISK, *, keeps: bool = True
    ) -> None:
        """Without `keeps` it only looks at what an agent keeps there."""
        self.keeps = keeps
        self.reported = 0.0
        """When the hub last took a report of this process (seconds since the epoch; 0: not yet).
        The hub loop sets it, at once and as a whole; any thread reads it.
        """
        self._config = config
        self._file = HubFile(directory / NAME, disk, keeps=keeps)
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        found, self._trouble = self._file.read(_understood)
        self._kept = found or HubState()
        # Rules may have grown since it was accepted; then nothing of it is in force.
        self._judged = self._judge(self._kept, config)

    @property
    def kept(self) -> HubState:
        """What is in force, as it is kept on the disk."""
        with self._lock:
            return self._kept

    def load(self) -> Desired:
        """Return what is desired of the guests named for the hub, with what is wrong with it."""
        judged, trouble = self._judged_now()
        named = {v: guest for v, guest in judged.guests.items() if judged.config.names(v)}
        found = [problem_of(trouble)] if trouble else []
        if ignored := judged.guests.keys() - named.keys():
            found.append(_not_named(ignored, judged.source))
        return Desired(MappingProxyType(named), (*judged.problems, *found))

    def _judged_now(self) -> tuple[_Judged, str]:
        """Return what is in force by the owner's present word, and what is wrong with the file."""
        while True:  # once more for each word of the owner's or the hub's that came meanwhile
            with self._lock:
                kept, judged, config = self._kept, self._judged, self._config
                if judged.config is config:
                    return judged, self._trouble
            fresh = self._judge(kept, config)
            with self._lock:
                if self._kept.state is kept.state:
                    self._judged = fresh

    @staticmethod
    def _judge(kept: HubState, config: HubConfig) -> _Judged:
        source = f"generation {kept.generation} of the hub"
        guests, problems = read_state(kept.state or {}, source, config)
        return _Judged(config, source, {} if problems else guests, tuple(problems))

    def adopt(self, config: HubConfig) -> None:
        """Take the owner's word on what the hub may wish for; from any thread, and in force with
        the next `load`.
        """
        with self._lock:
            self._config = config

    def speaks_for(self, vmid: int) -> bool:
        """Return whether the owner named a guest for the hub; from any thread."""
        return self._config.names(vmid)

    def accept(self, generation: int, state: object, etag: str = "") -> None:
        """Given a generation of the desired state, put it in force once it is durable.

        Raise ConfigError with all that is wrong with it, FelhomError if it is not newer, is out of
        all bounds or cannot be kept; what was in force stays so.
        """
        kept = self.kept
        if why := why_not_next(generation, kept.generation):
            raise FelhomError(why)
        if not isinstance(state, dict):
            raise FelhomError("the desired state is no object")
        with self._changing:
            fresh = replace(self.kept, generation=generation, etag=etag, state=state)
            judged = self._judge(fresh, self._config)
            if judged.problems:
                raise ConfigError(judged.problems)
            self._keep(fresh)
            with self._lock:
                self._kept, self._judged, self._trouble = fresh, judged, ""

    def answered(self) -> None:
        """Hear that the hub has nothing newer; if what was kept was damaged, that is over."""
        with self._lock:
            self._trouble = ""

    def block(self, *, blocked: bool) -> None:
        """Keep whether the hub has blocked this host. Raise FelhomError if that cannot be kept."""
        with self._changing:
            kept = self.kept
            self._change(replace(kept, blocked=blocked and kept.may_block))

    def let_block(self, *, allowed: bool) -> None:
        """Keep whether the hub may block this host; if not, its present block ends. Raise
        FelhomError if that cannot be kept.
        """
        with self._changing:
            kept = self.kept
            self._change(replace(kept, may_block=allowed, blocked=kept.blocked and allowed))

    def forget(self) -> None:
        """Forget generation and state, so that the hub begins again. Raise FelhomError if that
        cannot be kept.
        """
        with self._changing:
            kept = self.kept
            fresh = HubState(blocked=kept.blocked, may_block=kept.may_block)
            self._change(fresh)
            judged = self._judge(fresh, self._config)
            with self._lock:
                self._judged, self._trouble = judged, ""

    def _change(self, fresh: HubState) -> None:
        self._keep(fresh)
        with self._lock:
            self._kept = fresh

    def _keep(self, kept: HubState) -> None:
        self._file.write(
            {
                "generation": kept.generation,
                "etag": kept.etag,
                "blocked": kept.blocked,
                "state": kept.state,
                "may_block": kept.may_block,
            }
        )


def why_not_next(generation: object, kept: int) -> str:
    """Given a generation that a hub names and the one in force, return why it cannot be the next;
    empty if it can.
    """
    if type(generation) is not int or not 0 <= generation <= MAX_GENERATION:
        return "its generation is no whole number below 2^53"
    if generation <= kept:
        return f"generation {generation} is not newer than {kept}, which stays in force"
    if generation - kept > MAX_GENERATION_STEP:
        return (
            f"generation {generation} is more than {MAX_GENERATION_STEP} ahead of {kept}, which "
            f"stays in force"
        )
    return ""


def read_state(
    state: Mapping[str, Any], source: str, config: HubConfig
) -> tuple[dict[int, DesiredGuest], list[Problem]]:
    """Given a desired state as JSON and the owner's word, return its guests and what is wrong with
    it: at most MAX_PROBLEMS problems, and how many more there are.
    """
    table = state.get("guest")
    bodies = table if isinstance(table, dict) else {}
    if len(bodies) > config.max_guests:
        text = f"it has {len(bodies)} guests; [hub] max_guests allows {config.max_guests}"
        return {}, [Problem(Place(source), text)]
    try:
        file = TomlFile(source, state)
        guests, problems = guests_of(file, hints=False, source=Source.HUB)
        refused = [Problem(Place(source), text) for text in _refusals(guests, config)]
    except Exception as error:  # a bug of ours costs the generation that found it, not the agent
        _log.exception("internal error while validating %s; please report it", source)
        text = f"cannot be validated: internal error ({type(error).__name__}); please report it"
        return {}, [Problem(Place(source), text)]
    problems += refused
    problems += [
        Problem(
            Place(source), f"guest {name}: {word} is for a file on the host; a hub cannot say it"
        )
        for name, body in bodies.items()
        for word in OWNER_ONLY_KEYS
        if isinstance(body, dict) and word in body
    ]
    return guests, _bounded(problems, source)


def _refusals(guests: Mapping[int, DesiredGuest], config: HubConfig) -> Iterable[str]:
    return HubPolicy(config).refusals(guests.values())


def _bounded(problems: list[Problem], source: str) -> list[Problem]:
    told = [replace(p, text=_short(p.text)) for p in problems[: MAX_PROBLEMS + 1]]
    if len(problems) > len(told):
        # One of them makes room for the number of those that are not told.
        told[-1] = Problem(Place(source), f"and {len(problems) - MAX_PROBLEMS} more")
    return told


def _short(text: str, longest: int = 300) -> str:
    """Return a text that a hub had a hand in, as one line that can be shown."""
    plain = "".join(c if c.isprintable() else "?" for c in text[:longest])
    return plain if len(text) <= longest else f"{plain}..."


def _not_named(vmids: Iterable[int], source: str) -> Problem:
    shown = sorted(vmids)
    more = f" and {len(shown) - MAX_PROBLEMS} more" if len(shown) > MAX_PROBLEMS else ""
    listed = ", ".join(str(v) for v in shown[:MAX_PROBLEMS])
    text = f"ignored: [hub] guests in agent.toml does not name {listed}{more}"
    return Problem(Place(source), text)


def _understood(record: Mapping[str, Any]) -> HubState:
    """Given a record of the file, return what it says. Raise OddContent if it is none of ours."""
    generation, etag, state = (record.get(key) for key in ("generation", "etag", "state"))
    blocked, may_block = record.get("blocked"), record.get("may_block", True)
    fine = (
        type(generation) is int
        and 0 <= generation <= MAX_GENERATION
        and isinstance(etag, str)
        and ETAG.fullmatch(etag) is not None
        and isinstance(blocked, bool)
        and isinstance(may_block, bool)
        and (state is None or isinstance(state, dict))
        and _is_exact(state)
    )
    if not fine:
        raise OddContent("is damaged")
    return HubState(generation, etag, blocked, state, may_block)  # type: ignore[arg-type]  # as seen


def _is_exact(state: object) -> bool:
    """Return whether a state has neither NaN nor half a surrogate pair, as no hub's has."""
    try:
        json.dumps(state, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return False
    return True
