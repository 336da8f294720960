"""Whom the agent takes for its node: who has a certificate of the configured CA, or the one whose
fingerprint is configured, or, when told so, anybody.

The CA's file is read for each connection, so that one which was renewed counts from the next on.

PVE's own CA, if it was made before pve-cluster 9.1.2, does not say what its key is for (keyUsage).
The strict rules of X.509, which are Python's default in `ssl.create_default_context` since 3.13,
refuse such a CA. So they do not count for a CA that was configured; where the CAs of this host
are used, Python's default stays.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import socket
import ssl
import stat
import time
from pathlib import Path
from typing import Final, cast

from felhom_agent import regularfile
from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.printable import printable
from felhom_agent.proxmox.deadline import BoundedSocket, Bounds, NoConnection

# The handshake ended before a request could be sent.
_NO_TRUST = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER|UNSUPPORTED_PROTOCOL|HANDSHAKE_FAILURE|"
    r"RECORD_LAYER_FAILURE|HTTP_REQUEST|PACKET_LENGTH|PROTOCOL_VERSION"
)
_NOT_TLS: Final = re.compile(
    r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST|PACKET_LENGTH"
)
# OpenSSL: x509_vfy.h X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, _HOSTNAME_MISMATCH,
# _IP_ADDRESS_MISMATCH
_NOT_YET: Final = 9
_EXPIRED: Final = 10
_OTHER_NAME: Final = (62, 64)
# _EE_KEY_TOO_SMALL, _CA_KEY_TOO_SMALL, _CA_MD_TOO_WEAK
_TOO_WEAK: Final = (66, 67, 68)
# What the strict rules alone refuse: _PATHLEN_INVALID_FOR_NON_CA to _EXTENSIONS_REQUIRE_VERSION_3
_NOT_AS_STRICT: Final = range(80, 94)
_OF_SYSTEM: Final = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/ssl/cert.pem"))


def secured(
    plain: socket.socket, host: str, config: ProxmoxConfig, bounds: Bounds
) -> BoundedSocket:
    """Given a socket that is connected to a node, return it with TLS, within the call's bounds.

    Raise NoConnection if the node is not to be trusted, OSError if it broke the connection or a
    bound was met.
    """
    try:
        context = _context(config)
        made = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    except BaseException:
        plain.close()
        raise
    bounded = cast("BoundedSocket", made)
    bounded.bounds = bounds
    try:
        _shake_hands(bounded, config)
    except BaseException:
        bounded.close()
        raise
    return bounded


def _context(config: ProxmoxConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = BoundedSocket
    if config.insecure or config.fingerprint:
        # With a fingerprint that one certificate is trusted, and no CA has a say.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.hostname_checks_common_name = False
    path = config.ca_file
    if not _is_of_system(path):
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if why := _why_no_file(path):
        raise _no_ca(path, why)
    try:
        context.load_verify_locations(str(path))
    except OSError as error:
        why = _no_certificate(path) if isinstance(error, ssl.SSLError) else str(error.strerror)
        raise _no_ca(path, why) from None
    return context


def _shake_hands(made: BoundedSocket, config: ProxmoxConfig) -> None:
    try:
        made.do_handshake()
    except ssl.SSLError as error:
        if not _NO_TRUST.search(str(error)):
            raise
        raise NoConnection(f"is not trusted: {_why_not(error, config)}") from None
    if config.fingerprint:
        shown = hashlib.sha256(made.getpeercert(binary_form=True) or b"").hexdigest()
        wanted = config.fingerprint.replace(":", "").lower()
        if not hmac.compare_digest(shown, wanted):
            raise NoConnection(
                f"is not trusted: its certificate has the fingerprint {_pairs(shown)}, the"
                f" configured one is {_pairs(wanted)}; if it was renewed, and is the one that"
                " `pvenode cert info` shows on the node: felhom-agent trust"
            )


def _why_not(error: ssl.SSLError, config: ProxmoxConfig) -> str:
    """Given what ended a handshake, return why the other side is not trusted, and what to do."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        if _NOT_TLS.search(str(error)):
            return (
                "no TLS is spoken at that port, but plain HTTP or something else; set endpoint to"
                " the port of PVE's API, which is 8006"
            )
        return "the TLS handshake failed; no version or cipher of TLS is common to both"
    return _why_not_this(error.verify_code, error.verify_message, config.ca_file)


def _why_not_this(code: int, said: str, ca_file: Path) -> str:
    """Given OpenSSL's verdict on the node's certificate, return what is wrong and what to do."""
    if code in _OTHER_NAME:
        return (
            f"its certificate is not for the name in endpoint ({said.rstrip('.')}); set endpoint"
            " in [proxmox] to a name that the certificate has, or set fingerprint"
        )
    if code == _EXPIRED:
        return _expired(ca_file)
    if code == _NOT_YET:
        return (
            "its certificate is valid only later; is the clock of this host, or of the node, wrong?"
        )
    if code in _TOO_WEAK:
        return (
            f"{said}: its certificate, or the CA in {_shown(ca_file)}, has a key or a signature"
            " that this host takes for too weak; make it anew on the node: pvecm updatecerts"
            " --force, or pvenode acme cert order"
        )
    if code in _NOT_AS_STRICT and _is_of_system(ca_file):
        return (
            f"{said}: its CA is among those that this host trusts ({ca_file}) and is not made as"
            " strict rules want it; if it is PVE's own CA, set ca_file to its file,"
            ' "/etc/pve/pve-root-ca.pem", where these rules do not count'
        )
    return f"{said}: its certificate is not of {_which_ca(ca_file)}"


def _expired(ca_file: Path) -> str:
    """Return which certificate has expired, and what to do: the configured CA's, or the node's."""
    if when := _ca_expired(ca_file):
        return (
            f"the CA in {_shown(ca_file)} has expired on {when}; if the node has a newer one, set"
            " ca_file to that, or start the service again, which reads it anew; if it has not,"
            " make one on the node (pvecm(1), updatecerts)"
        )
    return (
        "its certificate has expired; renew it on the node: pvecm updatecerts --force, or"
        " pvenode acme cert renew"
    )


def _ca_expired(ca_file: Path) -> str:
    """Return when the one CA of a file expired; empty if it did not, or the file has several."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(str(ca_file))
        held = context.get_ca_certs()
        ends = [str(ca.get("notAfter", "")) for ca in held]
        if len(ends) == 1 and ssl.cert_time_to_seconds(ends[0]) < time.time():
            return ends[0]
    except (OSError, ValueError):
        return ""
    return ""


def _shown(path: Path) -> str:
    return printable(str(path), 120)


def _is_of_system(path: Path) -> bool:
    """Return whether a file has the CAs that this host trusts, be it by another name."""
    try:
        real = path.resolve()
        return any(path == of_system or real == of_system.resolve() for of_system in _OF_SYSTEM)
    except (OSError, ValueError, RuntimeError):
        return False


def _which_ca(path: Path) -> str:
    """Return which CA was asked, and where else a certificate may be from."""
    if _is_of_system(path):
        return (
            f"a CA that this host trusts ({path}); set ca_file to PVE's own CA,"
            ' "/etc/pve/pve-root-ca.pem", or set fingerprint'
        )
    whose = "PVE's own CA" if path.name == "pve-root-ca.pem" else "the CA"
    return (
        f"{whose} in {_shown(path)}; if it is of ACME, set"
        f' ca_file = "{_OF_SYSTEM[0]}" and endpoint to its name, or fingerprint'
    )


def _no_ca(path: Path, why: str) -> NoConnection:
    return NoConnection(
        f"is not trusted: ca_file {printable(str(path), 150)} cannot be used: {why};"
        " PVE's own CA is /etc/pve/pve-root-ca.pem"
    )


def _why_no_file(path: Path) -> str:
    """Return why a path is no file that can be read; empty if it is one."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "it does not exist"
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", "") or "no file has such a name")
    if stat.S_ISDIR(mode):
        return "it is a directory, not a file"
    if not stat.S_ISREG(mode):
        return "it is not a file"
    if not os.access(path, os.R_OK):
        return "this user may not read it (Permission denied)"
    return ""


def _no_certificate(path: Path) -> str:
    """Return what is in a file that holds no certificate that can be read."""
    try:
        data = regularfile.read(path).data
    except regularfile.FileUnreadable as error:
        return str(error)
    if not data.strip():
        return "it is empty"
    if b"-----BEGIN CERTIFICATE-----" in data:
        return "a certificate in it is damaged"
    key = b"PRIVATE KEY-----" in data
    return "it holds no certificate" + (", but a private key" if key else "")


def _pairs(digest: str) -> str:
    return ":".join(re.findall("..", digest)).upper()
