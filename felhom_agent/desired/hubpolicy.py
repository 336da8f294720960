"""What a hub may wish for of a guest: the owner's grants (`[hub]` of agent.toml), applied.

A hub's key can be stolen, and a hub can be wrong. So of what could be undone in principle it gets
only what the owner lets it have, by default little (`config.huboptions` has the classes), and never
what loses data, reaches another guest, the host, or what tells who a guest is, whatever the owner
wrote. What is refused here refuses the generation that it came in.

Promised: every value that a hub declares is judged, of every kind that the guest may be; an option
or a part that nobody has classed is refused.

Not decided here: how many guests a hub may stop (`stops_per_hour`) is counted where they are
stopped; that the memory of a container is never lowered while it runs depends on the container, and
is the planner's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from felhom_agent.config.huboptions import NEVER, OWNERS, Class, Grant, class_of, family_of
from felhom_agent.config.settings import HubConfig
from felhom_agent.model import DeclaredValue, DesiredGuest, Kind, RunState
from felhom_agent.options import Invalid, Option, PropertyString, Volume, dangerous, lookup
from felhom_agent.options.declaration import understood
from felhom_agent.options.types import Boolean

# PVE: pve-storage Storage/Plugin.pm parse_volname: a directory storage names a volume's guest by
# the directory that it is in, others by the volume's name; a linked clone names its base first.
_IN_DIRECTORY: Final = re.compile(r"(?:^|[:/])([0-9]+)/[^/]+$")
_NAMED: Final = re.compile(r"(?:^|[:/])(vm|base|subvol|basevol)-([0-9]+)-")
_ISO: Final = re.compile(r"[^:/\s]+:iso/[^:/\s]+")


class HubPolicy:
    """Judges what a hub declares; holds no state but the owner's word."""

    def __init__(self, config: HubConfig) -> None:
        self._grants = {grant.option: grant for grant in config.options}
        self._may_stop = config.may_stop

    def refusals(self, guests: Iterable[DesiredGuest]) -> Iterator[str]:
        """Given guests as a hub declares them, yield in words what it may not say of them."""
        for guest in guests:
            for text in self._of_guest(guest):
                yield f"guest {guest.vmid}: {text}"

    def _of_guest(self, guest: DesiredGuest) -> Iterator[str]:
        if guest.state is RunState.STOPPED and not self._may_stop:
            yield 'state = "stopped" is not the hub\'s: [hub] may_stop = true would allow it'
        if guest.state is RunState.RUNNING and not self._is_given("state"):
            yield _not_allowed("state", "starting guests")
        for key, value in guest.config.items():
            if why := self._of_value(guest, key, value):
                yield f"{key}: {why}"
        if guest.unset and not self._is_given("unset"):
            yield _not_allowed("unset", OWNERS["unset"])
            return
        for key in sorted(guest.unset):
            if why := self._of_option(key) or self._of_unset(guest.kind, key):
                yield f"unset: {key}: {why}"

    def _grant(self, key: str) -> Grant | None:
        return self._grants.get(key) or self._grants.get(family_of(key))

    def _is_given(self, key: str) -> bool:
        grant = self._grant(key)
        return grant is not None and grant.given

    def _of_option(self, key: str) -> str:
        """Return why a hub may not touch an option; empty if it may."""
        family = "lxc" if key.startswith("lxc.") else family_of(key)
        if class_of(family) is Class.NEVER:
            return f"a hub may never set it{_because(NEVER.get(family, ''))}"
        return "" if self._is_given(key) else _not_allowed(key, OWNERS.get(family, ""))

    def _of_value(self, guest: DesiredGuest, key: str, value: DeclaredValue) -> str:
        """Return why a hub may not set an option to that value; empty if it may."""
        refused = self._of_option(key)
        understood_as = list(_understood(guest.kind, key, value))
        if class_of(family_of(key)) is not Class.NEVER:
            # What no grant would allow is said first.
            for option, wire in understood_as:
                if why := _never(guest.vmid, option, wire):
                    return why
        if refused or not understood_as:
            return refused or "it cannot be read"
        found = (self._out_of_bounds(key, option, wire) for option, wire in understood_as)
        return next(filter(None, found), "")

    def _of_unset(self, kind: Kind | None, key: str) -> str:
        """Return why a hub may not take an option away; empty if it may."""
        if key == "protection":
            return _PROTECTION
        for option in _options(kind, key):
            if option.default is None:
                if grant := self._bounded(key):
                    return f"without it there is no bound, and [hub.options] {key} is {grant}"
            elif why := self._out_of_bounds(key, option, option.default):
                return f"without it PVE's default counts: {why}"
        return ""

    def _bounded(self, key: str) -> Grant | None:
        grant = self._grant(key)
        return grant if grant and grant.is_bounded else None

    def _out_of_bounds(self, key: str, option: Option, wire: str) -> str:
        grant = self._bounded(key)
        if grant is None:
            return ""
        number = _number(option, wire)
        if number is None:
            return f"is no number, and [hub.options] {key} is {grant}"
        return "" if grant.allows(number) else (
            f"{number} is outside of what [hub.options] {key} = {grant} allows"
        )  # fmt: skip


_PROTECTION: Final = "a hub may never take a guest's protection away"


def _not_allowed(key: str, words: str) -> str:
    about = f" ({words})" if words and words != key else ""
    return f"not the hub's{about}: [hub.options] {key} = true in agent.toml would allow it"


def _because(why: str) -> str:
    return f", for {why}" if why else ", for nobody has said that it may"


def _options(kind: Kind | None, key: str) -> Iterator[Option]:
    for candidate in [kind] if kind else Kind:
        if (option := lookup(candidate, key)) is not None:
            yield option


def _understood(kind: Kind | None, key: str, value: DeclaredValue) -> Iterator[tuple[Option, str]]:
    """Yield the option and the text on the wire, for each kind of guest that takes the value."""
    for candidate in [kind] if kind else Kind:
        try:
            yield understood(candidate, key, value)
        except Invalid:
            continue


def _number(option: Option, wire: str) -> Decimal | None:
    """Return the number that a text means; None if it is none, or has more to say."""
    kind = option.type
    if isinstance(kind, PropertyString):
        parts = kind.split(wire)
        if set(parts) != {kind.default_key}:
            return None
        meaning = kind.keys[kind.default_key].type.meaning(parts[kind.default_key])
    else:
        meaning = kind.meaning(wire)
    return meaning if isinstance(meaning, Decimal) else None


def _never(vmid: int, option: Option, wire: str) -> str:
    """Return why no hub may set that value, whatever the owner says; empty if one may."""
    if option.name == "protection" and not _is_on(option, wire):
        return _PROTECTION
    if not isinstance(option.type, PropertyString):
        return ""
    parts = option.type.split(wire)
    if found := dangerous(option, wire):
        return f"a hub may never set {', '.join(found)} so, for it can lose data"
    if "idmap" in parts:
        return "a hub may never set idmap, for it reaches the host"
    if "import-from" in parts:
        return "a hub may never import a volume"
    volume = parts.get("file", parts.get("volume"))
    if volume is not None and not _is_its_own(vmid, Volume(volume)):
        return f"a hub may never name {volume}, for it is not known to be of guest {vmid}"
    return _left_out_of_backups(option.type, parts)


def _is_on(option: Option, wire: str) -> bool:
    return option.type.meaning(wire) is True


def _is_its_own(vmid: int, volume: Volume) -> bool:
    """Return whether a volume is the guest's by all that its name says, or nobody's."""
    if volume.text == "cdrom" or volume.is_path:
        return False
    if volume.is_empty or volume.is_request or _ISO.fullmatch(volume.text):
        return True
    directory = _IN_DIRECTORY.search(volume.text)
    if directory and int(directory[1]) != vmid:
        return False
    *bases, last = _NAMED.findall(volume.text) or [("", "0")]
    return int(last[1]) == vmid and all(kind.startswith("base") for kind, _ in bases)


def _left_out_of_backups(kind: PropertyString, parts: Mapping[str, str]) -> str:
    """Return why the next backup would lack the volume; empty if it would not."""
    spec = kind.keys.get("backup")
    text = parts.get("backup", spec.default if spec else None)
    if spec is None or text is None or not isinstance(spec.type, Boolean):
        return ""
    cd = parts.get("media") == "cdrom" or Volume(parts.get("file", "")).is_cdrom
    if cd or spec.type.meaning(text) is True:
        return ""
    return "a hub may never leave a volume out of backups; it has to say backup=1"
