"""The certificate that a node shows, for a person to judge: nothing is asked of the node, and no
token is sent.

What is in it is told by TLS itself: a second handshake trusts that very certificate and no other,
whatever its issuer, names and times are.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from felhom_agent import regularfile
from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.errors import FelhomError, NotSent
from felhom_agent.printable import printable
from felhom_agent.proxmox.deadline import Bounds, NoConnection, connected
from felhom_agent.proxmox.transport import DEFAULT_PORT
from felhom_agent.proxmox.trust import secured

_NO_CHECK_TIME: Final = 0x200000  # OpenSSL: x509_vfy.h X509_V_FLAG_NO_CHECK_TIME
_MAX_NAMES: Final = 20
_MAX_TEXT: Final = 200
_MAX_BYTES: Final = 1_000_000
_OWN: Final = (
    Path("/etc/pve/local/pveproxy-ssl.pem"),  # of ACME, or uploaded; it goes before the other
    Path("/etc/pve/local/pve-ssl.pem"),
)


@dataclass(frozen=True)
class Certificate:
    """A certificate: its SHA-256 fingerprint (`AA:BB:...`), the names it is for, who issued it, and
    from when to when it is valid (seconds since the epoch; None: that cannot be told).
    """

    fingerprint: str
    names: tuple[str, ...] = ()
    issuer: str = ""
    begins: float | None = None
    ends: float | None = None


def shown(config: ProxmoxConfig) -> Certificate:
    """Given how the node is reached, return the certificate that it shows now. Raise FelhomError if
    none is to be had.
    """
    der = _of_handshake(config)
    found = Certificate(fingerprint_of(der))
    try:
        fields = _fields(config, der)
    except (OSError, ValueError):
        return found  # what it is worth is for a person to judge by the fingerprint alone
    names = tuple(printable(str(value), _MAX_TEXT) for _, value in fields.get("subjectAltName", ()))
    return Certificate(
        found.fingerprint,
        names[:_MAX_NAMES],
        _name(fields.get("issuer", ())),
        _seconds(fields.get("notBefore")),
        _seconds(fields.get("notAfter")),
    )


def is_trusted(config: ProxmoxConfig) -> bool:
    """Given how the node is reached, return whether it is trusted as things are."""
    try:
        _handshake(config).close()
    except FelhomError:
        return False
    return True


def where_on_this_host(fingerprint: str, places: Iterable[Path] = _OWN) -> Path | None:
    """Given a fingerprint, return the file of this host's own PVE that has this certificate; None
    if there is none, or it may not be read.
    """
    for place in places:
        try:
            text = regularfile.read(place, _MAX_BYTES).data.decode("ascii", "replace")
            first = re.search(
                "-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL
            )
            if first and fingerprint_of(ssl.PEM_cert_to_DER_cert(first[0])) == fingerprint:
                return place
        except (regularfile.FileUnreadable, ValueError):
            continue
    return None


def fingerprint_of(der: bytes) -> str:
    """Given a certificate, return its SHA-256 fingerprint."""
    return ":".join(re.findall("..", hashlib.sha256(der).hexdigest())).upper()


def _of_handshake(config: ProxmoxConfig) -> bytes:
    anybody = replace(config, insecure=True, fingerprint="")
    with closing(_handshake(anybody)) as made:
        der = made.getpeercert(binary_form=True)
    if not der:
        raise FelhomError(f"{config.endpoint} shows no certificate")
    return der


def _handshake(config: ProxmoxConfig) -> ssl.SSLSocket:
    bounds = Bounds(config.connect_timeout, config.read_timeout, _MAX_BYTES)
    host, port = _address(config)
    try:
        return secured(connected(host, port, bounds), host, config, bounds)
    except NoConnection as error:
        raise _no_handshake(config, f" {error}", temporary=error.temporary) from None
    except OSError as error:
        why = bounds.overrun or printable(str(error), _MAX_TEXT)
        raise _no_handshake(config, f": {why}", temporary=bounds.timed_out) from None


def _no_handshake(config: ProxmoxConfig, why: str, *, temporary: bool) -> NotSent:
    """Return what it means that the node shows nothing; `temporary` as of any request to it."""
    error = NotSent(f"{config.endpoint}{why}")
    error.temporary = temporary
    return error


def _fields(config: ProxmoxConfig, der: bytes) -> Mapping[str, Any]:
    """Given a certificate, return what is in it. Raise OSError if it is not shown any more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags |= _NO_CHECK_TIME
    context.load_verify_locations(cadata=der)
    host, port = _address(config)
    bounds = Bounds(config.connect_timeout, config.read_timeout, _MAX_BYTES)
    with closing(connected(host, port, bounds)) as plain:
        plain.settimeout(config.connect_timeout)
        with context.wrap_socket(plain, server_hostname=host) as made:
            return made.getpeercert() or {}


def _address(config: ProxmoxConfig) -> tuple[str, int]:
    url = urlsplit(config.endpoint)
    return url.hostname or "", url.port or DEFAULT_PORT


def _name(parts: Iterable[Any]) -> str:
    words = [str(value) for part in parts for _, value in part]
    return printable(", ".join(words), _MAX_TEXT)


def _seconds(text: object) -> float | None:
    try:
        return float(ssl.cert_time_to_seconds(str(text)))
    except ValueError:
        return None
