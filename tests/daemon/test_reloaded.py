"""A reload says what it found."""

from __future__ import annotations

from types import MappingProxyType

from felhom_agent.daemon.reloaded import MAX_NAMED, summary
from felhom_agent.model import Desired, DesiredGuest, Mode, RunState


def desired(*guests: DesiredGuest, held: tuple[int, ...] = (), **words: object) -> Desired:
    return Desired(
        MappingProxyType({guest.vmid: guest for guest in guests}),
        held=MappingProxyType(dict.fromkeys(held, "wrong")),
        **words,  # type: ignore[arg-type]
    )


WEB, DB = DesiredGuest(101, state=RunState.RUNNING), DesiredGuest(102)


def test_it_names_what_is_new_changed_and_no_longer_declared() -> None:
    before = desired(WEB, DB, DesiredGuest(110))
    now = desired(DesiredGuest(101, state=RunState.STOPPED), DB, DesiredGuest(105))
    assert summary(before, now) == (
        "3 guests declared; new: 105; changed: 101; no longer declared, left as they are: 110"
    )


def test_a_guest_that_is_declared_in_another_mode_has_changed() -> None:
    now = desired(DesiredGuest(102, mode=Mode.OBSERVE))
    assert summary(desired(DB), now) == "1 guest declared; changed: 102"


def test_nothing_new_is_said_to_be_as_before() -> None:
    assert summary(desired(WEB, DB), desired(WEB, DB)) == "2 guests declared; as before"
    assert summary(desired(), desired()) == "0 guests declared; as before"


def test_a_guest_that_cannot_be_followed_is_declared_and_held() -> None:
    assert summary(desired(WEB), desired(held=(101,))) == (
        "1 guest declared; held until their file is mended: 101"
    )
    assert summary(desired(held=(101,)), desired(WEB)) == "1 guest declared; changed: 101"


def test_a_file_that_is_being_written_is_told_with_when_it_is_read() -> None:
    now = desired(WEB, unsettled=("/etc/felhom-agent/guests.d/shop.toml",), settles_in=1.7)
    assert summary(desired(WEB), now) == (
        "1 guest declared; as before; written just now, read in 2 s: shop.toml"
    )


def test_long_lists_are_cut_with_their_count() -> None:
    now = desired(*map(DesiredGuest, range(100, 400)))
    told = summary(desired(), now)
    assert told.endswith(f"and {300 - MAX_NAMED} more")
    assert len(told) < 200
