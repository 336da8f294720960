"""What can go wrong, by the question a caller asks.

    FelhomError
    |-- ConfigError          is what was declared wrong?        (carries every problem, with places)
    |-- PveError             what came of a call to PVE?
    |   |-- Unchanged        did PVE surely do nothing?
    |   |   |-- NotSent      ...because the request never reached it
    |   |   |-- Unanswered   ...because it was only a read, and no usable answer came
    |   |   |-- Rejected     ...because it said no
    |   |   |   `-- Denied   ...for want of a privilege (names privilege and path)
    |   |   |-- Busy         does somebody else hold it?         (a lock; wait and try again)
    |   |   |-- Stale        did the world move?                (digest mismatch; look again)
    |   |   `-- Missing      is it gone?                        (guest or task unknown to this node)
    |   |-- OutcomeUnknown   do we not know?                    (look before anything else)
    |   `-- TaskFailed       did the task run and fail?         (exit status and log tail)
    |-- StillRunning         is a task not finished in time?    (it stays in flight)
    |-- Interrupted          were we told to stop waiting?      (what is in flight stays so)
    |-- JournalError         can nothing be promised any more?
    |   |-- JournalDamaged   ...because a line of it is not what was written
    |   `-- JournalClosed    ...because a write to it failed, or it was closed
    |-- CallError            what came of a call over HTTP to a server that is not PVE's?
    |   |-- NoAnswer         ...none, or not in time
    |   `-- BadAnswer        ...what is no answer of HTTP within our bounds
    |-- HubError             what came of a call to the hub?
    |   |-- HubAway          ...no answer, or not in time
    |   `-- HubRefused       ...an answer that is none of the contract's (carries the status)
    |-- JobRefused           must a one-shot job not be begun (again)?
    |-- Withheld             is the guest not to be touched as it is now?
    |-- Held                 is there a reason to change nothing now?    (see `reconcile.holds`)
    |   `-- NotShown         ...because it is not what a person agreed to? (see `reconcile.applies`)
    |-- Unsigned             may it be done by nobody's word but a signer's?
    |-- Changed              was the declaration changed or withdrawn meanwhile?
    `-- QueueClosed          was work refused because the queue is closing?

No error carries a secret: neither a token, nor a header, nor the body of a request, nor where the
other side's words quote one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from felhom_agent.redaction import redacted

if TYPE_CHECKING:
    from felhom_agent.model import Problem

# What a proxy says of a node that does not answer it now; 595 and on are PVE's own proxy's.
_AWAY = frozenset({502, 503, 504, *range(595, 600)})


class FelhomError(Exception):
    """The root: whatever felhom-agent raises on purpose.

    `temporary` tells that the same may succeed a little later, with nobody changing anything.
    """

    temporary = False


class ConfigError(FelhomError):
    """What was declared is wrong; `problems` holds all that was found, each with its place."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(p) for p in problems))


class PveError(FelhomError):
    """A call to PVE did not simply succeed.

    `call` is the method and path ("PUT /nodes/pve1/qemu/101/config"), `status` the HTTP status
    (0: none came), `text` what was said, `timed_out` whether the node took too long, `cut_off`
    whether the connection ended before a byte of an answer came.
    """

    def __init__(
        self,
        text: str,
        *,
        call: str = "",
        status: int = 0,
        timed_out: bool = False,
        cut_off: bool = False,
    ) -> None:
        self.text = redacted(text)
        self.call = call
        self.status = status
        self.timed_out = timed_out
        self.cut_off = cut_off
        self.temporary = type(self).temporary or timed_out or cut_off or status in _AWAY
        super().__init__(self.text)

    def __str__(self) -> str:
        return f"{self.text} ({self.call})" if self.call else self.text


class Unchanged(PveError):
    """PVE surely did nothing."""


class NotSent(Unchanged):
    """The request never reached PVE, or no worker of PVE: no connection, no trust, or no name."""


class Unanswered(Unchanged):
    """A read brought no usable answer; reads change nothing."""


class Rejected(Unchanged):
    """PVE said no; `errors` holds its words per parameter where it gave any.

    `final` tells that it would say no again to the same request, whatever the time.
    """

    def __init__(
        self,
        text: str,
        *,
        call: str = "",
        status: int = 0,
        errors: dict[str, str] | None = None,
        final: bool = False,
    ) -> None:
        self.errors = {key: redacted(words) for key, words in (errors or {}).items()}
        self.final = final
        super().__init__(text, call=call, status=status)


class Denied(Rejected):
    """PVE wants a privilege that the token lacks; both are empty for a bad token."""

    def __init__(
        self, text: str, *, call: str = "", status: int = 0, path: str = "", privilege: str = ""
    ) -> None:
        self.path = path
        self.privilege = privilege
        super().__init__(text, call=call, status=status)


class Busy(Unchanged):
    """Somebody else holds the guest's lock."""

    temporary = True


class Stale(Unchanged):
    """The configuration changed since it was read; nothing was written."""


class NoQuorum(Unchanged):
    """The cluster has no quorum, so that PVE can write nothing; observe only until it has."""

    temporary = True


class Missing(Unchanged):
    """This node knows no such guest or task."""


class OutcomeUnknown(PveError):
    """The request may or may not have taken effect; only a look can tell.

    `if_untouched` is what the answer means where a look shows that nothing was written; `None` if
    PVE may still be at work, or nobody can tell what was said. `ended` tells that PVE is done with
    it, whatever it did, so that a look tells all at once.
    """

    def __init__(
        self,
        text: str,
        *,
        call: str = "",
        status: int = 0,
        timed_out: bool = False,
        if_untouched: Unchanged | None = None,
        ended: bool = False,
    ) -> None:
        self.if_untouched = if_untouched
        self.ended = ended
        super().__init__(text, call=call, status=status, timed_out=timed_out)


class TaskFailed(PveError):
    """The task ended with another exit status than OK or WARNINGS."""

    def __init__(self, text: str, *, upid: str, log: tuple[str, ...] = ()) -> None:
        self.upid = upid
        self.log = tuple(redacted(line) for line in log)
        super().__init__(text)


class StillRunning(FelhomError):
    """A task did not end within our deadline; PVE goes on with it.

    `retry_after` are the seconds until it makes sense to ask again; 0 if nobody knows.
    """

    def __init__(self, text: str, *, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(text)


class Interrupted(FelhomError):
    """We were told to stop while waiting; the task goes on without us."""


class JournalError(FelhomError):
    """The journal cannot promise durability."""


class JournalDamaged(JournalError):
    """A line of the journal is not what was written; the agent must not guess."""


class JournalClosed(JournalError):
    """The journal takes no more records."""


class CallError(FelhomError):
    """A call over HTTP brought nothing."""


class NoAnswer(CallError):
    """The server gave no answer, or not in time."""

    temporary = True


class BadAnswer(CallError):
    """The server said what is no answer of HTTP, or more than is read."""


class HubError(FelhomError):
    """A call to the hub brought nothing."""


class HubAway(HubError):
    """The hub gave no answer, or not in time."""

    temporary = True


class HubRefused(HubError):
    """The hub said no, or what no hub says; `retry_after` are the seconds it asks to wait."""

    def __init__(self, text: str, *, status: int, retry_after: float = 0.0) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(text)


class JobRefused(FelhomError):
    """A one-shot job was begun before and may have had an effect, or its time has passed."""


class Withheld(FelhomError):
    """A guest is in a state in which nothing is done to it; nothing was."""


class Held(FelhomError):
    """A hold stands in the way of a change; nothing was done.

    `observed` tells that the host is to be observed only, and nothing else stands in the way.
    """

    def __init__(self, text: str, *, observed: bool = False) -> None:
        self.observed = observed
        super().__init__(text)


class NotShown(Held):
    """What would be done is not what the person was shown who told the agent to do it."""


class Unsigned(FelhomError):
    """What was about to be done cannot be undone, and nobody has signed it; nothing was done."""


class Changed(FelhomError):
    """The declaration that was about to be carried out is not in force any more."""


class QueueClosed(FelhomError):
    """The queue takes no more work."""
