"""Whom the agent takes for its node: who has a certificate of the configured CA, or the one whose
fingerprint is configured, or, when told so, anybody.

The CA's file is read for each connection, so that one which was renewed counts from the next on.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import ssl
from typing import cast

from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.proxmox.deadline import BoundedSocket, Bounds, NoConnection

# The handshake ended before a request could be sent.
_NO_TRUST = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER|UNSUPPORTED_PROTOCOL|HANDSHAKE_FAILURE"
)
_WHY = re.compile(r"certificate verify failed: ([^(\n]+)")


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
    try:
        context.load_verify_locations(str(config.ca_file))
    except OSError as error:
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        words = f"is not trusted: ca_file {config.ca_file} cannot be used: {why}"
        raise NoConnection(words) from None
    return context


def _shake_hands(made: BoundedSocket, config: ProxmoxConfig) -> None:
    try:
        made.do_handshake()
    except ssl.SSLError as error:
        if not _NO_TRUST.search(str(error)):
            raise
        found = _WHY.search(str(error))
        words = found[1].strip() if found else "the TLS handshake failed"
        raise NoConnection(f"is not trusted: {words}") from None
    if config.fingerprint:
        shown = hashlib.sha256(made.getpeercert(binary_form=True) or b"").hexdigest()
        if not hmac.compare_digest(shown, config.fingerprint.replace(":", "").lower()):
            raise NoConnection(
                "is not trusted: its certificate has another fingerprint than the configured one"
            )
