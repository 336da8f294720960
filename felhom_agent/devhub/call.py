"""One call of the hub's wire: who makes it, what it carries, and how it is refused.

Agents show their key as `Authorization: Bearer`, the operator theirs likewise, or, in a browser, as
the password of user "operator". A form that another site makes a browser send is refused by its
Origin. JSON is read within bounds: what was accepted can be kept, read again and shown.
"""

from __future__ import annotations

import base64
import hmac
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from felhom_agent.devhub.plain import is_deeper, plain
from felhom_agent.devhub.store import Host, Store

_MAX_LEVELS: Final = 32
_MAX_FIELDS: Final = 32


class Refusal(Exception):
    """A request is refused with a status, in words."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass
class Reply:
    """An answer; `body` is JSON unless it is a text (a page) or bytes (a file), or None."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Hub(Protocol):
    """What the answers need of the hub; `clock` tells seconds since the epoch."""

    store: Store
    operator_key: str
    poll_seconds: int
    clock: Callable[[], float]


@dataclass(frozen=True)
class Call:
    """A request that came in, whole."""

    hub: Hub
    headers: Message
    body: bytes

    def caller(self) -> str:
        """Return the host whose key it has. Raise Refusal if it is nobody's."""
        host_id = self.hub.store.owner(self._key())
        if not host_id:
            raise Refusal(401, "the key is nobody's")
        return host_id

    def only(self, host_id: str) -> None:
        """Raise Refusal unless it has the key of this host."""
        if self.caller() != host_id:
            raise Refusal(403, "the key is another host's")

    def operator(self) -> None:
        """Raise Refusal unless it has the operator's key."""
        if not hmac.compare_digest(self._key().encode(), self.hub.operator_key.encode()):
            raise Refusal(401, "the key is not the operator's")

    def operator_of(self, host_id: str) -> Host:
        """Return the host that the operator speaks of. Raise Refusal if it is not the operator, or
        there is no such host.
        """
        self.operator()
        if (host := self.hub.store.host(host_id)) is None:
            raise Refusal(404, "there is no such host")
        return host

    def own_form(self, *names: str) -> dict[str, str]:
        """Return the fields of a form of our own page, which has fields of these names and no
        others; one that is missing is empty. Raise Refusal if it is another site's, or malformed.
        """
        origin = self.headers.get("Origin")
        if origin and _place(origin) != self.headers.get("Host"):
            raise Refusal(403, "the form is another site's")
        try:
            text = self.body.decode()
            pairs = parse_qsl(
                text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
            )
        except ValueError:
            raise Refusal(400, "the form cannot be read") from None
        found = dict.fromkeys(names, "")
        for name, value in pairs:
            if name not in names:
                raise Refusal(400, f"the form has no field {plain(name, 60)!r}")
            found[name] = value
        if len(dict(pairs)) < len(pairs):
            raise Refusal(400, "the form has a field twice")
        return found

    def object(self) -> dict[str, Any]:
        """Return the JSON object that it carries. Raise Refusal if it carries none."""
        try:
            return read_object(self.body)
        except ValueError as error:
            raise Refusal(400, str(error)) from None

    def _key(self) -> str:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer":
            return value
        if kind == "Basic":
            try:
                return base64.b64decode(value).decode().partition(":")[2]
            except ValueError:
                return ""
        return ""


def read_object(text: str | bytes) -> dict[str, Any]:
    """Given JSON, return the object that it is. Raise ValueError, in words, if it is none."""
    try:
        found = json.loads(text, parse_constant=_refuse_number, parse_float=_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("not an object")
    if is_deeper(found, _MAX_LEVELS):
        raise ValueError(f"nested more than {_MAX_LEVELS} deep")
    return found


def _number(text: str) -> float:
    return found if math.isfinite(found := float(text)) else _refuse_number(text)


def _refuse_number(text: str) -> float:
    raise ValueError(text)


def _place(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""
