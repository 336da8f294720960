"""What a line tells without being parsed is what its record says, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.durable.line import Record, body_of, decode, encode
from felhom_agent.journal.content import NAME
from felhom_agent.journal.rawline import step_in, step_of
from felhom_agent.journal.shape import problem_of
from felhom_agent.model import ABSENT, Change, Kind, SetConfig, Stop, StopPolicy
from tests.conftest import Clock
from tests.journal.books import UPID, book

INTENT: Record = {
    "action": "SetConfig", "begun": "2026-11-27T00:00:00.000+00:00", "kind": "lxc", "name": "web",
    "op": "019f9d086180", "state": "intent", "text": "set memory: 1 -> 2", "vmid": 101,
    "wanted": {"memory": "2", "mp0": None}, "restart": False,
}  # fmt: skip
TASK: Record = {"op": "019f9d086180", "state": "task", "upid": UPID}
END: Record = {
    "ended": "2026-11-27T00:00:01.000+00:00", "op": "019f9d086180", "state": "failed",
    "untouched": True, "why": "it \u00e9 \n failed",
}  # fmt: skip
KEYS = sorted({*INTENT, *TASK, *END, "key", "expires", "mark", "guest", "signed", "suspend"})
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([each for record in (INTENT, TASK, END) for each in record.values()]),
    st.sampled_from(
        [
            "2026-02-30T00:00:00.000+00:00",
            "2026-11-27T24:00:00.000+00:00",
            "unknown",
            "begun",
            "9999-12-31T23:59:59.999+00:00",
            "1969-12-31T23:59:59.999+00:00",
            "0" * 12,
            "f" * 12,
            "0" * 11,
            "Destroy",
            99,
            100,
            999_999_999,
            1_000_000_000,
            {},
            {"op": "019f9d086180"},
            {"a": 1},
            {"vmid": "100"},
            '","vmid":300',
            "\\",
            "x" * 256,
        ]
    ),
    st.text(max_size=3),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
)


@given(
    st.sampled_from([INTENT, TASK, END]),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3),
    st.sets(st.sampled_from(KEYS), max_size=2),
)
def test_a_step_is_told_without_parsing_only_as_parsing_tells_it(
    record: Record, other: dict[str, Any], left_out: set[str]
) -> None:
    changed = {k: v for k, v in (dict(record) | other).items() if k not in left_out}
    line = encode(7, body_of(changed)).rstrip(b"\n")
    if (found := step_of(line)) is not None:
        assert problem_of(decode(line)[1]) == ""
        assert found == step_in(decode(line)[1])


@pytest.mark.parametrize("record", [INTENT, TASK, END])
@given(st.data())
def test_a_line_changed_anywhere_is_told_only_as_it_can_be_parsed(
    record: Record, data: st.DataObject
) -> None:
    body = bytearray(body_of(record))
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] = data.draw(st.sampled_from(b'"\\{}[]:,x19u \x00\x7f\xe9'))
    line = encode(7, bytes(body)).rstrip(b"\n")
    if (found := step_of(line)) is not None:
        assert (problem_of(decode(line)[1]), step_in(decode(line)[1])) == ("", found)


def test_all_that_the_agent_writes_of_its_own_work_is_told_without_parsing(tmp_path: Path) -> None:
    with book(tmp_path, Clock(1_800_000_000)) as it:
        it.start(101, name="")
        changes = (
            Change("memory", "1", "2"),
            Change("tags", "a", ABSENT),
            Change("x", ABSENT, "\xe9"),
        )
        operation = it.operations.begin(SetConfig(201, Kind.LXC, changes), name="dns.lan")
        it.operations.failed(operation, 'no "space" left: \u2026', untouched=True)
        stop = Stop(103, Kind.QEMU, StopPolicy.POWER_OFF, restart=True)
        it.operations.unknown(it.operations.begin(stop), "lost")
    lines = (tmp_path / NAME).read_bytes().splitlines()
    told = [line for line in lines if "op" in decode(line)[1]]
    assert len(told) == 7
    assert [step_of(line) for line in told] == [step_in(decode(line)[1]) for line in told]
