"""Whom the agent takes for its node: who has a certificate of the configured CA, or the one whose
fingerprint is configured, or, when told so, anybody.

The CA's file is read for each connection, so that one which was renewed counts from the next on.

Certificates are checked by the flags of Python's own `ssl.create_default_context`: from 3.13 on by
the strict rules of X.509. PVE's own CA, if it was made before pve-cluster 9.1.2, does not say what
its key is for (keyUsage), which these rules refuse. So they do not count for PVE's own CA, and for
it alone (`cafile.is_of_pve`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import ssl
import sys
from pathlib import Path
from typing import Final, cast

from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.printable import printable
from felhom_agent.proxmox import cafile
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
_PVE_FILE: Final = f"/etc/pve/{cafile.OF_PVE}"
_RENEW: Final = "renew it on the node: pvecm updatecerts --force, or pvenode acme cert renew"
# What `ssl.create_default_context` adds to a context's flags (Python: Lib/ssl.py). Not asked for
# there: it would read the CAs of the host, and open the file that SSLKEYLOGFILE names.
if sys.version_info >= (3, 13):
    _DEFAULT_FLAGS = ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
else:
    _DEFAULT_FLAGS = ssl.VerifyFlags.VERIFY_DEFAULT


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
    if why := cafile.why_no_file(path):
        raise _no_ca(path, why)
    try:
        context.load_verify_locations(str(path))
    except OSError as error:
        of_tls = isinstance(error, ssl.SSLError)
        why = cafile.why_no_certificate(path) if of_tls else str(error.strerror)
        raise _no_ca(path, why) from None
    context.verify_flags |= _DEFAULT_FLAGS
    if cafile.is_of_pve(path):
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
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
        return (
            "the TLS handshake failed; no version or cipher of TLS is common to both: is endpoint"
            " that of PVE's API (port 8006)? pveproxy speaks TLS 1.2 and newer"
        )
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
        return _not_yet(ca_file)
    if code in _TOO_WEAK:
        return (
            f"{said}: its certificate, or the CA in {cafile.shown(ca_file)}, has a key or a"
            " signature that this host takes for too weak; make it anew on the node: pvecm"
            " updatecerts --force, or pvenode acme cert order"
        )
    if code in _NOT_AS_STRICT:
        return (
            f"{said}: its certificate, or one of a CA that signed it ({cafile.shown(ca_file)}), is"
            " not made as the strict rules of this Python want it; if the CA is PVE's own, set"
            f' ca_file to its file, "{_PVE_FILE}", where these rules do not count; else have it'
            " made anew, or set fingerprint"
        )
    return f"{said}: its certificate is not of {_which_ca(ca_file)}"


def _expired(ca_file: Path) -> str:
    """Return which certificate has expired, and what to do, as far as that can be told: OpenSSL
    does not say which one of the chain it was.
    """
    ended, _, number = cafile.out_of_time(ca_file)
    path = cafile.shown(ca_file)
    if ended and len(ended) == number:
        which = "the CA" if number == 1 else "each CA"
        return (
            f"{which} in {path} has expired on {' and '.join(ended[:2])}; if the node has a newer"
            " one, set ca_file to that, or start the service again, which reads it anew; if it has"
            " not, make one on the node (pvecm(1), updatecerts)"
        )
    if ended:
        return (
            f"its certificate has expired, or one that signed it; of the CAs in {path} one has"
            f" (on {ended[0]}): if the node's is of that one, set ca_file to a newer one; else"
            f" {_RENEW}"
        )
    return (
        "its certificate has expired, or an intermediate one that it shows with it (the CA in"
        f" {path} has not): {_RENEW}"
    )


def _not_yet(ca_file: Path) -> str:
    """As `_expired`, for a certificate that is valid only later."""
    _, later, number = cafile.out_of_time(ca_file)
    clock = "is the clock of this host, or of the node, wrong?"
    if later:
        which = "the CA" if number == 1 else "a CA"
        return f"{which} in {cafile.shown(ca_file)} is valid only from {later[0]} on; {clock}"
    return (
        "its certificate, or an intermediate one that it shows with it, is valid only later;"
        f" {clock}"
    )


def _which_ca(path: Path) -> str:
    """Return which CA was asked, and where else a certificate may be from."""
    if cafile.is_of_system(path):
        return (
            f"a CA that this host trusts ({path}); set ca_file to PVE's own CA,"
            f' "{_PVE_FILE}", or set fingerprint'
        )
    if not cafile.authorities(path):
        return (
            f"a CA in ca_file: {cafile.shown(path)} holds no CA, but the certificate of somebody"
            f' whom one has signed; set ca_file to that CA (PVE\'s own is "{_PVE_FILE}"), or set'
            " fingerprint"
        )
    whose = "PVE's own CA" if cafile.is_of_pve(path) else "the CA"
    return (
        f"{whose} in {cafile.shown(path)}; if it is of ACME, set"
        f' ca_file = "{cafile.OF_SYSTEM[0]}" and endpoint to its name, or fingerprint'
    )


def _no_ca(path: Path, why: str) -> NoConnection:
    if str(path) == _PVE_FILE:
        advice = "a PVE host has it while pve-cluster runs; elsewhere, copy it from there"
    else:
        advice = f"PVE's own CA is {_PVE_FILE}"
    shown = printable(str(path), 150)
    return NoConnection(f"is not trusted: ca_file {shown} cannot be used: {why}; {advice}")


def _pairs(digest: str) -> str:
    return ":".join(re.findall("..", digest)).upper()
