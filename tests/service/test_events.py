"""Each kind of event has a name, an id for good, and advice."""

from __future__ import annotations

import re

from felhom_agent.service.events import EVENTS, GUEST_BLOCKED, catalog


def test_names_and_ids_are_given_once() -> None:
    assert len({event.name for event in EVENTS}) == len(EVENTS) > 15
    assert len({event.message_id for event in EVENTS}) == len(EVENTS)
    assert all(re.fullmatch(r"[0-9a-f]{32}", event.message_id) for event in EVENTS)


def test_an_id_never_changes() -> None:
    """Somebody's alert rests on it."""
    assert (GUEST_BLOCKED.name, GUEST_BLOCKED.message_id) == (
        "guest-blocked",
        "d8713037fe5f4f5e97277730b96c328c",
    )


def test_each_tells_what_to_do() -> None:
    for event in EVENTS:
        assert event.advice.endswith(".")
        assert len(event.advice) > 20


def test_the_catalog_has_an_entry_for_each() -> None:
    entries = catalog().split("-- ")[1:]
    assert [entry.partition("\n")[0] for entry in entries] == [e.message_id for e in EVENTS]
    assert all("\nSubject: " in entry for entry in entries)
