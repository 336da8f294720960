"""Calls to a hub: bounded in size, depth and time, whoever answers.

A redirect is refused, and so is whatever is not JSON of the contract. No error holds the key.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

import requests
from urllib3.exceptions import HTTPError

from felhom_agent.config import HubConfig
from felhom_agent.errors import HubAway, HubRefused
from felhom_agent.hub.envelope import LONGEST
from felhom_agent.secret import Secret

MOST_BYTES = 4_000_000
MOST_DEPTH = 32
LONGEST_CALL = 120.0
"""Seconds that a whole call may take, however slowly its bytes drip."""


@dataclass(frozen=True)
class Answer:
    """A hub's answer: the status, the JSON of its body (None if there is none), and its ETag."""

    status: int
    body: Any = None
    etag: str = ""


class HubClient:
    """One hub, as one host; belongs to the hub loop's thread. `clock` tells monotonic seconds."""

    def __init__(
        self, config: HubConfig, key: Secret, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._key = key
        self._clock = clock
        self._session = requests.Session()
        # No proxy, no .netrc and no CA of the environment has a say.
        self._session.trust_env = False
        self._session.verify = str(config.ca_file) if config.ca_file else True

    def report(self, report: dict[str, Any]) -> Answer:
        """Given a report, send it. Raise HubAway or HubRefused."""
        return self._call("POST", "host-report", body=report)

    def desired_state(self, etag: str = "") -> Answer:
        """Return the desired state, or a 304 where the ETag is still its own, or a 404."""
        headers = {"If-None-Match": etag} if etag else {}
        return self._call("GET", self._host("desired-state"), headers=headers, fine=(304, 404))

    def jobs(self) -> Answer:
        """Return the jobs that wait for this host."""
        return self._call("GET", self._host("jobs"))

    def close(self) -> None:
        self._session.close()

    def _host(self, what: str) -> str:
        return f"hosts/{quote(self._config.host_id, safe='')}/{what}"

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        fine: tuple[int, ...] = (),
    ) -> Answer:
        deadline = self._clock() + LONGEST_CALL
        try:
            with self._session.request(
                method,
                f"{self._config.url.rstrip('/')}/api/v1/{path}",
                json=body,
                headers={
                    "Authorization": f"Bearer {self._key.reveal()}",
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    **(headers or {}),
                },
                timeout=(self._config.connect_timeout, self._config.read_timeout),
                allow_redirects=False,
                stream=True,
            ) as response:
                return self._read(response, deadline, fine)
        except requests.RequestException as error:
            raise HubAway(_reason(error)) from None
        except (OSError, HTTPException, HTTPError) as error:
            # What `raw` raises as it is.
            raise HubAway(f"it broke the connection ({type(error).__name__})") from None

    def _read(self, response: requests.Response, deadline: float, fine: tuple[int, ...]) -> Answer:
        status = response.status_code
        if status in fine:
            return Answer(status, etag=response.headers.get("ETag", ""))
        if 300 <= status < 400:
            raise HubRefused("it answers with a redirect, which is not followed", status=status)
        if status != 200:
            raise HubRefused(_words(status), status=status, retry_after=_retry_after(response))
        data = b"".join(self._chunks(response, deadline))
        return Answer(status, _parsed(data), response.headers.get("ETag", ""))

    def _chunks(self, response: requests.Response, deadline: float) -> Iterator[bytes]:
        size = 0
        # One receive at a time: `iter_content` fills its chunk first, however slowly it drips.
        read: Callable[[int], bytes] = response.raw._fp.read1  # type: ignore[union-attr]  # noqa: SLF001
        while data := read(65536):
            size += len(data)
            if size > MOST_BYTES:
                raise HubRefused(f"its answer is longer than {MOST_BYTES} bytes", status=200)
            if self._clock() > deadline:
                raise HubAway(f"its answer took longer than {LONGEST_CALL:.0f} s")
            yield data
        if size < int(response.headers.get("Content-Length") or 0):
            raise HubAway("it broke the connection in the middle of its answer")


def _parsed(data: bytes) -> Any:
    """Given a body, return its JSON. Raise HubRefused if it is none, or too deep."""
    try:
        if _depth(data) > MOST_DEPTH:
            raise HubRefused(f"its answer is nested deeper than {MOST_DEPTH}", status=200)
        return json.loads(data)
    except (ValueError, RecursionError):
        raise HubRefused("its answer is not JSON", status=200) from None


def _depth(data: bytes) -> int:
    """Return how deep brackets are nested at the most; those in texts count too, which is fair."""
    depth = most = 0
    for byte in data:
        depth += (byte in b"[{") - (byte in b"]}")
        most = max(most, depth)
    return most


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


def _retry_after(response: requests.Response) -> float:
    """Return the seconds that it asks to wait, at most an hour; 0 if it does not."""
    if response.status_code not in (429, 503):
        return 0.0
    try:
        return max(0.0, min(float(int(response.headers.get("Retry-After", ""))), LONGEST))
    except ValueError:
        return 0.0


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.exceptions.Timeout):
        return "it gives no answer in time"
    return "it cannot be reached, or broke the connection"
