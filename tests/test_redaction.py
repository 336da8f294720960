"""No secret leaves, whoever put it into a text."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from types import MappingProxyType
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent import redaction
from felhom_agent.config.secret import Secret
from felhom_agent.errors import PveError, Rejected, TaskFailed
from felhom_agent.journal.operation import intent
from felhom_agent.model import ABSENT, Change, Desired, DesiredGuest, GuestPlan, Kind, SetConfig
from felhom_agent.redaction import MASK, redacted, remember, safe_text

TOKEN = "0f7b2d1e-5c1a-4bcd-9e01-123456789abc"
ODD = 'p/w+d =&%<"x>\\'


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember these two for one test."""
    monkeypatch.setattr(redaction, "_known", ())
    Secret(TOKEN)
    Secret(ODD)


@pytest.mark.parametrize("secret", [TOKEN, ODD], ids=["token", "odd"])
@pytest.mark.parametrize(
    "form",
    [
        str,
        repr,
        json.dumps,
        html.escape,
        quote,
        quote_plus,
        lambda text: quote(text, safe=""),
        lambda text: quote(quote(text, safe=""), safe=""),
        lambda text: quote(text, safe="").lower(),
        lambda text: "".join(f"%{b:02X}" for b in text.encode()),
        lambda text: text.encode().hex(),
        str.upper,
        lambda text: f"Authorization: PVEAPIToken=felhom-agent@pve!agent={text}",
    ],
)
def test_a_secret_is_found_in_every_usual_form(secret: str, form: Callable[[str], str]) -> None:
    assert redacted(f"before {form(secret)} after").count(MASK) == 1
    assert secret not in redacted(form(secret))


@given(st.binary(max_size=9), st.binary(max_size=9))
def test_a_secret_is_found_in_base64_wherever_it_stands(before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + TOKEN.encode() + after).decode()
        assert MASK in redacted(text)
        # What is left of it are the bits that a neighbour's share a character with.
        assert len(redacted(text)) - len(MASK) <= len(text) - len(TOKEN) * 4 // 3 + 2


def test_a_secret_of_a_few_letters_does_not_shred_the_log() -> None:
    Secret("guest")
    Secret("")
    assert redacted("guest 101: done") == "guest 101: done"


def test_half_a_secret_at_the_end_of_a_cut_text_is_not_shown() -> None:
    for shift in range(len(TOKEN) + 1):
        text = " " * ((1 << 20) - shift) + TOKEN + "x"
        assert TOKEN[:6] not in redacted(text)


def test_many_secrets_do_not_make_it_forget_the_latest() -> None:
    for number in range(100):
        remember(f"another secret {number}")
    remember(TOKEN)
    assert len(redaction._known) <= 16
    assert redacted(TOKEN) == MASK


def test_a_secret_is_taken_out_before_a_text_is_cut() -> None:
    assert safe_text(f"{'x' * 20}{TOKEN}", 30) == f"{'x' * 20}{MASK}"
    assert TOKEN[:4] not in safe_text(f"{'x' * 20}{TOKEN} and more", 30)


def test_what_is_declared_shows_no_password() -> None:
    guest = DesiredGuest(100, config=MappingProxyType({"cipassword": "hunter22"}))
    change = Change("cipassword", ABSENT, "hunter22", secret=True)
    action = SetConfig(100, Kind.QEMU, (change,))
    everything = (guest, Desired(MappingProxyType({100: guest})), action, GuestPlan(100), [change])
    for value in (*everything, intent("op", action, 0.0)):
        assert "hunter22" not in f"{value!r} {value}"


def test_an_error_keeps_no_secret_that_the_other_side_quotes() -> None:
    errors = (
        PveError(f"it says {TOKEN}", call="GET /version"),
        Rejected("no", errors={"name": f"not {TOKEN}"}),
        TaskFailed(f"with {TOKEN}", upid="UPID:x", log=(f"--token {TOKEN}",)),
    )
    for error in errors:
        assert TOKEN not in f"{error!r} {error} {vars(error)}"
