"""The part of the demo that cannot be undone: a destroy that is held, signed, and done once.

A guest of the node's is to go. As long as no key may sign, the signed job is refused; then root
lets a throw-away key sign, a copy of the job that names another guest is refused, and the job as it
was signed is done. All of it by the real commands, against the demo's running agent. What is shown
in the end is asked of the node.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from felhom_agent.authz.sshkeygen import SSH_KEYGEN
from felhom_agent.cli.codes import ERROR, OK
from felhom_agent.cli.demostage import command, title
from felhom_agent.cli.out import say
from felhom_agent.config.settings import Config
from felhom_agent.errors import FelhomError
from felhom_agent.planning.signedneeds import SIGNED_NEEDS
from felhom_agent.proxmox.client import Client

if TYPE_CHECKING:
    from felhom_agent.devnode import DevNode

SETTINGS: Final = '\n[authz]\nsigners = "signers"\nkept = "kept"\nspool = ""\n'
"""Of agent.toml: the lists are beside it, and nothing is taken from this machine's spool."""
VMID: Final = 104
_OTHER: Final = 101
_NAME: Final = "old-shop"
_MACHINE: Final[dict[str, object]] = {
    "name": _NAME,
    "memory": 1024,
    "cores": 1,
    "scsi0": f"local-lvm:vm-{VMID}-disk-0,size=16G",
    "smbios1": "uuid=3d1f6a52-7f0e-4c1b-9f5e-2b8c41d7a904",
    "meta": "creation-qemu=9.0.2,ctime=1700000000",
}

Guests = dict[int, dict[str, Any]]
"""What a node has of each guest: its configuration and its run state."""


@dataclass(frozen=True)
class _Stage:
    """What the part is played on."""

    config: Config
    client: Client

    def typed(self, expected: int, *words: str | Path) -> None:
        """Run a command, which must end with this exit code. Raise FelhomError if it does not."""
        command(self.config, *words, codes=(expected,), within=self.config.path.parent)

    def file(self, name: str) -> Path:
        """Return the path of a file of the demo's."""
        return self.config.path.parent / name

    def guests(self) -> Guests:
        """Return what the node has of each guest: its configuration, and whether it runs."""
        base = ("nodes", self.client.config.node)
        return {
            int(row["vmid"]): {
                **self.client.get(*base, kind, int(row["vmid"]), "config"),
                "status": row["status"],
            }
            for kind in ("qemu", "lxc")
            for row in self.client.get(*base, kind)
        }


def show(node: DevNode, config: Config, client: Client, keygen: Path = SSH_KEYGEN) -> bool:
    """Given the demo's node, and the configuration of the agent that runs on it, show the part;
    return whether the node itself has lost that guest and nothing else. Where there is no
    ssh-keygen, say so, and return True. Raise FelhomError if a command does not end as it must.
    """
    if not os.access(keygen, os.X_OK):
        title(f"What only a signature does is left out: {keygen} is missing (openssh-client)")
        return True
    _prepare(node)
    stage = _Stage(config, client)
    before = stage.guests()
    title(f"{VMID} {_NAME} is to go. That cannot be undone, and no key may sign here: it is held")
    _sign(stage)
    stage.typed(ERROR, "submit", stage.file("old.job"), stage.file("old.job.sig"))
    title(f"Root lets the key sign. A copy of the job that says {_OTHER} is refused all the same:")
    stage.typed(OK, "signers", "init", "--key", stage.file("key.pub"))
    _forge(stage)
    stage.typed(ERROR, "submit", stage.file("forged.job"), stage.file("old.job.sig"))
    held = stage.guests() == before
    title("As it was signed it is done, once:")
    stage.typed(OK, "submit", stage.file("old.job"), stage.file("old.job.sig"))
    stage.typed(OK, "jobs")
    stage.typed(OK, "audit")
    return judged(before, stage.guests(), held=held)


def _prepare(node: DevNode) -> None:
    """Let the node have the guest, and the token the privilege to destroy it and no other."""
    from felhom_agent.devnode.demo.world import TOKEN
    from felhom_agent.devnode.world.access import AGENT_PRIVILEGES, FIRST_PRIVILEGES

    node.world.add("qemu", VMID, _MACHINE)
    given = (*AGENT_PRIVILEGES, *SIGNED_NEEDS["guest_destroy"])
    node.world.grant(TOKEN, {**FIRST_PRIVILEGES, f"/vms/{VMID}": given})


def _sign(stage: _Stage) -> None:
    """Make a key, a request, and of both a signed job."""
    words = ["-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f"]
    say("  $ ssh-keygen -q -t ed25519 -N '' -C demo -f key")
    made = subprocess.run(  # words of ours
        [str(SSH_KEYGEN), *words, str(stage.file("key"))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise FelhomError(f"ssh-keygen makes no key: {made.stderr.strip()}")
    stage.typed(OK, "request", "destroy", str(VMID), "-o", stage.file("old.request"))
    stage.typed(OK, "sign", stage.file("old.request"), "--key", stage.file("key"), "--yes")


def _forge(stage: _Stage) -> None:
    """Write the job as it would be if another guest were to go."""
    signed = stage.file("old.job").read_bytes()
    forged = signed.replace(f'"vmid":{VMID}'.encode(), f'"vmid":{_OTHER}'.encode())
    stage.file("forged.job").write_bytes(forged)


def judged(before: Guests, after: Guests, *, held: bool) -> bool:
    """Given what the node had of each guest, what it has now, and whether all was as before until
    the job was good, say what the node answers; return whether it is what was signed, and no more.
    """
    title("What the node answers now:")
    gone = VMID in before and VMID not in after
    others = {vmid: seen for vmid, seen in before.items() if vmid != VMID}
    touched = sorted(vmid for vmid in others if after.get(vmid) != others[vmid])
    same = not touched and after.keys() == others.keys()
    if not held:
        say("  something was done before it was signed")
    say(f"  {VMID} {_NAME} is {'gone' if gone else 'still there'}")
    say(f"  the other {len(others)} are as they were" if same else f"  also changed: {touched}")
    return held and gone and same
