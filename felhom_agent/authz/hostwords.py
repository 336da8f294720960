"""An operation on the host in plain words: which keys may sign from then on, which no more."""

from __future__ import annotations

from collections.abc import Iterator

from felhom_agent.authz.hostblob import (
    REVOCATION,
    ROTATION,
    HostOperation,
    lines_in,
    number_in,
    text_in,
)
from felhom_agent.authz.keymaterial import MalformedKey, from_text
from felhom_agent.authz.signers import judge, judge_revoked
from felhom_agent.printable import printable


def host_title(operation: HostOperation) -> str:
    """Given an operation on a host, return in one line what will happen."""
    if operation.act == ROTATION:
        return f"REPLACE THE SIGNERS of host {operation.host} by version {_version(operation)}"
    if operation.act == REVOCATION:
        count = len(lines_in(operation, "keys"))
        keys = "A KEY" if count == 1 else f"{count} KEYS"
        return f"TAKE BACK {keys} on host {operation.host}"
    return f"END THE FREEZE of host {operation.host}"


def host_lines(operation: HostOperation) -> Iterator[str]:
    """Given an operation on a host, yield what a signer must be shown, but for the time."""
    yield host_title(operation)
    if operation.act == ROTATION:
        yield from _rotation(operation)
    elif operation.act == REVOCATION:
        yield "From then on nothing that these keys sign counts, nor what they signed and waits:"
        yield from (f"  {_key(line)}" for line in lines_in(operation, "keys"))
    else:
        yield "From then on the agent changes guests again, and signed jobs that wait are done."


def _version(operation: HostOperation) -> int:
    return number_in(operation, "version")


def _rotation(operation: HostOperation) -> Iterator[str]:
    signers, problems = judge("allowed_signers", text_in(operation, "allowed_signers"))
    yield "From then on these keys may sign, and no other:"
    yield from (f"  {signer}" for signer in signers)
    yield from (f"  UNUSABLE: {problem}" for problem in problems)
    if revoked := text_in(operation, "revoked_keys"):
        keys, problems = judge_revoked("revoked_keys", revoked)
        yield "Taken back:"
        yield from (f"  {key.type} {key.fingerprint}" for key in keys)
        yield from (f"  UNUSABLE: {problem}" for problem in problems)
    expires = text_in(operation, "expires")
    yield f"The set ends: {expires} UTC" if expires else "The set does not end."


def _key(line: str) -> str:
    """Return a key of a list as it is shown."""
    kind, _, text = line.partition(" ")
    try:
        return f"{kind} {from_text(kind, text.split(' ')[0]).fingerprint}"
    except MalformedKey as error:
        return f"UNUSABLE: {printable(str(error), 120)}"
