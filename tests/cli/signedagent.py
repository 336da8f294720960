"""What answers at a control socket as the contract of signed jobs says: the other end of it."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from felhom_agent.authz.request import Circumstances, SignedRequest, compose
from felhom_agent.service.control import Caller, ControlAnswer, ControlRoute, ControlServer
from felhom_agent.service.request import ControlError, ControlRequest
from tests.authz.desk import GUEST, HOST
from tests.commands import SCHEMAS
from tests.process import SOON

JOB: dict[str, Any] = {
    "schema": 1, "act": "guest_destroy", "vmid": 101, "name": "web", "state": "pending",
    "stage": "", "why": "", "upid": "", "at": "2026-11-26T08:00:00Z",
}  # fmt: skip


def _validate(name: str, answer: dict[str, Any]) -> None:
    """Raise ValidationError if no agent would answer so."""
    schema = json.loads((SCHEMAS.parent / "control" / f"{name}.json").read_text())
    Draft202012Validator(schema).validate(answer)


@dataclass
class SignedAgent:
    """Makes requests of the desk's guest; tells of a job the states that a test gave, one a look,
    and the last of them for ever. `calls` are the paths that were asked, `asked` the bodies that
    came, by their paths; a path in `refusals` is refused so.
    """

    states: list[dict[str, Any]] = field(default_factory=lambda: [{"state": "done"}])
    stages: list[dict[str, Any]] = field(default_factory=list)
    refusals: dict[str, ControlError] = field(default_factory=dict)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    looked: threading.Event = field(default_factory=threading.Event)
    name: str = ""
    calls: list[str] = field(default_factory=list)

    def request(self, given: dict[str, Any]) -> ControlAnswer:
        operation = compose(
            given["act"], GUEST, HOST, "c" * 32, params=given["params"], stop=given["stop"],
            resume=given["resume"],
        )  # fmt: skip
        made = SignedRequest(operation, Circumstances("pve1", expires=1_900_000_000))
        return ControlAnswer(200, {"schema": 1, "request": made.encode().decode()})

    def submit(self, given: dict[str, Any]) -> ControlAnswer:
        self.name = hashlib.sha256(base64.b64decode(given["job"])).hexdigest()
        return ControlAnswer(202, self._next())

    def job(self, given: dict[str, Any]) -> ControlAnswer:
        assert given == {"job": self.name}
        answer = self._next()
        self.looked.set()
        return ControlAnswer(200, answer)

    def verify(self, given: dict[str, Any]) -> ControlAnswer:
        return ControlAnswer(200, {"schema": 1, "stages": self.stages})

    def _next(self) -> dict[str, Any]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        answer = {**JOB, "job": self.name, **state}
        _validate("job", answer)
        return answer

    def _route(self, method: str, path: str, handle: Callable[..., ControlAnswer]) -> ControlRoute:
        def answer(request: ControlRequest, caller: Caller) -> ControlAnswer:
            self.calls.append(path)
            if path in self.refusals:
                raise self.refusals[path]
            given = request.fields() if method == "POST" else request.parameters(("job",))
            self.asked[path] = given
            return handle(given)

        return ControlRoute(method, path, answer, owner_only=True, parameters=("job",))

    @contextmanager
    def serving(self, path: Path) -> Iterator[None]:
        """Answer at a socket for the length of a block."""
        routes = [
            self._route("POST", "/v1/request", self.request),
            self._route("POST", "/v1/submit", self.submit),
            self._route("GET", "/v1/job", self.job),
            self._route("POST", "/v1/verify", self.verify),
        ]
        server = ControlServer(path, routes)
        server.start()
        try:
            yield
        finally:
            server.close()

    def wait_for_a_look(self) -> None:
        assert self.looked.wait(SOON)
