"""What a journal keeps when it is made smaller, and what may go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.durable.line import Record, encode_file
from felhom_agent.journal.identities import known
from felhom_agent.journal.operation import Operation, State, intent, record_of, replay
from felhom_agent.journal.retention import RECENT, Limits, retain, watermark_of
from felhom_agent.model import Kind, Known, Start

NOW = 1_800_000_000.0
DAY = 86400.0
ROOMY = Limits(days=90.0, size=10_000_000)
NARROW = Limits(days=90.0, size=2)


def story(
    number: int,
    age: float,
    state: State = State.SUCCEEDED,
    *,
    key: str = "",
    expires: float | None = None,
    upid: str = "",
) -> list[Record]:
    """The records of an operation that began, and ended, so many seconds ago."""
    operation = intent(
        f"{number:012x}", Start(100 + number % 5, Kind.QEMU), NOW - age, key, expires
    )
    records = [record_of(operation)]
    fields = {**vars(operation), "upid": upid}
    if upid:
        records.append(record_of(Operation(**{**fields, "state": State.TASK})))
    if state not in (State.INTENT, State.TASK):
        records.append(record_of(Operation(**{**fields, "state": state, "ended": NOW - age})))
    return records


def ids(records: list[Record]) -> list[int]:
    return [int(operation.op_id, 16) for operation in replay(records)]


def test_what_is_older_than_its_days_goes_and_the_rest_stays() -> None:
    records = [*story(1, 91 * DAY), *story(2, 89 * DAY), *story(3, 1.0)]
    assert ids(retain(records, NOW, ROOMY)) == [2, 3]


def test_what_does_not_fit_goes_the_oldest_first_and_room_is_left() -> None:
    records = [record for n in range(1, 101) for record in story(n, (200 - n) * 3600.0)]
    size = len(encode_file(records))
    kept = retain(records, NOW, Limits(90.0, size))
    assert ids(kept) == list(range(101 - len(ids(kept)), 101))
    assert 0.4 * size < len(encode_file(kept)) < 0.55 * size


def test_what_is_in_flight_stays_however_old_and_large_it_is() -> None:
    records = [*story(1, 400 * DAY, State.INTENT), *story(2, 300 * DAY, State.TASK, upid="UPID:x")]
    assert ids(retain(records, NOW, NARROW)) == [1, 2]


def test_what_happened_around_something_in_flight_stays_since_its_tasks_are_known() -> None:
    records = [
        *story(1, 10 * DAY + RECENT + 1, upid="UPID:long-before"),
        *story(2, 10 * DAY + RECENT - 1, upid="UPID:just-before"),
        *story(3, 10 * DAY, State.INTENT),
    ]
    assert ids(retain(records, NOW, NARROW)) == [2, 3]


def test_a_job_stays_until_it_expires_and_for_good_where_it_never_does() -> None:
    records = [
        *story(1, 400 * DAY, key="for-good"),
        *story(2, 400 * DAY, key="still-good", expires=NOW + 1),
        *story(3, 400 * DAY, key="expired", expires=NOW - 1),
        *story(4, 400 * DAY, State.UNKNOWN, key="unknown", expires=NOW + 1),
    ]
    assert [o.key for o in replay(retain(records, NOW, NARROW))] == [
        "for-good", "still-good", "unknown",
    ]  # fmt: skip


def test_until_when_jobs_were_let_go_is_remembered() -> None:
    records = story(3, 400 * DAY, key="expired", expires=NOW - 1)
    kept = retain(records, NOW, NARROW)
    assert watermark_of(kept).forgotten == NOW - 1
    again = retain([*kept, *story(4, 300 * DAY, key="older", expires=NOW - DAY)], NOW, NARROW)
    assert watermark_of(again).forgotten == NOW - 1


def test_the_highest_id_that_was_given_is_remembered() -> None:
    kept = retain([*story(7, 400 * DAY), *story(3, 500 * DAY)], NOW, NARROW)
    assert ids(kept) == []
    assert watermark_of(retain(kept, NOW, NARROW)).last_id == 7


def test_the_latest_word_on_each_guest_stays() -> None:
    words: list[Record] = [{"guest": v, "identity": i} for v, i in ((1, "a"), (2, "b"), (1, "c"))]
    kept = retain(words, NOW, NARROW)
    assert known(kept) == {1: Known("c"), 2: Known("b")}
    assert sum("identity" in record for record in kept) == 2


def test_a_record_that_is_not_understood_stays() -> None:
    assert {"nonce": "x"} in retain([{"nonce": "x"}], NOW, NARROW)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 200).map(lambda days: days * DAY),
            st.sampled_from(State),
            st.sampled_from(["", "job"]),
            st.sampled_from([None, NOW - DAY, NOW + DAY]),
        ),
        max_size=12,
    ),
    st.sampled_from([ROOMY, NARROW, Limits(30.0, 2000)]),
)
def test_sifting_changes_no_record_and_sifting_again_changes_nothing(
    stories: list[tuple[float, State, str, float | None]], limits: Limits
) -> None:
    records = [
        record
        for number, (age, state, key, expires) in enumerate(stories, start=1)
        for record in story(number, age, state, key=key and f"{key}-{number}", expires=expires)
    ]
    kept = retain(records, NOW, limits)
    assert [r for r in kept if "mark" not in r] == [r for r in records if r in kept]
    assert retain(kept, NOW, limits) == kept
    before = {o.op_id: o for o in replay(records)}
    assert all(before[o.op_id] == o for o in replay(kept))
    assert [o for o in replay(kept) if o.in_flight] == [o for o in before.values() if o.in_flight]
