"""Certificate authorities of a test's own making, with whatever is odd about them."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from felhom_agent.devnode.http.certificate import Identity

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Made(Identity):
    """`shown` is the node's own certificate."""

    shown: str = ""


def make(
    directory: Path,
    *,
    key_usage: bool = True,
    ca_begins: int = -30,
    ca_ends: int = 10,
    bits: int = 2048,
    begins: int = -30,
    ends: int = 10,
    organization: str = "PVE Cluster Manager CA",
    intermediate: int | None = None,
) -> Made:
    """Given a directory, write a CA there as openssl makes PVE's, and return what a node shows.

    `key_usage` says whether the CA has that extension, `ca_begins` and `ca_ends` in how many days
    it is valid and expires, `organization` whose it is; `bits` is the length of the node's key,
    which is good from `begins` to `ends`, in days from now. With `intermediate` the node's
    certificate is of another CA, which is shown with it and expires in so many days.
    """
    root, ca_key = _named("Proxmox Virtual Environment", organization), _key()
    ca = _of_ca(_begun(root, root, ca_key, ca_key, ca_ends, ca_begins), key_usage=key_usage)
    issuer, issuer_key, chain = root, ca_key, b""
    if intermediate is not None:
        issuer, issuer_key = _named("An intermediate CA", organization), _key()
        between = _of_ca(_begun(issuer, root, issuer_key, ca_key, intermediate), key_usage=True)
        chain = between.sign(ca_key, hashes.SHA256()).public_bytes(_PEM)
    key = _key(bits)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    subject = _named("pve1", "Proxmox Virtual Environment")
    own = _begun(subject, issuer, key, issuer_key, ends, begins)
    own = own.add_extension(x509.SubjectAlternativeName(names), critical=False)
    shown = own.sign(issuer_key, hashes.SHA256()).public_bytes(_PEM)
    ca_file = directory / "made-ca.pem"
    ca_file.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(_PEM))
    return Made(
        _context(directory / "made-node.pem", key, shown + chain), ca_file, "", shown.decode()
    )


def _context(path: Path, key: rsa.RSAPrivateKey, chain: bytes) -> ssl.SSLContext:
    private = key.private_bytes(
        _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else it does not show a weak key itself
    context.load_cert_chain(path)
    return context


def _key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def _named(name: str, organization: str) -> x509.Name:
    parts = {NameOID.COMMON_NAME: name, NameOID.ORGANIZATION_NAME: organization}
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts.items()])


def _of_ca(begun: x509.CertificateBuilder, *, key_usage: bool) -> x509.CertificateBuilder:
    begun = begun.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return begun.add_extension(_usage(), critical=True) if key_usage else begun


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: rsa.RSAPrivateKey,
    ca_key: rsa.RSAPrivateKey,
    ends: int,
    begins: int = -30,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
    made = made.not_valid_before(now + timedelta(days=begins))
    made = made.not_valid_after(now + timedelta(days=ends))
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuers = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return made.add_extension(own, critical=False).add_extension(issuers, critical=False)


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
