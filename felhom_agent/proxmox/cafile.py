"""The file of the CA by which the agent knows its node: whose it is, and why it is of no use."""

from __future__ import annotations

import os
import ssl
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from felhom_agent import regularfile
from felhom_agent.printable import printable

OF_SYSTEM: Final = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/ssl/cert.pem"))
"""The files with the CAs that a host trusts."""
OF_PVE: Final = "pve-root-ca.pem"
"""What the file of PVE's own CA is called, on a node as among a service's credentials."""
_ORGANIZATION: Final = "PVE Cluster Manager CA"
"""What PVE names as the organization of its own CA (PVE: PVE/Cluster/Setup.pm gen_pveca_cert)."""


def shown(path: Path) -> str:
    """Given a path, return it for a message."""
    return printable(str(path), 120)


def is_of_system(path: Path) -> bool:
    """Given a file, return whether it has the CAs that this host trusts, be it by another name."""
    try:
        real = path.resolve()
        return any(path == of_system or real == of_system.resolve() for of_system in OF_SYSTEM)
    except (OSError, ValueError, RuntimeError):
        return False


def is_of_pve(path: Path) -> bool:
    """Given a file, return whether it has PVE's own CA, by its name or by whom it is of, and none
    of anybody else.
    """
    if is_of_system(path):
        return False
    found = authorities(path)
    return path.name == OF_PVE or (bool(found) and all(map(_is_made_by_pve, found)))


def authorities(path: Path) -> list[Mapping[str, Any]]:
    """Given a file, return the CAs in it as `ssl.SSLContext.get_ca_certs` tells them; none if there
    are none, or it cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(str(path))
    except (OSError, ValueError):
        return []
    return list(context.get_ca_certs())


def out_of_time(path: Path) -> tuple[list[str], list[str], int]:
    """Given a file, return when those of its CAs that have expired did, when those that are not
    valid yet will be, and how many CAs it has.
    """
    found, now = authorities(path), time.time()
    ended = [str(ca["notAfter"]) for ca in found if _seconds(ca, "notAfter", now) < now]
    later = [str(ca["notBefore"]) for ca in found if _seconds(ca, "notBefore", now) > now]
    return ended, later, len(found)


def why_no_file(path: Path) -> str:
    """Given a path, return why it is no file that can be read; empty if it is one."""
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


def why_no_certificate(path: Path) -> str:
    """Given a file that holds no certificate that can be read, return what is in it."""
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


def _is_made_by_pve(ca: Mapping[str, Any]) -> bool:
    parts = [pair for name in ca.get("subject", ()) for pair in name]
    return ("organizationName", _ORGANIZATION) in parts


def _seconds(ca: Mapping[str, Any], key: str, otherwise: float) -> float:
    try:
        return float(ssl.cert_time_to_seconds(str(ca[key])))
    except (KeyError, ValueError):
        return otherwise
