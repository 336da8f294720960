"""Metrics for whoever wants them: made on demand, and written into a file for node_exporter.

The agent listens on no port. node_exporter, which most hosts have, reads files (its textfile
collector), so the metrics go into one: after each pass, whenever a lane has ended, and once a
minute at least, so that their age tells of the agent. What it promises:

* A reader finds a whole file: it is written aside, under a name that node_exporter does not read,
  and renamed. It is not synced; after a crash of the host the next minute has a new one.
* It is readable by all, whatever the service's umask, and holds no secret.
* Only a regular file is replaced: no link, no device that somebody named by mistake.
* Whatever goes wrong (a full disk, no directory, no prometheus-client) is one warning until it
  works again, and never touches the work of the agent.

Threads: `metrics` writes, and nobody else touches the file; so a disk that hangs holds no pass.
`_due` wakes it, `_stopping` ends it. `close` sets both and waits for it for a while; one that hangs
in a disk is left behind, and holds nothing.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from felhom_agent.daemon.controlview import Access
from felhom_agent.errors import FelhomError
from felhom_agent.printable import printable
from felhom_agent.service.events import METRICS_BACK, METRICS_LOST
from felhom_agent.service.logging import fields
from felhom_agent.service.origins import described

_log = logging.getLogger(__name__)

INTERVAL: Final = 60.0
"""Seconds from one writing to the next at the most."""
PACKAGE: Final = "python3-prometheus-client"
OLDEST: Final = "0.16"
"""The oldest prometheus-client that will do."""
# Seconds between two writings at least: with hints, passes may come fast.
_PAUSE: Final = 1.0


class NoMetrics(FelhomError):
    """Metrics cannot be made, or not be written."""


def metrics_of(access: Access) -> str:
    """Given a running agent, return its metrics. Raise NoMetrics if prometheus-client is not
    installed.
    """
    try:
        from felhom_agent.daemon.metrics import text_of  # what it needs is optional
    except ImportError as error:
        if str(error.name).startswith("felhom_agent"):
            raise
        words = f"there are no metrics: prometheus-client is missing, or older than {OLDEST}"
        raise NoMetrics(f"{words}: apt install {PACKAGE}") from None
    return text_of(access)


class MetricsFile:
    """Writes what `make` returns into a file, from `start` to `close`."""

    def __init__(self, path: Path, make: Callable[[], str], interval: float = INTERVAL) -> None:
        self._path = path
        self._make = make
        self._interval = interval
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._said = ""

    def start(self) -> None:
        """Begin to write."""
        try:
            self._thread.start()
        except RuntimeError as error:  # the system gives us no thread
            _log.warning("metrics are not written: %s", error, extra=fields(METRICS_LOST))

    def wake(self) -> None:
        """Let the file be written soon."""
        self._due.set()

    def close(self, timeout: float = 2.0) -> None:
        """Write no more; wait for up to `timeout` seconds for what is being written."""
        self._stopping.set()
        self._due.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def write(self) -> None:
        """Write the file once; tell what is news about that. Raises nothing."""
        why = ""
        try:
            replace_file(self._path, self._make().encode("utf-8"))
        except FelhomError as error:
            why = str(error)
        except Exception as error:  # a bug of ours must not end the thread
            why = f"internal error, please report it: {described(error)}"
        if why and why != self._said:
            _log.warning("metrics are not written: %s", why, extra=fields(METRICS_LOST))
        elif self._said and not why:
            _log.info("metrics are written again", extra=fields(METRICS_BACK))
        self._said = why

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._due.wait(self._interval)
            if self._stopping.is_set():
                return
            self._due.clear()
            self.write()
            self._stopping.wait(_PAUSE)


def replace_file(path: Path, data: bytes) -> None:
    """Given a path and bytes, put them there, for all to read. Raise NoMetrics if that cannot be
    done.
    """
    aside = path.with_name(f".{path.name}.new")
    try:
        _see_that_it_is_ours(path)
        with suppress(FileNotFoundError):  # what a crash left
            aside.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with open(os.open(aside, flags, 0o600), "wb") as file:  # noqa: PTH123  # a descriptor
                file.write(data)
                os.fchmod(file.fileno(), 0o644)
            aside.rename(path)
        except OSError:
            with suppress(OSError):
                aside.unlink()
            raise
    except OSError as error:
        where = printable(str(path), 300)
        raise NoMetrics(f"{where}: cannot be written: {error.strerror or error}") from None


def _see_that_it_is_ours(path: Path) -> None:
    """Raise NoMetrics if something is there that is no regular file."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise NoMetrics(f"{printable(str(path), 300)}: is there, and is no regular file")
