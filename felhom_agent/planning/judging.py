"""Judging one changed key of a guest that runs: in effect now, or after a restart.

Each function here is what PVE decides about keys of one sort, in words of our own; `effects` says
which keys each is for, and where PVE decides it. All is judged by what is in effect, not by what is
written and waits itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from felhom_agent.model import Facts, Kind
from felhom_agent.planning.plugging import (
    boot_disks,
    changed_parts,
    cpus_in_effect,
    features,
    mebibytes,
    parts_of,
    takes_usb,
    whole,
)


class Effect(StrEnum):
    """When a written change is in effect."""

    NOW = "now"
    RESTART = "restart"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Judgement:
    """An effect, and why, in words for an operator; a change that is simply made has none."""

    effect: Effect
    why: str = ""


NOW = Judgement(Effect.NOW)


@dataclass(frozen=True)
class Case:
    """A key of a running guest, what it holds now (`before`) and shall hold (`after`)."""

    kind: Kind
    key: str
    before: str | None
    after: str | None
    present: Mapping[str, str]
    facts: Facts

    @property
    def running(self) -> str:
        return f"of a running {self.kind.noun}"

    @property
    def plugs(self) -> frozenset[str]:
        return features(self.present.get("hotplug"))


def restart(why: str) -> Judgement:
    return Judgement(Effect.RESTART, why)


def _needs(feature: str) -> Judgement:
    return restart(f'"{feature}" is not in hotplug')


def _unsure(why: str) -> Judgement:
    return Judgement(Effect.UNSURE, f"at once if the guest lets go of {why}, else after a restart")


def cloudinit(case: Case) -> Judgement:
    if "cloudinit" in case.plugs:
        return NOW
    return Judgement(Effect.NOW, "its cloud-init drive has it from the next start")


def hotplug(case: Case) -> Judgement:
    texts = (case.before or "", case.after or "")
    if any(word in text for text in texts for word in ("cpu", "memory")):
        return restart('"cpu" and "memory" are put in hotplug, or taken out of it, at a start')
    return NOW


def tablet(case: Case) -> Judgement:
    return NOW if "usb" in case.plugs else _needs("usb")


def usb(case: Case) -> Judgement:
    if "usb" not in case.plugs:
        return _needs("usb")
    if not takes_usb(case.present):
        return restart("USB is plugged with ostype l26 or win8 and later, and machine from 7.1")
    return NOW


def vcpus(case: Case) -> Judgement:
    if "cpu" not in case.plugs:
        return _needs("cpu")
    most = cpus_in_effect(case.present)
    wanted = whole(case.after, most)
    if wanted > most:
        return restart(f"only {most} processors (sockets x cores) are in effect")
    if wanted < whole(case.before, most):
        return _unsure("a processor")
    return NOW


def balloon(case: Case) -> Judgement:
    # Absence is a balloon, too: all of the memory.
    was, becomes = case.before != "0", case.after != "0"
    if was != becomes:
        return restart(f"the balloon device {case.running} is neither added nor removed")
    return NOW


def memory(case: Case) -> Judgement:
    if "memory" not in case.plugs:
        return _needs("memory")
    was, becomes = mebibytes(case.before), mebibytes(case.after)
    least = 1024 * (whole(case.present.get("sockets"), 1) if _huge(case) else 1)
    if becomes != was and becomes < least:
        return restart(f"a running VM keeps at least {least} MiB")
    return _unsure("the memory") if becomes < was else NOW


def _huge(case: Case) -> bool:
    return case.present.get("hugepages") == "1024"


def agent(case: Case) -> Judgement:
    if not case.before or case.before == "0" or case.after is None:
        return restart("the agent's device is added or removed at a start")
    changed = changed_parts(case.kind, case.key, case.before, case.after)
    held = changed - {"fstrim_cloned_disks"}
    return restart(f"{_named(held)} {_verb(held)} at a start") if held else NOW


_CARD_HELD = ("model", "macaddr", "queues", "mtu")


def card(case: Case) -> Judgement:
    changed = changed_parts(case.kind, case.key, case.before, case.after)
    # A card that comes or goes has no bridge on one side.
    bridges = (parts_of(case.kind, case.key, v).get("bridge") for v in (case.before, case.after))
    if all(bridges) and not changed & frozenset(_CARD_HELD):
        return NOW
    if "network" not in case.plugs:
        return _needs("network")
    return NOW if case.before is None else _unsure("the network card")


_DRIVE_HELD = (
    "aio", "cache", "discard", "iothread", "product", "queues", "ro", "ssd", "vendor",
)  # fmt: skip
_UNPLUGGABLE = re.compile(r"(?:ide|sata|efidisk|tpmstate)\d+")


def drive(case: Case) -> Judgement:
    old, new = (parts_of(case.kind, case.key, v) for v in (case.before, case.after))
    if case.before is None or case.after is None:
        return _come_or_go(case)
    if old.get("media", "disk") != new.get("media", "disk"):
        return restart(f"PVE makes no CD drive of a disk {case.running}, nor a disk of it")
    if old.get("media") == "cdrom":
        return NOW
    if old.get("file") != new.get("file"):
        return _come_or_go(case)
    changed = changed_parts(case.kind, case.key, case.before, case.after)
    held = changed & frozenset(_DRIVE_HELD)
    return restart(f"{_named(held)} {_verb(held)} when the disk is attached") if held else NOW


def _come_or_go(case: Case) -> Judgement:
    """Judge a drive that is attached, detached, or replaced by another one."""
    if "disk" not in case.plugs:
        return _needs("disk")
    if _UNPLUGGABLE.fullmatch(case.key):
        return restart(f"PVE does not plug {case.key} {case.running}")
    if case.before is None:
        return NOW
    if case.key in boot_disks(case.present):
        return restart(f"PVE does not unplug a boot disk {case.running}")
    return _unsure("the disk")


def fixed_drive(case: Case) -> Judgement:
    return restart(f"PVE does not change {case.key} {case.running}")


def unused(case: Case) -> Judgement:
    return NOW if case.after is None else fixed_drive(case)


def container_card(case: Case) -> Judgement:
    # PVE: the pattern of a card that goes has one digit.
    if case.after is None and not re.fullmatch(r"net\d", case.key):
        return restart(f"PVE removes only net0 to net9 {case.running}")
    return NOW


def added_only(case: Case) -> Judgement:
    if case.before is None:
        return NOW
    return restart(f"PVE adds it to a running {case.kind.noun}, and changes or removes none")


def device(case: Case) -> Judgement:
    version = case.facts.version
    if version and version < (9,):
        return restart(f"PVE does not change it {case.running}")
    return added_only(case)


def _named(parts: frozenset[str]) -> str:
    return ", ".join(sorted(parts))


def _verb(parts: frozenset[str]) -> str:
    return "is set" if len(parts) == 1 else "are set"
