"""Certificate authorities of a test's own making, with whatever is odd about them."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from felhom_agent.devnode.http.certificate import Identity

_PEM = serialization.Encoding.PEM


def make(
    directory: Path,
    *,
    key_usage: bool = True,
    ca_ends: int = 10,
    bits: int = 2048,
    begins: int = -30,
    ends: int = 10,
) -> Identity:
    """Given a directory, write a CA there as openssl makes PVE's, and return what a node shows.

    `key_usage` says whether the CA has that extension, `ca_ends` in how many days it expires;
    `bits` is the length of the node's key, which is good from `begins` to `ends`, in days from now.
    """
    ca_key = rsa.generate_private_key(65537, 2048)
    key = rsa.generate_private_key(65537, bits)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Proxmox Virtual Environment")])
    authority = _begun(issuer, issuer, ca_key, ca_key, ca_ends).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    if key_usage:
        authority = authority.add_extension(_usage(), critical=True)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pve1")])
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    shown = _begun(subject, issuer, key, ca_key, ends, begins).add_extension(
        x509.SubjectAlternativeName(names), critical=False
    )
    ca_file, chain = directory / "made-ca.pem", directory / "made-node.pem"
    ca_file.write_bytes(authority.sign(ca_key, hashes.SHA256()).public_bytes(_PEM))
    private = key.private_bytes(
        _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(private + shown.sign(ca_key, hashes.SHA256()).public_bytes(_PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else it does not show a weak key itself
    context.load_cert_chain(chain)
    return Identity(context, ca_file, "")


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
