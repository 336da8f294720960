"""What may be signed: an operation on a guest, or one on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from felhom_agent.authz.blob import SignedOperation, from_json
from felhom_agent.authz.canonical import decode
from felhom_agent.authz.hostblob import HostOperation, host_from_json, is_host_form

Operation = SignedOperation | HostOperation


def parse(blob: bytes) -> Operation:
    """Given the signed bytes, return what they say. Raise NotCanonical if they are not the one form
    of an operation.
    """
    return operation_of(decode(blob))


def operation_of(found: Mapping[str, Any]) -> Operation:
    """Given a JSON object, return it as an operation. Raise NotCanonical if it is none."""
    return host_from_json(found) if is_host_form(found) else from_json(found)
