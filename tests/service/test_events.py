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


COMMAND = re.compile(r"(?<!`)\b(?:felhom-agent [a-z]|systemctl|journalctl|pvecm|pvenode)")


def test_the_catalog_never_breaks_a_command_in_two() -> None:
    """A command is copied from there; it stands in backquotes, on one line."""
    lines = catalog().splitlines()
    assert all(line.count("`") % 2 == 0 for line in lines)
    for event in EVENTS:
        assert not COMMAND.search(event.advice), f"{event}: a command without backquotes"
        for command in re.findall("`[^`]*`", event.advice):
            assert any(command in line for line in lines), command


def test_the_catalog_loses_no_word_and_breaks_none() -> None:
    entries = catalog().split("-- ")[1:]
    for event, entry in zip(EVENTS, entries, strict=True):
        text = entry.partition("\n\n")[2]
        assert text.split() == event.advice.split()
        assert all(len(line) <= 78 or "`" in line for line in text.splitlines())


def test_each_way_to_end_with_an_error_is_an_event_of_its_own() -> None:
    subjects = " ".join(event.subject for event in EVENTS)
    assert all(f"(exit code {code})" in subjects for code in ("1 or 75", 65, 70, 78))
