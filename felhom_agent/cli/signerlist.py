"""The list of signers as the agent sees it, for a person: each key, and whether it counts now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from felhom_agent.authz.signerline import Role, Signer
from felhom_agent.authz.signers import ALLOWED, SignerSet
from felhom_agent.cli.terminal import Line, Part, Style
from felhom_agent.daemon.signersexpiry import WARNED_SECONDS
from felhom_agent.printable import local_text

HEAD: Final = ("ROLE", "TYPE", "FINGERPRINT", "COMMENT", "VALID")
_FORMS: Final = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


def rows(found: SignerSet, now: float) -> Iterator[tuple[str | Part, ...]]:
    """Given the signers and the present time (seconds since the epoch), yield a row of a table for
    each.
    """
    taken = {key.material for key in found.revoked}
    for signer in found.signers:
        revoked = signer.key.material in taken
        valid = Part("REVOKED", Style.BAD) if revoked else validity(signer, now)
        key = signer.key
        yield str(signer.role), key.type, key.fingerprint, signer.comment or "-", valid


def validity(signer: Signer, now: float) -> Part:
    """Given a signer and the present time, return from when until when its key is good."""
    after, before = _moment(signer.valid_after), _moment(signer.valid_before)
    words = [f"from {local_text(after)}"] if after is not None else []
    words += [f"until {local_text(before)}"] if before is not None else []
    if before is not None and before <= now:
        return Part(f"EXPIRED, {' '.join(words)}", Style.BAD)
    if after is not None and now < after:
        return Part(f"NOT YET, {' '.join(words)}", Style.WARN)
    return Part(" ".join(words) or "always")


def usable(found: SignerSet, now: float) -> Counter[str]:
    """Given the signers and the present time, return how many keys of each role count now."""
    taken = {key.material for key in found.revoked}
    return Counter(
        str(signer.role)
        for signer in found.signers
        if signer.key.material not in taken and validity(signer, now).style is None
    )


def counted(found: SignerSet, now: float) -> str:
    """Given the same, return in words how many keys count: "1 operational key, 1 recovery key"."""
    counts = usable(found, now)
    parts = [
        f"{counts[role]} {role} key{'' if counts[role] == 1 else 's'}"
        for role in Role
        if counts[role]
    ]
    return ", ".join(parts) or "no key that counts now"


def about(found: SignerSet, now: float) -> Line:
    """Given the signers and the present time, return which set it is, and when it ends."""
    by = "by a signed rotation" if found.is_rotated else "by root"
    line: Line = (f"Set of version {found.version}, {by}; ",)
    if found.expires is None:
        return (*line, "it does not end.")
    ends = local_text(found.expires)
    if found.is_over(now):
        return (*line, Part(f"it ENDED at {ends}: what cannot be undone is held", Style.BAD))
    soon = now >= found.expires - WARNED_SECONDS
    return (*line, Part(f"it ends at {ends}", Style.WARN if soon else None))


def none_yet(found: SignerSet) -> str:
    """Given that there is no list, return what that means."""
    return (
        f"there is no {found.directory / ALLOWED}, so nobody may sign, and what cannot be undone "
        "is not done; all else goes on"
    )


def _moment(text: str) -> float | None:
    """Return a time of OpenSSH's form in seconds since the epoch; None if there is none."""
    if not text:
        return None
    digits = text.removesuffix("Z")
    found = datetime.strptime(digits, _FORMS[len(digits)])
    # ssh-keygen(1): without a Z it is of the host's own zone.
    return found.replace(tzinfo=UTC).timestamp() if text != digits else found.timestamp()
