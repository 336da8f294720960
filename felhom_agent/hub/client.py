"""Calls to a hub: bounded in size, depth and time, whoever answers.

A redirect is refused, and so is whatever is not JSON of the contract: no NaN, no infinity, no half
of a character, no key twice. No error holds the key.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import HubConfig
from felhom_agent.desired.hub import ETAG
from felhom_agent.errors import BadAnswer, HubAway, HubRefused, NoAnswer
from felhom_agent.httpcall.transport import Reply, Server, Transport
from felhom_agent.hub.envelope import MAX_INTERVAL
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import HUB
from felhom_agent.service.watchdog import Watchdog

MAX_DEPTH = 32
_TOO_DEEP = f"its answer is nested deeper than {MAX_DEPTH}"
_SECONDS = re.compile(r"[0-9]+")
# What a call may take over its deadline before it hangs: a resolver has time limits of its own.
_GRACE = 60.0


@dataclass(frozen=True)
class HubAnswer:
    """A hub's answer: the status, the JSON of its body (None if there is none), and its ETag."""

    status: int
    body: Any = None
    etag: str = ""


class HubClient:
    """One hub, as one host; belongs to the hub loop's thread, but for `close`."""

    def __init__(
        self,
        config: HubConfig,
        key: Secret,
        watchdog: Watchdog | None = None,
        clock: Callable[[], float] = time.monotonic,
        counters: Counters | None = None,
    ) -> None:
        """`watchdog` hears of each call while it is made; `clock` tells monotonic seconds;
        `counters` count the calls.
        """
        self._counters = counters or Counters()
        self._config = config
        self._key = key
        self._watchdog = watchdog or Watchdog()
        server = Server(config.url, config.ca_file, config.connect_timeout, config.read_timeout)
        self._transport = Transport(server, clock)

    def report(self, report: Mapping[str, Any]) -> HubAnswer:
        """Given a report, send it. Raise HubAway or HubRefused."""
        return self._call("POST", "host-report", body=report)

    def desired_state(self, etag: str = "") -> HubAnswer:
        """Return the desired state, or a 304 where the ETag is still its own, or a 404."""
        headers = {"If-None-Match": etag} if etag else {}
        return self._call("GET", self._host("desired-state"), headers=headers, fine=(304, 404))

    def jobs(self) -> HubAnswer:
        """Return the jobs that wait for this host."""
        return self._call("GET", self._host("jobs"))

    def acknowledge(self, job_id: str) -> HubAnswer:
        """Given a job that has ended, let the hub drop it; one that is not there is gone already.
        Whatever the answer's body is, it is not read.
        """
        path = f"{self._host('jobs')}/{quote(job_id, safe='')}"
        return self._call("DELETE", path, fine=(200, 204, 404))

    def close(self) -> None:
        """End the call that is under way, if one is; from any thread."""
        self._transport.close()

    def _host(self, what: str) -> str:
        return f"hosts/{quote(self._config.host_id, safe='')}/{what}"

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        fine: tuple[int, ...] = (),
    ) -> HubAnswer:
        sent = {
            "Authorization": f"Bearer {self._key.reveal()}",
            "Accept": "application/json",
            **({} if body is None else {"Content-Type": "application/json"}),
            **(headers or {}),
        }
        data = None if body is None else json.dumps(body, allow_nan=False).encode("ascii")
        try:
            with self._watchdog.guard(f"hub: {method} /{path}", self._transport.longest + _GRACE):
                reply = self._sent(method, path, sent, data)
            answer = _understood(reply, fine)
        except (HubAway, HubRefused) as error:
            self._counters.add(HUB, "away" if isinstance(error, HubAway) else "refused")
            raise
        self._counters.add(HUB, "good")
        return answer

    def _sent(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes | None
    ) -> Reply:
        """Send a call. Raise HubAway if it has no answer, HubRefused if that is none of HTTP's."""
        try:
            return self._transport.send(method, f"/api/v1/{path}", headers, data)
        except NoAnswer as error:
            raise HubAway(str(error)) from None
        except BadAnswer as error:
            raise HubRefused(str(error), status=200) from None


def _understood(reply: Reply, fine: tuple[int, ...]) -> HubAnswer:
    status, etag = reply.status, reply.headers.get("etag", "")
    etag = etag if ETAG.fullmatch(etag) else ""
    if status in fine:
        return HubAnswer(status, etag=etag)
    if 300 <= status < 400:
        raise HubRefused("it answers with a redirect, which is not followed", status=status)
    if status != 200:
        words, seconds = _words(status), _retry_after(reply)
        if seconds is None:
            words += "; for how long is no number of seconds"
        raise HubRefused(words, status=status, retry_after=seconds or 0.0)
    return HubAnswer(status, parsed(reply.body), etag)


def parsed(data: bytes) -> Any:
    """Given a body, return its JSON. Raise HubRefused if it is none, or too deep."""
    # Brackets in texts count here, too; whether they were that is seen once it is parsed.
    deep = _brackets(data) > MAX_DEPTH
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_object)
        # Python reads NaN, 1e999 and half a surrogate pair; none of them is in JSON for others.
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise HubRefused(_TOO_DEEP if deep else "its answer is not JSON", status=200) from None
    if deep and _depth(found) > MAX_DEPTH:
        raise HubRefused(_TOO_DEEP, status=200)
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _brackets(data: bytes) -> int:
    """Return how deep brackets are nested at the most, those in texts included."""
    depth = most = 0
    for bracket in re.finditer(rb"[][{}]", data):
        depth += 1 if bracket[0] in (b"[", b"{") else -1
        most = max(most, depth)
    return most


def _depth(value: object) -> int:
    """Return how deep lists and objects are nested."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, (list, dict)) and each]:
        depth += 1
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
        ]  # fmt: skip
    return depth


def _words(status: int) -> str:
    known = {
        401: "it does not accept this host's key",
        403: "its key is not for this host",
        404: "there is no hub at this address",
        413: "the report is too large for it",
        429: "it asks for patience",
        503: "it asks for patience",
    }
    return known.get(status, f"it answers with status {status}")


def _retry_after(reply: Reply) -> float | None:
    """Return the seconds that it asks to wait, at most an hour; 0 if it does not, None if what it
    asks for is no number.
    """
    asked = reply.headers.get("retry-after")
    if asked is None or reply.status not in (429, 503):
        return 0.0
    return min(float(asked), MAX_INTERVAL) if _SECONDS.fullmatch(asked.strip()) else None
