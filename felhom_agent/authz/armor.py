"""A signature's file, taken apart before any process sees it: SSHSIG in its armor.

ssh-keygen takes what stands behind the last line of the armor for nothing; here it is refused, with
whatever else could make one signature look like two. What is read is what OpenSSH's PROTOCOL.sshsig
says, exactly: the key that signed, what for, and whether a security key was touched. Nothing here
tells that the signature is good.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass
from typing import Final

from felhom_agent.authz.keymaterial import (
    MalformedKey,
    PublicKey,
    Reader,
    public_key,
)
from felhom_agent.authz.refusals import BadArmor, OutOfBounds

MAX_ARMOR: Final = 16_384
"""How many bytes a signature's file may have; one of a 16,384-bit RSA key has about 6,000."""

_ARMOR: Final = re.compile(
    rb"-----BEGIN SSH SIGNATURE-----\n"
    rb"((?:[A-Za-z0-9+/]{1,76}\n)*[A-Za-z0-9+/]{1,76}={0,2}\n)"
    rb"-----END SSH SIGNATURE-----\n?",
)
# OpenSSH breaks after 70 (sshbuf_dtob64), what its PROTOCOL.sshsig was made after 76.
_WIDTHS: Final = (70, 76)
_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_HASHES: Final = frozenset({b"sha256", b"sha512"})
_TOUCHED: Final = 0x01


@dataclass(frozen=True)
class SshSignature:
    """What a signature says of itself: who made it, and for what; `touched` is None where the key
    is none of a security key's.
    """

    key: PublicKey
    namespace: str
    touched: bool | None


def refuse_beyond_armor(armor: bytes) -> None:
    """Given a signature's file, raise OutOfBounds if it is larger than any."""
    if not armor:
        raise OutOfBounds("the signature is empty")
    if len(armor) > MAX_ARMOR:
        raise OutOfBounds(f"the signature has {len(armor)} bytes, {MAX_ARMOR} at most")


def open_armor(armor: bytes) -> SshSignature:
    """Given a signature's file, return what it says. Raise BadArmor if it is not exactly one
    signature.
    """
    found = _ARMOR.fullmatch(armor)
    if found is None or not _is_evenly_broken(found[1].splitlines()):
        raise BadArmor(
            "it is not one signature as `ssh-keygen -Y sign` writes it, from its BEGIN line to its "
            "END line and nothing else"
        )
    text = found[1].replace(b"\n", b"")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadArmor("its base64 cannot be decoded") from None
    if base64.b64encode(data) != text:
        raise BadArmor("its base64 says more than its bytes")
    try:
        return _parse(data)
    except MalformedKey as error:
        raise BadArmor(f"{error}") from None


def _is_evenly_broken(lines: list[bytes]) -> bool:
    """Return whether the lines are broken as a program breaks them; else one signature would have
    many files.
    """
    *full, last = lines
    return all(len(line) == len(full[0]) in _WIDTHS for line in full) and (
        not full or len(last) <= len(full[0])
    )


def _parse(data: bytes) -> SshSignature:
    reader = Reader(data)
    if reader.take(len(_MAGIC)) != _MAGIC or reader.number() != _VERSION:
        raise BadArmor("it is no SSH signature of version 1")
    key = public_key(reader.text())
    namespace = reader.text()
    reserved, hashed, signature = reader.text(), reader.text(), Reader(reader.text())
    reader.end()
    if reserved or hashed not in _HASHES:
        raise BadArmor("it has a hash, or an extension, that is not known")
    if signature.text() not in key.algorithms:
        raise BadArmor("its algorithm is not one of its key's")
    signature.text()
    touched = _touched(signature) if key.is_security_key else None
    signature.end()
    if not namespace.isascii():
        raise BadArmor("its namespace is not ASCII")
    return SshSignature(key, namespace.decode("ascii"), touched)


def _touched(signature: Reader) -> bool:
    """Return whether a security key says that it was touched; its flags are part of what it signs
    (PROTOCOL.u2f), and ssh-keygen does not insist on them.
    """
    flags, _counter = struct.unpack(">BI", signature.take(5))
    return bool(flags & _TOUCHED)
