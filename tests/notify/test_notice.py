"""What a notice says."""

from __future__ import annotations

import logging

from felhom_agent.notify.notice import notice_of, summary_of
from felhom_agent.redaction import remember
from felhom_agent.service.events import GUEST_BLOCKED
from felhom_agent.service.logging import fields
from felhom_agent.service.ring import entry_of
from tests.notify.receiver import notice


def record(text: str) -> logging.LogRecord:
    made = logging.LogRecord("felhom_agent.x", logging.WARNING, __file__, 1, "%s", (text,), None)
    made.__dict__.update(fields(GUEST_BLOCKED, vmid=101, outcome="blocked"))
    return made


def test_a_notice_has_the_logs_sentence_what_it_means_and_what_to_do() -> None:
    entry = entry_of(record("guest 101 web: blocked: it is paused"))
    assert entry is not None
    found = notice_of(entry, "pve1")
    assert found.title == "pve1: A guest waits for a person"
    assert found.body == f"guest 101 web: blocked: it is paused\n\n{GUEST_BLOCKED.advice}"
    data = found.as_json()
    assert (data["schema"], data["event"], data["vmid"]) == (1, "guest-blocked", 101)
    assert data["fields"] == {"outcome": "blocked"}


def test_secrets_and_characters_that_act_on_a_screen_are_in_no_notice() -> None:
    remember("hunter2-hunter2")
    entry = entry_of(record("guest 101 \x1b[2J: blocked: hunter2-hunter2 \u202e" + "x" * 10_000))
    assert entry is not None
    data = str(notice_of(entry, "pve1\x1b" + "y" * 1000).as_json())
    assert "hunter2" not in data
    assert data.isprintable()
    assert len(data) < 3000


def test_a_summary_counts_by_event_and_names_ten_kinds_at_most() -> None:
    found = summary_of({"node-away": 1, "guest-blocked": 12}, "pve1", 1.0)
    assert found.text == "13 more events: 12 guest-blocked, 1 node-away"
    assert found.event == "summary"
    many = summary_of({f"e{n}": 1 for n in range(15)}, "pve1", 1.0)
    assert many.text.endswith(" and 5 other kinds")
    assert summary_of({"node-away": 1}, "pve1", 1.0).text == "1 more event: 1 node-away"


def test_a_notice_without_advice_is_its_text_alone() -> None:
    assert notice(advice="").body == "guest 101 web: blocked: it is paused"
