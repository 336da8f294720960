"""Each receiver gets a notice in the form that it takes, and its token where it looks for it."""

from __future__ import annotations

import json

import pytest

from felhom_agent.config.notifywords import Preset
from felhom_agent.config.secret import Secret
from felhom_agent.notify.presets import request_of
from tests.notify.receiver import notice

TOKEN = Secret("tk-0123456789")
MESSAGE = "guest 101 web: blocked: it is paused\n\nLook at it."
TITLE = "pve1: A guest waits for a person"


def test_our_own_json_is_the_notice() -> None:
    headers, body = request_of(Preset.JSON, notice(), None)
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == notice().as_json()


def test_gotify_gets_title_message_and_a_priority_by_how_bad_it_is() -> None:
    _, body = request_of(Preset.GOTIFY, notice(), None)
    assert json.loads(body) == {"title": TITLE, "message": MESSAGE, "priority": 5}
    _, body = request_of(Preset.GOTIFY, notice(level="error"), None)
    assert json.loads(body)["priority"] == 8


def test_ntfy_gets_the_message_as_text_and_the_rest_as_headers() -> None:
    headers, body = request_of(Preset.NTFY, notice(text="caf\u00e9", node="n\u00f6de"), None)
    assert body.decode() == "caf\u00e9\n\nLook at it."
    assert headers["Title"] == "n\\xf6de: A guest waits for a person"
    assert (headers["Priority"], headers["Tags"]) == ("3", "guest-blocked")


def test_pves_form_has_the_names_of_its_webhook_targets() -> None:
    _, body = request_of(Preset.PVE, notice(fields={"outcome": "blocked", "type": "odd"}), None)
    assert json.loads(body) == {
        "title": TITLE,
        "message": MESSAGE,
        "severity": "warning",
        "timestamp": 1_800_000_000,
        "fields": {
            "type": "felhom-agent", "hostname": "pve1", "event": "guest-blocked", "vmid": "101",
            "outcome": "blocked",
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "name", "value"),
    [
        (Preset.JSON, "Authorization", "Bearer tk-0123456789"),
        (Preset.NTFY, "Authorization", "Bearer tk-0123456789"),
        (Preset.PVE, "Authorization", "Bearer tk-0123456789"),
        (Preset.GOTIFY, "X-Gotify-Key", "tk-0123456789"),
    ],
)
def test_the_token_stands_in_one_header_and_nowhere_else(
    preset: Preset, name: str, value: str
) -> None:
    headers, body = request_of(preset, notice(), TOKEN)
    assert headers.pop(name) == value
    assert "tk-0123456789" not in str(headers) + body.decode()
    assert name not in request_of(preset, notice(), None)[0]
