"""One line on what an envelope asks for, or what its signed bytes say that is done.

It helps to tell jobs apart in a list. Nothing follows from it: the bytes are not judged here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from felhom_agent.devhub.plain import listed, plain, shown, table

_LONGEST: Final = 300
_MAX_PARAMS: Final = 5


def summary(envelope: Mapping[str, Any]) -> str:
    """Given an envelope, of whatever form, return what it is about."""
    if "request" in envelope:
        return plain(" ".join(_act(table(envelope, "request"))) or "request", _LONGEST)
    count = len(listed(envelope, "sigs_armored"))
    words = " ".join(_act(_operation(envelope.get("op_blob_b64")))) or "unknown"
    return plain(f"{words}; {count} signature{'' if count == 1 else 's'}", _LONGEST)


def _operation(blob: object) -> dict[str, Any]:
    """Return what the signed bytes hold; an empty object if that is none."""
    if not isinstance(blob, str):
        return {}
    try:
        found = json.loads(base64.b64decode(blob))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _act(said: dict[str, Any]) -> Iterator[str]:
    for key in ("act", "vmid", "name"):
        if word := shown(said.get(key)):
            yield word
    for name, value in list(table(said, "params").items())[:_MAX_PARAMS]:
        yield f"{name}={shown(value)}"
    for key in ("stop", "resume"):
        if said.get(key) is True:
            yield key
