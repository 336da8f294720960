"""Which commands there are, by what a person wants: known without loading what they need.

Each is a module of this package, of the command's name, with `add` (its arguments) and `run`. Those
to try things with are no part of what a host installs: Debian's package of them is another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from felhom_agent.errors import FelhomError

LOOK: Final = "look (nothing is changed)"
ACT: Final = "act"
SIGN: Final = "sign what cannot be undone"
SET_UP: Final = "set up and mend"
SERVE: Final = "the service"
TRY: Final = "try it without a Proxmox VE host"

COMMANDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "plan": (LOOK, "what would be done, and what is withheld"),
        "status": (LOOK, "how the running agent and its guests are"),
        "events": (LOOK, "what happened lately, and what happens now (-f)"),
        "history": (LOOK, "what was done to the guests"),
        "metrics": (LOOK, "the running agent's metrics, as Prometheus reads them"),
        "explain": (LOOK, "why a declared value equals PVE's, or does not"),
        "check": (LOOK, "is all as the agent needs it? Or: are these guest files good?"),
        "apply": (ACT, "show the plan, ask, and do exactly that"),
        "pause": (ACT, "leave guests alone, for a time or until resume"),
        "resume": (ACT, "end the pause of guests"),
        "freeze": (ACT, "change nothing on this host, for a time or until thaw"),
        "thaw": (ACT, "end a freeze"),
        "approve": (ACT, "let changes pass that the agent holds"),
        "reconcile": (ACT, "look at every guest now"),
        "request": (SIGN, "write what is to be signed, for one act on one guest"),
        "sign": (SIGN, "at your own machine: show a request, ask, and sign it"),
        "verify": (SIGN, "what each check finds of a signed job; nothing is done"),
        "submit": (SIGN, "hand a signed job to the agent, and follow it"),
        "jobs": (SIGN, "which signed jobs wait, and what came of the others"),
        "audit": (SIGN, "every decision on signed operations; `verify` checks the log"),
        "signers": (SIGN, "who may sign on this host; `init` makes the list"),
        "adopt": (SET_UP, "existing guests as guest files that change nothing"),
        "trust": (SET_UP, "after the node's certificate was renewed: trust the new one"),
        "init": (SET_UP, "a token, agent.toml, the guests that are there, the service"),
        "selftest": (SET_UP, "does it work on this host?"),
        "journal": (SET_UP, "check the journal, or cut out what is damaged"),
        "notify": (SET_UP, "send a message to whom [notify] of agent.toml names"),
        "hub": (SET_UP, "what is kept of the hub, and who has the last word"),
        "run": (SERVE, "keep the guests as declared; systemd runs this"),
        "demo": (TRY, "the agent at work on an embedded node"),
        "demohub": (TRY, "a hub with two agents on two embedded nodes"),
        "devnode": (TRY, "serve an embedded node"),
        "devhub": (TRY, "serve a hub"),
    }
)
"""Each command's group and summary, in the order of `--help`."""

PACKAGES: Final[Mapping[str, str]] = MappingProxyType({TRY: "felhom-agent-dev"})
"""The Debian package of a group of commands, where it is not felhom-agent itself."""


class NotInstalled(FelhomError):
    """A command that exists is not on this host; the text names the package that brings it."""

    def __init__(self, command: str, package: str) -> None:
        super().__init__(
            f"{command} is not installed; it is in the package {package} (apt install {package})"
        )
