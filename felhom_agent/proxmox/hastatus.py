"""What GET /cluster/ha/status/current tells: quorum, and whether HA is armed.

It tells the quorum at once; GET /cluster/status may say otherwise for long (recorded:
calls-9.2/201-quorum/033, 054). From HA 5.2 on a person may disarm HA. What PVE tells of a guest
then says little (recorded: calls-9.2/205-ha-armed):

* resource mode `freeze`: a start or stop of a managed guest answers as ever, its task ends well,
  and nothing happens;
* resource mode `ignore`: a managed guest's own status says that nobody manages it, while the
  cluster's resources still have its state. Once HA is armed again, it takes the guest over.

Only this call tells both. Whatever JSON can hold may come; what makes no sense tells nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from felhom_agent.model import Kind

# Disarming takes HA some cycles, in which it holds some guests already and others not yet.
_DISARMED = frozenset({"disarming", "disarmed"})
_MODES = frozenset({"freeze", "ignore"})
_QUORATE = {"1": True, "0": False}
_SID = {Kind.QEMU: "vm", Kind.LXC: "ct"}


@dataclass(frozen=True)
class HaStatus:
    """`quorate` is None where it was not told; `disarmed` is the resource mode while HA is not
    armed ("unknown" if PVE names none), else empty; `services` has the states by service id.
    """

    quorate: bool | None = None
    disarmed: str = ""
    services: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def state_of(self, kind: Kind, vmid: int) -> str:
        """Return the state in which HA has a guest; empty if it does not manage it."""
        return self.services.get(f"{_SID[kind]}:{vmid}", "")


def ha_status_of(answer: object) -> HaStatus:
    """Given what PVE answers, return what it tells."""
    quorate: bool | None = None
    disarmed = ""
    services: dict[str, str] = {}
    for row in answer if isinstance(answer, list) else []:
        if not isinstance(row, Mapping):
            continue
        match row.get("type"):
            case "quorum":
                quorate = _QUORATE.get(str(row.get("quorate")), quorate)
            case "fencing" if row.get("armed-state") in _DISARMED:
                mode = row.get("resource_mode")
                disarmed = mode if isinstance(mode, str) and mode in _MODES else "unknown"
            case "service":
                sid, state = row.get("sid"), row.get("state")
                if isinstance(sid, str) and isinstance(state, str):
                    services[sid] = state
    return HaStatus(quorate, disarmed, MappingProxyType(services))
