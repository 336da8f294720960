"""A fair limit on threads."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from felhom_agent.errors import Interrupted
from felhom_agent.reconcile import limits
from felhom_agent.reconcile.limits import Limit
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


def test_whoever_waits_too_long_gives_up_and_takes_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_WAIT", 0.01)
    limit = Limit(1)
    with limit.held():
        with pytest.raises(Interrupted), limit.held():
            raise AssertionError("there is no place")
        assert limit.waiting == 0
    assert _hold(limit)
