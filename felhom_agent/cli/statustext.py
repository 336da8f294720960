"""How a running agent and its guests are, as lines and rows for a person.

Pure functions of what the agent answered (`GET /v1/status`, read by `answers`) and of the present
time. What the agent did not tell, since it is older than this command, is left out and not guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from felhom_agent import __version__
from felhom_agent.cli import answers
from felhom_agent.cli.answers import Answer
from felhom_agent.cli.spans import ahead, span
from felhom_agent.cli.terminal import Line, Part, Style
from felhom_agent.printable import printable
from felhom_agent.service.names import numbered

HEAD: Final = ("VMID", "NAME", "STATE", "AS DECLARED", "SINCE", "NEXT", "NOTE")
MAX_NAME: Final = 32
"""The longest name of a guest in a table, in characters."""
MAX_NOTE: Final = 300
MAX_PROBLEMS: Final = 20
"""How many problems of the files are told at once."""
_MAX_NAMED: Final = 10
_GAP: Final = "  "
_ALL: Final = 0
_NEW_MEMBERS: Final = ("others", "problems", "held", "trouble", "hints")

AS_DECLARED: Final = "as declared"
_STYLES: Final = {
    AS_DECLARED: Style.GOOD,
    "refused": Style.BAD,
    "retry": Style.WARN,
    "waits": Style.WARN,
    "paused": Style.STRONG,
    "observed": Style.STRONG,
}


@dataclass(frozen=True)
class Asked:
    """Which guests are to be shown: these (none: all that are not as declared), or every one."""

    vmids: frozenset[int] = frozenset()
    every: bool = False


def agent_line(status: Answer, now: float) -> Line:
    """Given an answer, return how the agent is, in one line."""
    parts: list[str | Part] = [
        Part(f"felhom-agent {answers.text(status, 'version')}", Style.STRONG),
        answers.text(status, "node"),
    ]
    if (started := answers.moment(status, "started")) is not None:
        parts.append(f"up {span(now - started)}")
    parts += [_last_pass(status, now), *_files(status), _frozen(status, now)]
    if any(_is_of_all(pause) for pause in _pauses(status)):
        parts.append(Part("paused: all", Style.WARN))
    if any(answers.text(hold, "name") == "mode" for hold in answers.rows(status, "holds")):
        parts.append(Part("mode: observe", Style.WARN))
    if hub := answers.table(status, "hub"):
        blocked = hub.get("blocked") is True
        words = "blocks this host" if blocked else f"generation {answers.whole(hub, 'generation')}"
        parts.append(Part(f"hub: {words}", Style.WARN if blocked else None))
    if answers.table(status, "hints").get("working") is True:
        parts.append("listens to the host")
    return _joined(parts)


def news(status: Answer, now: float) -> Iterator[Line]:
    """Given an answer, yield what holds or troubles the host as a whole, a line each."""
    if trouble := answers.text(status, "trouble"):
        yield [Part("trouble: ", Style.BAD), trouble]
    for hold in answers.rows(status, "holds"):
        if answers.whole(hold, "vmid") == _ALL and answers.text(hold, "name") != "mode":
            since = answers.moment(hold, "since")
            for_long = f" (for {span(now - since)})" if since is not None else ""
            yield [Part("held: ", Style.WARN), answers.text(hold, "why") + for_long]
    held = answers.table(status, "held")
    if plan := answers.text(held, "plan"):
        found = held.get("vmids")
        names = {g["vmid"]: answers.text(g, "name") for g in answers.guests(status, "guests")}
        named = (
            [numbered(each, names.get(each, "")) for each in found if type(each) is int]
            if isinstance(found, list)
            else []
        )
        text = f"unusually large: {_listed(named)}; felhom-agent approve {plan} lets this pass"
        yield [Part("held: ", Style.WARN), text]
    if missing := [name for name in _NEW_MEMBERS if name not in status]:
        version = answers.text(status, "version") or "of unknown version"
        text = f"the agent that runs ({version}) does not tell this command ({__version__}) of: "
        text += f"{', '.join(missing)}; systemctl restart felhom-agent"
        yield [Part("note: ", Style.WARN), text]


def guest_rows(status: Answer, asked: Asked, now: float) -> list[Sequence[str | Part]]:
    """Given an answer, return the rows of the guests that are asked for, by their numbers."""
    found: list[tuple[int, Sequence[str | Part]]] = []
    for guest in answers.guests(status, "guests"):
        number = guest["vmid"]
        verdict = verdict_of(guest, status)
        if asked.every or number in asked.vmids or (not asked.vmids and verdict != AS_DECLARED):
            found.append((number, _row(guest, verdict, status, now)))
    others = answers.guests(status, "others")
    found += [(g["vmid"], _other_row(g)) for g in others if asked.every or g["vmid"] in asked.vmids]
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def rest_line(status: Answer, asked: Asked) -> str:
    """Given an answer, return in a line how many guests are not shown; empty if that goes without
    saying.
    """
    if asked.vmids:
        return ""
    guests = answers.guests(status, "guests")
    good = sum(verdict_of(guest, status) == AS_DECLARED for guest in guests)
    others = len(answers.guests(status, "others"))
    if not guests and not others:
        return "no guest is declared"
    said = [] if guests else ["no guest is declared"]
    if good and not asked.every:
        said.append(f"{good} {'more ' if good < len(guests) else ''}{AS_DECLARED}")
    if others and not asked.every:
        guests_are = "guest of the node is" if others == 1 else "guests of the node are"
        said.append(f"{others} {guests_are} not declared (--all)")
    return "; ".join(said)


def problem_lines(status: Answer, *, every: bool = False) -> Iterator[Line]:
    """Given an answer, yield what is wrong with the files, a line each."""
    problems = answers.rows(status, "problems")
    shown = problems if every else problems[:MAX_PROBLEMS]
    for problem in shown:
        file, line = answers.text(problem, "file"), answers.whole(problem, "line")
        place = f"{file}:{line}" if line else file
        start: Line = [Part(place, Style.BAD), _GAP] if place else []
        yield [*start, answers.text(problem, "text")]
    if len(problems) > len(shown):
        yield f"and {len(problems) - len(shown)} more; felhom-agent check tells all"


def unknown_guests(status: Answer, vmids: Collection[int]) -> list[int]:
    """Given guests that were asked for, return those that the answer does not know."""
    known = {g["vmid"] for name in ("guests", "others") for g in answers.guests(status, name)}
    return sorted(set(vmids) - known)


def differs(status: Answer, vmids: Collection[int]) -> bool:
    """Return whether a guest (of these, or of all) is not as declared, or the files or the latest
    pass have errors, so that nobody knows.
    """
    guests = [g for g in answers.guests(status, "guests") if not vmids or g["vmid"] in vmids]
    drifted = any(answers.text(guest, "outcome") != "converged" for guest in guests)
    passed = answers.table(status, "last_pass")
    return drifted or passed.get("ok") is False or bool(answers.rows(status, "problems"))


def verdict_of(guest: Answer, status: Answer) -> str:
    """Given a guest of an answer, return in a word or two how it stands to its declaration."""
    if (activity := answers.text(guest, "activity")) in ("running", "queued"):
        return "at work" if activity == "running" else "queued"
    if pause_of(guest, status):
        return "paused"
    outcome = answers.text(guest, "outcome")
    if outcome == "blocked":
        return "observed" if _is_observed(guest, status) else "waits"
    known = {"converged": AS_DECLARED, "retry": "retry", "refused": "refused"}
    return known.get(outcome, "not seen yet")


def _row(guest: Answer, verdict: str, status: Answer, now: float) -> Sequence[str | Part]:
    pause = pause_of(guest, status) if verdict == "paused" else None
    since = answers.moment(pause or guest, "since")
    return [
        str(guest["vmid"]),
        _name(guest),
        answers.text(guest, "state") or "-",
        Part(verdict, _STYLES.get(verdict)),
        span(now - since) if since is not None else "",
        _next(guest, pause, now),
        printable(_note(guest, verdict, pause), MAX_NOTE),
    ]


def _other_row(guest: Answer) -> Sequence[str | Part]:
    state = answers.text(guest, "state") or "-"
    return [str(guest["vmid"]), _name(guest), state, Part("not declared", Style.DIM), "", "", ""]


def _name(guest: Answer) -> str:
    return printable(answers.text(guest, "name"), MAX_NAME) or "?"


def _next(guest: Answer, pause: Answer | None, now: float) -> str:
    if pause is not None:
        left = answers.number(pause, "left")
        return ahead(now + left, now) if left is not None else "resume"
    moment = answers.moment(guest, "next")
    return ahead(moment, now) if moment is not None else ""


def _note(guest: Answer, verdict: str, pause: Answer | None) -> str:
    """Return why a guest is as it is, and what differs."""
    plan = answers.texts(guest, "plan")
    differs = f"differs: {'; '.join(map(_drift, plan))}" if plan else ""
    good = answers.text(guest, "outcome") == "converged"
    if pause is not None:
        return "; ".join(filter(None, [answers.text(pause, "why"), "" if good else differs]))
    if verdict in ("at work", "queued"):
        return "" if good else "; ".join(plan)
    if verdict == "observed":
        return differs or answers.text(guest, "why")
    return answers.text(guest, "why")


def _drift(words: str) -> str:
    """Given a part of a plan, return it without what the table says already."""
    return words.removeprefix("noted: ").removeprefix("observed only; would ")


def _is_observed(guest: Answer, status: Answer) -> bool:
    """Return whether a guest waits for nothing but that it may be changed at all."""
    why, plan = answers.text(guest, "why"), answers.texts(guest, "plan")
    if any(words.startswith("withheld: ") for words in plan):
        return False
    if answers.text(guest, "mode") == "observe":
        return True
    modes = [h for h in answers.rows(status, "holds") if answers.text(h, "name") == "mode"]
    return any(text and text in why for text in (answers.text(hold, "why") for hold in modes))


def _pauses(status: Answer) -> list[dict[str, Any]]:
    found = answers.rows(status, "suspensions")
    return [row for row in found if row.get("freeze") is False]


def _is_of_all(suspension: Answer) -> bool:
    return answers.whole(suspension, "vmid") == _ALL


def pause_of(guest: Answer, status: Answer) -> Answer | None:
    """Given a guest of an answer, return its pause, its own before that of all; None without."""
    found = _pauses(status)
    own = [pause for pause in found if answers.whole(pause, "vmid") == guest.get("vmid")]
    return next(iter((*own, *filter(_is_of_all, found))), None)


def _last_pass(status: Answer, now: float) -> str | Part:
    passed = answers.table(status, "last_pass")
    at, seconds = answers.moment(passed, "at"), answers.number(passed, "seconds")
    if at is None:
        return Part("no pass yet", Style.WARN)
    took = f" ({seconds:.1f} s)" if seconds is not None else ""
    if passed.get("ok") is False:
        return Part(f"last pass FAILED {span(now - at)} ago{took}", Style.BAD)
    return f"last pass {span(now - at)} ago{took}"


def _files(status: Answer) -> Iterator[str | Part]:
    if "problems" in status:
        count = sum(not row.get("follows") for row in answers.rows(status, "problems"))
        words = f"{count} ERROR{'S' if count > 1 else ''}" if count else "ok"
        yield Part(f"files: {words}", Style.BAD if count else None)


def _frozen(status: Answer, now: float) -> str | Part:
    freezes = [row for row in answers.rows(status, "suspensions") if row.get("freeze") is True]
    if not freezes:
        return "frozen: no"
    left = answers.number(freezes[0], "left")
    until = f"until {ahead(now + left, now)}" if left is not None else "until thaw"
    return Part(f"frozen: {until}", Style.WARN)


def _listed(named: Sequence[str]) -> str:
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    guests = "guest" if len(named) == 1 else "guests"
    return f"{len(named)} {guests}, {', '.join(named[:_MAX_NAMED])}{more}"


def _joined(parts: Sequence[str | Part]) -> Line:
    line: list[str | Part] = []
    for part in parts:
        line += [_GAP, part] if line else [part]
    return line
