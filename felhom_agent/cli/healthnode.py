"""Findings on the node: the connection, the token, TLS, PVE's version, its clock, its guests."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from email.utils import parsedate_to_datetime
from typing import Final

from felhom_agent.cli import healthsigners
from felhom_agent.cli.health import Finding, bad, good, note, of_error, probed
from felhom_agent.cli.privileges import of_privileges
from felhom_agent.config.settings import Config
from felhom_agent.errors import ConfigError, Denied, PveError
from felhom_agent.model import Actual, Desired, Facts
from felhom_agent.planning.granting import ROLE, acl_lines, role_line
from felhom_agent.planning.privileges import AUDIT, Required, lacking, told
from felhom_agent.printable import local_text, printable
from felhom_agent.proxmox import rows
from felhom_agent.proxmox.certificate import Certificate, shown
from felhom_agent.proxmox.node import Node
from felhom_agent.proxmox.tokenrights import read_rights

OLDEST: Final = (8, 0)
NEWEST: Final = (9, 2)
"""The versions of PVE whose answers were recorded, and are tested against."""
RECORDED: Final = "9.2.11"
WARN_DAYS: Final = 30
"""For how many days a certificate's end is told before it comes."""
MAX_OFF: Final = 5.0
"""Seconds by which two clocks may differ: as much as the agent allows for where it looks for its
own tasks after a crash (reconcile/recovery.py)."""

_DAY: Final = 86400.0
_MAX_NAMES: Final = 10
_VERSION: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")


def of_node(config: Config, desired: Callable[[], Desired | None]) -> Iterator[Finding]:
    """Given the configuration and what is desired (None: that is not known), yield how the node is.
    What needs an answer of the node is left out where it gives none: that is one fault.
    """
    try:
        node = Node.connect(config.proxmox)
    except ConfigError as error:
        yield from of_error(error)
        return
    with closing(node.client):
        answers = True
        for finding in probed("the node", lambda: of_connection(config, node)):
            answers = answers and finding.good
            yield finding
        yield from probed("TLS", lambda: of_tls(config) if answers else ())
        if answers:
            yield from probed("the clock", lambda: of_clock(node, config.proxmox.node))
            yield from probed("the guests", lambda: of_guests(config, node, desired()))


def of_connection(config: Config, node: Node) -> Iterator[Finding]:
    """Given a configuration, yield how the token, the connection, PVE and the node are."""
    pve = config.proxmox
    yield good(f"the token's secret is in {printable(str(pve.token_file), 300)}")
    answer = node.client.get("version")
    version = answer.get("version") if isinstance(answer, dict) else None
    text = printable(version, 40) if isinstance(version, str) else ""
    yield good(f"{pve.endpoint} answers and takes the token (PVE {text or 'of unknown version'})")
    yield from of_version(text)
    listed = node.client.get("nodes")
    names = [str(row.get("node")) for row in listed or [] if isinstance(row, dict)]
    if pve.node in names:
        yield good(f"node {pve.node} is known")
    else:
        has = printable(", ".join(names[:_MAX_NAMES]), 200)
        yield bad(f'the cluster has no node "{pve.node}" (it has: {has}); set node in [proxmox] of'
                  " agent.toml")  # fmt: skip


def of_version(text: str) -> Iterator[Finding]:
    """Given PVE's version, yield what is to be said of it; nothing if it is known to work."""
    found = _VERSION.match(text)
    if found is None:
        return
    version = int(found[1]), int(found[2])
    known = f"known to work are {OLDEST[0]}.x and {NEWEST[0]}.x up to {RECORDED}"
    if version < OLDEST:
        yield bad(f"PVE {text} is too old: {known}; upgrade the node")
    elif version > NEWEST:
        yield note(
            f"PVE {text} is newer than what this version was tried with: {known}; what it does not"
            " know it leaves alone, and a newer felhom-agent may know it"
        )


def of_tls(config: Config) -> Iterator[Finding]:
    """Given a configuration, yield by what the node is trusted, and when its certificate ends."""
    pve = config.proxmox
    if pve.insecure:
        yield note(
            "TLS: insecure = true: whoever answers in the node's place gets the token; remove it"
            " from agent.toml and trust the node's certificate:",
            "felhom-agent trust",
        )
        return
    by = "its fingerprint" if pve.fingerprint else f"the CA in {printable(str(pve.ca_file), 200)}"
    yield from of_certificate(shown(pve), by, time.time(), renewal_is_told=bool(pve.fingerprint))


def of_certificate(
    found: Certificate, by: str, now: float, *, renewal_is_told: bool
) -> Iterator[Finding]:
    """Given a certificate, by what it is trusted and the present time, yield when it ends;
    `renewal_is_told`: the new one must be trusted by hand.
    """
    if found.ends is None:
        yield good(f"TLS: the node is trusted by {by}")
        return
    days = int((found.ends - now) // _DAY)
    when = f"ends on {local_text(found.ends)[:10]}"
    if days >= WARN_DAYS:
        yield good(f"TLS: the node is trusted by {by}; its certificate {when}")
        return
    in_days = f"in {days} days" if days >= 0 else "which is past"
    remedy = ["pvecm updatecerts --force    # or, of ACME: pvenode acme cert renew"]
    if renewal_is_told:
        remedy.append("felhom-agent trust")
    yield note(f"TLS: the node's certificate {when}, {in_days}; PVE renews its own, and ACME's,"
               " by itself before that; by hand, on the node:", *remedy)  # fmt: skip


def of_clock(node: Node, name: str) -> Iterator[Finding]:
    """Given the node, yield whether its clock and this host's agree."""
    before = time.time()
    date = node.client.date()
    after = time.time()
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        yield note(f"node {name} does not tell what its clock says")
        return
    # An answer's date is of whole seconds, cut off; it was made somewhere in between.
    ahead = theirs - after if theirs > after else min(0.0, theirs + 1.0 - before)
    if abs(ahead) <= MAX_OFF:
        yield good("the node's clock agrees with this host's")
        return
    way = "ahead of" if ahead > 0 else "behind"
    yield bad(
        f"the clock of node {name} is {abs(ahead):,.0f} s {way} this host's; the agent finds its"
        " own tasks by their time; set the wrong one right:",
        "timedatectl",
        "chronyc makestep",
    )


def of_guests(config: Config, node: Node, desired: Desired | None) -> Iterator[Finding]:
    """Given the node and what is desired (None: that is not known), yield whether the node's guests
    and tasks can be seen, and whether the token may do what is declared.
    """
    wanted = desired or Desired()
    actual = _seen(node, wanted)
    if actual is None:
        yield _sees_nothing(node, config.proxmox.node)
        return
    yield good(f"the node can be observed: {len(actual.guests)} guests are seen")
    try:
        node.client.get("nodes", config.proxmox.node, "tasks", limit=1)
    except PveError as error:
        yield bad(f"tasks cannot be read: {error}")
    if desired is not None:
        yield from of_privileges(config, node, desired, actual)
    yield from healthsigners.of_acts(config, node.client.token_id, actual)


def _seen(node: Node, wanted: Desired) -> Actual | None:
    """Return what is there; None if the token may see no guest at all."""
    try:
        actual = node.observer.snapshot(wanted.guests.keys(), wanted.raw)
    except Denied as error:
        if error.privilege != AUDIT:
            raise
        return None
    if actual.guests or actual.elsewhere:
        return actual
    held = node.client.get("access", "permissions")
    return actual if not isinstance(held, Mapping) or rows.may_audit_any(held) else None


def _sees_nothing(node: Node, name: str) -> Finding:
    """Return that the token may see no guest at all, with the lines that let it."""
    facts = Facts(rights=read_rights(node.client))
    look = Required(f"/nodes/{name}", ("Sys.Audit",))
    needs = (Required("/vms", (AUDIT,)), *lacking((look,), facts))
    privileges = ",".join(need.any_of[0] for need in needs)
    role = f"pveum role add {ROLE} --privs {privileges} || {role_line(ROLE, privileges)}"
    token_id = node.client.token_id
    lines = (line for need in needs for line in acl_lines(need.path, ROLE, token_id))
    text = "the token may see no guest at all, so that there seems to be none"
    return bad(f"{text}: {told(needs)}; as root:", role, *lines)
