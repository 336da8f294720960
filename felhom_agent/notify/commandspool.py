"""Where notices wait for the commands of this host: one JSON file each, in a directory of /run.

The agent starts no command: its unit's NoNewPrivileges would keep a mailer from its group, and its
sandbox from the network. So it only leaves a file there; felhom-agent-notify.path sees it and
starts felhom-agent-notify.service, another user's, which hands it to the commands and removes it.

A file appears whole, under a name that sorts by age. No more than `MAX_WAITING` wait: where nobody
takes them away, nothing grows. Belongs to the thread that writes.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from felhom_agent.notify.notice import Notice
from felhom_agent.notify.webhook import Undelivered

MAX_WAITING: Final = 100
"""How many files may wait."""


class CommandSpool:
    """The directory; it must be there already."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = count(1)

    def put(self, notice: Notice) -> None:
        """Given a notice, leave it for the commands. Raise Undelivered if that cannot be done."""
        name = f"{int(notice.at * 1000):015d}-{os.getpid()}-{next(self._numbers):06d}.json"
        data = json.dumps(notice.as_json()).encode("ascii") + b"\n"
        aside = self._directory / f".{name}"
        try:
            with os.scandir(self._directory) as entries:
                waiting = sum(entry.name.endswith(".json") for entry in entries)
            if waiting >= MAX_WAITING:
                raise Undelivered(
                    f"{MAX_WAITING} messages wait in {self._directory}, and nobody takes them;"
                    " systemctl enable --now felhom-agent-notify.path"
                )
            self._write(aside, data)
            aside.rename(self._directory / name)
        except OSError as error:
            with suppress(OSError):
                aside.unlink()
            why = error.strerror or type(error).__name__
            raise Undelivered(f"{self._directory} cannot be written: {why}") from None

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            # The directory's group, which a new file there gets, is that of the commands' user.
            os.fchmod(descriptor, 0o640)
