"""Existing guests as guest files: text that, used as it is, plans nothing.

    # 101 web
    [guest.101]
    kind = "qemu"
    [guest.101.config]
    cores = 2
    net0 = "virtio,bridge=vmbr0"  # MAC BC:24:11:00:01:02, PVE's own
    # args = "-S"  # only root can set 'args' config

It is not trusted to be right: what is written for a guest is read as any guest file is, and planned
against what PVE answered. A value that would be refused, or taken for a difference, becomes a
comment with the reason, and costs itself alone. A guest of which a plan would have something to say
whatever is declared of it (it is locked, a template, cannot be read) is left out, with that reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from felhom_agent.config import tomlfile
from felhom_agent.config.tomltext import comment, key_text, one_line, value_text
from felhom_agent.desired.guestfile import declarations_of
from felhom_agent.errors import ConfigError
from felhom_agent.model import (
    NOBODY,
    UNREADABLE,
    Actual,
    ActualGuest,
    DesiredGuest,
    GuestPlan,
    History,
    Known,
)
from felhom_agent.planning.actions import describe
from felhom_agent.planning.adopting import Entry, Remark, Why, entries_of
from felhom_agent.planning.plan import plan_guest
from felhom_agent.planning.withhold import passing_reason
from felhom_agent.regularfile import MAX_BYTES

MAX_FILE: Final = MAX_BYTES * 8 // 10
"""How many bytes of guests one file gets; the rest is room to edit."""
MAX_ITEMS: Final = 40_000
"""How many keys and elements of lists, at most, one file gets (`tomlscan.MAX_ITEMS`)."""
MAX_SHOWN: Final = 300
"""How much of a value a comment shows."""
MAX_REASON: Final = 300

_PATH: Final = Path("adopted.toml")
_ITEM: Final = re.compile(r"[\[{=,]")
_SUBJECT: Final = re.compile(r"guest [0-9]+: ")


@dataclass(frozen=True)
class Wish:
    """How guests are to be adopted: which keys (none: all), only observed, with their run state,
    and in ASCII alone.
    """

    only: frozenset[str] = frozenset()
    observe: bool = False
    state: bool = False
    plain: bool = False


@dataclass(frozen=True)
class AdoptedGuest:
    """A guest's tables as text, how many options it declares, and what stands in comments."""

    vmid: int
    name: str
    text: str
    options: int
    comments: tuple[Why, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """A guest that is not adopted, and why; `failed` if it could not be read."""

    vmid: int
    name: str
    why: str
    failed: bool = False


def adopt(
    guest: ActualGuest,
    actual: Actual,
    wish: Wish,
    known: Known = NOBODY,
    history: History = UNREADABLE,
) -> AdoptedGuest | LeftOut:
    """Given a guest of a snapshot, how it is to be adopted, who was known under its vmid and what
    the task list says, return its text, or why it has none.
    """
    return _Adopting(guest, actual, wish, known, history).result()


def files_of(guests: Iterable[AdoptedGuest], head: str) -> list[str]:
    """Given adopted guests and the lines to begin each file with, return the texts of as few guest
    files as can hold them.
    """
    files: list[list[str]] = []
    size = items = MAX_FILE
    for guest in guests:
        more, many = len(guest.text.encode()), len(_ITEM.findall(guest.text))
        if not files or size + more > MAX_FILE or items + many > MAX_ITEMS:
            files.append([head])
            size = items = 0
        files[-1].append(guest.text)
        size, items = size + more, items + many
    return ["\n".join(texts) for texts in files]


class _Adopting:
    """One guest on its way to a text."""

    def __init__(
        self, guest: ActualGuest, actual: Actual, wish: Wish, known: Known, history: History
    ) -> None:
        self._guest = guest
        self._actual = actual
        self._wish = wish
        self._known = known
        self._history = history

    def result(self) -> AdoptedGuest | LeftOut:
        bare = DesiredGuest(self._guest.vmid, self._guest.kind)
        plan = self._plan(bare)
        if plan.drifted:
            return self._left_out(self._why_never(bare) or said(plan), failed=bool(plan.unread))
        entries = list(entries_of(self._guest, self._wish.only))
        text = self._text(entries)
        if self._trouble(text):
            entries = [self._settled(entry) for entry in entries]
            text = self._text(entries)
        if self._trouble(text):
            entries = self._beside_each_other(entries)
            text = self._text(entries)
            if why := self._trouble(text):
                return self._left_out(why)
        options = sum(bool(entry.forms) for entry in entries)
        if not options and not self._wish.state:
            asked = "what was asked for" if self._wish.only else "what it has"
            return self._left_out(f"of {asked} there is nothing to declare")
        if len(text.encode()) > MAX_FILE:
            return self._left_out("it has more than fits into a guest file")
        comments = tuple(remark.why for entry in entries for remark in entry.remarks)
        return AdoptedGuest(self._guest.vmid, self._guest.name, text, options, comments)

    def _left_out(self, why: str, *, failed: bool = False) -> LeftOut:
        return LeftOut(self._guest.vmid, self._guest.name, why, failed)

    def _why_never(self, bare: DesiredGuest) -> str:
        """Return why a guest is left out where the words of a plan are for one that is declared."""
        if self._guest.template:
            return "it is a template, which is never changed"
        passing = passing_reason(bare, self._guest)
        return f"{passing}; adopt it when that is over" if passing else ""

    def _plan(self, desired: DesiredGuest) -> GuestPlan:
        return plan_guest(desired, self._actual, self._known, self._history)

    def _settled(self, entry: Entry) -> Entry:
        """Return an entry with the first of its forms that stands, else with why none does."""
        why = ""
        for form in entry.forms:
            tried = replace(entry, forms=(form,))
            trouble = self._trouble(self._text([tried]))
            if not trouble:
                return tried
            why = why or trouble
        return _not_declared(entry, why) if entry.forms else entry

    def _beside_each_other(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return entries, each of which stands alone, without those that do not beside others."""
        found: list[Entry] = []
        for entry in entries:
            why = self._trouble(self._text([*found, entry])) if entry.forms else ""
            found.append(_not_declared(entry, why) if why else entry)
        return found

    def _trouble(self, text: str) -> str:
        """Return what would be said of a guest file of this text; empty if nothing would be."""
        try:
            file = tomlfile.parse_bytes(text.encode("utf-8", "surrogatepass"), _PATH)
        except ConfigError as error:
            return error.problems[0].text
        found = declarations_of(file, hints=False)
        if found.problems:
            return _SUBJECT.sub("", found.problems[0].text, count=1)
        return said(self._plan(found.guests[self._guest.vmid]))

    def _text(self, entries: Sequence[Entry]) -> str:
        return "\n".join(self._lines(entries)) + "\n"

    def _lines(self, entries: Sequence[Entry]) -> Iterator[str]:
        guest, wish = self._guest, self._wish
        yield comment(f"{guest.vmid} {guest.name}".strip(), MAX_SHOWN, plain=wish.plain)
        yield f"[guest.{guest.vmid}]"
        yield f'kind = "{guest.kind}"'
        if wish.observe:
            yield 'mode = "observe"'
        if wish.state and guest.state is not None:
            yield f'state = "{guest.state}"'
        if entries:
            yield f"[guest.{guest.vmid}.config]"
        for entry in entries:
            yield self._line(entry)

    def _line(self, entry: Entry) -> str:
        plain = self._wish.plain
        said = "; ".join(remark.text for remark in entry.remarks)
        reason = comment(said, MAX_REASON, plain=plain) if said else ""
        if entry.forms:
            line = f"{key_text(entry.key, plain=plain)} = {value_text(entry.forms[0], plain=plain)}"
            return f"{line}  {reason}" if reason else line
        if entry.shown is None:
            return comment(f"{entry.key}: {said}", 2 * MAX_REASON, plain=plain)
        value = one_line(entry.shown, plain=plain)
        if len(value) > MAX_SHOWN:
            value = f"{value[:MAX_SHOWN]}..."
        return f"# {key_text(entry.key, plain=plain)} = {value}  {reason}"


def _not_declared(entry: Entry, why: str) -> Entry:
    """Return an entry as a comment."""
    reason = Remark(Why.OTHER, why.removeprefix(f"{entry.key}: "))
    return replace(entry, forms=(), remarks=(reason, *entry.remarks))


def said(plan: GuestPlan) -> str:
    """Return what a plan says of a guest that is as declared: nothing."""
    acts = ", ".join(describe(action) for action in plan.actions)
    told = (plan.unread, plan.withheld, plan.refused, *plan.notes, f"would {acts}" if acts else "")
    return "; ".join(text for text in told if text)


def sum_of(guests: Collection[AdoptedGuest]) -> str:
    """Given adopted guests, return how much of them is declared, and how much in comments."""
    options = sum(guest.options for guest in guests)
    comments = Counter(why for guest in guests for why in guest.comments)
    told = [_number(comments[why], why) for why in Why if comments[why]]
    words = f"{_count(len(guests), 'guest')}, {_count(options, 'option')}"
    return f"{words}; as comments: {', '.join(told)}" if told else words


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _number(number: int, why: Why) -> str:
    noun = why.removesuffix("s") if number == 1 and " " not in why else why
    return f"{number} {noun}"
