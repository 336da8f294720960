"""What a person has told the agent to do now: `felhom-agent apply`.

An apply names guests, and for each the acts that the person was shown and agreed to. It lifts two
things and no other: `mode = "observe"` of the agent, for these acts alone, and the brake, since a
person has seen what it is. A pause, a freeze, a lock, quorum hold as ever. An act that was not
shown is no part of an apply: the guest's part ends, and the person looks again. In enforce mode the
agent does by itself what is declared, at its next pass and under the brake.

A guest's part is open until its outcome is known, by what was looked at after the apply was told:
it is as declared, or something stands in the way. A try that failed ends it, too; only a wait for
its place, or for a task that goes on, does not. While it is open, its steps are kept for whoever
asks. One that is withdrawn after it began stays open until its lane ends: a restart that we began
is ended, nothing else is begun. An apply lives in memory alone: an agent that is restarted carries
nothing of it on.

Threads: one lock guards the applies; nothing waits under it. `begin` and `end` are called by the
control socket's threads, `settle` by the main thread, `covers`, `objection` and `heard` by lanes.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from felhom_agent.errors import FelhomError
from felhom_agent.journal.operation import Operation
from felhom_agent.model import Action, Blocked, Outcome
from felhom_agent.planning.acts import prints_of

MAX_KEPT = 16
"""How many applies are kept that have ended."""
MAX_OPEN = 8
"""How many applies may be open at once."""
WITHDRAWN = "it was withdrawn before it began"
WITHDRAWN_LATER = "it was withdrawn, and no more of it is begun"
CHANGED = "what would be done is not what was shown"


class TooManyApplies(FelhomError):
    """One more apply cannot be taken now."""


@dataclass(frozen=True)
class AppliedGuest:
    """One guest of an apply: its outcome, None while it is open, its operations by id, and whether
    it was withdrawn.
    """

    vmid: int
    acts: frozenset[str] = field(repr=False)
    outcome: Outcome | None = None
    operations: Mapping[str, Operation] = field(default_factory=dict)
    withdrawn: bool = False


@dataclass
class Apply:
    """One apply: by whose word, when it was told, and its parts by vmid."""

    name: str
    by: str
    told: float
    parts: dict[int, AppliedGuest]

    @property
    def open(self) -> bool:
        return any(part.outcome is None for part in self.parts.values())


class Applies:
    """All applies of one agent."""

    def __init__(self, observes: Callable[[], bool] = lambda: False) -> None:
        """`observes` tells whether the agent is in observe mode."""
        self._observes = observes
        self._lock = threading.Lock()
        self._applies: dict[str, Apply] = {}
        self._open: dict[int, Apply] = {}

    def begin(self, acts: Mapping[int, frozenset[str]], by: str, told: float) -> str:
        """Given guests, each with the fingerprints of the acts that were agreed to, who agreed, and
        the moment (seconds of the main loop's clock), return the apply's name. Raise TooManyApplies
        if one of the guests is being applied already, or too many applies are under way.
        """
        with self._lock:
            if busy := sorted(acts.keys() & self._open.keys()):
                raise TooManyApplies(f"guest {busy[0]} is being applied already; wait for its end")
            if sum(each.open for each in self._applies.values()) >= MAX_OPEN:
                raise TooManyApplies(f"{MAX_OPEN} applies are under way; wait for the end of one")
            name = secrets.token_hex(6)
            parts = {vmid: AppliedGuest(vmid, prints) for vmid, prints in sorted(acts.items())}
            found = Apply(name, by, told, parts)
            self._applies[name] = found
            self._open |= dict.fromkeys(parts, found)
            ended = [each for each in self._applies.values() if not each.open]
            for old in ended[:-MAX_KEPT]:
                del self._applies[old.name]
            return name

    def end(self, name: str) -> int | None:
        """Given an apply's name, withdraw what of it has not begun; return of how many guests that
        is, None if there is no such apply. A guest of which something was done stays part of it
        until its lane ends.
        """
        with self._lock:
            found = self._applies.get(name)
            if found is None:
                return None
            parts = [p for p in found.parts.values() if p.outcome is None and not p.withdrawn]
            for part in parts:
                if part.operations:
                    found.parts[part.vmid] = replace(part, acts=frozenset(), withdrawn=True)
                else:
                    self._close(part.vmid, Blocked(WITHDRAWN))
            return len(parts)

    def parts(self, name: str) -> tuple[AppliedGuest, ...] | None:
        """Given an apply's name, return its guests as they are now; None if there is none."""
        with self._lock:
            found = self._applies.get(name)
            return None if found is None else tuple(found.parts.values())

    def open_guests(self) -> frozenset[int]:
        """Return the guests that are being applied."""
        with self._lock:
            return frozenset(self._open)

    def is_open(self, vmid: int) -> bool:
        """Given a guest, return whether it is being applied."""
        with self._lock:
            return vmid in self._open

    def awaits(self, vmid: int, looked: float) -> bool:
        """Given a guest and when a look at it began, return whether it is being applied by a word
        that came after that.
        """
        with self._lock:
            found = self._open.get(vmid)
            return found is not None and found.told > looked

    def covers(self, action: Action) -> bool:
        """Given an act, return whether it, or no less than it, was agreed to."""
        with self._lock:
            found = self._open.get(action.vmid)
            return found is not None and prints_of([action]) <= found.parts[action.vmid].acts

    def objection(self, action: Action) -> str:
        """Given an act, return why it must not be done now: nobody was shown it, and agreed to it.
        Empty in enforce mode for a guest that is not applied.
        """
        if self.covers(action):
            return ""
        with self._lock:
            found = self._open.get(action.vmid)
            # In observe mode of any guest: its apply may have ended since the holds were asked.
            if found is None and not self._observes():
                return ""
            if found is not None and found.parts[action.vmid].withdrawn:
                return WITHDRAWN_LATER
        return f"{CHANGED}; look again with `felhom-agent plan {action.vmid}`"

    def heard(self, operation: Operation) -> None:
        """Given a step of an operation, keep it for the apply that its guest is part of."""
        with self._lock:
            found = self._open.get(operation.vmid)
            if found is not None:
                part = found.parts[operation.vmid]
                steps = {**part.operations, operation.op_id: operation}
                found.parts[operation.vmid] = replace(part, operations=steps)

    def settle(self, vmid: int, outcome: Outcome, looked: float) -> None:
        """Given a guest, what came of it, and when the look at it began (seconds of the main loop's
        clock), end its part of an apply that was told before.
        """
        with self._lock:
            found = self._open.get(vmid)
            if found is not None and found.told <= looked:
                self._close(vmid, outcome)

    def _close(self, vmid: int, outcome: Outcome) -> None:
        """End a guest's part. The caller holds the lock."""
        found = self._open.pop(vmid)
        part = found.parts[vmid]
        found.parts[vmid] = replace(part, outcome=outcome)
