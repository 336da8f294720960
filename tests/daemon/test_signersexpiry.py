"""A set of signers that ends is told of in time, and not at each pass."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from felhom_agent.authz.refusals import SignersUnreadable
from felhom_agent.authz.signers import SignerSet
from felhom_agent.daemon.signersexpiry import WARNED_SECONDS, SignersExpiry

DAY = 86400.0
END = 1_900_000_000.0


@dataclass
class Signers:
    """The set in force, as a test wants it; None: it cannot be told now."""

    found: SignerSet | None = field(
        default_factory=lambda: SignerSet(Path("signers"), present=True, version=4, expires=END)
    )

    def __call__(self) -> SignerSet:
        if self.found is None:
            raise SignersUnreadable("the disk does not give it")
        return self.found


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    caplog.clear()
    return said


def test_from_thirty_days_before_it_is_told_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    expiry = SignersExpiry(Signers())
    expiry.tell(END - WARNED_SECONDS - 1)
    assert told(caplog) == []
    for seconds in (0.0, 60.0, DAY - 1, DAY, DAY + 60):
        expiry.tell(END - WARNED_SECONDS + seconds)
    assert [text.split(",")[1].strip() for text in told(caplog)] == ["version 4"] * 2


def test_its_end_is_told_at_once_and_then_daily(caplog: pytest.LogCaptureFixture) -> None:
    expiry = SignersExpiry(Signers())
    expiry.tell(END - 10)
    expiry.tell(END - 5)
    assert "ends at" in told(caplog)[0]
    for seconds in (0.0, 60.0, DAY + 1):
        expiry.tell(END + seconds)
    said = told(caplog)
    assert len(said) == 2
    assert all("has ended at" in text and "is held" in text for text in said)


def test_another_set_is_told_of_anew_and_one_without_an_end_never(
    caplog: pytest.LogCaptureFixture,
) -> None:
    signers = Signers()
    expiry = SignersExpiry(signers)
    expiry.tell(END - 10)
    assert signers.found is not None
    signers.found = replace(signers.found, version=5, expires=END + DAY)
    expiry.tell(END - 9)
    assert len(told(caplog)) == 2
    signers.found = replace(signers.found, version=6, expires=None)
    expiry.tell(END + 10 * DAY)
    assert told(caplog) == []


def test_where_it_cannot_be_told_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    SignersExpiry(Signers(None)).tell(END)
    assert told(caplog) == []
