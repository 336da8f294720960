"""An outlook as lines for a person: guest by guest, then the sum, then what comes next.

    101 qemu web      RESTART                     shop.toml:1
      ~ memory  2048 -> 3072   needs a restart: memory of a running VM
      > shut down, then start

Signs: `~` another value, `+` a value where there was none, `-` none any more, `>` a start, a
shutdown or a restart, `!` what may be lost or needs a person, `x` what is not done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from felhom_agent.cli import whatnext
from felhom_agent.cli.outlook import GuestOutlook, Outlook
from felhom_agent.cli.terminal import Line, Part, Style, cells
from felhom_agent.desired.told import told
from felhom_agent.model import ABSENT, Change, Kind, Mode, SetConfig
from felhom_agent.options import lookup
from felhom_agent.planning.effects import Effect
from felhom_agent.planning.foresight import ForeseenChange, Foresight

HANG = 6
"""Where a line goes on that is too long."""
_MAX_NAME = 30


def lines(outlook: Outlook, stop_timeout: float) -> Iterator[Line]:
    """Given an outlook, and after how many seconds a shutdown that is not obeyed ends, yield it as
    lines; guests that are as declared are in the last one.
    """
    files = len({g.place.file for g in outlook.desired.guests.values() if g.place.file})
    moment = datetime.fromtimestamp(outlook.at).astimezone()
    yield (
        Part(f"Node {outlook.node}", Style.STRONG),
        f"   observed at {moment:%H:%M:%S}; {_count(files, 'file')}",
    )
    differing = [g for g in outlook.guests.values() if g.plan.drifted]
    heads = {guest.plan.vmid: _head(guest) for guest in differing}
    size = max((_size(head) for head in heads.values()), default=0)
    for guest in differing:
        yield ()
        yield _padded(heads[guest.plan.vmid], size, _place(guest))
        yield from _body(guest, stop_timeout)
        yield from whatnext.of_guest(guest)
    yield ()
    for vmid in sorted(outlook.desired.remarks.keys() & outlook.guests.keys()):
        yield (f"{vmid}: {outlook.desired.remarks[vmid]}",)
    yield from _sums(outlook)


def counts(outlook: Outlook) -> Counter[str]:
    """Given an outlook, return how many guests it is of, by what becomes of them."""
    found: Counter[str] = Counter()
    for guest in outlook.guests.values():
        found.update(_kinds_of(guest))
    return found


def _kinds_of(guest: GuestOutlook) -> Iterator[str]:
    plan = guest.plan
    if not plan.drifted:
        yield "as declared"
    elif plan.unread:
        yield "not read"
    elif plan.withheld:
        yield "waits"
    elif _is_observed(guest):
        yield "observed"
    elif guest.changes and not guest.would_change:
        yield "held"
    else:
        yield from _acts_of(guest)
        if plan.refused:
            yield "refused"
        elif plan.notes:
            yield "left in part" if plan.actions else "left as it is"


def _acts_of(guest: GuestOutlook) -> Iterator[str]:
    seen = guest.foresight
    if any(isinstance(action, SetConfig) for action in guest.plan.actions):
        yield "to change"
    if seen.restarts:
        yield "to restart"
    elif seen.starts:
        yield "to start"
    elif seen.stops:
        yield "to stop"


_ORDER = ("to change", "to start", "to stop", "to restart")
_REST = (
    "held",
    "waits",
    "observed",
    "refused",
    "left in part",
    "left as it is",
    "not read",
    "as declared",
)


def _sums(outlook: Outlook) -> Iterator[Line]:
    found = counts(outlook)
    parts = [f"{found[name]} {name}" for name in _ORDER if found[name]]
    rest = [f"{found[name]} {name}" for name in _REST if found[name]]
    if outlook.undeclared:
        rest.append(f"{outlook.undeclared} not declared")
    text = "; ".join(filter(None, [", ".join(parts), ", ".join(rest)])) or "no guest is declared"
    yield (Part("Plan: ", Style.STRONG), text, ".")


def _head(guest: GuestOutlook) -> Line:
    """Return a guest's first line, without its place."""
    plan, seen = guest.plan, guest.foresight
    kind = plan.kind or "?"
    name = plan.name if len(plan.name) <= _MAX_NAME else plan.name[: _MAX_NAME - 3] + "..."
    start: Line = (Part(f"{plan.vmid}", Style.STRONG), f" {kind:<4} ", Part(name, Style.STRONG))
    words: list[Part] = []
    if plan.withheld:
        words.append(Part("WAITS", Style.WARN))
    elif _is_observed(guest):
        words.append(Part("OBSERVED", Style.DIM))
    elif seen.restarts:
        words.append(Part("RESTART", Style.BAD))
    elif seen.stops:
        words.append(Part("STOP", Style.BAD))
    elif seen.may_restart:
        words.append(Part("RESTART?", Style.WARN))
    if plan.refused:
        words.append(Part("REFUSED", Style.BAD))
    if plan.unread:
        words.append(Part("NOT READ", Style.BAD))
    return (*start, *(part for word in words for part in ("  ", word)))


def _place(guest: GuestOutlook) -> Part:
    """Return where a guest is declared; the directory is the same for all, and left out."""
    place = guest.declared.place if guest.declared else None
    text = str(place).rpartition("/")[2] if place and place.file else ""
    return Part(text, Style.DIM)


def _padded(head: Line, size: int, place: Part) -> Line:
    return (*head, " " * (size - _size(head) + 2), place) if place.text else head


def _size(line: Line) -> int:
    return sum(cells(part.text if isinstance(part, Part) else part) for part in line)


def _body(guest: GuestOutlook, stop_timeout: float) -> Iterator[Line]:
    plan, seen = guest.plan, guest.foresight
    if plan.withheld:
        yield _sign("!", Style.WARN, seen.wait() or f"waits: {plan.withheld}")
    width = max((cells(each.change.key) for each in seen.changes), default=0)
    if not plan.withheld:
        yield from (_changed(plan.kind, each, width) for each in seen.changes)
        yield from _power(seen, stop_timeout)
    if plan.unread:
        yield _sign("x", Style.BAD, f"not observed: {plan.unread}")
    if plan.refused:
        yield _sign("x", Style.BAD, f"refused: {plan.refused}")
    yield from (_sign("x", Style.WARN, note) for note in _notes(guest))


def _notes(guest: GuestOutlook) -> Sequence[str]:
    """Return what is only reported; of a guest that is observed what would be done is shown."""
    found = guest.would if _is_observed(guest) and guest.would else guest.plan
    return found.notes


def _sign(sign: str, style: Style, text: str) -> Line:
    return ("  ", Part(sign, style), " ", text)


def _changed(kind: Kind | None, foreseen: ForeseenChange, width: int) -> Line:
    change = foreseen.change
    sign = "-" if change.after is ABSENT else "+" if change.before is ABSENT else "~"
    key = change.key + " " * (width - cells(change.key))
    text = f"{key}  {_values(kind, change)}"
    if foreseen.effect is Effect.RESTART:
        return ("  ", Part(sign, Style.WARN), f" {text}   ", _needs(foreseen))
    style = Style.WARN if foreseen.effect is Effect.UNSURE else Style.DIM
    why = (Part(f"   {foreseen.why}", style),) if foreseen.why else ()
    return ("  ", Part(sign, Style.GOOD), f" {text}", *why)


def _needs(foreseen: ForeseenChange) -> Part:
    why = f": {foreseen.why}" if foreseen.why else ""
    return Part(f"needs a restart{why}", Style.WARN)


def _values(kind: Kind | None, change: Change) -> str:
    before, after = change.shown()
    if change.secret or (change.before is not ABSENT and change.after is not ABSENT):
        return f"{before} -> {after}"
    option = lookup(kind, change.key) if kind else None
    default = f" (default {option.default})" if option is not None and option.default else ""
    if change.before is ABSENT:
        return f"{after}{default}"
    return f"{before} -> none{default}"


def _power(seen: Foresight, stop_timeout: float) -> Iterator[Line]:
    if seen.restarts:
        waits = f"   {seen.waiting} waits for it" if seen.waiting else ""
        yield _sign(">", Style.BAD, f"shut down, then start{waits}")
    elif seen.may_restart:
        yield _sign(">", Style.WARN, "shut down, then start, if it does not let go of the device")
    elif seen.stops:
        yield _sign(">", Style.BAD, "shut down")
    elif seen.starts:
        yield _sign(">", Style.GOOD, "start")
    if seen.may_power_off:
        text = f'power-off if it ignores the shutdown for {stop_timeout:.0f} s (stop = "power-off")'
        yield _sign("!", Style.BAD, text)
    if seen.waits and seen.no_restart:
        yield _sign("!", Style.WARN, f"stays without effect until a restart: {seen.no_restart}")


def _is_observed(guest: GuestOutlook) -> bool:
    return guest.declared is not None and guest.declared.mode is Mode.OBSERVE


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def problems(outlook: Outlook) -> Iterable[str]:
    """Given an outlook, return what is wrong with the guest files, each with its place."""
    return [str(problem) for problem in told(outlook.desired)]
