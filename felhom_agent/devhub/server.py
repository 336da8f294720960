"""The hub's wire on the loopback: what agents call, what an operator calls, and the pages.

Agents show their key as `Authorization: Bearer`, the operator theirs likewise, or, in a browser, as
the password of user "operator". A form that another site makes a browser send is refused by its
Origin.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from felhom_agent.devhub import page
from felhom_agent.devhub.store import Store

LARGEST = 4_000_000
_HOST = "127.0.0.1"


class Refusal(Exception):
    """A request is refused with a status, in words."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass
class Reply:
    """An answer; `body` is JSON unless it is a text (a page), or None."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class DevHub:
    """A hub on a port of the loopback (0: any free one); a context manager."""

    def __init__(
        self,
        store: Store,
        port: int = 0,
        *,
        poll_seconds: int = 60,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.operator_key = secrets.token_urlsafe(16)
        self.poll_seconds = poll_seconds
        self.clock = clock
        self._server = _Server((_HOST, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="devhub")
        self._thread.start()

    @property
    def url(self) -> str:
        """The URL up to the port."""
        return f"http://{_HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.store.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], hub: DevHub) -> None:
        self.hub = hub
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "felhom-devhub"
    sys_version = ""
    timeout = 30.0
    server: _Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing; a page shows who was seen."""

    def _answer(self) -> None:
        try:
            body = self._body()
            reply = self._route(urlsplit(self.path).path, body)
        except Refusal as refusal:
            self.close_connection = True
            headers = {"WWW-Authenticate": 'Basic realm="hub"'} if refusal.status == 401 else {}
            reply = Reply({"error": str(refusal)}, refusal.status, headers)
        self._send(reply)

    def _body(self) -> bytes:
        said = self.headers.get("Content-Length") or "0"
        length = int(said) if said.isascii() and said.isdigit() and len(said) < 16 else -1
        if length < 0:
            raise Refusal(400, "the Content-Length is no number")
        if length > LARGEST:
            raise Refusal(413, "too large")
        return self.rfile.read(length)

    def _send(self, reply: Reply) -> None:
        is_page = isinstance(reply.body, str)
        data = b"" if reply.body is None else (
            reply.body.encode() if is_page else json.dumps(reply.body).encode()
        )  # fmt: skip
        self.send_response(reply.status)
        kind = "text/html; charset=utf-8" if is_page else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)),
                            "Cache-Control": "no-store", **reply.headers}.items():  # fmt: skip
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _route(self, path: str, body: bytes) -> Reply:
        for method, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == self.command:
                return answer(self, body, *(unquote(part) for part in found.groups()))
        raise Refusal(404, "there is no such thing here")

    # What agents call.

    def report(self, body: bytes) -> Reply:
        host_id = self._caller()
        report = _object(body)
        if report.get("host_id") != host_id:
            raise Refusal(403, "the key is another host's")
        hub = self.server.hub
        hub.store.take_report(host_id, report, hub.clock())
        host = hub.store.host(host_id)
        return Reply(
            {
                "poll_interval_seconds": hub.poll_seconds,
                "blocked": bool(host and host.blocked),
                "desired_generation": host.generation if host else 0,
                "has_signed_ops": bool(hub.store.jobs(host_id)),
            }
        )

    def desired_state(self, _body: bytes, host_id: str) -> Reply:
        self._only(host_id)
        host = self.server.hub.store.host(host_id)
        if host is None or not host.generation:
            raise Refusal(404, "none yet")
        headers = {"ETag": f'"{host.generation}"'}
        if self.headers.get("If-None-Match") == headers["ETag"]:
            return Reply(None, 304, headers)
        body = {
            "host_id": host_id, "generation": host.generation, "desired_state": host.state
        }  # fmt: skip
        return Reply(body, headers=headers)

    def jobs(self, _body: bytes, host_id: str) -> Reply:
        self._only(host_id)
        return Reply({"jobs": self.server.hub.store.jobs(host_id)})

    def acknowledge(self, _body: bytes, host_id: str, job_id: str) -> Reply:
        self._only(host_id)
        self.server.hub.store.forget_job(host_id, job_id)
        return Reply({})

    # What an operator calls.

    def put_state(self, body: bytes, host_id: str) -> Reply:
        self._operator_of(host_id)
        return Reply({"generation": self.server.hub.store.desire(host_id, _object(body))})

    def post_job(self, body: bytes, host_id: str) -> Reply:
        self._operator_of(host_id)
        envelope = _object(body)
        if not isinstance(envelope.get("job_id"), str):
            raise Refusal(400, "a job has a job_id")
        self.server.hub.store.enqueue(host_id, envelope)
        return Reply({}, 201)

    def hosts(self, _body: bytes) -> Reply:
        self._operator()
        found = self.server.hub.store.hosts()
        return Reply(
            {
                "hosts": [
                    {
                        "host_id": host.host_id,
                        "last_seen": host.seen or None,
                        "desired_generation": host.generation,
                        "blocked": host.blocked,
                        "agent": host.report.get("agent"),
                    }
                    for host in found
                ]
            }
        )

    # The pages.

    def list_page(self, _body: bytes) -> Reply:
        self._operator()
        hub = self.server.hub
        return Reply(page.list_of(hub.store.hosts(), hub.clock()))

    def host_page(self, _body: bytes, host_id: str) -> Reply:
        return self._page(host_id)

    def save(self, body: bytes, host_id: str) -> Reply:
        self._operator_of(host_id)
        self._own_form()
        text = _form(body).get("state", "")
        try:
            state = json.loads(text)
            if not isinstance(state, dict):
                raise ValueError("it must be an object")
        except (ValueError, RecursionError) as error:
            return self._page(host_id, f"This was not saved: {error}", text)
        self.server.hub.store.desire(host_id, state)
        return Reply(None, 303, {"Location": f"/hosts/{host_id}"})

    def set_blocked(self, body: bytes, host_id: str) -> Reply:
        self._operator_of(host_id)
        self._own_form()
        self.server.hub.store.block(host_id, blocked=bool(_form(body).get("blocked")))
        return Reply(None, 303, {"Location": f"/hosts/{host_id}"})

    def _page(self, host_id: str, error: str = "", text: str = "") -> Reply:
        self._operator_of(host_id)
        hub = self.server.hub
        host = hub.store.host(host_id)
        assert host is not None  # noqa: S101  # `_operator_of` has looked
        return Reply(page.page_of(host, hub.clock(), error, text), 400 if error else 200)

    # Who calls.

    def _key(self) -> str:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer":
            return value
        if kind == "Basic":
            try:
                return base64.b64decode(value).decode().partition(":")[2]
            except ValueError:
                return ""
        return ""

    def _caller(self) -> str:
        host_id = self.server.hub.store.owner(self._key())
        if not host_id:
            raise Refusal(401, "the key is nobody's")
        return host_id

    def _only(self, host_id: str) -> None:
        if self._caller() != host_id:
            raise Refusal(403, "the key is another host's")

    def _operator(self) -> None:
        if not hmac.compare_digest(self._key().encode(), self.server.hub.operator_key.encode()):
            raise Refusal(401, "the key is not the operator's")

    def _operator_of(self, host_id: str) -> None:
        self._operator()
        if self.server.hub.store.host(host_id) is None:
            raise Refusal(404, "there is no such host")

    def _own_form(self) -> None:
        origin = self.headers.get("Origin")
        if origin and urlsplit(origin).netloc != self.headers.get("Host"):
            raise Refusal(403, "the form is another site's")


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "not JSON") from None
    if not isinstance(found, dict):
        raise Refusal(400, "not an object")
    return found


def _form(body: bytes) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}


_API = "/api/v1"
_ID = "([^/]+)"
_ROUTES: tuple[tuple[str, str, Callable[..., Reply]], ...] = (
    ("POST", f"{_API}/host-report", _Handler.report),
    ("GET", f"{_API}/hosts/{_ID}/desired-state", _Handler.desired_state),
    ("GET", f"{_API}/hosts/{_ID}/jobs", _Handler.jobs),
    ("DELETE", f"{_API}/hosts/{_ID}/jobs/{_ID}", _Handler.acknowledge),
    ("PUT", f"{_API}/admin/hosts/{_ID}/desired-state", _Handler.put_state),
    ("POST", f"{_API}/admin/hosts/{_ID}/jobs", _Handler.post_job),
    ("GET", f"{_API}/admin/hosts", _Handler.hosts),
    ("GET", "/", _Handler.list_page),
    ("GET", f"/hosts/{_ID}", _Handler.host_page),
    ("POST", f"/hosts/{_ID}/desired-state", _Handler.save),
    ("POST", f"/hosts/{_ID}/blocked", _Handler.set_blocked),
)
