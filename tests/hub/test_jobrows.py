"""A hub's list of jobs: whatever is in it, each row is read by itself."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.authz.armor import MAX_ARMOR
from felhom_agent.authz.canonical import MAX_BYTES
from felhom_agent.errors import FelhomError
from felhom_agent.hub.jobrows import (
    MAX_ID,
    MAX_ROWS,
    NO_ID,
    JobRow,
    OddRow,
    RequestRow,
    Row,
    rows_of,
)

BLOB = base64.b64encode(b"signed").decode()
GOOD: dict[str, Any] = {"job_id": "j", "op_blob_b64": BLOB, "sigs_armored": ["s"]}
WANTED: dict[str, Any] = {"act": "force_stop", "vmid": 101, "params": {}}


def only(row: object) -> Row:
    (found,) = rows_of({"jobs": [row]}).rows
    return found


def wanted(**more: object) -> Row:
    return only({"job_id": "r", "request": {**WANTED, **more}})


@pytest.mark.parametrize("body", [None, [], "x", {}, {"jobs": None}, {"jobs": {}}, {"jobs": 5}])
def test_an_answer_without_a_list_is_none(body: object) -> None:
    with pytest.raises(FelhomError, match="there is none"):
        rows_of(body)


def test_keys_of_a_row_that_are_not_known_are_ignored() -> None:
    assert only({**GOOD, "since": 5, "note": ["x"]}) == JobRow("j", b"signed", (b"s",))
    row = {"job_id": "r", "request": WANTED, "by": "anna"}
    assert isinstance(only(row), RequestRow)


@pytest.mark.parametrize("job_id", ["x" * MAX_ID, "a/../b", "é", "job 1", "%2e%2e"])
def test_a_job_id_may_be_any_printable_text(job_id: str) -> None:
    assert isinstance(only({**GOOD, "job_id": job_id}), JobRow)


@pytest.mark.parametrize(
    ("job_id", "shown"),
    [(None, NO_ID), (5, NO_ID), ("", NO_ID), (["j"], NO_ID), ("a\nb", "a?b"), ("\x1b[2J", "?[2J"),
     ("\u202eb", "?b"), ("..", ".."), ("x" * (MAX_ID + 1), "x" * (MAX_ID - 3) + "...")],
)  # fmt: skip
def test_a_job_id_that_cannot_be_acknowledged_makes_a_row_odd(job_id: object, shown: str) -> None:
    found = only({**GOOD, "job_id": job_id})
    assert isinstance(found, OddRow)
    assert (found.job_id, found.named) == (shown, False)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"op_blob_b64": None}, "no text"),
        ({"op_blob_b64": ""}, "no text"),
        ({"op_blob_b64": BLOB + "\n"}, "no base64"),
        ({"op_blob_b64": " " + BLOB}, "no base64"),
        ({"op_blob_b64": "_-=="}, "no base64"),
        ({"op_blob_b64": "é==="}, "no base64"),
        ({"op_blob_b64": "QQ"}, "no base64"),
        ({"op_blob_b64": "QR=="}, "more than its bytes"),
        ({"op_blob_b64": "A" * 10_000_000}, "more than 65536 bytes"),
        (
            {"op_blob_b64": base64.b64encode(b"x" * (MAX_BYTES + 1)).decode()},
            "more than 65536 bytes",
        ),
        ({"sigs_armored": None}, "no list"),
        ({"sigs_armored": "s"}, "no list"),
        ({"sigs_armored": []}, "no list"),
        ({"sigs_armored": ["s"] * 9}, "no list of 1 to 8"),
        ({"sigs_armored": ["s", 5]}, "no text"),
        ({"sigs_armored": ["s", ""]}, "no text"),
        ({"sigs_armored": ["é"]}, "no text of ASCII"),
        ({"sigs_armored": ["s" * (MAX_ARMOR + 1)]}, "more than 16384 bytes"),
        ({"request": WANTED}, "at once"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_job_that_is_none_is_odd_and_can_be_acknowledged(more: Any, why: str) -> None:
    found = only({**GOOD, **more})
    assert isinstance(found, OddRow)
    assert (found.job_id, found.named) == ("j", True)
    assert why in found.why


def test_the_largest_job_is_a_job() -> None:
    blob, signatures = b"x" * MAX_BYTES, ["s" * MAX_ARMOR] * 8
    row = {**GOOD, "op_blob_b64": base64.b64encode(blob).decode(), "sigs_armored": signatures}
    assert only(row) == JobRow("j", blob, (b"s" * MAX_ARMOR,) * 8)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"act": None}, "act"),
        ({"act": ["thaw"]}, "act"),
        ({"act": "rm -rf"}, "act"),
        ({"act": "x" * 41}, "act"),
        ({"vmid": None}, "vmid"),
        ({"vmid": "101"}, "vmid"),
        ({"vmid": True}, "vmid"),
        ({"vmid": 101.0}, "vmid"),
        ({"vmid": -1}, "vmid"),
        ({"vmid": 10**12}, "vmid"),
        ({"params": None}, "params"),
        ({"params": []}, "params"),
        ({"params": {f"p{n}": 1 for n in range(21)}}, "20 at most"),
        ({"params": {"a b": 1}}, "a name that is none"),
        ({"params": {"snapshot": None}}, "no text"),
        ({"params": {"snapshot": 1.5}}, "no text"),
        ({"params": {"snapshot": 2**60}}, "no text"),
        ({"params": {"snapshot": ["x", 1]}}, "no text"),
        ({"params": {"keys": ["x"] * 101}}, "no text"),
        ({"params": {"keys": ["x" * 40_000] * 2}}, "more than 65536"),
        ({"params": {"snapshot": "x" * (MAX_BYTES + 1)}}, "more than 65536"),
        ({"stop": "yes"}, "stop"),
        ({"resume": 1}, "resume"),
        ({"stop": None}, "stop"),
        ({"force": True}, "does not know"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_request_that_is_none_is_odd_and_can_be_acknowledged(more: Any, why: str) -> None:
    found = wanted(**more)
    assert isinstance(found, OddRow)
    assert found.named
    assert why in found.why


@pytest.mark.parametrize("request_", [None, [], "thaw", {}, {"act": "thaw"}], ids=str)
def test_a_request_that_is_no_object_or_lacks_a_part_is_odd(request_: object) -> None:
    assert isinstance(only({"job_id": "r", "request": request_}), OddRow)


def test_the_second_of_two_rows_of_one_id_is_odd_and_not_acknowledged() -> None:
    first, second, third = rows_of({"jobs": [GOOD, {**GOOD, "op_blob_b64": "QQ=="}, GOOD]}).rows
    assert isinstance(first, JobRow)
    for again in (second, third):
        assert again == OddRow("j", "its job_id is another job's in the same list", named=False)


def test_a_job_may_be_called_what_an_odd_one_is_shown_as() -> None:
    odd, good = rows_of({"jobs": [{**GOOD, "job_id": "a\nb"}, {**GOOD, "job_id": "a?b"}]}).rows
    assert isinstance(odd, OddRow)
    assert isinstance(good, JobRow)


def test_of_an_endless_list_the_first_hundred_are_looked_at() -> None:
    found = rows_of({"jobs": [{**GOOD, "job_id": f"j{n}"} for n in range(5000)]})
    assert [row.job_id for row in found.rows] == [f"j{n}" for n in range(MAX_ROWS)]
    assert found.left_off == 4900


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
WORDS = st.sampled_from([*GOOD, "request", *WANTED, "stop", "resume"])


@given(st.lists(JSON | st.dictionaries(WORDS, JSON | st.dictionaries(WORDS, JSON)), max_size=8))
def test_whatever_a_row_is_it_is_one_row_that_can_be_shown(jobs: list[Any]) -> None:
    found = rows_of({"jobs": jobs}).rows
    assert len(found) == len(jobs)
    assert all(0 < len(row.job_id) <= MAX_ID and row.job_id.isprintable() for row in found)
    assert all(row.why.isprintable() for row in found if isinstance(row, OddRow))
