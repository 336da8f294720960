"""Which host it is: a random number made at the agent's first start, and not the host's name.

A name is given twice sooner or later; and a signature that is good on one host must not be good on
its copy. So the number is kept with what tells the machine: systemd's machine id, and the hardware
addresses of its cards. Where the machine id is another, or none of the cards is there any more, the
state was copied to another machine: a new number is made, and whatever was signed for the old one
is refused here. A copy that has the same machine id and the same addresses is not told apart.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from felhom_agent.authz.challenge import random_id
from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.durable.file import read_or_empty, write_in_place
from felhom_agent.errors import FelhomError

HOST_ID: Final = "host-id"
_MACHINE_ID = Path("/etc/machine-id")
_CARDS = Path("/sys/class/net")
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Machine:
    """What tells a machine from its copy, each as a hash: its id (empty: none), and its cards."""

    id: str
    cards: frozenset[str] = frozenset()

    def is_other_than(self, before: Machine) -> bool:
        """Return whether it is not the machine that was there before."""
        if self.id and before.id and self.id != before.id:
            return True
        return bool(self.cards and before.cards) and not self.cards & before.cards


@dataclass(frozen=True)
class HostId:
    """The host's id; `renewed` tells that the machine is another one than the id was made on."""

    id: str
    renewed: bool = False


def this_machine(machine_id: Path = _MACHINE_ID, cards: Path = _CARDS) -> Machine:
    """Return the machine that this runs on."""
    try:
        found = machine_id.read_text("ascii", "replace").strip()[:64]
    except OSError:
        found = ""
    return Machine(_hashed(found) if found else "", frozenset(map(_hashed, _addresses(cards))))


def host_id(directory: Path, machine: Machine, disk: Disk = DISK) -> HostId:
    """Given the agent's state directory and the machine, return the host's id, made if absent.

    Raise FelhomError if it can be neither read nor written, or is not to be understood.
    """
    path = directory / HOST_ID
    try:
        data = read_or_empty(disk, path)
        if not data:
            return HostId(_written(disk, path, machine))
        known, before = _parse(path, data)
        if machine.is_other_than(before):
            return HostId(_written(disk, path, machine), renewed=True)
        return HostId(known)
    except OSError as error:
        raise FelhomError(f"{path}: cannot be used: {error.strerror or error}") from None


def _written(disk: Disk, path: Path, machine: Machine) -> str:
    made = random_id()
    text = json.dumps({"cards": sorted(machine.cards), "host": made, "machine": machine.id})
    write_in_place(disk, path, f"{text}\n".encode("ascii"))
    return made


def _parse(path: Path, data: bytes) -> tuple[str, Machine]:
    try:
        found = json.loads(data)
        known, machine, cards = found["host"], found["machine"], found["cards"]
        texts = isinstance(machine, str) and all(isinstance(card, str) for card in cards)
        if not texts or _ID.fullmatch(known) is None:
            raise ValueError
        return known, Machine(machine, frozenset(cards))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FelhomError(
            f"{path}: is not to be understood; remove it, and sign anew what was signed for it"
        ) from None


def _addresses(cards: Path) -> list[str]:
    """Return the addresses that the machine's own cards were made with."""
    found = []
    try:
        for card in sorted(cards.iterdir()):
            kind = card / "addr_assign_type"
            # Linux: NET_ADDR_PERM is 0; without a device it is a bridge, or a guest's.
            if (card / "device").exists() and kind.read_text("ascii").strip() == "0":
                found.append((card / "address").read_text("ascii").strip().lower())
    except (OSError, UnicodeDecodeError):
        pass
    return [address for address in found if address.strip("0:")]


def _hashed(text: str) -> str:
    return hashlib.sha256(f"felhom-agent host {text}".encode()).hexdigest()[:32]
