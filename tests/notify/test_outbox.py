"""What is not taken is tried again for an hour, told of once, and counted when it is given up."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest

from felhom_agent.config.settings import NotifyConfig
from felhom_agent.notify.commandspool import CommandSpool
from felhom_agent.notify.outbox import FIRST_PAUSE, KEPT, MAX_PAUSE, MAX_WAITING, Outbox
from felhom_agent.notify.webhook import Webhook
from tests.conftest import Clock
from tests.notify.receiver import Receiver, notice


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def missed() -> list[str]:
    return []


@pytest.fixture
def outbox(
    receiver: Receiver, clock: Clock, missed: list[str], caplog: pytest.LogCaptureFixture
) -> Outbox:
    caplog.set_level(logging.INFO, "felhom_agent")
    return Outbox(Webhook(NotifyConfig(url=receiver.url), None), None, missed.append, clock)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_notices_arrive_in_order(outbox: Outbox, receiver: Receiver) -> None:
    for event in ("guest-blocked", "node-away"):
        outbox.add(notice(event))
    assert outbox.work() == math.inf
    assert receiver.events == ["guest-blocked", "node-away"]


def test_a_receiver_that_does_not_take_them_is_tried_after_longer_and_longer_pauses(
    outbox: Outbox, receiver: Receiver, clock: Clock
) -> None:
    receiver.status = 503
    outbox.add(notice())
    pauses = []
    for _ in range(9):
        pauses.append(outbox.work())
        assert not outbox.is_well
        assert outbox.work() == pauses[-1], "nothing is sent before its time"
        clock.pass_by(pauses[-1])
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == MAX_PAUSE
    receiver.status = 200
    assert outbox.work() == math.inf
    assert outbox.is_well
    assert receiver.events == ["guest-blocked"]


def test_trouble_is_one_warning_however_long_it_lasts_and_its_end_is_one_line(
    outbox: Outbox, receiver: Receiver, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 500
    for _ in range(5):
        outbox.add(notice())
        clock.pass_by(outbox.work())
    receiver.status = 200
    outbox.work()
    trouble, end = said(caplog)
    where = f"no notification is delivered: {receiver.url}: "
    assert trouble == f"{where}it answers with status 500; see [notify] in agent.toml"
    assert end == "notifications are delivered again"


def test_what_waits_for_longer_than_an_hour_is_given_up_and_counted(
    outbox: Outbox, receiver: Receiver, clock: Clock, missed: list[str]
) -> None:
    receiver.status = 503
    outbox.add(notice())
    outbox.work()
    clock.pass_by(KEPT)
    outbox.add(notice("node-away"))
    receiver.status = 200
    outbox.work()
    assert missed == ["guest-blocked"]
    assert receiver.events == ["node-away"]


def test_one_that_is_never_taken_does_not_keep_the_others(
    outbox: Outbox, receiver: Receiver, missed: list[str]
) -> None:
    receiver.status = 400
    outbox.add(notice())
    assert outbox.work() == math.inf
    receiver.status = 200
    outbox.add(notice("node-away"))
    outbox.work()
    assert (missed, receiver.events) == (["guest-blocked"], ["node-away"])


def test_so_many_wait_at_the_most_and_the_oldest_go(
    outbox: Outbox, receiver: Receiver, missed: list[str]
) -> None:
    receiver.status = 503
    outbox.add(notice("node-away"))
    for _ in range(MAX_WAITING):
        outbox.add(notice())
    assert missed == ["node-away"]
    receiver.status = 200
    outbox.work()
    assert receiver.events == ["guest-blocked"] * MAX_WAITING


def test_the_commands_get_theirs_while_the_receiver_is_away(
    receiver: Receiver, clock: Clock, missed: list[str], tmp_path: Path
) -> None:
    receiver.status = 503
    webhook = Webhook(NotifyConfig(url=receiver.url), None)
    outbox = Outbox(webhook, CommandSpool(tmp_path), missed.append, clock)
    outbox.add(notice())
    outbox.work()
    assert len(list(tmp_path.iterdir())) == 1


def test_commands_that_cannot_be_reached_are_one_warning_and_what_they_miss_is_counted(
    clock: Clock, missed: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(None, CommandSpool(tmp_path / "none"), missed.append, clock)
    for _ in range(3):
        outbox.add(notice())
        assert outbox.work() == math.inf
    assert missed == ["guest-blocked"] * 3
    assert len(said(caplog)) == 1


def test_at_the_end_what_waits_is_tried_once_more_whatever_the_pause(
    outbox: Outbox, receiver: Receiver
) -> None:
    receiver.status = 503
    outbox.add(notice())
    outbox.work()
    receiver.status = 200
    outbox.work(hurries=True)
    assert receiver.events == ["guest-blocked"]
