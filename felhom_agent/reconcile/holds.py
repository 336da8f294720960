"""May a guest be changed now? One question with one answer, asked right before every act.

A *hold* is a reason to change nothing: the journal cannot be written, the hub blocks this host, a
dry run, the agent is stopping. Whoever has such a reason registers a question here once; a lane
asks all of them immediately before each call that changes a guest, and again after every wait, so
that a hold which comes at any moment holds from that moment on. A scheduler that asks, too, only
saves work.

There is one exception. The Start that ends a restart which the agent itself began is the second
half of one act: without it a hold would turn a restart into an outage. It is done under every hold
but an *absolute* one.

Threads: holds are registered before any lane runs and never change; each question answers from any
thread under its owner's rules.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from felhom_agent.errors import Changed, Held, Interrupted

Question = Callable[[int], str]
"""Given a vmid, returns why the guest must not be changed now; empty if it may be."""


@dataclass(frozen=True)
class Hold:
    """One reason to change nothing; `absolute` holds even the Start that ends our own restart."""

    name: str
    ask: Question
    absolute: bool = False


class Holds:
    """All holds of one agent, and the hold of its own stop."""

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._holds: tuple[Hold, ...] = ()

    def register(self, name: str, ask: Question, *, absolute: bool = False) -> None:
        """Given a hold's name and question, ask it from now on, in place of one of that name."""
        others = tuple(hold for hold in self._holds if hold.name != name)
        self._holds = (*others, Hold(name, ask, absolute))

    def close(self) -> None:
        """Hold every guest for good: the agent is stopping."""
        self._closing.set()

    @property
    def closing(self) -> bool:
        """Whether the agent is stopping."""
        return self._closing.is_set()

    def in_force(self) -> tuple[tuple[str, str], ...]:
        """Return the name and the reason of each hold that holds every guest now."""
        found = [(hold.name, hold.ask(0)) for hold in self._holds]
        if self.closing:
            found.append(("stop", "the agent is stopping"))
        return tuple((name, why) for name, why in found if why)

    def may_change(self, vmid: int, *, ends_restart: bool = False) -> str:
        """Given a guest, return why it must not be changed now; empty if it may be.

        `ends_restart` tells that the change is the Start that ends a restart of ours.
        """
        reasons = [hold.ask(vmid) for hold in self._holds if hold.absolute or not ends_restart]
        if self.closing and not ends_restart:
            reasons.append("the agent is stopping")
        return "; ".join(reason for reason in reasons if reason)


@dataclass(frozen=True)
class Permit:
    """What asks, right before a call, whether a guest may be changed at that moment.

    `would` is what is about to be done, in words; `is_in_force` tells whether the declaration that
    asks for it still is.
    """

    holds: Holds
    vmid: int
    would: str
    ends_restart: bool = False
    is_in_force: Callable[[], bool] = lambda: True

    def ask(self) -> None:
        """Return if the guest may be changed.

        Raise Changed if the declaration is not in force any more, Interrupted if the agent is
        stopping, Held if there is another hold.
        """
        if not self.is_in_force():
            raise Changed("its declaration was changed or withdrawn")
        why = self.holds.may_change(self.vmid, ends_restart=self.ends_restart)
        if why and self.holds.closing:
            raise Interrupted(why)
        if why:
            raise Held(f"{why}; would {self.would}")
