"""Public keys by their bytes (RFC 4253, 5656, 8709; PROTOCOL.u2f): what a key is, whatever its
comment says.

A key is the same key wherever it stands if its bytes are the same, and for each key there is one
sequence of bytes only: others are malformed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass, field
from typing import Final

MIN_RSA_BITS: Final = 3072
_MAX_RSA_BITS: Final = 16_384
_MAX_KEY: Final = 8192
_CURVES: Final = {b"nistp256": 32, b"nistp384": 48, b"nistp521": 66}
_UNCOMPRESSED: Final = 4

_ALGORITHMS: Final = {
    "ssh-ed25519": frozenset({b"ssh-ed25519"}),
    "sk-ssh-ed25519@openssh.com": frozenset({b"sk-ssh-ed25519@openssh.com"}),
    "ecdsa-sha2-nistp256": frozenset({b"ecdsa-sha2-nistp256"}),
    "ecdsa-sha2-nistp384": frozenset({b"ecdsa-sha2-nistp384"}),
    "ecdsa-sha2-nistp521": frozenset({b"ecdsa-sha2-nistp521"}),
    "sk-ecdsa-sha2-nistp256@openssh.com": frozenset({b"sk-ecdsa-sha2-nistp256@openssh.com"}),
    # Not ssh-rsa: that one is SHA-1.
    "ssh-rsa": frozenset({b"rsa-sha2-256", b"rsa-sha2-512"}),
}
KEY_TYPES: Final = tuple(_ALGORITHMS)
"""The types of keys that may sign."""


class MalformedKey(ValueError):
    """The bytes are no key, or none that may sign; `str()` says why, in words."""


@dataclass(frozen=True)
class PublicKey:
    """A public key: its type, and its bytes; `weak` says why nobody may sign with it (empty: it is
    strong enough).
    """

    type: str
    data: bytes = field(repr=False)
    weak: str = ""

    @property
    def fingerprint(self) -> str:
        """What ssh-keygen shows: `SHA256:...`."""
        digest = base64.b64encode(hashlib.sha256(self.data).digest()).decode("ascii")
        return f"SHA256:{digest.rstrip('=')}"

    @property
    def material(self) -> bytes:
        """What the key is, whatever it is used as: of a security key without its application, so
        that one device is one signer.
        """
        reader = Reader(self.data)
        name = reader.text()
        if not self.is_security_key:
            return self.data
        parts = [reader.text() for _ in range(2 if b"ecdsa" in name else 1)]
        return b"\0".join((name, *parts))

    @property
    def algorithms(self) -> frozenset[bytes]:
        """The algorithms that it may sign with."""
        return _ALGORITHMS[self.type]

    @property
    def is_security_key(self) -> bool:
        return self.type.startswith("sk-")

    @property
    def text(self) -> str:
        """Its line in a file of keys, without a comment."""
        return f"{self.type} {base64.b64encode(self.data).decode('ascii')}"


class Reader:
    """Takes apart what SSH packs: numbers and texts with their length in front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, length: int) -> bytes:
        """Return so many bytes. Raise MalformedKey if there are fewer."""
        found = self._data[self._at : self._at + length]
        if len(found) < length:
            raise MalformedKey("it is cut short")
        self._at += length
        return found

    def number(self) -> int:
        (found,) = struct.unpack(">I", self.take(4))
        return int(found)

    def text(self) -> bytes:
        return self.take(self.number())

    def integer(self) -> int:
        """Return a positive mpint in its one form."""
        data = self.text()
        if not data or data[0] & 0x80 or (data[0] == 0 and (len(data) < 2 or not data[1] & 0x80)):
            raise MalformedKey("a number of it is not in its one form")
        return int.from_bytes(data, "big")

    def end(self) -> None:
        """Raise MalformedKey if anything is left."""
        if self._at != len(self._data):
            raise MalformedKey("there are bytes behind its end")


def public_key(data: bytes) -> PublicKey:
    """Given a key's bytes, return it. Raise MalformedKey if they are none of a type that signs."""
    if len(data) > _MAX_KEY:
        raise MalformedKey(f"the key has {len(data)} bytes, {_MAX_KEY} at most")
    reader = Reader(data)
    name = reader.text().decode("ascii", "replace")
    if name not in _ALGORITHMS:
        what = "a certificate" if "-cert-" in name else f"of type {name[:60]!r}"
        raise MalformedKey(f"the key is {what}; use one of {', '.join(KEY_TYPES)}")
    weak = ""
    if name == "ssh-rsa":
        weak = _weakness(reader)
    elif "ecdsa" in name:
        _point(name, reader)
    elif len(reader.text()) != 32:
        raise MalformedKey("the key is no Ed25519 key: it has not 32 bytes")
    if name.startswith("sk-") and not reader.text():
        raise MalformedKey("the security key has no application")
    reader.end()
    return PublicKey(name, data, weak)


def from_text(kind: str, text: str) -> PublicKey:
    """Given the two words of a key in a file, return it. Raise MalformedKey if they are none."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise MalformedKey("the key is no base64; it may be cut short") from None
    if base64.b64encode(data).decode("ascii") != text:
        raise MalformedKey("the key's base64 says more than its bytes")
    key = public_key(data)
    if key.type != kind:
        raise MalformedKey(f"the line says {kind[:60]!r}, and the key is of type {key.type}")
    return key


def _weakness(reader: Reader) -> str:
    exponent, modulus = reader.integer(), reader.integer()
    bits = modulus.bit_length()
    if bits > _MAX_RSA_BITS or modulus % 2 == 0 or exponent % 2 == 0:
        raise MalformedKey("the key is no RSA key")
    if bits < MIN_RSA_BITS:
        return f"an RSA key of {bits} bits is too weak, {MIN_RSA_BITS} at least; use ed25519"
    return "" if exponent >= 65537 else "an RSA key with so small an exponent is too weak"


def _point(name: str, reader: Reader) -> None:
    curve = reader.text()
    size = _CURVES.get(curve, 0)
    if not size or curve.decode("ascii") not in name:
        raise MalformedKey("the key names a curve that is not its type's")
    point = reader.text()
    if len(point) != 1 + 2 * size or point[0] != _UNCOMPRESSED:
        raise MalformedKey("the key is no point of its curve")
