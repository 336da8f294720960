"""How PVE says no, and how a worker of a task dies.

PVE carries its message in the reason phrase of the status line and repeats it, with a newline, in
the body. Each function here makes one of the answers that the recordings show; nothing else in
this package knows a status code.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_NONE: Mapping[str, str] = MappingProxyType({})


class Refusal(Exception):
    """An answer other than 200: `status`, `reason`, and for a 400 PVE's words per parameter.

    `body` is the message of the JSON body, or the body itself where the answer is `plain`; an
    empty one stands for an empty body.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        *,
        body: str = "",
        errors: Mapping[str, str] = _NONE,
        plain: bool = False,
    ) -> None:
        self.status = status
        self.plain = plain
        self.reason = reason
        self.body = body
        self.errors = errors
        super().__init__(f"{status} {reason}")

    @property
    def last_words(self) -> str:
        """What a task ends with that died of it: a 500 is a text, anything else an exception.

        recorded: calls-9.2/200b-post-worker-privileges/001, 011, 047
        """
        if self.status == 500:
            return self.reason
        errors = "".join(f" {key}: {words}" for key, words in sorted(self.errors.items()))
        return f"{self.status} {self.reason}{errors}".replace("\n", " ")


class FlockBusy(Refusal):
    """The 500 of a configuration lock that somebody else holds."""


class Died(Exception):
    """A worker's last words; they become the exit status of its task."""


def died(text: str) -> Refusal:
    """Given what the handler died of, return PVE's 500."""
    return Refusal(500, text, body=text + "\n")


def busy(lock_file: str) -> FlockBusy:
    """Given the lock file that is held, return the 500 of a call that waited for it in vain."""
    text = lock_timeout(lock_file)
    return FlockBusy(500, text, body=text + "\n")


def lock_timeout(lock_file: str) -> str:
    """Given a lock file that is held, return PVE's words for having waited in vain."""
    return f"{cannot_lock(lock_file)}got timeout"


def cannot_lock(lock_file: str) -> str:
    """Given a lock file that is held, return how PVE's words begin, up to the reason."""
    return f"can't lock file '{lock_file}' - "


def bad(errors: Mapping[str, str]) -> Refusal:
    """Given PVE's words per parameter, return its 400."""
    text = "Parameter verification failed."
    return Refusal(400, text, body=text + "\n", errors=errors)


def denied(text: str) -> Refusal:
    """Given PVE's words, return its 403."""
    return Refusal(403, text, body=text + "\n")


def unauthenticated(text: str) -> Refusal:
    """Given PVE's words, return its 401, which has no body.

    PVE lets a caller wait three seconds for it; this node does not.
    """
    return Refusal(401, text)


def unreadable(status: int, text: str) -> Refusal:
    """Given what is wrong with a body, return the answer of PVE's HTTP server, in plain text."""
    return Refusal(status, text, body=text, plain=True)  # recorded: 81-http/002-016


def not_implemented(method: str, path: str) -> Refusal:
    """Given a call that this node does not know, return PVE's 501."""
    text = f"Method '{method} {path}' not implemented"
    # recorded: 03-notfound/018; the only message without a newline.
    return Refusal(501, text, body=text)
