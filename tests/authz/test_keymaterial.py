"""A public key is its bytes; what is no key, or a weak one, is told."""

from __future__ import annotations

import base64
import subprocess

import pytest

from felhom_agent.authz.keymaterial import MalformedKey, PublicKey, from_text, public_key
from felhom_agent.authz.sshkeygen import SSH_KEYGEN
from tests.authz.desk import Key, key, needs_ssh_keygen, pack, security_key


def parsed(found: Key) -> PublicKey:
    return from_text(*found.line.split())


@needs_ssh_keygen
@pytest.mark.parametrize(
    ("kind", "bits"),
    [("ed25519", 0), ("ecdsa", 256), ("ecdsa", 384), ("ecdsa", 521), ("rsa", 3072)],
)
def test_a_fingerprint_is_what_ssh_keygen_shows(kind: str, bits: int) -> None:
    shown = subprocess.run(
        [SSH_KEYGEN, "-l", "-f", "-"],
        input=key(kind, bits=bits).public.encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    found = parsed(key(kind, bits=bits))
    assert found.fingerprint in shown
    assert not found.weak
    assert not found.is_security_key


@needs_ssh_keygen
@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
def test_a_security_key_is_what_ssh_keygen_takes_for_one(kind: str) -> None:
    found = security_key(kind)
    shown = subprocess.run(
        [SSH_KEYGEN, "-l", "-f", "-"], input=found.public.encode(), capture_output=True, check=True
    ).stdout.decode()
    assert parsed(found).fingerprint in shown
    assert parsed(found).is_security_key


@needs_ssh_keygen
def test_an_rsa_key_of_less_than_3072_bits_is_weak() -> None:
    assert "2048" in parsed(key("rsa", bits=2048)).weak


def rsa(exponent: bytes, modulus: bytes) -> bytes:
    return pack(b"ssh-rsa", exponent, modulus)


MODULUS = b"\0" + b"\xff" * 384


def test_an_rsa_key_with_a_small_exponent_is_weak() -> None:
    assert public_key(rsa(b"\3", MODULUS)).weak
    assert not public_key(rsa(b"\1\0\1", MODULUS)).weak


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 9000,
        rsa(b"\0\1\0\1", MODULUS),
        rsa(b"\1\0\1", b"\xff" * 384),
        rsa(b"\1\0\1", b"\0\0" + b"\xff" * 384),
        rsa(b"\1\0\1", b""),
        rsa(b"\2", MODULUS),
        rsa(b"\1\0\1", b"\0" + b"\xff" * 383 + b"\xfe"),
        rsa(b"\1\0\1", b"\0" + b"\xff" * 4000),
        pack(b"ecdsa-sha2-nistp256", b"nistp384", b"\4" + b"x" * 96),
        pack(b"ecdsa-sha2-nistp256", b"nistp256", b"\2" + b"x" * 32),
        pack(b"ecdsa-sha2-nistp256", b"nistp256", b"\4" + b"x" * 63),
        pack(b"ecdsa-sha2-nistp256", b"", b"\4" + b"x" * 64),
        pack(b"sk-ssh-ed25519@openssh.com", b"k" * 32, b""),
        pack(b"sk-ssh-ed25519@openssh.com", b"k" * 32),
        pack(b"ssh-dss", b"x"),
        pack(b"\xff\xff"),
    ],
)
def test_bytes_that_are_no_key_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedKey):
        public_key(data)


def test_a_line_that_says_another_type_than_its_key_is_refused() -> None:
    text = base64.b64encode(pack(b"ssh-ed25519", b"k" * 32)).decode()
    assert from_text("ssh-ed25519", text)
    for kind, words in [
        ("ssh-rsa", text),
        ("ssh-ed25519", text[:-4]),
        ("ssh-ed25519", f"{text} "),
        ("ssh-ed25519", "é"),
        ("ssh-ed25519", f"{text[:-1]}"),
    ]:
        with pytest.raises(MalformedKey):
            from_text(kind, words)
