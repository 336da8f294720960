"""What PVE answers about guests, taken apart: pure functions from JSON to the model.

Whatever JSON can hold may come in any place. What makes no sense costs exactly its own part: a row
that tells no vmid is left out, any other row or configuration costs its guest, which is then
`unread` with the reason. Nothing here raises anything but `Odd`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from felhom_agent.model import ActualGuest, Facts, Kind, RunState
from felhom_agent.proxmox.hastatus import HaStatus
from felhom_agent.proxmox.qmp import hung, is_paused
from felhom_agent.proxmox.tokenrights import free_tags, registered_tags

Row = Mapping[str, Any]

_MIN_VMID, _MAX_VMID = 100, 999_999_999  # PVE: pve-common JSONSchema.pm pve-vmid
_MAX_INT = 2**63
_MAX_WORKERS = 64
_MAX_KEYS = 4000
_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS = tuple(Kind)
_STATES = {str(state): state for state in RunState} | {"paused": RunState.RUNNING}
_UNMANAGED_BY_HA = frozenset({"", "ignored"})
_CASE_SENSITIVE = re.compile(r"(?:^|,)case-sensitive=(?:1|on|yes|true)(?:,|$)")


class Odd(Exception):
    """What PVE answers makes no sense; the text says what, and repeats nothing of the answer."""


@dataclass
class Listing:
    """The guests of a listing: their rows by vmid, and what is odd about it.

    `unclear` has those of which it cannot be told what the listing says, each with the reason;
    `nameless` counts rows that tell no vmid.
    """

    rows: dict[int, Row] = field(default_factory=dict)
    unclear: dict[int, str] = field(default_factory=dict)
    nameless: int = 0

    def add(self, row: object) -> None:
        """Given a guest's row, take it in."""
        vmid = vmid_of(row.get("vmid")) if isinstance(row, Mapping) else None
        if vmid is None:
            self.nameless += 1
        elif vmid in self.rows:
            self.unclear[vmid] = "PVE lists it twice"
        else:
            self.rows[vmid] = row  # type: ignore[assignment]


@dataclass
class Resources:
    """The cluster's resources: its guests, the nodes that are offline, this node's cgroup mode, and
    its load of the processors as PVE gives it (None: it does not).
    """

    guests: Listing = field(default_factory=Listing)
    offline: set[str] = field(default_factory=set)
    cgroup: int = 2
    cpu: object = None
    odd_rows: int = 0

    def add(self, row: object, node: str) -> None:
        """Given a row and the name of this node, take it in, if it is of any interest."""
        kind = row.get("type") if isinstance(row, Mapping) else None
        if not isinstance(row, Mapping) or not isinstance(kind, str):
            self.odd_rows += 1
        elif kind in _KINDS:
            self.guests.add(row)
        elif kind == "node":
            self._add_node(row, node)

    def _add_node(self, row: Row, node: str) -> None:
        name = row.get("node")
        if not _is_text(name):
            self.odd_rows += 1
            return
        if row.get("status") == "offline":
            self.offline.add(str(name))
        if name == node:
            self.cpu = row.get("cpu")
        if name == node and "cgroup-mode" in row:
            mode = row["cgroup-mode"]
            if mode in (1, 2, "1", "2") and not isinstance(mode, bool | float):
                self.cgroup = int(mode)
            else:
                self.odd_rows += 1


def vmid_of(value: object) -> int | None:
    """Given what stands for a vmid, return it, or None if it is none; text of digits is one."""
    if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{2,8}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and _MIN_VMID <= value <= _MAX_VMID:
        return value
    return None


def guest_of(vmid: int, kind: Kind, node: str, row: Row, placed: Row) -> ActualGuest:
    """Given a guest's row of its node and of the cluster's resources, return the guest.

    What makes no sense leaves it `unread`.
    """
    try:
        return ActualGuest(
            vmid=vmid,
            kind=kind,
            node=node,
            state=_state(row.get("status")),
            name=_name(row.get("name")),
            lock=_text(row, "lock"),
            template=_flag(row, "template"),
            ha_state=_ha_state(row, placed),
            # Some listings say so themselves (recorded: calls-9.2/204-resources/058).
            paused=is_paused(_text(row, "qmpstatus")) or row.get("status") == "paused",
            hung=hung(_text(row, "qmpstatus")),
        )
    except Odd as odd:
        return ActualGuest(vmid, kind, node, None, unread=str(odd))


def under_ha(guest: ActualGuest, ha: HaStatus) -> ActualGuest:
    """Given a guest and what HA tells, return it as HA holds it: its own row does not tell while HA
    is disarmed.
    """
    state = ha.state_of(guest.kind, guest.vmid)
    state = "" if state in _UNMANAGED_BY_HA else state
    if not ha.disarmed or guest.unread or not (state or guest.ha_state):
        return guest
    return replace(guest, ha_state=state or guest.ha_state, ha_disarmed=ha.disarmed)


def hides_ha(guest: ActualGuest, status: Row, *, known: bool) -> bool:
    """Given a guest, its status, and whether HA was known to manage it, return whether only HA can
    tell: the status says that nobody manages it, or that it is frozen (recorded:
    calls-9.2/205-ha-armed/012, 043).
    """
    ha = status.get("ha")
    managed = isinstance(ha, Mapping) and ha.get("managed") in (1, "1")
    return guest.ha_state == "freeze" or (not managed and (known or bool(guest.ha_state)))


def tells_ha(status: Row) -> bool:
    """Given a guest's status, return whether it tells by itself how HA holds the guest.

    Until the cluster's resource manager has seen a guest, its state is null there, and only the
    resources have one (recorded: 140-ha-no-crm).
    """
    ha = status.get("ha")
    return ha is not None and not (
        isinstance(ha, Mapping) and ha.get("managed") in (1, "1") and ha.get("state") is None
    )


def place_of(row: Row) -> tuple[Kind, str]:
    """Given a guest's row of the resources, return its kind and node. Raise Odd if it has none."""
    node, kind = row.get("node"), row.get("type")
    if not _is_text(node) or not node or kind not in _KINDS:
        raise Odd("PVE does not tell its node")
    return Kind(kind), str(node)


def with_config(guest: ActualGuest, answer: object) -> ActualGuest:
    """Given a guest and what GET config answers, return it with that. Raise Odd."""
    return _with(guest, checked(answer), {})


def with_pending(guest: ActualGuest, answer: object) -> ActualGuest:
    """Given a guest and what GET pending answers, return it with that. Raise Odd.

    GET config would do for the configuration to be, but it shows a key that is to go if its value
    is false (PVE: pve-guest-common GuestHelpers.pm config_with_pending_array).
    """
    if not isinstance(answer, list):
        raise Odd("its pending changes are no list")
    config: dict[str, Any] = {}
    in_effect: dict[str, Any] = {}
    seen = set()
    for row in answer:
        key = row.get("key") if isinstance(row, Mapping) else None
        if not isinstance(row, Mapping) or not isinstance(key, str) or key in seen:
            raise Odd("its pending changes have a row without a key, or two with the same")
        seen.add(key)
        goes = _flag(row, "delete", also=(2, "2"))
        if goes or "pending" in row:
            in_effect[key] = row.get("value")
        if not goes:
            config[key] = row.get("pending", row.get("value"))
    checked({k: v for k, v in in_effect.items() if v is not None}, empty=True)
    return _with(guest, checked(config), in_effect)


def facts_of(version: object, options: object) -> Facts:
    """Given what GET /version and GET /cluster/options answer, return the facts. Raise Odd."""
    if not isinstance(version, Mapping) or not isinstance(options, Mapping):
        raise Odd("PVE's version or options are no object")
    release = version.get("version")
    if not isinstance(release, str):
        raise Odd("PVE's version is no text")
    numbers = re.findall(r"[0-9]+", release[:40])[:2]
    return Facts(
        tuple(int(n) for n in numbers),
        case_sensitive_tags=_case_sensitive(options.get("tag-style")),
        max_workers=_max_workers(options.get("max_workers")),
        registered_tags=registered_tags(options),
        free_tags=free_tags(options),
    )


def _max_workers(value: object) -> int:
    """Return how many guests may be started at once; PVE's own number where it makes no sense."""
    text = str(value)
    known = text.isascii() and text.isdecimal() and len(text) < 4 and int(text) > 0
    return min(int(text), _MAX_WORKERS) if known else Facts().max_workers


def _case_sensitive(style: object) -> bool:
    if isinstance(style, str):
        return _CASE_SENSITIVE.search(style) is not None
    if isinstance(style, Mapping):
        return str(style.get("case-sensitive", 0)) == "1"
    return False


def may_audit(permissions: Row, vmid: int) -> bool:
    """Given all permissions of a token, return whether it may surely see that guest.

    PVE lists each path that an ACL or a pool names, and the value of a privilege is whether it is
    handed down (pve-access-control RPCEnvironment.pm get_effective_permissions). A path on which
    nothing is left is not listed: where a guest is shut by a NoAccess of its own, only a question
    for that path tells.
    """
    own = permissions.get(f"/vms/{vmid}")
    if isinstance(own, Mapping):
        return "VM.Audit" in own
    return _hands_audit_down(permissions.get("/vms"))


def may_audit_any(permissions: Row) -> bool:
    """Given permissions, return whether they let any guest be seen, should there be one."""
    return any(
        isinstance(held, Mapping) and "VM.Audit" in held
        for path, held in permissions.items()
        if path.startswith(("/vms/", "/pool/"))
    ) or _hands_audit_down(permissions.get("/vms"))


def _hands_audit_down(held: object) -> bool:
    return isinstance(held, Mapping) and held.get("VM.Audit") in (1, "1")


def _with(guest: ActualGuest, config: dict[str, Any], pending: dict[str, Any]) -> ActualGuest:
    digest = config.get("digest")
    if not _is_text(digest) or not digest:
        raise Odd("its configuration has no digest")
    return replace(
        guest,
        config=config,
        pending=pending,
        digest=str(digest),
        lock=_text(config, "lock") or guest.lock,
        template=guest.template or _flag(config, "template"),
    )


def checked(config: object, *, empty: bool = False) -> dict[str, Any]:
    """Given a configuration, return it if each value is one that an option can have. Raise Odd."""
    if not isinstance(config, dict) or (not config and not empty) or len(config) > _MAX_KEYS:
        raise Odd("its configuration is no object, or has no key, or too many")
    for key, value in config.items():
        if not _is_text(key) or not (_is_value(value) or (key == "lxc" and _are_pairs(value))):
            raise Odd("its configuration has a value that no option can have")
    return config


def _are_pairs(value: object) -> bool:
    """Return whether it is what PVE makes of a container's `lxc.*` lines: pairs of key and text."""
    return (
        isinstance(value, list)
        and len(value) <= _MAX_KEYS
        and all(
            isinstance(pair, list) and len(pair) == 2 and all(_is_text(part) for part in pair)
            for pair in value
        )
    )


def _is_value(value: object) -> bool:
    if isinstance(value, int):
        return -_MAX_INT <= value < _MAX_INT
    if isinstance(value, float):
        return math.isfinite(value)
    return _is_text(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and (value.isascii() or not _SURROGATE.search(value))


def _text(row: Row, key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if not _is_text(value):
        raise Odd(f"its {key} is no text")
    return str(value)


def _flag(row: Row, key: str, also: tuple[object, ...] = ()) -> bool:
    value = row.get(key)
    if value is None:
        return False
    if value in (1, "1", *also):
        return True
    if value in (0, "0", ""):
        return False
    raise Odd(f"its {key} is neither yes nor no")


def _name(name: object) -> str:
    """Return a guest's name; it is only shown, and one that makes no sense costs nothing."""
    return str(name)[:255] if _is_text(name) else ""


def _state(status: object) -> RunState | None:
    return _STATES.get(status) if isinstance(status, str) else None


def _ha_state(row: Row, placed: Row) -> str:
    """Return how HA holds the guest: its state there, "managed" if only that is known, or ""."""
    ha = row.get("ha")
    if ha is not None and not isinstance(ha, Mapping):
        raise Odd("its ha is no object")
    state = _text(placed, "hastate") or (_text(ha, "state") if ha else "")
    if not state and ha and _flag(ha, "managed"):
        return "managed"
    return "" if state in _UNMANAGED_BY_HA else state
