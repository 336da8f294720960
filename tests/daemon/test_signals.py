"""Signals: a handler takes no lock, and nothing that was sent is lost."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys

from felhom_agent.daemon.loop import RELOAD
from felhom_agent.daemon.run import _wait_for_the_disk
from felhom_agent.errors import JournalClosed
from felhom_agent.service.flag import Flag
from felhom_agent.service.manager import ServiceManager
from tests.process import SOON

PAIRS = 400
CHILD = """
import os, queue
from felhom_agent.daemon.signals import signals
from felhom_agent.service.flag import Flag
inbox = queue.SimpleQueue()
with signals(inbox, Flag()):
    os.write(1, b"r")
    while True:
        inbox.get()
        os.write(1, b".")
"""


def test_two_stop_signals_at_once_never_hang_the_process() -> None:
    """One handler interrupts the other; a lock that the first holds would never be given back."""
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        assert child.stdout.read(1) == b"r"
        for pair in range(PAIRS):
            os.kill(child.pid, signal.SIGTERM)
            for _ in range(pair):  # the gap between the two is another one each time
                pass
            os.kill(child.pid, signal.SIGINT)
            heard = 0
            while heard < 2:
                assert _readable(child.stdout.fileno()), f"it hangs after {pair} pairs"
                heard += len(os.read(child.stdout.fileno(), 2 - heard))
    finally:
        child.kill()
        child.wait(SOON)
        child.stdout.close()


def _readable(descriptor: int) -> bool:
    import select

    return bool(select.select([descriptor], [], [], SOON)[0])


def test_a_flag_is_set_without_a_lock() -> None:
    flag = Flag()
    assert not flag.is_set()
    flag.set()
    assert flag.is_set()
    assert not any("lock" in name.lower() for name in dir(flag))


def test_a_hangup_that_comes_while_the_disk_is_waited_for_is_heard() -> None:
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
    inbox.put(RELOAD)
    message = _wait_for_the_disk(JournalClosed("full"), inbox, ServiceManager(), news=True)  # type: ignore[arg-type]
    assert message == RELOAD
