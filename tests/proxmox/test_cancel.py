"""An event that wakes who waits on a condition."""

from __future__ import annotations

import threading

from felhom_agent.proxmox.cancel import Cancellation


def test_setting_it_wakes_those_who_wait_on_a_condition() -> None:
    cancel, condition = Cancellation(), threading.Condition()
    cancel.wakes(condition)
    waits, woken = threading.Event(), threading.Event()

    def wait() -> None:
        with condition:
            waits.set()
            while not cancel.is_set():
                if not condition.wait(20):
                    return
            woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert waits.wait(20)
    cancel.set()
    thread.join(20)
    assert woken.is_set()


def test_setting_it_is_an_events_setting_too() -> None:
    cancel = Cancellation()
    cancel.set()
    assert cancel.wait(20)
