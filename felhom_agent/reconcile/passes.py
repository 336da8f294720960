"""One look at the whole node after the other: what is desired, what is there, who gets a turn.

An error of one pass is a line in the log, and another pass comes. Belongs to the main loop's
thread; `latest` is replaced as a whole and may be read from any.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from felhom_agent.errors import FelhomError, Interrupted, PveError
from felhom_agent.journal.identities import Identities
from felhom_agent.model import Desired, Mode
from felhom_agent.proxmox.node import Node
from felhom_agent.reconcile.engine import Engine
from felhom_agent.reconcile.identity import identity_of
from felhom_agent.reconcile.pace import Pace
from felhom_agent.reconcile.plan import plan
from felhom_agent.reconcile.turns import Turns
from felhom_agent.service.logging import within

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pass:
    """One pass: when it began (seconds since the epoch; 0: none did), how many seconds it took,
    whether the node could be looked at, and who was declared.
    """

    begun: float = 0.0
    seconds: float = 0.0
    good: bool = False
    declared: frozenset[int] = frozenset()


class Passes:
    """Looks at a node; `clock` tells monotonic seconds, `now` those since the epoch."""

    def __init__(
        self,
        node: Node,
        engine: Engine,
        identities: Identities,
        turns: Turns,
        pace: Pace,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._node = node
        self._engine = engine
        self._identities = identities
        self._turns = turns
        self._pace = pace
        self._clock = clock
        self._now = now
        self._declared: frozenset[int] = frozenset()
        self.latest = Pass()

    def look(self, load: Callable[[], Desired], *, remember: bool) -> bool:
        """Given how to load what is desired, look, and give a turn to each guest that needs one.

        `remember` tells whether new identities can be written down. Return whether the node could
        be looked at.
        """
        self._turns.number += 1
        begun, since = self._now(), self._clock()
        with within(**{"pass": self._turns.number}):
            good = self._try(load, remember=remember)
        self.latest = Pass(begun, self._clock() - since, good, self._declared)
        return good

    def _try(self, load: Callable[[], Desired], *, remember: bool) -> bool:
        try:
            desired = load()
            self._declared = frozenset(desired.guests)
            self._engine.desire(desired)
            self._compare(desired, remember=remember)
        except Interrupted:
            return False
        except PveError as error:
            self._pace.failed(error)
            return False
        except FelhomError as error:
            _log.error("nothing is done in this pass: %s", error)
            return False
        except Exception:  # a bug of ours must not end the daemon
            _log.exception("internal error in a pass; please report it")
            return False
        return True

    def _compare(self, desired: Desired, *, remember: bool) -> None:
        engine = self._engine
        engine.forget(engine.outcomes().keys() - desired.guests.keys())
        if not desired.guests:
            return
        actual = self._node.observer.snapshot(desired.guests.keys())
        self._pace.answered()
        plans = plan(desired, actual, self._identities.all())
        if remember:
            self._identities.remember(
                {
                    vmid: identity_of(actual.guests[vmid])
                    for vmid, guest_plan in plans.items()
                    if not guest_plan.withheld and desired.guests[vmid].mode is Mode.ENFORCE
                }
            )
        self._turns.consider(desired, plans, self._clock)
