"""A flood is slowed down, and its source alone."""

from __future__ import annotations

from felhom_agent.authz.rate import BURST, SECONDS_EACH, Rate
from tests.conftest import Clock


def test_a_burst_is_let_through_and_then_one_at_a_time() -> None:
    clock = Clock()
    rate = Rate(clock)
    assert [rate.take("hub") for _ in range(BURST)] == [0.0] * BURST
    wait = rate.take("hub")
    assert 0 < wait <= SECONDS_EACH
    assert rate.take("socket") == 0.0
    clock.pass_by(SECONDS_EACH + 0.1)
    assert rate.take("hub") == 0.0
    assert rate.take("hub") > 0


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    clock = Clock()
    rate = Rate(clock)
    for _ in range(BURST):
        rate.take("hub")
    clock.pass_by(-10_000)
    assert rate.take("hub") > 0


def test_made_up_sources_share_one_bucket() -> None:
    rate = Rate(Clock())
    found = [rate.take(f"source {n}") for n in range(1000)]
    assert found.count(0.0) <= 64 + BURST
