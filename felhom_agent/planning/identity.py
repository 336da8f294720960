"""Which guest it is, when its vmid says only where it lives.

PVE hands a vmid out again once its guest is gone, and a declaration that names only the number
would then be carried out on another guest. So the agent remembers who was there when it first
managed a number, and leaves another guest under it alone until a person confirms.

A guest is known by its *witnesses*: a VM by its SMBIOS uuid (made new for each VM and clone, kept
by backup and restore) and by when it was made (`meta` ctime); a container by its root volume and
the MAC addresses of its cards. One alone is not enough for a container: PVE gives a container that
is created again the same volume name.

* All that can be compared agree: it is the same guest; all differ, or it is of the other kind: it
  is another one. Where nothing can be compared, the node's task list decides.
* Some agree and some differ (a person moved the root volume or replaced the card, or the container
  was created again), or the guest was seen gone in between: the node's task list decides. Was the
  guest created, restored or destroyed since it was last known, it is another one. Where the list
  cannot tell, a person must.
* For a container whose witnesses all agree the list is asked, too.
* A container whose root volume was moved (`pct move-volume`) is the same one: its cards tell, and
  the list agrees. One without cards has no witness but the volume, so the list alone decides.

The times that are compared are both PVE's own: the start of the latest such task now, and the one
that was the latest when the guest was remembered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from felhom_agent.model import EMPTY, ActualGuest, DesiredGuest, History, Kind, Known

_UUID = re.compile(r"(?:^|,)uuid=([0-9a-fA-F-]{36})(?:,|$)")
_CTIME = re.compile(r"(?:^|,)ctime=(\d+)(?:,|$)")
_MAC = re.compile(r"(?:^|[,=])((?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})(?:,|$)")
_CARD = re.compile(r"net\d+")
_WITNESSES = re.compile(r"smbios1|rootfs|meta|net\d+")

_NAMES = {
    "rootfs": "the root volume",
    "mac": "the MAC addresses",
    "uuid": "the SMBIOS uuid",
    "ctime": "when it was made",
}

_OF_KIND = {Kind.QEMU: ("uuid", "ctime"), Kind.LXC: ("rootfs", "mac")}
_KINDS = {Kind.QEMU: "a VM", Kind.LXC: "a container"}

Witnesses = Mapping[str, frozenset[str]]


def identity_of(guest: ActualGuest) -> str:
    """Given a guest, return what it is known by; empty if there is nothing to know it by."""
    return ";".join(
        f"{name}={','.join(sorted(values))}" for name, values in _witnesses(guest).items() if values
    )


def known_now(guest: ActualGuest, history: History) -> Known:
    """Given a guest and the task list, return as whom it is to be remembered."""
    return Known(identity_of(guest), history.born(guest.vmid))


def is_witness(key: str) -> bool:
    """Given an option's name, return whether a guest is known by it."""
    return _WITNESSES.fullmatch(key) is not None


def identity_mismatch(
    desired: DesiredGuest, guest: ActualGuest, known: Known, history: History
) -> str:
    """Given a guest, who was known under its vmid and what the task list says, return why it is
    not the guest that is meant; else empty.
    """
    present = _witnesses(guest)
    meant = desired.identity or known.identity
    if meant and guest.config is not None and _is_of_other_kind(_parse(meant), guest):
        return _other(guest, meant)
    if not any(present.values()):
        return ""
    if desired.identity:
        return _against_declared(desired.identity, guest, known, history)
    if not known.identity:
        return ""
    agree, differ = _compare(_parse(known.identity), present)
    tells = history.born(guest.vmid) is not None and known.born is not None
    moved = tells and _has_volume_alone(_parse(known.identity), present)
    if differ and not agree and not moved:
        return _other(guest, known.identity)
    if known.gone or not agree or differ:
        return _by_the_list(guest, known, history, must_tell=True)
    if guest.kind is Kind.LXC:
        return _by_the_list(guest, known, history, must_tell=False)
    return ""


def _is_of_other_kind(known: Witnesses, guest: ActualGuest) -> bool:
    """Return whether a guest of the other kind than the guest was known, wholly or in part."""
    return any(known.get(name) for name in _OF_KIND[_other_kind(guest)])


def _other_kind(guest: ActualGuest) -> Kind:
    return Kind.QEMU if guest.kind is Kind.LXC else Kind.LXC


def _against_declared(declared: str, guest: ActualGuest, known: Known, history: History) -> str:
    """As `identity_mismatch`, for a guest that a person has confirmed."""
    meant, present = _parse(declared), _witnesses(guest)
    agree, differ = _compare(meant, present)
    if agree and not differ:
        return ""
    # Its volume was moved since, if it is the one that was known here by the same cards.
    # A VM has no such witness.
    cards = meant.get("mac", frozenset())
    same_cards = cards & present.get("mac", frozenset())
    known_here = cards & _parse(known.identity).get("mac", frozenset())
    if same_cards and known_here and known.born is not None:
        return _by_the_list(guest, known, history, must_tell=True)
    return _other(guest, declared)


def _has_volume_alone(known: Witnesses, present: Witnesses) -> bool:
    """Return whether a container's root volume is all that can be compared."""
    return _in_both(known, present) == ["rootfs"]


def _by_the_list(guest: ActualGuest, known: Known, history: History, *, must_tell: bool) -> str:
    """Let the task list decide; `must_tell` makes a list that cannot tell a reason, too."""
    now = history.born(guest.vmid)
    if now is not None and known.born is not None:
        return _other(guest, known.identity, again=True) if now > known.born else ""
    if not must_tell:
        return ""
    seen = "it was gone for a while" if known.gone else f"{known.identity} was known"
    return (
        f"vmid {guest.vmid} may have been given to another guest ({seen}), and the node's task "
        f"list cannot tell{_differences(known.identity, guest)}; {_confirm(guest)}"
    )


def _other(guest: ActualGuest, known: str, *, again: bool = False) -> str:
    present = identity_of(guest)
    what = (
        "it was created, restored or destroyed since it was last known"
        if again
        else f"{known} is now {present}"
    )
    named = _differences(known, guest)
    return f"vmid {guest.vmid} was given to another guest ({what}){named}; {_confirm(guest)}"


def _differences(known: str, guest: ActualGuest) -> str:
    """Return which witnesses differ, as the end of a sentence; empty if none does."""
    before, present = _parse(known), _witnesses(guest)
    if _is_of_other_kind(before, guest):
        kinds = f"it was {_KINDS[_other_kind(guest)]} and is {_KINDS[guest.kind]}"
        differing = [f"the kind ({kinds})", *(_NAMES[name] for name in present if present[name])]
    else:
        differing = [
            _NAMES[name] for name in _in_both(before, present) if not before[name] & present[name]
        ]
    return f"; what differs: {', '.join(differing)}" if differing else ""


def _confirm(guest: ActualGuest) -> str:
    if not identity_of(guest):
        return "nothing tells it from another one; give it an SMBIOS uuid (qm set --smbios1)"
    return (
        f"if this is the one you mean, confirm with "
        f'identity = "{identity_of(guest)}" in its declaration'
    )


def _witnesses(guest: ActualGuest) -> Witnesses:
    config = guest.config or EMPTY
    if guest.kind is Kind.LXC:
        volume = str(config.get("rootfs", "")).partition(",")[0].removeprefix("volume=")
        cards = [str(config[key]) for key in config if _CARD.fullmatch(key)]
        macs = {mac.lower() for card in cards for mac in _MAC.findall(card)}
        return {"rootfs": frozenset({volume} - {""}), "mac": frozenset(macs)}
    uuid = _UUID.findall(str(config.get("smbios1", "")))
    ctime = _CTIME.findall(str(config.get("meta", "")))
    return {"uuid": frozenset(u.lower() for u in uuid), "ctime": frozenset(ctime)}


def _parse(text: str) -> Witnesses:
    """Given witnesses as text, in any case, return them; what is none does not count."""
    found: dict[str, frozenset[str]] = {}
    for part in text.split(";"):
        name, _, values = part.strip().partition("=")
        known = frozenset(value.strip() for value in values.split(",") if value.strip())
        name = name.strip().lower()
        # A volume's name has its case; the others are hex digits.
        found[name] = known if name == "rootfs" else frozenset(v.lower() for v in known)
    return found


def _compare(known: Witnesses, present: Witnesses) -> tuple[bool, bool]:
    """Return whether a witness agrees, and whether one differs; one that is absent does neither."""
    agrees = [bool(known[name] & present[name]) for name in _in_both(known, present)]
    return any(agrees), not all(agrees)


def _in_both(known: Witnesses, present: Witnesses) -> list[str]:
    return [name for name in known if known[name] and present.get(name)]
