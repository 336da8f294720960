"""A notice in the form that a receiver takes, and where it takes its token. Pure.

| preset | body | token |
|---|---|---|
| json | our own JSON (`docs/notifications.md`) | `Authorization: Bearer` |
| gotify | JSON: title, message, priority | `X-Gotify-Key` |
| ntfy | the message as text; `Title`, `Priority` and `Tags` as headers | `Authorization: Bearer` |
| pve | JSON: title, message, severity, timestamp, fields, as PVE's webhook targets have them | \
`Authorization: Bearer` |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from felhom_agent.config.notifywords import Preset
from felhom_agent.config.secret import Secret
from felhom_agent.notify.notice import Notice
from felhom_agent.printable import encodable

# Gotify's go from 0 to 10, ntfy's from 1 to 5.
_GOTIFY: Final = {"error": 8, "warning": 5, "info": 2}
_NTFY: Final = {"error": 4, "warning": 3, "info": 2}


def request_of(
    preset: Preset, notice: Notice, token: Secret | None
) -> tuple[dict[str, str], bytes]:
    """Given the form, a notice and the receiver's token, return the headers and the body."""
    headers, body = _FORMS[preset](notice)
    if token is not None:
        name, start = (
            ("X-Gotify-Key", "") if preset is Preset.GOTIFY else ("Authorization", "Bearer ")
        )
        headers[name] = f"{start}{token.reveal()}"
    return {"User-Agent": "felhom-agent", **headers}, body


def _own(notice: Notice) -> tuple[dict[str, str], bytes]:
    return _json(notice.as_json())


def _gotify(notice: Notice) -> tuple[dict[str, str], bytes]:
    return _json(
        {"title": notice.title, "message": notice.body, "priority": _GOTIFY.get(notice.level, 5)}
    )


def _ntfy(notice: Notice) -> tuple[dict[str, str], bytes]:
    headers = {
        # A header is ASCII; what is not is shown as an escape.
        "Title": encodable(notice.title, "ascii"),
        "Priority": str(_NTFY.get(notice.level, 3)),
        "Tags": notice.event,
        "Content-Type": "text/plain; charset=utf-8",
    }
    return headers, notice.body.encode("utf-8", "backslashreplace")


def _pve(notice: Notice) -> tuple[dict[str, str], bytes]:
    guest = {} if notice.vmid is None else {"vmid": str(notice.vmid)}
    own = {"type": "felhom-agent", "hostname": notice.node, "event": notice.event}
    return _json(
        {
            "title": notice.title,
            "message": notice.body,
            "severity": notice.level,
            "timestamp": int(notice.at),
            "fields": {**notice.fields, **guest, **own},
        }
    )


def _json(data: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": "application/json"}, json.dumps(data).encode("ascii")


_FORMS: Final = {
    Preset.JSON: _own,
    Preset.GOTIFY: _gotify,
    Preset.NTFY: _ntfy,
    Preset.PVE: _pve,
}
