"""The routes of the control socket: what can be asked of a running agent, and what it does then.

The agent is assembled anew when its journal was lost and is back; the socket stays, and what is
asked meanwhile is answered with 503. So the routes belong to the process, and whoever runs is
`attached` to them for a while.

What changes something takes effect by one of two ways: durable words (pauses, freezes, what is kept
of the hub) have locks of their own and are written before the answer; whatever belongs to the main
loop is a message to it. A request to reconcile collapses with one that still waits, so that nobody
fills the inbox.

Threads: a handler runs on a thread of the server. `_lock` guards who is attached and the number of
the pass during which the loop was last woken; nothing is done under it that waits.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from felhom_agent.daemon import signedroutes
from felhom_agent.daemon.applyroutes import applied, apply, withdraw
from felhom_agent.daemon.controlanswers import done, tell
from felhom_agent.daemon.controlview import Access, events_of, status_of
from felhom_agent.daemon.metricsfile import NoMetrics, metrics_of
from felhom_agent.desired.hub import HubProvider
from felhom_agent.errors import FelhomError
from felhom_agent.journal.shape import MAX_SUSPENSION
from felhom_agent.journal.suspensions import ALL
from felhom_agent.notify.notifier import Notifier
from felhom_agent.service.control import (
    Caller,
    ControlAnswer,
    ControlRoute,
    ControlServer,
    ControlUnavailable,
)
from felhom_agent.service.events import CONTROL_LOST, CONTROLLED
from felhom_agent.service.logging import fields
from felhom_agent.service.request import ControlError, ControlRequest
from felhom_agent.service.ring import Ring

_log = logging.getLogger(__name__)

TEST_TIMEOUT = 130.0
"""Seconds that a test of the notifications may take: the call that is under way, and its own."""
MAX_WHY = 200
"""The longest reason that a person may give, in characters."""

# PVE: pve-common JSONSchema.pm pve_verify_vmid
_VMIDS = range(100, 1_000_000_000)
_PLAN_ID = re.compile(r"[0-9A-Za-z-]{1,64}")

Do = Callable[[Access, dict[str, Any], str], ControlAnswer]


class Controls:
    """The routes, and the agent that they speak of at present."""

    def __init__(self, ring: Ring | None = None, notifier: Notifier | None = None) -> None:
        """`ring` has the events of this process, `notifier` tells people of them."""
        self._ring = ring or Ring()
        self._notifier = notifier
        self._lock = threading.Lock()
        self._access: Access | None = None
        self._woken_in: int | None = None

    @contextmanager
    def attached(self, access: Access) -> Iterator[None]:
        """Let the routes speak of this agent for the length of a block."""
        with self._lock:
            self._access, self._woken_in = access, None
        try:
            yield
        finally:
            with self._lock:
                self._access = None

    def routes(self) -> tuple[ControlRoute, ...]:
        """Return what can be asked for."""
        return (
            ControlRoute("GET", "/v1/status", self._handler(self._status, ())),
            ControlRoute("GET", "/v1/events", self._events, parameters=("after", "vmid")),
            ControlRoute("GET", "/v1/metrics", self._handler(_metrics, ())),
            ControlRoute("POST", "/v1/reconcile", self._handler(self._reconcile, ())),
            ControlRoute("POST", "/v1/pause", self._handler(self._pause, ("vmid",), _PAUSE)),
            ControlRoute("POST", "/v1/resume", self._handler(self._resume, ("vmid",))),
            ControlRoute("POST", "/v1/freeze", self._handler(self._freeze, ("why",), _PAUSE), True),
            ControlRoute("POST", "/v1/thaw", self._handler(self._thaw, ()), True),
            ControlRoute("POST", "/v1/approve", self._handler(_approve, ("plan",)), True),
            ControlRoute("POST", "/v1/apply", self._handler(apply, ("guests",)), True),
            ControlRoute(
                "GET", "/v1/apply", self._handler(applied, ("apply",)), parameters=("apply",)
            ),
            ControlRoute("POST", "/v1/withdraw", self._handler(withdraw, ("apply",)), True),
            ControlRoute(
                "POST",
                "/v1/request",
                self._handler(
                    signedroutes.request, signedroutes.REQUEST, signedroutes.REQUEST_MORE
                ),
                True,
            ),
            ControlRoute(
                "POST", "/v1/submit", self._handler(signedroutes.submit, signedroutes.JOB), True
            ),
            ControlRoute(
                "GET", "/v1/job", self._handler(signedroutes.job, ("job",)), True, ("job",)
            ),
            ControlRoute(
                "POST", "/v1/verify", self._handler(signedroutes.verify, signedroutes.JOB), True
            ),
            ControlRoute("POST", "/v1/notify-test", self._try_notifier, True),
            ControlRoute("POST", "/v1/hub-unblock", self._handler(self._unblock, ()), True),
            ControlRoute("POST", "/v1/hub-forget", self._handler(self._forget, ()), True),
        )

    def _handler(
        self, do: Do, needed: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> Callable[[ControlRequest, Caller], ControlAnswer]:
        """Return a handler that checks which fields are there, and gives them to `do`."""

        def handle(request: ControlRequest, caller: Caller) -> ControlAnswer:
            known = {*needed, *optional}
            reads = request.method == "GET"
            given = {**(request.parameters(known) if reads else {}), **request.fields()}
            if unknown := sorted(given.keys() - known):
                raise ControlError(400, f"unknown: {', '.join(unknown)[:100]}")
            if missing := [name for name in needed if name not in given]:
                raise ControlError(400, f"missing: {', '.join(missing)}")
            with self._lock:
                access = self._access
            if access is None:
                raise ControlError(503, "the agent cannot open its journal yet, or is stopping")
            return do(access, given, caller.name)

        return handle

    def _status(self, access: Access, _given: dict[str, Any], _by: str) -> ControlAnswer:
        return ControlAnswer(200, status_of(access))

    def _events(self, request: ControlRequest, _caller: Caller) -> ControlAnswer:
        """Answered without an agent, too: why there is none is among the events."""
        if request.fields():
            raise ControlError(400, "this takes parameters, and no fields")
        given = request.parameters(("after", "vmid"))
        after = _number(given, "after", range(10**15)) or 0
        found = self._ring.excerpt(after, _number(given, "vmid", _VMIDS))
        with self._lock:
            access = self._access
        return ControlAnswer(200, events_of(found, access))

    def _try_notifier(self, request: ControlRequest, caller: Caller) -> ControlAnswer:
        """Answered once the message was delivered, or could not be."""
        if request.fields():
            raise ControlError(400, "this takes no fields")
        if self._notifier is None:
            raise ControlError(409, "this agent notifies nobody: see [notify] and its log")
        try:
            return done(f"Delivered: {self._notifier.try_out(caller.name, TEST_TIMEOUT)}.")
        except FelhomError as error:
            text = f"not delivered: {error}"
            raise ControlError(503 if error.temporary else 502, text) from None

    def _reconcile(self, access: Access, _given: dict[str, Any], by: str) -> ControlAnswer:
        if self._wake(access):
            text = "every guest is looked at now, by the word of %s"
            _log.info(text, by, extra=fields(CONTROLLED, by=by))
        return done("Every guest is looked at now.", status=202)

    def _pause(self, access: Access, given: dict[str, Any], by: str) -> ControlAnswer:
        vmid, seconds, why = _vmid(given), _seconds(given), _why(given)
        try:
            access.suspensions.pause(vmid, seconds, why, by)
        except ValueError as error:  # there are too many
            raise ControlError(409, str(error)) from None
        self._wake(access)
        subject = f"Guest {access.names.of(vmid)} is" if vmid else "All guests are"
        return done(f"{subject} left alone {_until(seconds)}{_because(why)}.")

    def _resume(self, access: Access, given: dict[str, Any], by: str) -> ControlAnswer:
        vmid = _vmid(given)
        was = access.suspensions.resume(vmid, by)
        if was:
            self._wake(access)
        if vmid:
            words = (
                f"Guest {access.names.of(vmid)} {'is paused no more' if was else 'was not paused'}."
            )
        else:
            words = "The pause of all guests has ended." if was else _NO_PAUSE
        return done(words + _still(access, vmid), done=was)

    def _freeze(self, access: Access, given: dict[str, Any], by: str) -> ControlAnswer:
        seconds, why = _seconds(given), _why(given)
        if not why:
            raise ControlError(400, "why: a freeze needs a reason")
        access.suspensions.freeze(seconds, why, by)
        self._wake(access)
        return done(f"Nothing of this host is changed {_until(seconds)}{_because(why)}.")

    def _thaw(self, access: Access, _given: dict[str, Any], by: str) -> ControlAnswer:
        was = access.suspensions.thaw(by)
        if was:
            self._wake(access)
        words = "The freeze has ended." if was else "There was no freeze."
        return done(words + _still(access, ALL), done=was)

    def _unblock(self, access: Access, _given: dict[str, Any], by: str) -> ControlAnswer:
        hub = _hub(access)
        needed = hub.kept.blocked or hub.kept.may_block
        if needed:
            hub.let_block(allowed=False)
            tell("the hub's block is ended, and it may block this host no more", by)
            self._wake(access)
        return done(
            "The hub no longer blocks this host, and cannot until `felhom-agent hub trust`.",
            done=needed,
        )

    def _forget(self, access: Access, _given: dict[str, Any], by: str) -> ControlAnswer:
        hub = _hub(access)
        needed = bool(hub.kept.generation) or hub.kept.state is not None
        if needed:
            hub.forget()
            tell("what the hub desired is forgotten", by)
            self._wake(access)
        return done("Forgotten. The hub is asked again with the next report.", done=needed)

    def _wake(self, access: Access) -> bool:
        """Let the loop look at once; return whether that was not asked for already."""
        number = access.number()
        with self._lock:
            # A pass that has begun since has not seen what was asked after its beginning.
            if self._woken_in == number:
                return False
            self._woken_in = number
        access.wake()
        return True


class ControlSocket:
    """The control socket of a process, which may assemble one agent after the other."""

    def __init__(
        self, path: Path | None, ring: Ring | None = None, notifier: Notifier | None = None
    ) -> None:
        """Without a path there is no socket; `ring` has the events of this process, `notifier`
        tells people of them.
        """
        self._path = path
        self._controls = Controls(ring, notifier)
        self._server: ControlServer | None = None

    @contextmanager
    def serving(self, access: Access) -> Iterator[None]:
        """Let the socket speak of an agent for the length of a block; make it if there is none."""
        with self._controls.attached(access):
            if self._server is None and self._path is not None:
                self._server = ControlServer(self._path, self._controls.routes())
                try:
                    self._server.start()
                except ControlUnavailable as error:
                    text = "there is no control socket: %s; mend that, then restart the agent"
                    _log.warning(text, error, extra=fields(CONTROL_LOST))
            yield

    def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.close()


_PAUSE = ("seconds", "why")
_NO_PAUSE = "There was no pause of all guests."


def _approve(access: Access, given: dict[str, Any], by: str) -> ControlAnswer:
    plan = given["plan"]
    if not isinstance(plan, str) or not _PLAN_ID.fullmatch(plan):
        raise ControlError(400, "plan: must be the id that the held plan names")
    guests = access.approve(plan)
    if not guests:
        raise ControlError(404, f"no plan {plan} is held")
    tell(f"plan {plan} is approved; it lets {guests} guests pass for an hour", by)
    access.wake()
    return done(f"Plan {plan} is approved; it lets {guests} guests pass for an hour.")


def _metrics(access: Access, _given: dict[str, Any], _by: str) -> ControlAnswer:
    try:
        return ControlAnswer(200, {}, metrics_of(access))
    except NoMetrics as error:
        raise ControlError(501, str(error)) from None


def _hub(access: Access) -> HubProvider:
    if access.hub is None:
        raise ControlError(409, "no hub is configured")
    return access.hub


def _number(given: Mapping[str, str], name: str, allowed: range) -> int | None:
    """Return a parameter as a number; None if it is not there."""
    text = given.get(name)
    if text is None:
        return None
    # Not `int` alone: it takes "1_0", and may take its time for very long ones.
    if not (text.isdigit() and len(text) <= 15 and int(text) in allowed):
        words = f"must be a number from {allowed.start} to {allowed.stop - 1}"
        raise ControlError(400, f"{name}: {words}")
    return int(text)


def _vmid(given: dict[str, Any]) -> int:
    vmid = given["vmid"]
    if vmid == "all" or (type(vmid) is int and vmid == ALL):
        return ALL
    if type(vmid) is not int or vmid not in _VMIDS:
        raise ControlError(400, 'vmid: must be one from 100 to 999999999, or "all"')
    return vmid


def _seconds(given: dict[str, Any]) -> float | None:
    seconds = given.get("seconds")
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ControlError(400, "seconds: must be a number, or null")
    if not 1 <= seconds <= MAX_SUSPENSION:
        raise ControlError(400, f"seconds: must be from 1 to {MAX_SUSPENSION:.0f}")
    return float(seconds)


def _why(given: dict[str, Any]) -> str:
    why = given.get("why", "")
    if not isinstance(why, str) or len(why) > MAX_WHY or not why.isprintable():
        raise ControlError(400, f"why: must be one line of at most {MAX_WHY} characters")
    return why.strip()


def _still(access: Access, vmid: int) -> str:
    """Return what holds a guest all the same, as a sentence more; empty if nothing does."""
    why = access.holds.may_change(vmid)
    return f" Nothing is changed all the same: {why}." if why else ""


def _until(seconds: float | None) -> str:
    if seconds is None:
        return "until a person ends it"
    end = datetime.fromtimestamp(datetime.now().timestamp() + seconds).astimezone()
    near = end.date() == datetime.now().astimezone().date()
    return f"until {end:%H:%M:%S}" if near else f"until {end:%Y-%m-%d %H:%M}"


def _because(why: str) -> str:
    return f" ({why})" if why else ""
