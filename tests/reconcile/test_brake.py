"""Too much at once is held until a person has seen it, and a power cut is not too much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from felhom_agent.config.settings import LimitsConfig
from felhom_agent.model import (
    Action,
    Change,
    DesiredGuest,
    GuestPlan,
    Kind,
    SetConfig,
    Source,
    Start,
    Stop,
)
from felhom_agent.reconcile.brake import WINDOW, Brake
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import UNSAFE
from tests.conftest import Clock

VMIDS = range(100, 400)


def change(vmid: int, value: str = "2") -> SetConfig:
    return SetConfig(vmid, Kind.QEMU, (Change("cores", "1", value),))


def stop(vmid: int) -> Stop:
    return Stop(vmid, Kind.QEMU)


def restart(vmid: int) -> Stop:
    return Stop(vmid, Kind.QEMU, restart=True)


def start(vmid: int) -> Start:
    return Start(vmid, Kind.QEMU)


class Hand:
    """A brake, the clock that it goes by, and guests that a source declares."""

    def __init__(self, source: Source = Source.HUB, guests: Iterable[int] = VMIDS) -> None:
        self.clock = Clock(0.0)
        self.counters = Counters()
        self.brake = Brake(LimitsConfig(), self.clock, counters=self.counters)
        self.source = source
        self.declared = {v: DesiredGuest(v, source=source) for v in guests}
        self.brake.declare(self.declared, self.declared)

    def allowed(self, actions: Iterable[Action]) -> list[int]:
        """Ask for each act; return the guests of which it is allowed."""
        return [a.vmid for a in actions if not self.brake.ask(a, self.source)]

    def review(self, actions: Sequence[Action]) -> str:
        """Let a pass plan these acts, of one guest each; return the id of what is held."""
        plans = {a.vmid: GuestPlan(a.vmid, actions=(a,)) for a in actions}
        return self.brake.review(plans, self.declared).plan_id


def test_a_hub_that_changes_more_than_a_third_of_many_guests_is_held_beyond_that() -> None:
    hand = Hand()
    assert hand.allowed(change(v) for v in VMIDS) == list(VMIDS)[:90]


def test_a_few_changes_are_never_too_many_however_small_the_host() -> None:
    hand = Hand(guests=range(100, 112))
    assert len(hand.allowed(change(v) for v in range(100, 112))) == 10


@pytest.mark.parametrize(("act", "most"), [(stop, 5), (restart, 3)])
@pytest.mark.parametrize("source", Source)
def test_stops_and_restarts_beyond_their_limits_are_held_for_every_source(
    act: type[Action], most: int, source: Source
) -> None:
    assert len(Hand(source).allowed(act(v) for v in VMIDS)) == most  # type: ignore[call-arg]


def test_changes_by_the_owners_own_files_are_warned_of_once_and_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hand = Hand(Source.FILE)
    assert hand.allowed(change(v) for v in VMIDS) == list(VMIDS)
    assert caplog.text.count("unusually large") == 1


def test_the_starts_after_a_power_cut_never_count() -> None:
    hand = Hand()
    assert hand.allowed(start(v) for v in VMIDS) == list(VMIDS)


def test_a_stop_and_a_start_of_two_generations_count_as_a_restart_and_the_start_is_done() -> None:
    hand = Hand()
    for vmid in (100, 101, 102, 103):
        assert hand.allowed([stop(vmid), start(vmid)]) == [vmid, vmid]
    assert hand.allowed([restart(200)]) == []


def test_one_guest_that_is_changed_often_counts_once() -> None:
    hand = Hand(guests=range(100, 120))
    for value in range(50):
        assert hand.allowed([change(100, str(value))]) == [100]
    assert len(hand.allowed(change(v) for v in range(101, 120))) == 9


def test_an_hour_later_there_is_room_again() -> None:
    hand = Hand()
    assert len(hand.allowed(stop(v) for v in VMIDS)) == 5
    hand.clock.pass_by(WINDOW - 1)
    assert hand.allowed([stop(300)]) == []
    hand.clock.pass_by(1)
    assert len(hand.allowed(stop(v) for v in VMIDS)) == 5


def test_what_one_source_does_is_not_counted_for_another() -> None:
    hand = Hand()
    assert len(hand.allowed(stop(v) for v in VMIDS)) == 5
    assert not hand.brake.ask(stop(300), Source.FILE)


def test_an_approval_lets_exactly_what_was_held_pass_for_an_hour() -> None:
    hand = Hand()
    acts = [stop(v) for v in range(100, 110)]
    assert hand.allowed(acts) == [100, 101, 102, 103, 104]
    held = acts[5:]
    plan_id = hand.review(held)
    assert f"felhom-agent approve {plan_id}" in hand.brake.ask(acts[5], Source.HUB)
    assert hand.brake.approve(plan_id) == 5
    assert hand.allowed(held) == [105, 106, 107, 108, 109]
    assert hand.allowed([stop(200)]) == []
    hand.clock.pass_by(WINDOW)
    assert len(hand.allowed(stop(v) for v in range(300, 320))) == 5


def test_an_approval_is_over_after_an_hour_whether_or_not_it_was_used() -> None:
    hand = Hand()
    hand.allowed(stop(v) for v in range(100, 105))
    assert hand.brake.approve(hand.review([stop(105)]))
    hand.clock.pass_by(WINDOW)
    hand.allowed(stop(v) for v in range(200, 205))
    assert hand.allowed([stop(105)]) == []


def test_another_value_for_the_same_key_is_another_act() -> None:
    hand = Hand(guests=range(100, 112))
    hand.allowed(change(v) for v in range(100, 110))
    assert hand.brake.approve(hand.review([change(110, "4")])) == 1
    assert hand.allowed([change(110, "8")]) == []
    assert hand.allowed([change(110, "4")]) == [110]


@pytest.mark.parametrize("plan_id", ["", "0123456789ab"])
def test_what_has_no_such_name_cannot_be_approved(plan_id: str) -> None:
    hand = Hand()
    hand.allowed(stop(v) for v in range(100, 105))
    assert hand.brake.approve(plan_id) == 0
    hand.review([stop(105)])
    assert hand.brake.approve(plan_id) == 0
    assert hand.allowed([stop(105)]) == []


def test_the_same_acts_keep_their_name_from_pass_to_pass_and_a_new_one_changes_it() -> None:
    hand = Hand()
    hand.allowed(stop(v) for v in range(100, 105))
    first = hand.review([stop(105), stop(106)])
    assert hand.review([stop(106), stop(105)]) == first
    assert hand.review([stop(105), stop(106), stop(107)]) != first


def test_what_is_only_looked_at_does_not_count() -> None:
    hand = Hand()
    for _ in range(10):
        hand.review([stop(v) for v in VMIDS])
    assert len(hand.allowed(stop(v) for v in VMIDS)) == 5


def test_an_act_that_is_asked_for_twice_counts_once() -> None:
    """Before it is written down, and again right before the call."""
    hand = Hand()
    acts = [stop(v) for v in range(100, 106)]
    assert hand.allowed([*acts[:5], *acts[:5], acts[5]]) == [100, 101, 102, 103, 104] * 2


def test_a_hub_may_be_allowed_fewer_stops_than_a_file() -> None:
    for source, most in ((Source.HUB, 2), (Source.FILE, 5)):
        hand = Hand(source)
        hand.brake.adopt(LimitsConfig(), hub_stops=2)
        assert len(hand.allowed(stop(v) for v in VMIDS)) == most


def test_what_is_held_is_said_once_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    hand = Hand()
    hand.allowed(stop(v) for v in range(100, 105))
    for _ in range(3):
        plan_id = hand.review([stop(105), stop(106)])
    assert caplog.text.count(f"`felhom-agent approve {plan_id}` lets them pass") == 1


def test_a_guest_that_is_stopped_and_started_over_and_over_counts_each_time() -> None:
    hand = Hand()
    done = [len(hand.allowed([stop(100), stop(100), start(100), start(100)])) for _ in range(7)]
    assert done == [4, 4, 4, 4, 4, 2, 2]
    hand.clock.pass_by(WINDOW)
    assert hand.allowed([stop(100)]) == [100]


def test_a_plan_that_is_held_is_counted_once_and_another_one_is_counted_again() -> None:
    hand = Hand()
    for held in (range(100, 110), range(100, 110), range(120, 130)):
        assert hand.review([stop(v) for v in held])
    hand.review([])
    assert hand.counters.snapshot().counters[UNSAFE] == {(): 2}
