"""Whom the agent takes for the server that it calls: who has a certificate of the CA that was set,
or of one that this host trusts.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from felhom_agent.errors import NoAnswer


def context_for(ca_file: Path | None) -> ssl.SSLContext:
    """Given the CA that was set, if one was, return the TLS context. Raise NoAnswer if it cannot be
    read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The paths that are built in: those of the environment (SSL_CERT_FILE) have no say.
    known = ssl.get_default_verify_paths()
    file = str(ca_file) if ca_file else _if_there(known.openssl_cafile)
    directory = None if ca_file else _if_there(known.openssl_capath)
    try:
        if file or directory:
            context.load_verify_locations(file, directory)
    except OSError as error:
        why = error.strerror if not isinstance(error, ssl.SSLError) else "it holds no certificate"
        raise NoAnswer(f"the CA for it cannot be used: {file}: {why}") from None
    return context


def _if_there(path: str) -> str | None:
    return path if Path(path).exists() else None
