"""Findings on the notifications: can the receiver be reached, also by the service, and does
somebody start the commands? Nobody is told anything; `felhom-agent notify test` does that.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from felhom_agent.cli import programs
from felhom_agent.cli.health import Finding, bad, good, note
from felhom_agent.cli.serviceuser import SECONDS, Service
from felhom_agent.config.secret import read_notify_token
from felhom_agent.config.settings import Config, NotifyConfig
from felhom_agent.errors import FelhomError
from felhom_agent.notify.webhook import Undelivered, Webhook
from felhom_agent.notifyhelper import commands, why_not
from felhom_agent.printable import printable

PATH_UNIT: Final = "felhom-agent-notify.path"
CONFIGURATION: Final = Path("/etc/felhom-agent")
"""Where the commands are (`felhom_agent/notifyhelper.py`)."""
USER: Final = "felhom-notify"
"""Who starts them."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def of_notify(config: Config, service: Service) -> Iterator[Finding]:
    """Given the configuration and the unit, yield how the notifications are, if there are any."""
    if config.notify.url:
        yield from _of_receiver(config.notify, service)
    if config.notify.command:
        yield from _of_commands(config.notify, service)
    if config.notify.is_on and not config.notify.events:
        yield note("nobody is notified of anything: [notify] events in agent.toml is empty")


def _of_receiver(notify: NotifyConfig, service: Service) -> Iterator[Finding]:
    where = printable(notify.url, 200)
    webhook = Webhook(notify, read_notify_token(notify))
    try:
        webhook.reach()
        yield good(f"notifications go to {where} ({notify.preset}), which can be reached")
    except Undelivered as error:
        yield bad(f"notifications go to {where}: {error}; see [notify] in agent.toml")
    finally:
        webhook.close()
    host = urlsplit(notify.url).hostname or ""
    if closed := closed_to(_addresses(host), service.unit):
        yield bad(
            f"the unit keeps the service from {closed}, where {printable(host, 100)} is; allow it,"
            " and the name server, in a drop-in ([Service] IPAddressAllow=...), then restart it:",
            "systemctl edit felhom-agent",
            "systemctl restart felhom-agent",
        )


def closed_to(addresses: frozenset[_Address], unit: Mapping[str, str]) -> str:
    """Given a receiver's addresses, and a unit's properties, return the addresses if the service
    can reach none of them; else nothing.
    """
    allowed = _networks(unit.get("IPAddressAllow", ""))
    denied = _networks(unit.get("IPAddressDeny", ""))
    # systemd.resource-control(5): what is on both lists is allowed, what is on none as well.
    for address in addresses:
        if _is_in(address, allowed) or not _is_in(address, denied):
            return ""
    return ", ".join(sorted(map(str, addresses))[:4])


def _networks(words: str) -> list[_Network]:
    """Given what `systemctl show` tells of a list, return its networks."""
    found: list[_Network] = []
    for word in words.split():
        with suppress(ValueError):
            found.append(ipaddress.ip_network(word, strict=False))
    return found


def _is_in(address: _Address, networks: Iterable[_Network]) -> bool:
    return any(address in network for network in networks)


def _addresses(host: str) -> frozenset[_Address]:
    """Return what a name stands for; nothing if it cannot be resolved, which is told elsewhere."""
    found: set[_Address] = set()
    with suppress(OSError, UnicodeError, ValueError):
        for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
            found.add(ipaddress.ip_address(str(address[0]).partition("%")[0]))
    return frozenset(found)


def _of_commands(notify: NotifyConfig, service: Service) -> Iterator[Finding]:
    if not notify.spool.is_dir():
        yield bad(
            f"{notify.spool} is not there, so no command is started:",
            "systemd-tmpfiles --create felhom-agent.conf",
            "systemctl restart felhom-agent",
        )
        return
    if service.unit and (state := _state_of(PATH_UNIT)) != "active":
        yield bad(
            f"[notify] command is set, and {PATH_UNIT} is {state}: no command is started:",
            f"systemctl enable --now {PATH_UNIT}",
        )
        return
    try:
        found = list(commands(CONFIGURATION))
    except OSError as error:
        yield bad(f"{CONFIGURATION}: its commands cannot be listed: {error.strerror or error}")
        return
    user, groups = _who_starts()
    faults = [(path, why) for path, status in found if (why := why_not(status, user, groups))]
    for path, why in faults:
        yield bad(f"{printable(str(path), 200)} gets no notification: {why}")
    count = len(found) - len(faults)
    if count:
        yield good(f"notifications are handed to {count} command{'' if count == 1 else 's'}")
    elif not faults:
        yield note(
            f"[notify] command is set, and {CONFIGURATION}/notify.d has no command that can be run"
        )


def _who_starts() -> tuple[int, frozenset[int]]:
    """Return the user and the groups that commands are started by; our own where the unit is not
    installed.
    """
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        return os.geteuid(), frozenset({os.getegid(), *os.getgroups()})
    return user.pw_uid, frozenset(os.getgrouplist(USER, user.pw_gid))


def _state_of(unit: str) -> str:
    """Return how a unit is, as systemd tells; "not known" if it does not."""
    words = ["systemctl", "is-active", unit]
    try:
        done = programs.run(words, SECONDS)
    except FelhomError:
        return "not known"
    return printable(done.stdout.strip(), 40) or "not known"
