"""What keeps the agent from acting, and when it will act: asked of the running agent.

Where no agent runs, or this person may not ask it, the same is told from the configuration and the
journal, as far as these know it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from felhom_agent.config.settings import Config
from felhom_agent.durable.line import Record
from felhom_agent.errors import FelhomError
from felhom_agent.journal.suspensions import Moment, reasons
from felhom_agent.model import Mode
from felhom_agent.service.boot import boot_id, since_boot
from felhom_agent.service.controlclient import NoAgent, call

OBSERVING = 'mode = "observe"'


@dataclass(frozen=True)
class AgentState:
    """What is in force on this host.

    `running` tells whether an agent runs, None if it could not be asked; `why_not_asked` says why.
    `held` are the reasons for which it changes nothing, `guests` those for single guests.
    `observes` tells of observe mode. `next_pass` is when it looks at the guests next (RFC 3339;
    empty: not known).
    """

    running: bool | None
    observes: bool
    held: tuple[str, ...] = ()
    guests: tuple[tuple[int, str], ...] = ()
    next_pass: str = ""
    why_not_asked: str = ""

    def of(self, vmid: int) -> str:
        """Given a guest, return why the agent leaves it alone; empty if it does not."""
        return "; ".join(why for each, why in self.guests if each == vmid)


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
    holds = [hold for hold in status.get("holds") or [] if isinstance(hold, dict)]
    whole = [hold for hold in holds if not hold.get("vmid")]
    return AgentState(
        running=True,
        observes=any(hold.get("name") == "mode" for hold in whole),
        held=tuple(str(h.get("why")) for h in whole if h.get("name") != "mode"),
        guests=(
            *((int(h["vmid"]), str(h.get("why"))) for h in holds if h.get("vmid")),
            *_braked(status.get("held")),
        ),
        next_pass=str(status.get("next_pass") or ""),
    )


def _braked(held: Any) -> Iterator[tuple[int, str]]:
    """Given what is too much at once, yield its guests, each with how to let it pass."""
    found = held if isinstance(held, dict) else {}
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
        guests=tuple((said.vmid, text) for said, text in found.items() if said.vmid),
        why_not_asked=why,
    )
