"""What the demos have in common: a node that is served, an agent, commands, and headings."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from felhom_agent.cli.codes import DIFFERS, OK, WOULD_CHANGE
from felhom_agent.cli.itself import command_line
from felhom_agent.cli.out import ReaderLeft, say
from felhom_agent.config.settings import Config
from felhom_agent.errors import FelhomError

if TYPE_CHECKING:
    from felhom_agent.devnode import DevNode

PATIENCE = 25.0


class Ending:
    """Hears SIGINT and SIGTERM for the length of a block, so that a demo ends in order.

    Threads: made and asked by the main thread, which Python runs the handler in. A handler may
    interrupt anything, so it takes no lock: it puts into a SimpleQueue, which is made for that.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._heard: SimpleQueue[int] = SimpleQueue()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in self._SIGNALS:
            self._before[number] = signal.signal(number, lambda got, _: self._heard.put(got))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def came(self) -> bool:
        """Return whether one of them came."""
        return not self._heard.empty()

    def wait(self) -> None:
        """Return once one of them came, however long that takes; a person's Ctrl-C is the waker."""
        self._heard.put(self._heard.get())


@contextmanager
def serving(make: Callable[[], DevNode]) -> Iterator[DevNode]:
    """Hold a node for the length of a block. Raise FelhomError if it cannot be had."""
    try:
        node = make()
    except ImportError as error:
        words = f"the embedded node needs the Python package {error.name} (python3-{error.name})"
        raise FelhomError(words) from None
    except OSError as error:
        raise FelhomError(f"the embedded node cannot listen: {error.strerror}") from None
    with node:
        yield node


@contextmanager
def agent(config: Config, prefix: str = "") -> Iterator[list[str]]:
    """Run the daemon for the length of a block; yield the lines it logs, printed as they come."""
    lines: list[str] = []
    process = subprocess.Popen(
        words(config, "run"), stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )

    def tell() -> None:
        for line in process.stderr or ():
            lines.append(line)
            # Read on, whoever reads us: the agent must not wait for it.
            with suppress(ReaderLeft):
                say(f"  {prefix}{line.rstrip()}")

    teller = threading.Thread(target=tell, name="agent-log")
    teller.start()
    try:
        yield lines
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        teller.join()
        if process.stderr is not None:
            process.stderr.close()


def words(config: Config, *given: str) -> list[str]:
    """Return the command line of one of our commands."""
    return command_line("--config", str(config.path), *given)


def command(
    config: Config,
    *given: str | Path,
    codes: Container[int] = (OK, WOULD_CHANGE, DIFFERS),
    within: Path | None = None,
) -> None:
    """Run one of our commands, and print it as a person types it, and what it says. Paths in the
    directory `within` are printed as one who is there sees them. Raise FelhomError unless its exit
    code is one of `codes`.
    """
    typed = [str(word) for word in given]
    # Not its working directory: what was given may be relative to ours.
    before = f"{within}/" if within is not None else ""
    say(f"  $ felhom-agent {' '.join(word.removeprefix(before) for word in typed)}")
    process = subprocess.run(words(config, *typed), capture_output=True, text=True, check=False)
    if process.returncode not in codes:
        told = (process.stderr or process.stdout).strip() or f"exit code {process.returncode}"
        raise FelhomError(f"{given[0]} did not end as it must: {told}")
    for line in process.stdout.splitlines():
        say(f"  {line.replace(before, '') if before else line}".rstrip())


def wait(done: Callable[[], bool], patience: float = PATIENCE) -> bool:
    """Return whether it came true before patience ended, in seconds."""
    pause = threading.Event()
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.3)
    return True


def title(text: str) -> None:
    """Print a heading."""
    say()
    say(f"== {text}")
