"""The node as a thing to start and stop: a world behind HTTPS, and a log of what was asked.

`close` cuts all connections and waits for their threads, so nothing of the node outlives it.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType

from felhom_agent.devnode.api.calls import Waiting
from felhom_agent.devnode.api.routes import Api
from felhom_agent.devnode.http import certificate, message
from felhom_agent.devnode.http.faults import Faults
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.devnode.http.wire import Server
from felhom_agent.devnode.world.refusal import FlockBusy, Refusal
from felhom_agent.devnode.world.schema import Raw
from felhom_agent.devnode.world.world import World

HOST = "127.0.0.1"
# Seconds after which a call that waits looks again.
_STEP = 0.02


class DevNode:
    """A PVE node in memory on a port of the loopback (0: any free one); a context manager.

    Without `key_usage` its CA is one as PVE made it before pve-cluster 9.1.2.
    """

    def __init__(self, world: World, port: int = 0, *, key_usage: bool = True) -> None:
        self.world = world
        self.faults = Faults()
        self.clock_ahead = 0.0
        """Seconds by which the clock is ahead that its answers are dated by."""
        self._directory = tempfile.TemporaryDirectory(prefix="devnode-")
        self._identity = certificate.make(Path(self._directory.name), HOST, key_usage=key_usage)
        self._api = Api(world, self._identity.fingerprint)
        self._log: list[Request] = []
        # Guarded by `_log_lock`: the changes that came and are not carried out, or given up.
        self._in_progress: dict[int, Request] = {}
        self._log_lock = threading.Lock()
        self._closing = threading.Event()
        self._server = Server((HOST, port), self._identity.context, self)
        self._thread = threading.Thread(target=self._server.serve, name="devnode")
        self._thread.start()

    def __enter__(self) -> DevNode:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cut all connections, end all threads, remove the CA. Idempotent."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._server.cut_all()
        self._thread.join()
        self._server.server_close()
        self._directory.cleanup()

    @property
    def endpoint(self) -> str:
        """The URL up to the port."""
        return f"https://{HOST}:{self._server.server_address[1]}"

    @property
    def ca_file(self) -> Path:
        """The PEM file of the CA that vouches for the node; gone when the node is closed."""
        return self._identity.ca_file

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the node's certificate, as PVE writes it."""
        return self._identity.fingerprint

    @property
    def requests(self) -> tuple[Request, ...]:
        """All requests so far, in the order of their arrival."""
        with self._log_lock:
            return tuple(self._log)

    @property
    def mutations(self) -> tuple[Request, ...]:
        """The requests that ask for a change."""
        return tuple(r for r in self.requests if r.changes)

    def answer(self, heard: Request, raw: Mapping[str, Raw], authorization: str) -> Answer:
        """Given a request, return its answer."""
        try:
            return message.granted(self._carry_out(heard, raw, authorization))
        except Refusal as refusal:
            return message.refused(refusal)
        finally:
            self.over(heard)

    def over(self, heard: Request) -> None:
        """Note that a request has had all the effect that it will ever have."""
        with self._log_lock:
            self._in_progress.pop(heard.seq, None)

    def _carry_out(self, heard: Request, raw: Mapping[str, Raw], authorization: str) -> object:
        try:
            found = self._api.answer(heard.method, heard.path, raw, authorization)
        except FlockBusy:
            if not self.world.lock_wait:
                raise
            self._closing.wait(self.world.lock_wait)
            found = self._api.answer(heard.method, heard.path, raw, authorization)
        return self._awaited(found) if isinstance(found, Waiting) else found

    def _awaited(self, waiting: Waiting) -> object:
        """Given a call that waits for its task, return its answer; others go on meanwhile."""
        while True:
            with self.world.guard:
                self.world.catch_up()
                if waiting.is_over(self.world.events.moment) or self._closing.is_set():
                    return waiting.answer()
            if self.world.waits is not None:
                self.world.waits(_STEP)
            else:
                self._closing.wait(_STEP)

    def hear(self, method: str, path: str, params: Mapping[str, str], token: str) -> Request:
        """Given a request, write it into the log and return it."""
        with self.world.guard:
            self.world.catch_up()
            moment = self.world.events.moment
            running = [t.upid for t in self.world.tasks.running() if "!" in t.user]
        shown = MappingProxyType(dict(params))
        with self._log_lock:
            request = Request(len(self._log), moment, method, path, shown, token)
            if request.changes and request.guest:
                request = replace(request, during=self._met(request, running))
                self._in_progress[request.seq] = request
            self._log.append(request)
        return request

    def _met(self, request: Request, running: list[str]) -> tuple[str, ...]:
        tasks = [upid for upid in running if upid.split(":")[6] == request.guest]
        others = [r for r in self._in_progress.values() if r.guest == request.guest]
        return (*tasks, *(f"{r.method} {r.path} (request {r.seq})" for r in others))

    def wait(self, seconds: float) -> bool:
        """Return after that time, or when the node closes; return whether it does."""
        return self._closing.wait(seconds)

    def answered(self, request: Request, status: int) -> None:
        """Note with which status a request was answered."""
        with self._log_lock:
            self._log[request.seq] = replace(request, status=status)
