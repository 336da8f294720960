"""How many guests are changed at once, by rules alone."""

from __future__ import annotations

import math

from felhom_agent.daemon.places import HANDOVER, OVERRUN, Places, may_restart
from felhom_agent.daemon.record import Run
from felhom_agent.planning.actions import Need


def runs(*began: float) -> list[Run]:
    return [Run(moment, Need.POWER) for moment in began]


def test_a_place_is_free_while_fewer_run_than_allowed() -> None:
    assert Places(2).is_free(Need.POWER, runs(), 0)
    assert Places(2).is_free(Need.POWER, runs(0), 0)
    assert not Places(2).is_free(Need.POWER, runs(0, 0), HANDOVER - 0.1)


def test_a_place_is_given_back_after_the_handover_time() -> None:
    assert Places(2).is_free(Need.POWER, runs(0, 1), HANDOVER)
    assert Places(2).next_free(Need.POWER, runs(0, 1), 5) == HANDOVER
    assert Places(2).next_free(Need.POWER, runs(0, 1), HANDOVER) == HANDOVER + 1
    assert Places(2).next_free(Need.POWER, runs(), 0) == math.inf


def test_guests_that_were_left_running_are_bounded() -> None:
    old = runs(*[0.0] * (2 * OVERRUN))
    assert Places(2).is_free(Need.POWER, old[1:], 1e9)
    assert not Places(2).is_free(Need.POWER, old, 1e9)
    assert Places(2).next_free(Need.POWER, old, 1.0) == math.inf


def test_a_lowered_limit_holds_for_whoever_comes_next() -> None:
    assert not Places(1).is_free(Need.POWER, runs(0, 0, 0), 1)


def test_the_place_for_restarts_is_one_and_is_never_given_back_by_time() -> None:
    assert may_restart(runs(0, 0))
    assert not may_restart([Run(-1e9, Need.RESTART), Run(0, Need.POWER)])


def test_a_change_of_a_configuration_and_a_start_wait_for_different_places() -> None:
    starting = runs(0, 0)
    changing = [Run(0, Need.CHANGE), Run(0, Need.CHANGE)]
    places = Places(2, changes=2)
    assert places.is_free(Need.CHANGE, starting, 1)
    assert not places.is_free(Need.POWER, starting, 1)
    assert places.is_free(Need.POWER, changing, 1)
    assert not places.is_free(Need.CHANGE, changing, 1)
    assert places.next_free(Need.CHANGE, starting, 1) == math.inf
    assert places.next_free(Need.CHANGE, changing, 1) == HANDOVER


def test_a_restart_holds_a_place_of_those_that_start() -> None:
    assert not Places(1).is_free(Need.POWER, [Run(0, Need.RESTART)], 1)
