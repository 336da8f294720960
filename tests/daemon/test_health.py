"""How it goes with the node as a whole: what is said of it, and when the next pass comes."""

from __future__ import annotations

import logging

import pytest

from felhom_agent.config.settings import ReconcileConfig
from felhom_agent.daemon.health import Health
from felhom_agent.errors import JournalClosed, NotSent
from felhom_agent.reconcile.backoff import Backoff

SETTINGS = ReconcileConfig(interval=60.0, jitter=0.5, backoff_first=5.0, backoff_cap=600.0)
AWAY = NotSent("no route", call="GET /version")


def pause(health: Health, chance: float = 0.0) -> float:
    return health.pause(SETTINGS, Backoff.of(SETTINGS, lambda: chance))


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == level]


def test_passes_come_an_interval_apart_give_or_take_half_the_jitter() -> None:
    assert [pause(Health(), chance) for chance in (0.0, 0.5, 1.0)] == [45.0, 60.0, 75.0]


def test_each_failure_in_a_row_lengthens_the_wait_up_to_the_interval() -> None:
    health, waits = Health(), []
    for _ in range(6):
        health.failed(AWAY)
        waits.append(pause(health))
    assert waits == [5, 10, 20, 40, 60, 60]
    health.ended_well()
    assert pause(health) == 45.0
    health.failed(AWAY)
    assert pause(health) == 5.0


def test_each_kind_of_trouble_is_said_once_and_again_after_it_was_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    health = Health()
    for number, error in enumerate((AWAY, JournalClosed("it is closed"), ValueError("a bug")) * 2):
        health.failed(error)
        assert len(said(caplog, logging.ERROR)) == min(number + 1, 3)
    away = "the node cannot be observed; trying on: no route (GET /version)"
    assert said(caplog, logging.ERROR) == [
        away,
        "nothing is done; trying on: it is closed",
        "internal error in a pass; please report it",
    ]
    caplog.clear()
    for _ in range(2):
        health.ended_well()
        assert said(caplog, logging.INFO) == ["the node answers again"]
    health.failed(AWAY)
    assert said(caplog, logging.ERROR) == [away]


def test_the_trouble_of_the_latest_pass_is_shown_until_one_ends_well() -> None:
    health = Health()
    assert health.trouble == ""
    health.failed(AWAY)
    assert health.trouble == "the node cannot be observed: no route"
    health.failed(JournalClosed("it is closed"))
    assert health.trouble == "nothing is done: it is closed"
    health.failed(ValueError("a bug"))
    assert health.trouble.startswith("internal error in a pass: ValueError: a bug")
    health.ended_well()
    assert health.trouble == ""


def test_a_node_that_lets_questions_time_out_is_named_once_and_once_it_answers_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    health = Health()
    for slowly, errors, infos in ((0, 0, 0), (1, 1, 0), (1, 1, 0), (0, 1, 1), (0, 1, 1)):
        health.observed(slowly=bool(slowly))
        assert bool(health.trouble) is bool(slowly)
        assert len(said(caplog, logging.ERROR)) == errors
        assert len(said(caplog, logging.INFO)) == infos
    text = "the node does not answer all questions in time"
    assert said(caplog, logging.ERROR) == [f"{text}; trying on"]
    assert said(caplog, logging.INFO) == ["the node answers all questions again"]
    health.observed(slowly=True)
    assert health.trouble == text
