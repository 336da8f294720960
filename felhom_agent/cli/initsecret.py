"""The secret of the token that `init` makes: PVE tells it once, and only root may read it."""

from __future__ import annotations

import os
from pathlib import Path

from felhom_agent.cli.out import complain
from felhom_agent.errors import FelhomError


def has_content(path: Path) -> bool:
    """Given a path, return whether something is written there. Raise FelhomError if that cannot be
    told.
    """
    try:
        return bool(path.read_bytes().strip())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FelhomError(f"{path}: cannot be read: {error.strerror}") from None


def keep_secret(path: Path, secret: str) -> None:
    """Given a path and a token's secret, write it for root alone; from the first byte on nobody
    else can read it. Raise FelhomError if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        complain("the token was made, and its secret cannot be kept: remove the token again")
        raise FelhomError(f"{path}: cannot be written: {error.strerror}") from None
