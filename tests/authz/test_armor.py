"""An armor holds exactly one signature, and says whose it is."""

from __future__ import annotations

import base64
import struct

import pytest

from felhom_agent.authz.armor import open_armor
from felhom_agent.authz.keymaterial import from_text
from felhom_agent.authz.refusals import BadArmor
from tests.authz.desk import armored, key, needs_ssh_keygen, pack, security_key

KEY = pack(b"ssh-ed25519", b"k" * 32)
SIGNATURE = pack(b"ssh-ed25519", b"s" * 64)


def body(**given: bytes) -> bytes:
    magic = given.get("magic", b"SSHSIG") + given.get("version", struct.pack(">I", 1))
    parts = {"key": KEY, "namespace": b"felhom-op-v1", "reserved": b"", "hash": b"sha512"}
    parts |= {name: value for name, value in given.items() if name in parts}
    return magic + pack(*parts.values(), given.get("signature", SIGNATURE)) + given.get("end", b"")


def test_an_armor_tells_key_and_namespace() -> None:
    found = open_armor(armored(body()))
    assert found.key.type == "ssh-ed25519"
    assert found.namespace == "felhom-op-v1"
    assert found.touched is None


@needs_ssh_keygen
def test_what_ssh_keygen_writes_is_an_armor_of_its_key() -> None:
    found = open_armor(key().sign(b"x", "felhom-op-v1"))
    assert found.key == from_text(*key().line.split())


@pytest.mark.parametrize("touch", [True, False])
def test_a_security_key_tells_whether_it_was_touched(touch: bool) -> None:
    signer = security_key("ssh-ed25519", touch=touch)
    assert open_armor(signer.sign(b"x", "felhom-op-v1")).touched is touch


@pytest.mark.parametrize(
    "given",
    [
        {"magic": b"SSHSIX"},
        {"version": struct.pack(">I", 2)},
        {"reserved": b"x"},
        {"hash": b"sha1"},
        {"hash": b"md5"},
        {"namespace": b"f\xff"},
        {"end": b"\0"},
        {"signature": SIGNATURE + b"\0"},
        {"signature": pack(b"ssh-rsa", b"s" * 64)},
        {"signature": pack(b"ssh-ed25519")},
        {"key": KEY + b"\0"},
        {"key": pack(b"ssh-ed25519", b"k" * 31)},
        {"key": pack(b"ssh-ed25519-cert-v01@openssh.com", b"k" * 32)},
        {"key": pack(b"ssh-dss", b"k" * 32)},
        {"key": b""},
        {"key": b"\xff\xff\xff\xff"},
    ],
)
def test_what_is_not_a_signature_by_the_letter_is_refused(given: dict[str, bytes]) -> None:
    with pytest.raises(BadArmor):
        open_armor(armored(body(**given)))


@pytest.mark.parametrize("length", range(0, 150, 7))
def test_a_signature_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(BadArmor):
        open_armor(armored(body()[:length]))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"-----BEGIN", b"----BEGIN"),
        lambda text: text.replace(b"\n", b"\n\n", 1),
        lambda text: text.replace(b"U1NI", b"U1 NI"),
        lambda text: text.replace(b"SSH SIGNATURE", b"PGP SIGNATURE"),
        lambda text: b"",
        lambda text: text.replace(b"-----END", b"=-----END"),
        lambda text: armored(base64.b64decode(b"U1NIU0lH"), width=4),
        lambda text: armored(body(), width=100),
        lambda text: armored(body(), width=69),
        lambda text: text[:46] + b"\n" + text[46:],
        lambda text: text.replace(b"\n-----END", b"", 1)[:-60] + b"\n" + text[-60:],
    ],
)
def test_an_armor_of_another_form_is_refused(change: object) -> None:
    assert callable(change)
    with pytest.raises(BadArmor):
        open_armor(change(armored(body())))


def test_base64_that_says_the_same_in_other_letters_is_refused() -> None:
    data = next(d for n in range(3) if len(d := body(namespace=b"n" * (10 + n))) % 3 == 1)
    text = armored(data)
    assert open_armor(text)
    at = text.index(b"==")
    letter = text[at - 1 : at]
    other = bytes([letter[0] + 1])
    with pytest.raises(BadArmor):
        open_armor(text[: at - 1] + other + text[at:])
