"""The node's own certificate authority, made again for each node; the only user of trustme."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """What the node shows (`context`), and what a caller trusts (`ca_file`, `fingerprint`)."""

    context: ssl.SSLContext
    ca_file: Path
    fingerprint: str


def make(directory: Path, host: str) -> Identity:
    """Given a directory of ours and a host, write a new CA there and return the identity."""
    import trustme  # a run of the agent needs no certificates, and no trustme

    authority = trustme.CA()
    certificate = authority.issue_cert(host, "localhost")
    ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    digest = hashlib.sha256(der).hexdigest().upper()
    pairs = (digest[i : i + 2] for i in range(0, len(digest), 2))
    return Identity(context, ca_file, ":".join(pairs))
