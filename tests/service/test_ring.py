"""The newest events of a process, under many threads and odd records."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType

import pytest

from felhom_agent import redaction
from felhom_agent.redaction import remember
from felhom_agent.service.events import GUEST_BLOCKED, GUEST_CHANGED, INTERNAL_ERROR, NODE_AWAY
from felhom_agent.service.logging import fields, within
from felhom_agent.service.ring import (
    CAPACITY,
    MAX_TEXT,
    MAX_VALUE,
    MAX_VALUES,
    EventEntry,
    Ring,
)
from tests.process import SOON

_log = logging.getLogger("felhom_agent.tests.ring")


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("cannot be printed")


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("felhom_agent"), "level", logging.INFO)
    _log.manager._clear_cache()  # type: ignore[attr-defined]


@pytest.fixture
def ring() -> Iterator[Ring]:
    kept = Ring(now=lambda: 1000.0)
    with kept.collecting():
        yield kept


def kept(ring: Ring, **asked: int) -> tuple[EventEntry, ...]:
    return ring.excerpt(**asked).entries


def test_what_tells_of_an_event_is_kept_with_its_fields_and_the_rest_is_not(ring: Ring) -> None:
    _log.info("nothing that has a name")
    with within(**{"pass": 7}):
        _log.warning(
            "guest %d: blocked: %s", 101, "locked", extra=fields(GUEST_BLOCKED, vmid=101, op="x1")
        )
    (entry,) = kept(ring)
    assert (entry.number, entry.level, entry.event) == (1, "warning", "guest-blocked")
    assert (entry.vmid, entry.text) == (101, "guest 101: blocked: locked")
    assert dict(entry.fields) == {"pass": "7", "op": "x1"}
    assert entry.at > 1_700_000_000


def test_an_error_of_our_own_is_an_event_without_being_called_one(ring: Ring) -> None:
    try:
        raise KeyError("a bug")
    except KeyError:
        _log.exception("internal error; please report it")
    (entry,) = kept(ring)
    assert (entry.event, entry.level, entry.vmid) == (INTERNAL_ERROR.name, "error", None)
    assert "Traceback" not in entry.text


def test_the_newest_thousand_are_kept_and_their_numbers_have_no_gaps(ring: Ring) -> None:
    for number in range(CAPACITY + 500):
        _log.info("event %d", number, extra=fields(GUEST_CHANGED))
    found = ring.excerpt()
    assert len(found.entries) == CAPACITY == 1000
    assert (found.oldest, found.newest) == (501, 1500)
    assert [entry.number for entry in found.entries] == list(range(501, 1501))
    assert found.entries[-1].text == "event 1499"


def test_what_comes_after_a_number_and_what_is_of_a_guest_can_be_asked_for(ring: Ring) -> None:
    for vmid in (101, 102, 101, None):
        _log.info("x", extra=fields(GUEST_CHANGED, vmid=vmid))
    assert [entry.number for entry in kept(ring, after=2)] == [3, 4]
    assert [entry.number for entry in kept(ring, vmid=101)] == [1, 3]
    assert [entry.number for entry in kept(ring, after=1, vmid=101)] == [3]
    assert kept(ring, after=4) == kept(ring, after=99) == ()
    assert ring.excerpt(after=99).newest == 4


def test_an_empty_one_says_so_and_two_processes_have_different_names() -> None:
    one, other = Ring(now=lambda: 1000.0), Ring()
    assert (one.excerpt().oldest, one.excerpt().newest, one.excerpt().started) == (0, 0, 1000.0)
    assert one.excerpt().run != other.excerpt().run
    assert one.excerpt().run == one.excerpt().run


def test_after_the_block_nothing_more_is_kept() -> None:
    ring = Ring()
    with ring.collecting():
        _log.info("x", extra=fields(GUEST_CHANGED))
    _log.info("y", extra=fields(GUEST_CHANGED))
    assert len(kept(ring)) == 1


def test_no_secret_no_escape_and_nothing_long_is_kept(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redaction, "_known", ())
    remember("s3cret-of-the-token")
    extra = fields(NODE_AWAY, why="\x1b[2Js3cret-of-the-token" + "x" * 5000)
    extra["fields"] |= {f"name{number}": "v" for number in range(100)}
    _log.error("s3cret-of-the-token\nand \u202e%s", "y" * 100_000, extra=extra)
    (entry,) = kept(ring)
    whole = entry.text + "".join((*entry.fields, *entry.fields.values()))
    assert whole.isprintable()
    assert "s3cret" not in whole
    assert len(entry.text) <= MAX_TEXT
    assert len(entry.fields) == MAX_VALUES
    assert all(len(value) <= MAX_VALUE for value in entry.fields.values())


@pytest.mark.parametrize(
    "extra",
    [
        {"event": GUEST_CHANGED, "fields": None},
        {"event": GUEST_CHANGED, "fields": "no mapping"},
        {"event": GUEST_CHANGED, "fields": {5: Odd(), "\x00": b"\xff"}},
        {"event": GUEST_CHANGED, "fields": {"vmid": "101"}},
        {"event": GUEST_CHANGED, "fields": {"vmid": True}},
        {"event": GUEST_CHANGED, "fields": {"vmid": 99}},
        {"event": GUEST_CHANGED, "fields": {"vmid": 10**30}},
    ],
)
def test_odd_fields_cost_themselves_alone(ring: Ring, extra: dict[str, object]) -> None:
    _log.info("it was changed", extra=extra)
    (entry,) = kept(ring)
    assert (entry.text, entry.vmid) == ("it was changed", None)


def test_a_record_that_cannot_be_printed_never_reaches_its_caller(ring: Ring) -> None:
    for message, values, extra in (
        ("%s", (Odd(),), fields(GUEST_CHANGED)),
        ("%s and %s", (1,), fields(GUEST_CHANGED)),
        ("%d", ("no number",), fields(GUEST_CHANGED)),
        (Odd(), (), fields(GUEST_CHANGED)),
        ("x", (), {"event": "no event", "fields": {}}),
    ):
        record = logging.LogRecord("felhom_agent.x", 20, "x.py", 1, message, values, None)
        record.__dict__.update(extra)
        ring.handle(record)
    ring.emit(None)  # type: ignore[arg-type]
    _log.info("after all of it", extra=fields(GUEST_CHANGED))
    found = kept(ring)
    assert found[-1].text == "after all of it"
    assert [entry.number for entry in found] == list(range(1, len(found) + 1))


def test_who_logs_while_it_holds_the_lock_does_not_wait_for_itself(ring: Ring) -> None:
    """As a finalizer does that fails, wherever garbage is collected."""

    def log() -> None:
        with ring._entries_lock:
            _log.info("x", extra=fields(GUEST_CHANGED))

    thread = threading.Thread(target=log, daemon=True)
    thread.start()
    thread.join(SOON)
    assert not thread.is_alive()
    assert len(kept(ring)) == 1


def test_what_is_logged_between_a_number_and_its_entry_stands_in_order(ring: Ring) -> None:
    """As by a finalizer: Python collects garbage where something is made, an entry for one."""

    def profile(frame: FrameType, event: str, _: object) -> None:
        takes_number = frame.f_code is replace.__code__
        if event == "call" and takes_number:
            sys.setprofile(None)
            _log.info("by a finalizer", extra=fields(GUEST_CHANGED))

    sys.setprofile(profile)
    try:
        _log.info("by a caller", extra=fields(GUEST_CHANGED))
    finally:
        sys.setprofile(None)
    assert [(entry.number, entry.text) for entry in kept(ring)] == [
        (1, "by a caller"),
        (2, "by a finalizer"),
    ]
    assert [entry.number for entry in ring.excerpt(after=1).entries] == [2]


def test_many_threads_write_and_read_and_no_number_is_there_twice(ring: Ring) -> None:
    count, writers = 200, 8
    begin = threading.Barrier(writers + 1)
    torn: list[object] = []

    def write(writer: int) -> None:
        begin.wait(SOON)
        for number in range(count):
            _log.info("%d", number, extra=fields(GUEST_CHANGED, vmid=100 + writer))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    begin.wait(SOON)
    while any(thread.is_alive() for thread in threads):
        found = ring.excerpt()
        numbers = [entry.number for entry in found.entries]
        expected = list(range(found.newest - len(numbers) + 1, found.newest + 1))
        torn += [numbers] if numbers != expected else []
    for thread in threads:
        thread.join(SOON)
    assert torn == []
    assert ring.excerpt().newest == count * writers
    for writer in range(writers):
        texts = [int(entry.text) for entry in kept(ring, vmid=100 + writer)]
        assert texts == sorted(texts)
