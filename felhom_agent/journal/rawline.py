"""What a line of the journal says of an operation, without parsing its JSON.

Whoever asks for a few of many operations needs the guest, the beginning and the state of each, and
all the rest of those few alone. A line as this program writes it tells them to a regular
expression, which is quick. The expression admits no line that `shape.problem_of` objects to; where
a line has any other form, only who parses it can tell.

Nothing here compares checksums: that is done before (`durable.line.are_sound`).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple, get_args

from felhom_agent.durable.line import VERSION, Record
from felhom_agent.irreversible import Act
from felhom_agent.journal.operation import IN_FLIGHT, State
from felhom_agent.model import Kind


class Step(NamedTuple):
    """A step of an operation; of an intent the guest and the time of the beginning, too."""

    op_id: str
    state: str
    vmid: int = 0
    begun: float = 0.0


def step_of(line: bytes) -> Step | None:
    """Given a line without its newline, return the step that it is; None if it must be parsed."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    begun, intent, vmid, task, ended, last, state = found.groups()
    try:
        if intent is not None:
            return Step(intent.decode(), State.INTENT, int(vmid), _seconds(begun))
        if task is not None:
            return Step(task.decode(), State.TASK)
        _seconds(ended)
    except ValueError:  # a 30th of February
        return None
    return Step(last.decode(), state.decode())


def step_in(record: Record) -> Step:
    """Given the record of an operation, return the step that it is."""
    op_id, state = record["op"], record["state"]
    if state != State.INTENT:
        return Step(op_id, state)
    begun = datetime.fromisoformat(record["begun"]).timestamp()
    return Step(op_id, state, record["vmid"], begun)


def _seconds(moment: bytes) -> float:
    return datetime.fromisoformat(moment.decode()).timestamp()


def _one_of(words: list[str]) -> bytes:
    return b"(?:%s)" % "|".join(words).encode()


_TEXT = rb'"[ !#-\[\]-~]*(?:\\(?:["\\/bfnrt]|u[0-9a-f]{4})[ !#-\[\]-~]*)*"'
_PAIR = rb"%s:(?:%s|null)" % (_TEXT, _TEXT)
# Ids up to the year 2527, times up to 2199, vmids of up to six digits: that is all valid, and what
# there is.
_ID = rb'"op":"(0[0-9a-f]{11})"'
_TIME = rb'"((?:19[7-9]|20\d|21\d)\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00)"'
_INTENT = (
    rb'"action":"%s","begun":%s,"kind":"%s",(?:"name":"[\w.-]{0,255}",)?%s,'
    rb'(?:"restart":(?:true|false),)?"state":"intent","text":%s,"vmid":([1-9]\d{2,5})'
    rb'(?:,"wanted":\{(?:%s(?:,%s)*)?\})?'
) % (
    _one_of([each.__name__ for each in get_args(Act)]),
    _TIME, _one_of(list(Kind)), _ID, _TEXT, _PAIR, _PAIR,
)  # fmt: skip
_TASK = rb'%s,"state":"task","upid":%s' % (_ID, _TEXT)
_END = rb'"ended":%s,%s,"state":"(%s)"(?:,"untouched":(?:true|false))?(?:,"why":%s)?' % (
    _TIME,
    _ID,
    _one_of([state for state in State if state not in IN_FLIGHT]),
    _TEXT,
)
_LINE = re.compile(
    rb'\{"v":%d,"n":\d{1,18},"crc":"[0-9a-f]{8}","r":\{(?:%s|%s|%s)\}\}'
    % (VERSION, _INTENT, _TASK, _END)
)
