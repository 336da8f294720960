"""A fair limit on threads."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from felhom_agent.errors import Interrupted, NotSent
from felhom_agent.proxmox.limits import CALM, Limit
from felhom_agent.service.flag import Flag
from tests.conftest import Clock
from tests.process import SOON, wait_until


def test_no_more_hold_a_place_than_allowed_and_they_come_in_order() -> None:
    limit, order = Limit(1), []
    gate = threading.Event()

    def work(n: int) -> None:
        with limit.held():
            order.append(n)
            assert gate.wait(SOON)

    threads = []
    for n in range(5):
        threads.append(threading.Thread(target=work, args=(n,), daemon=True))
        threads[-1].start()
        wait_until(lambda n=n: limit.waiting == n and order == [0])  # type: ignore[misc]
    gate.set()
    for thread in threads:
        thread.join(SOON)
    assert order == [0, 1, 2, 3, 4]
    assert limit.waiting == 0


def test_a_place_given_back_wakes_exactly_the_one_that_gets_it() -> None:
    limit, woken = Limit(1), []
    with ExitStack() as stack:
        stack.enter_context(limit.held())
        threads = [
            threading.Thread(target=lambda: woken.append(_hold(limit)), daemon=True)
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: limit.waiting == 3)
    for thread in threads:
        thread.join(SOON)
    assert len(woken) == 3
    with limit.held():
        assert limit.waiting == 0


def _hold(limit: Limit) -> bool:
    with limit.held():
        return True


def test_a_place_is_given_back_when_the_holder_fails() -> None:
    limit = Limit(1)
    with pytest.raises(ValueError, match="of mine"), limit.held():
        raise ValueError("of mine")
    assert _hold(limit)


def test_whoever_waits_too_long_gives_up_and_takes_no_place() -> None:
    limit = Limit(1, patience=0.01)
    with limit.held():
        with pytest.raises(NotSent), limit.held():
            raise AssertionError("there is no place")
        assert limit.waiting == 0
    assert _hold(limit)


def test_whoever_waits_hears_of_a_stop_and_takes_no_place() -> None:
    limit, stop, heard = Limit(1), Flag(), threading.Event()

    def wait() -> None:
        with pytest.raises(Interrupted), limit.held(stop):
            raise AssertionError("there is no place")
        heard.set()

    with limit.held():
        threading.Thread(target=wait, daemon=True).start()
        wait_until(lambda: limit.waiting == 1)
        stop.set()
        assert heard.wait(SOON)
        assert limit.waiting == 0
    assert _hold(limit)


def test_a_slow_call_halves_the_places_and_prompt_ones_bring_them_back_one_by_one() -> None:
    clock = Clock()
    limit = Limit(4, slow=2.0, clock=clock)
    for allowed in (2, 1, 1):
        with limit.held():
            clock.pass_by(2.1)
        assert limit.allowed == allowed
    for allowed in (2, 3, 4, 4):
        for _ in range(CALM):
            _hold(limit)
        assert limit.allowed == allowed


def test_a_slow_call_between_prompt_ones_begins_the_count_anew() -> None:
    clock = Clock()
    limit = Limit(4, slow=2.0, clock=clock)
    limit.narrow()
    for _ in range(CALM - 1):
        _hold(limit)
    with limit.held():
        clock.pass_by(2.1)
    _hold(limit)
    assert limit.allowed == 1


def test_whoever_waits_gets_no_place_that_was_taken_away_and_each_that_is_given_again() -> None:
    limit = Limit(2)
    with limit.held(), ExitStack() as stack:
        stack.enter_context(limit.held())
        limit.narrow()
        thread = threading.Thread(target=_hold, args=(limit,), daemon=True)
        thread.start()
        wait_until(lambda: limit.waiting == 1)
        stack.close()
        assert limit.waiting == 1
    thread.join(SOON)
    assert not thread.is_alive()


def test_that_fewer_are_made_at_once_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    limit = Limit(4, "reads")
    for _ in range(3):
        limit.narrow()
    assert caplog.text.count("fewer reads are made at once") == 1
