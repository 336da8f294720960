"""The limit on how many guests are changed at once."""

from __future__ import annotations

import threading

import pytest

from felhom_agent.errors import Interrupted
from felhom_agent.reconcile.slots import Slots

SOON = 10.0


def hold(slots: Slots, log: list[str], name: str) -> tuple[threading.Thread, threading.Event]:
    """Start a thread that takes a slot, notes it and keeps it until the event is set.

    Return when it has the slot or waits for one.
    """
    release, settled = threading.Event(), threading.Event()
    waiting = slots.waiting

    def body() -> None:
        try:
            with slots.taken():
                log.append(name)
                settled.set()
                assert release.wait(SOON)
        except Interrupted:
            log.append(f"{name} sent away")

    thread = threading.Thread(target=body)
    thread.start()
    while not settled.wait(0.005) and slots.waiting == waiting:
        assert thread.is_alive()
    return thread, release


def wait_until_waiting(slots: Slots, count: int) -> None:
    turn = threading.Event()
    for _ in range(1000):
        if slots.waiting == count:
            return
        turn.wait(0.01)
    raise AssertionError(f"{slots.waiting} wait, not {count}")


def test_slots_are_handed_out_in_the_order_they_were_asked_for() -> None:
    slots = Slots(1)
    log: list[str] = []
    holders = []
    for number in range(5):
        holders.append(hold(slots, log, f"guest {number}"))
        wait_until_waiting(slots, number)
    for thread, release in holders:
        release.set()
        thread.join(SOON)
    assert log == [f"guest {number}" for number in range(5)]


def test_no_more_than_the_limit_hold_a_slot() -> None:
    slots = Slots(2)
    log: list[str] = []
    holders = [hold(slots, log, str(number)) for number in range(5)]
    wait_until_waiting(slots, 3)
    assert len(log) == 2
    for _, release in holders:
        release.set()
    for thread, _ in holders:
        thread.join(SOON)
    assert sorted(log) == ["0", "1", "2", "3", "4"]


def test_closing_sends_waiters_away_and_leaves_holders_alone() -> None:
    slots = Slots(1)
    log: list[str] = []
    holder, release = hold(slots, log, "holder")
    waiter, _ = hold(slots, log, "waiter")
    wait_until_waiting(slots, 1)
    slots.close()
    waiter.join(SOON)
    assert log == ["holder", "waiter sent away"]
    release.set()
    holder.join(SOON)
    with pytest.raises(Interrupted), slots.taken():
        pass


def test_a_slot_comes_back_when_its_holder_raises() -> None:
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError), slots.taken():
        _ = 1 / 0
    with slots.taken():
        pass


def test_the_limit_can_grow_while_somebody_waits() -> None:
    slots = Slots(1)
    log: list[str] = []
    holders = [hold(slots, log, "first")]
    holders.append(hold(slots, log, "second"))
    wait_until_waiting(slots, 1)
    slots.resize(2)
    wait_until_waiting(slots, 0)
    for _, release in holders:
        release.set()
    for thread, _ in holders:
        thread.join(SOON)
    assert log == ["first", "second"]
