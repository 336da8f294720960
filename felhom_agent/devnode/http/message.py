"""Requests and answers as they travel: parameters out of a body, JSON and status into one.

recorded: 81-http/001-016, 20-writes-qemu/038-051.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from felhom_agent.devnode.api.tasklist import Page
from felhom_agent.devnode.world.refusal import Refusal, unreadable
from felhom_agent.devnode.world.schema import Raw

PREFIX = "/api2/json"
LARGEST_BODY = 512 * 1024
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    """A status line and a body; an empty content type stands for a bare body."""

    status: int
    reason: str
    body: bytes = b""
    content_type: str = ""
    location: str = ""


def path_of(target: str) -> str:
    """Given the target of a request, return its path without query and "/api2/json"."""
    return unquote(urlsplit(target).path).removeprefix(PREFIX)


def params_of(target: str, content_type: str, body: bytes) -> dict[str, Raw]:
    """Given a request, return its parameters, those of the query too. Raise `Refusal`."""
    params: dict[str, Raw] = {}
    _collect(params, urlsplit(target).query)
    sort = content_type.partition(";")[0].strip().lower()
    if sort == "application/json":
        params.update(_from_json(body))
    elif sort in ("", _FORM):
        # A body without a type counts as a form. recorded: 81-http/006
        _collect(params, body.decode("utf-8", "replace"))
    elif body:
        raise unreadable(506, f"upload 'Content-Type '{content_type}' not implemented")
    return params


def _collect(params: dict[str, Raw], form: str) -> None:
    for key, value in parse_qsl(form, keep_blank_values=True, errors="replace"):
        before = params.get(key)
        if before is None:
            params[key] = value
        else:
            params[key] = [*(before if isinstance(before, list) else [before]), value]


def _from_json(body: bytes) -> dict[str, Raw]:
    try:
        parsed = json.loads(body or b"{}")
    except ValueError:
        raise unreadable(500, "malformed JSON string") from None
    if not isinstance(parsed, dict):
        raise unreadable(500, "Not a HASH reference")
    return {key: _json_raw(value) for key, value in parsed.items()}


def _json_raw(value: object) -> Raw:
    if value is None:
        return None
    if isinstance(value, list):
        return [str(_json_raw(item)) for item in value]
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def shown(params: dict[str, Raw]) -> dict[str, str]:
    """Given raw parameters, return them as a log shows them."""
    return {
        key: ",".join(raw) if isinstance(raw, list) else raw or "" for key, raw in params.items()
    }


def granted(data: object) -> Answer:
    """Given the data of a call, return the 200."""
    body: dict[str, object] = {"data": data}
    if isinstance(data, Page):
        body["data"] = data.rows
        # recorded: 02-auth/019, 40-tasks-qemu/132; no total of nothing.
        if data.total:
            body["total"] = data.total
    return _json_answer(200, "OK", body)


def refused(refusal: Refusal) -> Answer:
    """Given a refusal, return its answer."""
    if refusal.plain or not refusal.body:
        return Answer(refusal.status, refusal.reason, refusal.body.encode())
    body: dict[str, object] = {"data": None, "message": refusal.body}
    if refusal.errors:
        body["errors"] = dict(refusal.errors)
    return _json_answer(refusal.status, refusal.reason, body)


def _json_answer(status: int, reason: str, body: dict[str, object]) -> Answer:
    text = json.dumps(body, ensure_ascii=False).encode()
    return Answer(status, reason, text, "application/json;charset=UTF-8")
