"""A receiver over HTTP: one notice is one POST, with one deadline, on a connection of its own.

Whatever answers there, a call ends in time and reads no more than an answer's head; a redirect is
not followed, so that the token goes to nobody else. No error holds the token.

Threads: `post` and `reach` belong to one thread; `close`, from any, ends a call that is under way.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import NotifyConfig
from felhom_agent.errors import CallError, FelhomError
from felhom_agent.httpcall.transport import Reply, Server, Transport
from felhom_agent.notify.notice import Notice
from felhom_agent.notify.presets import request_of

# The same message would not be taken later either.
_OF_THE_MESSAGE: Final = frozenset({400, 405, 406, 413, 415, 422})
_TEMPORARY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Undelivered(FelhomError):
    """A notice was not taken; `is_final` tells that this very one never will be."""

    def __init__(self, text: str, *, temporary: bool = False, is_final: bool = False) -> None:
        self.temporary = temporary
        self.is_final = is_final
        super().__init__(text)


class Webhook:
    """The receiver that [notify] names."""

    def __init__(self, config: NotifyConfig, token: Secret | None) -> None:
        self._config = config
        self._token = token
        # A whole call takes one wait for a connection and two for pieces at the most.
        third = config.timeout / 3
        self._transport = Transport(Server(config.url, config.ca_file, third, third))
        path = urlsplit(config.url).path
        self._end = "/" if not path or path.endswith("/") else ""

    @property
    def url(self) -> str:
        return self._config.url

    def post(self, notice: Notice) -> None:
        """Given a notice, let the receiver have it. Raise Undelivered if it does not take it."""
        headers, body = request_of(self._config.preset, notice, self._token)
        try:
            reply = self._transport.send("POST", self._end, headers, body, reads=False)
        except CallError as error:
            raise Undelivered(str(error), temporary=error.temporary) from None
        _judge(reply)

    def reach(self) -> None:
        """See whether the receiver can be connected to, and is who it should be, without telling it
        anything. Raise Undelivered if not.
        """
        try:
            self._transport.reach()
        except CallError as error:
            raise Undelivered(str(error), temporary=error.temporary) from None

    def close(self) -> None:
        """End the call that is under way, and begin no other; from any thread."""
        self._transport.close()


def _judge(reply: Reply) -> None:
    """Raise Undelivered unless an answer says that the message was taken."""
    status = reply.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise Undelivered("it answers with a redirect, which is not followed")
    words = {
        401: "it wants a token, or another one",
        403: "its token may not post there",
        404: "there is nothing at this address",
        413: "the message is too large for it",
        429: "it asks for patience",
    }.get(status, f"it answers with status {status}")
    raise Undelivered(words, temporary=status in _TEMPORARY, is_final=status in _OF_THE_MESSAGE)
