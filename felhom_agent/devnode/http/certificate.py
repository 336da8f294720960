"""The node's own certificate authority, made again for each node, as PVE makes its own.

Since pve-cluster 9.1.2 PVE's CA says that its key signs certificates (keyUsage); one that was made
before does not, and lives on in its cluster for ten years. PVE: pve-cluster Cluster/Setup.pm
gen_pveca_cert. Nothing else here uses trustme and cryptography.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Identity:
    """What the node shows (`context`), and what a caller trusts (`ca_file`, `fingerprint`)."""

    context: ssl.SSLContext
    ca_file: Path
    fingerprint: str


def make(directory: Path, host: str, *, key_usage: bool = True) -> Identity:
    """Given a directory of ours and a host, write a new CA there and return the identity; without
    `key_usage` the CA is one as PVE made it before pve-cluster 9.1.2.
    """
    ca_file = directory / "ca.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    make_one = _with_key_usage if key_usage else _without_key_usage
    certificate = make_one(ca_file, host, context)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest().upper()
    pairs = (digest[i : i + 2] for i in range(0, len(digest), 2))
    return Identity(context, ca_file, ":".join(pairs))


def _with_key_usage(ca_file: Path, host: str, context: ssl.SSLContext) -> str:
    import trustme  # a run of the agent needs no certificates, and no trustme

    authority = trustme.CA()
    certificate = authority.issue_cert(host, "localhost")
    authority.cert_pem.write_to_path(str(ca_file))
    certificate.configure_cert(context)
    return certificate.cert_chain_pems[0].bytes().decode()


def _without_key_usage(ca_file: Path, host: str, context: ssl.SSLContext) -> str:
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    issuer = _named("Proxmox Virtual Environment", "PVE Cluster Manager CA")
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = serialization.Encoding.PEM
    authority = (
        _begun(issuer, issuer, ca_key, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = [x509.IPAddress(ipaddress.ip_address(host)), x509.DNSName("localhost")]
    shown = (
        _begun(_named(host, "Proxmox Virtual Environment"), issuer, key, ca_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
        .public_bytes(pem)
    )
    ca_file.write_bytes(authority.public_bytes(pem))
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = ca_file.with_name("pve-ssl.pem")
    chain.touch(mode=0o600)
    chain.write_bytes(private + shown)
    context.load_cert_chain(chain)
    return shown.decode()


def _named(name: str, organization: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = {NameOID.COMMON_NAME: name, NameOID.ORGANIZATION_NAME: organization}
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts.items()])


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
) -> x509.CertificateBuilder:
    """Return a certificate as far as the CA's own and the node's are alike."""
    from cryptography import x509

    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
    # PVE makes it of yesterday, for clocks that are late.
    made = made.not_valid_before(now - timedelta(days=1))
    made = made.not_valid_after(now + timedelta(days=730))
    return made.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    ).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
    )
