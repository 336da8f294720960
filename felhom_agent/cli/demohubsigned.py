"""The part of the hub's demo that cannot be undone: asked for, signed and carried through a hub.

An operator asks on the hub's page for a destroy; the agent composes what is to be signed; it is
signed at a desk with a throw-away key, and the hub carries the job. A copy that a hostile hub has
made of it, for another guest, is delivered first and refused. What is shown in the end is asked of
the node. Where there is no ssh-keygen, one line says so.
"""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import requests

from felhom_agent.authz.sshkeygen import SSH_KEYGEN
from felhom_agent.cli.codes import OK
from felhom_agent.cli.demostage import command, title
from felhom_agent.cli.out import say
from felhom_agent.config.agentfile import load
from felhom_agent.errors import FelhomError
from felhom_agent.planning.signedneeds import SIGNED_NEEDS

if TYPE_CHECKING:
    from felhom_agent.devhub import DevHub
    from felhom_agent.devnode import DevNode

SETTINGS: Final = '\n[authz]\nsigners = "signers"\nkept = "kept"\nspool = ""\n'
"""Of agent.toml: the lists are beside it, and nothing is taken from this machine's spool."""
VMID: Final = 104
_KEPT: Final = 100
_FORGED: Final = "forged"
_MACHINE: Final[dict[str, object]] = {
    "name": "old-shop",
    "memory": 1024,
    "cores": 1,
    "scsi0": f"local-lvm:vm-{VMID}-disk-0,size=16G",
    "smbios1": "uuid=3d1f6a52-7f0e-4c1b-9f5e-2b8c41d7a904",
    "meta": "creation-qemu=9.0.2,ctime=1700000000",
}


@dataclass(frozen=True)
class SignedPart:
    """One host of the demo, its hub, and its operator's desk."""

    hub: DevHub
    host: str
    node: DevNode
    config: Path

    @property
    def is_possible(self) -> bool:
        """Whether signatures can be made here."""
        return os.access(SSH_KEYGEN, os.X_OK)

    def begin(self) -> None:
        """Let the node have the guest, root a list with a throw-away key, and the operator ask."""
        if not self.is_possible:
            title(f"What only a signature does is left out: {SSH_KEYGEN} is missing")
            return
        self._prepare()
        title(f"On {self.host} guest {VMID} is to go. Root lets one key sign; the hub holds none:")
        words = ["-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", str(self._file("key"))]
        made = subprocess.run(  # words of ours
            [str(SSH_KEYGEN), *words], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if made.returncode != 0:
            raise FelhomError("ssh-keygen makes no key")
        self._typed("signers", "init", "--key", self._file("key.pub"))
        say("  On the hub's page an operator asks the host for a request to destroy it.")
        self._post("ask", {"act": "guest_destroy", "vmid": str(VMID)})

    @property
    def is_asked(self) -> bool:
        """Whether the host has told the hub what is to be signed."""
        host = self.hub.store.host(self.host)
        return host is not None and bool(host.signing.pending)

    def sign(self) -> None:
        """Sign what the host has composed, and let the hub carry it, a forged copy first."""
        host = self.hub.store.host(self.host)
        assert host is not None  # noqa: S101  # `is_asked` has looked
        asked = host.signing.pending[0].job_id
        title("The host told what is to be signed. At the desk it is shown, and signed:")
        got = requests.get(
            f"{self.hub.url}/hosts/{self.host}/requests/{asked}", auth=self._operator, timeout=10
        )
        got.raise_for_status()
        self._file("old.request").write_bytes(got.content)
        self._typed("sign", self._file("old.request"), "--key", self._file("key"), "--yes")
        job, signature = self._file("old.job").read_bytes(), self._file("old.job.sig").read_text()
        self._forge(job, signature)
        self._post("put", {"job": job.decode(), "signatures": signature, "request": asked})
        say("  The hub carries it, and a copy of its own beside it that names another guest.")

    @property
    def is_gone(self) -> bool:
        """Whether the guest is gone."""
        return self.node.world.here("qemu", VMID) is None

    def show(self) -> bool:
        """Say what came of it; return whether it is what was signed, and no more."""
        title("What was signed is done, once, and the forged copy is not:")
        self._typed("jobs")
        stays = self.node.world.here("qemu", _KEPT) is not None
        say(f"  {VMID} is {'gone' if self.is_gone else 'still there'}")
        say(f"  {_KEPT} is {'there' if stays else 'gone, too'}")
        return self.is_gone and stays

    def _prepare(self) -> None:
        from felhom_agent.devnode.demo.world import TOKEN
        from felhom_agent.devnode.world.access import AGENT_PRIVILEGES, FIRST_PRIVILEGES

        self.node.world.add("qemu", VMID, _MACHINE)
        given = (*AGENT_PRIVILEGES, *SIGNED_NEEDS["guest_destroy"])
        self.node.world.grant(TOKEN, {**FIRST_PRIVILEGES, f"/vms/{VMID}": given})

    def _forge(self, job: bytes, signature: str) -> None:
        """Deliver what a hub that is stolen would make of a job."""
        forged = job.replace(f'"vmid":{VMID}'.encode(), f'"vmid":{_KEPT}'.encode())
        envelope = {
            "job_id": _FORGED,
            "op_blob_b64": base64.b64encode(forged).decode(),
            "sigs_armored": [signature],
        }
        self.hub.store.enqueue(self.host, envelope, self.hub.clock())

    @property
    def _operator(self) -> tuple[str, str]:
        return "operator", self.hub.operator_key

    def _post(self, form: str, data: dict[str, str]) -> None:
        """Send a form of the host's page, as a browser does."""
        sent = requests.post(
            f"{self.hub.url}/hosts/{self.host}/jobs/{form}",
            data=data, auth=self._operator, timeout=10, allow_redirects=False,
        )  # fmt: skip
        if sent.status_code != requests.codes.see_other:
            raise FelhomError(f"the hub's page does not take it: status {sent.status_code}")

    def _typed(self, *words: str | Path) -> None:
        command(load(self.config), *words, codes=(OK,), within=self.config.parent)

    def _file(self, name: str) -> Path:
        return self.config.parent / name


def shown(part: SignedPart, wait: Callable[[Callable[[], bool]], bool]) -> bool:
    """Given the part, which has begun, and what waits until something is so (False: it did not come
    to be), show the rest of it; return whether all went as it must.
    """
    if not part.is_possible:
        return True
    title("The agent composes what is to be signed, and reports it (once a minute):")
    if not wait(lambda: part.is_asked):
        return False
    part.sign()
    return wait(lambda: part.is_gone) and part.show()
