"""What keeps the agent from acting, and when it will act: asked of the running agent.

Of each guest it is what `status` shows, so that the two never disagree. Where no agent runs, or
this person may not ask it, the same is told from the configuration and the journal, as far as these
know it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from felhom_agent.cli import answers
from felhom_agent.cli.answers import Answer
from felhom_agent.cli.statustext import pause_of, verdict_of
from felhom_agent.config.settings import Config
from felhom_agent.durable.line import Record
from felhom_agent.errors import FelhomError
from felhom_agent.journal.suspensions import Moment, reasons
from felhom_agent.model import Mode
from felhom_agent.printable import moment_text
from felhom_agent.service.boot import boot_id, since_boot
from felhom_agent.service.controlclient import NoAgent, call

_BEGUN = {"at work": "the agent is at work on it", "queued": "it waits for its place"}
_NOTED = ("withheld: ", "refused: ", "unread: ", "noted: ", "observed only; ")
"""How the parts of a guest's plan begin that are no acts."""


@dataclass(frozen=True)
class GuestNow:
    """How the agent stands to one guest at present.

    `acts` tells that it will do by itself what the plan has, `by_hand` that `apply` can do it.
    `why` is what stands in the way, or has so far. `next` is when the agent tries it (RFC 3339;
    empty: not known, or not a matter of time). `begun` tells that it is at it already.
    """

    acts: bool = False
    by_hand: bool = True
    why: str = ""
    next: str = ""
    begun: bool = False


@dataclass(frozen=True)
class AgentState:
    """What is in force on this host.

    `running` tells whether an agent runs, None if it could not be asked; `why_not_asked` says why.
    `held` are the reasons for which it changes nothing, `pauses` those for single guests, `braked`
    the guests that are too much at once. `observes` tells of observe mode. `next_pass` is when it
    looks at the guests next (RFC 3339; empty: not known), `status` what it answered.
    """

    running: bool | None
    observes: bool
    held: tuple[str, ...] = ()
    pauses: tuple[tuple[int, str], ...] = ()
    braked: Mapping[int, str] = field(default_factory=dict)
    next_pass: str = ""
    why_not_asked: str = ""
    status: Answer = field(default_factory=dict)

    @property
    def by_hand(self) -> bool:
        """Whether nothing is done but by `apply`."""
        return self.observes or self.running is not True

    def of(self, vmid: int, acts: Sequence[str]) -> GuestNow:
        """Given a guest and what would be done to it, in words, return how the agent stands to
        it.
        """
        if pause := "; ".join(why for each, why in self.pauses if each == vmid):
            return GuestNow(by_hand=False, why=pause, next=self._end_of_pause(vmid))
        if self.held:
            return GuestNow(by_hand=False)
        if self.observes or self.running is not True:
            return GuestNow()
        if why := self.braked.get(vmid):
            return GuestNow(why=why)
        guest = self._told_of(vmid)
        verdict = verdict_of(guest, self.status)
        if verdict in _BEGUN:
            return GuestNow(acts=True, why=_BEGUN[verdict], begun=True)
        if verdict not in ("waits", "retry", "refused") or self._is_overtaken(guest, acts):
            return GuestNow(acts=True, next=self.next_pass)
        why, then = answers.text(guest, "why"), answers.text(guest, "next")
        acts_again = verdict == "retry"
        return GuestNow(acts_again, why=why, next=then or (self.next_pass if acts_again else ""))

    def _told_of(self, vmid: int) -> Answer:
        found = answers.guests(self.status, "guests")
        return next((guest for guest in found if guest["vmid"] == vmid), {})

    def _end_of_pause(self, vmid: int) -> str:
        left = answers.number(pause_of({"vmid": vmid}, self.status) or {}, "left")
        return moment_text(time.time() + left) if left is not None else ""

    def _is_overtaken(self, guest: Answer, acts: Sequence[str]) -> bool:
        """Return whether a pass has seen since that something else is to be done, or does now: that
        is tried at the next pass.
        """
        since = answers.moment(guest, "since")
        looked = answers.moment(answers.table(self.status, "last_pass"), "at")
        if since is None or looked is None or since >= looked:
            return False
        tried = [each for each in answers.texts(guest, "plan") if not each.startswith(_NOTED)]
        return tried != list(acts)


def agent_state(config: Config, records: Iterable[Record]) -> AgentState:
    """Given the configuration and the journal's records, return what is in force."""
    if config.control.socket is not None:
        try:
            return _as_told(call(config.control.socket, "GET", "/v1/status"))
        except NoAgent as error:
            return _as_written(config, records, running=error.runs, why=str(error))
        except FelhomError as error:
            return _as_written(config, records, running=True, why=str(error))
    return _as_written(config, records, running=None, why="it has no control socket")


def _as_told(status: dict[str, Any]) -> AgentState:
    """Return what a running agent tells."""
    holds = answers.rows(status, "holds")
    whole = [hold for hold in holds if not hold.get("vmid")]
    of_guests = [(vmid, hold) for hold in holds if (vmid := answers.vmid(hold)) is not None]
    return AgentState(
        running=True,
        observes=any(hold.get("name") == "mode" for hold in whole),
        held=tuple(answers.text(h, "why") for h in whole if h.get("name") != "mode"),
        pauses=tuple((vmid, answers.text(hold, "why")) for vmid, hold in of_guests),
        braked=dict(_braked(answers.table(status, "held"))),
        next_pass=answers.text(status, "next_pass"),
        status=status,
    )


def _braked(found: Answer) -> Iterator[tuple[int, str]]:
    """Given what is too much at once, yield its guests, each with how to let it pass."""
    plan, vmids = found.get("plan"), found.get("vmids")
    if isinstance(plan, str) and isinstance(vmids, list):
        why = f"unusually large together with others; `felhom-agent approve {plan}` lets it pass"
        yield from ((vmid, why) for vmid in vmids if type(vmid) is int)


def _as_written(
    config: Config, records: Iterable[Record], *, running: bool | None, why: str
) -> AgentState:
    """Return what configuration and journal tell."""
    found = reasons(records, Moment(time.time(), since_boot(), boot_id()))
    return AgentState(
        running=running,
        observes=config.reconcile.mode is Mode.OBSERVE,
        held=tuple(text for said, text in found.items() if not said.vmid),
        pauses=tuple((said.vmid, text) for said, text in found.items() if said.vmid),
        why_not_asked=why,
    )
