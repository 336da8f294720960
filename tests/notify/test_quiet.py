"""Nobody is woken because of a backup, and what a backup left behind is told."""

from __future__ import annotations

from felhom_agent.notify.notice import Notice
from felhom_agent.notify.quiet import GRACE, MAX_KEPT, MAX_QUIET, Backups, QuietGuests
from tests.notify.receiver import notice

LOCKED = "guest 101 web: blocked: locked (backup); then cores 8 -> 2"
NOBODY = Backups(1.0)


def held(at: float, *vmids: int) -> Backups:
    return Backups(at, frozenset(vmids))


def released(quiet: QuietGuests, backups: Backups, now: float) -> list[Notice]:
    return list(quiet.released(backups, now))


def test_what_is_said_of_a_guest_under_a_backup_is_kept_back_until_the_lock_is_gone() -> None:
    quiet, said = QuietGuests(), notice("guest-refused")
    assert quiet.take(said, held(90.0, 101), 100.0, wanted=True)
    assert released(quiet, held(150.0, 101), 160.0) == []
    assert released(quiet, held(200.0), 201.0) == []
    assert released(quiet, held(200.0), 200.0 + GRACE) == []
    assert released(quiet, held(200.0), 201.0 + GRACE) == [said]
    assert not quiet.waits


def test_that_it_is_locked_is_kept_back_before_a_pass_has_seen_the_lock() -> None:
    quiet = QuietGuests()
    assert quiet.take(notice(text=LOCKED), NOBODY, 100.0, wanted=True)
    # A pass that began before it was said knows nothing of it.
    assert released(quiet, held(99.0), 100.0 + 2 * GRACE) == []
    assert released(quiet, held(170.0, 101), 171.0 + 2 * GRACE) == []
    assert quiet.waits


def test_what_is_settled_by_then_is_dropped_and_so_is_the_word_that_it_is() -> None:
    quiet = QuietGuests()
    quiet.take(notice(text=LOCKED), NOBODY, 100.0, wanted=True)
    quiet.take(notice("guest-converged"), NOBODY, 130.0, wanted=True)
    assert released(quiet, held(200.0), 201.0) == []
    assert released(quiet, held(200.0), 201.0 + GRACE) == []
    assert not quiet.waits


def test_a_good_end_of_which_nothing_bad_was_said_is_told() -> None:
    quiet, good = QuietGuests(), notice("guest-converged")
    quiet.take(good, held(90.0, 101), 100.0, wanted=True)
    released(quiet, held(200.0), 201.0)
    assert released(quiet, held(200.0), 201.0 + GRACE) == [good]


def test_of_how_a_guest_is_only_the_latest_word_is_told() -> None:
    quiet, last = QuietGuests(), notice("guest-refused", text="guest 101 web: refused: no")
    quiet.take(notice(text=LOCKED), NOBODY, 100.0, wanted=True)
    quiet.take(notice("host-frozen"), NOBODY, 110.0, wanted=True)
    quiet.take(last, NOBODY, 120.0, wanted=True)
    released(quiet, held(200.0), 201.0)
    assert released(quiet, held(200.0), 231.0) == [notice("host-frozen"), last]


def test_what_nobody_wants_to_hear_settles_and_is_not_told() -> None:
    quiet = QuietGuests()
    quiet.take(notice(text=LOCKED), NOBODY, 100.0, wanted=True)
    assert quiet.take(notice("guest-retry"), NOBODY, 120.0, wanted=False)
    released(quiet, held(200.0), 201.0)
    assert released(quiet, held(200.0), 231.0) == []


def test_a_lock_that_comes_back_within_the_grace_is_the_same_night() -> None:
    quiet = QuietGuests()
    quiet.take(notice(text=LOCKED), NOBODY, 100.0, wanted=True)
    released(quiet, held(200.0), 201.0)
    assert released(quiet, held(210.0, 101), 211.0 + GRACE) == []
    assert quiet.waits


def test_that_it_is_locked_again_begins_the_wait_anew() -> None:
    quiet, again = QuietGuests(), notice(text=LOCKED)
    quiet.take(notice("guest-retry"), held(90.0, 101), 100.0, wanted=True)
    released(quiet, held(200.0), 201.0)
    quiet.take(again, held(200.0), 210.0, wanted=True)
    assert released(quiet, held(200.0), 210.0 + GRACE) == []
    released(quiet, held(300.0), 301.0)
    assert released(quiet, held(300.0), 301.0 + GRACE) == [again]


def test_a_lock_that_a_crash_left_behind_is_told_in_the_end() -> None:
    quiet, said = QuietGuests(), notice(text=LOCKED)
    quiet.take(said, NOBODY, 100.0, wanted=True)
    assert released(quiet, held(10**6, 101), 99.0 + MAX_QUIET) == []
    assert released(quiet, held(10**6, 101), 100.0 + MAX_QUIET) == [said]


def test_other_guests_and_the_host_are_not_quiet() -> None:
    quiet = QuietGuests()
    assert not quiet.take(notice(vmid=102), held(90.0, 101), 100.0, wanted=True)
    assert not quiet.take(notice("node-away", None), held(90.0, 101), 100.0, wanted=True)


def test_what_is_kept_of_a_guest_is_bounded() -> None:
    quiet = QuietGuests()
    for number in range(3 * MAX_KEPT):
        each = notice("guest-paused", text=str(number))
        quiet.take(each, held(90.0, 101), 100.0, wanted=True)
    released(quiet, held(200.0), 201.0)
    found = released(quiet, held(200.0), 231.0)
    assert [each.text for each in found] == [str(n) for n in range(2 * MAX_KEPT, 3 * MAX_KEPT)]
