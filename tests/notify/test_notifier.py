"""From a line of the log to a message that a person gets, with real records and a real receiver."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.config.settings import NotifyConfig
from felhom_agent.errors import FelhomError
from felhom_agent.notify.hourly import HOUR
from felhom_agent.notify.notifier import LAST, MAX_WAITING, Notifier
from felhom_agent.notify.quiet import GRACE, Backups
from felhom_agent.service.events import (
    GUEST_BLOCKED,
    GUEST_CHANGED,
    GUEST_CONVERGED,
    NODE_AWAY,
    Event,
)
from felhom_agent.service.logging import fields
from tests.conftest import Clock
from tests.hostile.rawhub import Caller, raw_hub
from tests.notify.receiver import Receiver
from tests.process import SOON, wait_until

_log = logging.getLogger("felhom_agent.tests.notify")


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("felhom_agent"), "level", logging.INFO)
    _log.manager._clear_cache()  # type: ignore[attr-defined]


def say(event: Event, text: str = "something", **values: object) -> None:
    _log.warning("%s", text, extra=fields(event, **values))


class Stepped:
    """A notifier without a thread, whose steps a test takes; one clock for both times."""

    def __init__(self, config: NotifyConfig) -> None:
        self.clock = Clock()
        self.notifier = Notifier(config, "pve1", None, self.clock, self.clock)

    def step(self, seconds: float = 0.0) -> float:
        self.clock.pass_by(seconds)
        return self.notifier.step()


Step = Callable[..., Stepped]


@pytest.fixture
def stepped(receiver: Receiver) -> Iterator[Step]:
    made: list[Notifier] = []
    ours = logging.getLogger("felhom_agent")

    def make(**settings: object) -> Stepped:
        config = replace(NotifyConfig(url=receiver.url), **settings)  # type: ignore[arg-type]
        found = Stepped(config)
        ours.addHandler(found.notifier)
        made.append(found.notifier)
        return found

    yield make
    for each in made:
        ours.removeHandler(each)


@pytest.fixture
def running() -> Iterator[Callable[[NotifyConfig], Notifier]]:
    made: list[Notifier] = []

    def make(config: NotifyConfig) -> Notifier:
        made.append(Notifier(config, "pve1"))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_events_that_are_wanted_are_told_and_others_are_not(
    stepped: Step, receiver: Receiver
) -> None:
    agent = stepped(events=("node-away",))
    say(NODE_AWAY, "the node cannot be observed")
    say(GUEST_CHANGED, vmid=101)
    say(GUEST_CONVERGED, vmid=101)
    _log.warning("no event at all")
    agent.step()
    (posted,) = receiver.posted
    assert (posted.data["event"], posted.data["text"]) == (
        "node-away", "the node cannot be observed",
    )  # fmt: skip


def test_what_is_too_much_for_an_hour_follows_as_one_message(
    stepped: Step, receiver: Receiver
) -> None:
    agent = stepped(per_hour=3)
    for vmid in range(101, 111):
        say(GUEST_BLOCKED, vmid=vmid)
    assert agent.step() == HOUR
    assert receiver.events == ["guest-blocked"] * 3
    told = [each.data["text"] for each in receiver.posted]
    assert told == ["something", "something", f"something{LAST}"]
    agent.step(HOUR)
    assert receiver.events[3:] == ["summary"]
    assert receiver.posted[3].data["text"] == "7 more events: 7 guest-blocked"


def test_what_did_not_arrive_in_time_is_summed_up_once_the_receiver_is_back(
    stepped: Step, receiver: Receiver
) -> None:
    agent = stepped()
    receiver.status = 503
    say(NODE_AWAY)
    agent.step()
    for _ in range(40):
        agent.step(120.0)
    receiver.status = 200
    agent.step(120.0)
    agent.step(120.0)
    assert receiver.events == ["summary"]
    assert receiver.posted[0].data["text"] == "1 more event: 1 node-away"


def test_a_burst_that_nobody_can_follow_costs_the_oldest_and_is_counted(
    stepped: Step, receiver: Receiver
) -> None:
    agent = stepped(per_hour=1000)
    say(NODE_AWAY)
    for vmid in range(MAX_WAITING):
        say(GUEST_BLOCKED, vmid=101 + vmid)
    agent.step()
    assert receiver.events == ["guest-blocked"] * MAX_WAITING + ["summary"]
    assert receiver.posted[-1].data["text"] == "1 more event: 1 node-away"


def test_a_guest_under_a_backup_is_quiet_and_the_others_are_not(
    stepped: Step, receiver: Receiver
) -> None:
    agent = stepped()
    held = Backups(agent.clock.now - 10.0, frozenset({101}))
    with agent.notifier.seeing(lambda: held):
        say(GUEST_BLOCKED, "guest 101: blocked: locked (backup)", vmid=101)
        say(GUEST_BLOCKED, "guest 102: blocked: it is paused", vmid=102)
        assert agent.step() <= 5.0
    assert [each.data["vmid"] for each in receiver.posted] == [102]
    free = Backups(agent.clock.now + 60.0, frozenset())
    with agent.notifier.seeing(lambda: free):
        agent.step(61.0)
        say(GUEST_CONVERGED, vmid=101)
        agent.step(GRACE)
    assert len(receiver.posted) == 1


def test_what_is_not_settled_when_a_backup_is_over_is_told_then(
    stepped: Step, receiver: Receiver
) -> None:
    agent = stepped()
    say(GUEST_BLOCKED, "guest 101: blocked: locked (backup)", vmid=101)
    agent.step()
    assert receiver.posted == []
    free = Backups(agent.clock.now + 60.0, frozenset())
    with agent.notifier.seeing(lambda: free):
        agent.step(61.0)
        assert receiver.posted == []
        agent.step(GRACE)
    assert receiver.events == ["guest-blocked"]


def test_a_receiver_that_hangs_keeps_nobody_who_logs_waiting(
    running: Callable[[NotifyConfig], Notifier],
) -> None:
    with raw_hub() as hub:
        heard = threading.Event()

        def hang(caller: Caller) -> None:
            caller.hear()
            heard.set()
            caller.stall()

        hub.behaviour = hang
        notifier = running(NotifyConfig(url=hub.url, timeout=60.0))
        say(NODE_AWAY)
        assert heard.wait(SOON)
        done = threading.Event()

        def log_much() -> None:
            for _ in range(5000):
                say(NODE_AWAY)
            done.set()

        threading.Thread(target=log_much, daemon=True).start()
        assert done.wait(SOON)
        notifier.close(0.1)
        assert not notifier._thread.is_alive(), "a call that is under way is cut short"


def test_what_waits_at_the_end_is_delivered(
    running: Callable[[NotifyConfig], Notifier], receiver: Receiver
) -> None:
    notifier = running(NotifyConfig(url=receiver.url))
    for _ in range(5):
        say(NODE_AWAY)
    notifier.close(SOON)
    assert receiver.events == ["node-away"] * 5


def test_its_own_trouble_is_a_line_and_never_a_message(
    running: Callable[[NotifyConfig], Notifier],
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    notifier = running(NotifyConfig(url=receiver.url, events=("node-away", "internal-error")))
    broken = [RuntimeError("a defect")]

    def backups() -> Backups:
        if broken:
            raise broken.pop()
        return Backups()

    with notifier.seeing(backups):
        say(NODE_AWAY, "the first")
        wait_until(lambda: "internal error while notifying" in caplog.text)
        say(NODE_AWAY, "the second")
        wait_until(lambda: bool(receiver.posted))
    notifier.close(SOON)
    assert [each.data["text"] for each in receiver.posted] == ["the second"]


def test_a_test_is_delivered_at_once_past_the_limit(
    running: Callable[[NotifyConfig], Notifier], receiver: Receiver, tmp_path: Path
) -> None:
    config = NotifyConfig(url=receiver.url, command=True, spool=tmp_path, per_hour=1)
    notifier = running(config)
    for _ in range(3):
        said = notifier.try_out("root", SOON)
    assert said == f"{receiver.url} took it; it was left for felhom-agent-notify.service"
    assert receiver.events == ["notify-test"] * 3
    assert "by the word of root" in receiver.posted[0].data["text"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_test_that_fails_says_what_failed_and_what_did_not(
    running: Callable[[NotifyConfig], Notifier], receiver: Receiver, tmp_path: Path
) -> None:
    receiver.status = 401
    notifier = running(NotifyConfig(url=receiver.url, command=True, spool=tmp_path))
    with pytest.raises(FelhomError) as caught:
        notifier.try_out("root", SOON)
    assert str(caught.value) == (
        f"{receiver.url}: it wants a token, or another one; it was left for "
        "felhom-agent-notify.service"
    )
    assert not caught.value.temporary


def test_a_test_is_not_waited_for_without_end(
    running: Callable[[NotifyConfig], Notifier],
) -> None:
    with raw_hub() as hub:
        notifier = running(NotifyConfig(url=hub.url, timeout=60.0))
        with pytest.raises(FelhomError, match="was not delivered within") as caught:
            notifier.try_out("root", 0.1)
        assert caught.value.temporary
        notifier.close(0.1)
        with pytest.raises(FelhomError, match="the agent is stopping"):
            notifier.try_out("root", 0.1)


def test_many_threads_may_log_and_each_event_arrives_or_is_counted(
    stepped: Step, receiver: Receiver
) -> None:
    agent = stepped(per_hour=1000)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:

        def log_much() -> None:
            for _ in range(50):
                say(NODE_AWAY)

        threads = [threading.Thread(target=log_much) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
    finally:
        sys.setswitchinterval(interval)
    agent.step()
    assert receiver.events == ["node-away"] * MAX_WAITING + ["summary"]
    assert receiver.posted[-1].data["text"] == "200 more events: 200 node-away"
