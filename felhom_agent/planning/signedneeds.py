"""Which privileges a signed act needs, and the commands with which root lets the token do it.

The default role has none that lets a guest be lost. A host opts in, act by act and guest by guest:
each act has a role of its own, given on the guest's own path. Whoever holds the token may then do
that act to that guest without any signature, so none of it is ever granted for all guests here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from felhom_agent.planning.granting import ROLE, acl_lines, role_line
from felhom_agent.planning.privileges import POWER, Required

SIGNED_NEEDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        # PVE: qemu-server API2/Qemu.pm and pve-container API2/LXC.pm destroy_vm: nothing is asked
        # of the storages (recorded: 12.3)
        "guest_destroy": ("VM.Allocate",),
        # PVE: API2/Qemu.pm and API2/LXC/Snapshot.pm rollback: any of both; the lesser first
        "snapshot_rollback": ("VM.Snapshot.Rollback", "VM.Snapshot"),
        "snapshot_delete": ("VM.Snapshot",),
        "force_stop": (POWER,),
        "disk_detach": ("VM.Config.Disk",),
    }
)
"""For each class of acts the privileges on the guest of which any one does."""
_ROLES: Final = {
    "guest_destroy": "FelhomAgentDestroy",
    "snapshot_rollback": "FelhomAgentRollback",
    "snapshot_delete": "FelhomAgentSnapshots",
}


def signed_need(act: str, vmid: int) -> Required:
    """Given a class of signed acts and a guest, return what PVE wants for it."""
    return Required(f"/vms/{vmid}", SIGNED_NEEDS[act])


def opt_in(act: str, guest: str, token_id: str) -> tuple[str, ...]:
    """Given a class of signed acts, a guest's number (or a word in its place) and the token's id,
    return the commands that let the token do it there, for root.
    """
    role = _ROLES.get(act, ROLE)
    # An entry on a guest's own path replaces what the guest has from above.
    held = ",".join(dict.fromkeys((ROLE, role)))
    given = acl_lines(f"/vms/{guest}", held, token_id)
    return (role_line(role, SIGNED_NEEDS[act][0]), *given)
