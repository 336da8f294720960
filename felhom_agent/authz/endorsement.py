"""Who has signed: a signature with its signer, and whether those are enough.

Signers are counted by key material, so that one key, or one device, is one signer however often it
has signed and under whatever name it stands in the list.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from felhom_agent.authz.armor import SshSignature
from felhom_agent.authz.operation import Operation
from felhom_agent.authz.refusals import BadSignature, TooFewSigners
from felhom_agent.authz.signerline import Signer


@dataclass(frozen=True)
class Endorsement:
    """A signature, its file, and the signer whose it must be."""

    signature: SshSignature
    armor: bytes = field(repr=False)
    signer: Signer

    def refuse_untouched(self, roles: Collection[str]) -> None:
        """Given the roles whose keys must be touched, raise BadSignature unless this one was, or
        need not be.
        """
        fingerprint = self.signer.key.fingerprint
        if self.signature.touched is False:
            raise BadSignature(
                f"nobody touched the security key {fingerprint}; it must be set up to want a touch"
            )
        if self.signature.touched is None and self.signer.role in roles:
            raise BadSignature(
                f"{fingerprint} is no security key, and keys of role {self.signer.role} must be: "
                f"touch_required in [authz]"
            )


def refuse_too_few(
    operation: Operation, endorsements: Sequence[Endorsement], keys: int, *, separate: bool
) -> None:
    """Given the signatures in the act's role, and how many different keys must have signed, raise
    TooFewSigners if fewer have. With `separate` who asked for it must have signed, and is not
    counted.
    """
    found = {each.signer.key.material for each in endorsements}
    asking = {
        each.signer.key.material
        for each in endorsements
        if each.signer.key.fingerprint == operation.requester
    }
    if operation.requester and not asking:
        raise TooFewSigners(
            f"it says that {operation.requester} asked for it, and that key has not signed it"
        )
    if separate and not operation.requester:
        raise TooFewSigners(
            "it does not name who asked for it; whoever asks signs it with `sign --as-requester`, "
            "and another person approves it"
        )
    counted = found - asking if separate else found
    if len(counted) < keys:
        who = "approved" if separate else "signed"
        have = "1 key has" if len(counted) == 1 else f"{len(counted)} keys have"
        raise TooFewSigners(f"{operation.act} must be {who} with {keys} different keys; {have}")
