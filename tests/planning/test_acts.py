"""Actions by what they need, as declarations, and as fingerprints that a person agrees to."""

from __future__ import annotations

import pytest

from felhom_agent.model import (
    ABSENT,
    Action,
    Change,
    DesiredGuest,
    Kind,
    RunState,
    SetConfig,
    Start,
    Stop,
    StopPolicy,
)
from felhom_agent.planning.actions import Need, as_desired, describe, need_of
from felhom_agent.planning.acts import print_of, prints_of

QEMU = Kind.QEMU
START, STOP = Start(100, QEMU), Stop(100, QEMU)
RESTART = Stop(100, QEMU, restart=True)
CORES, NAME = Change("cores", "1", "2"), Change("name", "a", ABSENT)
SET, BOTH = SetConfig(100, QEMU, (CORES,)), SetConfig(100, QEMU, (CORES, NAME))


@pytest.mark.parametrize(
    ("actions", "need"),
    [
        ([], Need.CHANGE),
        ([SET], Need.CHANGE),
        ([START], Need.POWER),
        ([STOP], Need.POWER),
        ([SET, START], Need.POWER),
        ([STOP, SET], Need.POWER),
        ([RESTART, START], Need.RESTART),
        # The place for a restart is asked for when it is due.
        ([SET, RESTART, START], Need.POWER),
    ],
)
def test_what_actions_need_as_far_as_the_first_restart(actions: list[Action], need: Need) -> None:
    assert need_of(actions) is need
    assert Need.CHANGE < Need.POWER < Need.RESTART


def test_an_action_is_a_declaration_too() -> None:
    assert as_desired(START) == DesiredGuest(100, QEMU, RunState.RUNNING)
    assert as_desired(STOP) == DesiredGuest(100, QEMU, RunState.STOPPED)
    found = as_desired(BOTH)
    assert (found.vmid, found.kind, found.state) == (100, QEMU, None)
    assert dict(found.config) == {"cores": "2"}
    assert found.unset == frozenset({"name"})
    assert [describe(action) for action in (START, STOP)] == ["start", "shut down"]


def test_acts_that_differ_in_anything_that_is_done_have_different_fingerprints() -> None:
    acts: list[Action] = [
        START, Start(101, QEMU), STOP, RESTART, Stop(100, QEMU, StopPolicy.POWER_OFF), SET, BOTH,
        SetConfig(100, QEMU, (Change("cores", "1", "3"),)),
        SetConfig(100, QEMU, (Change("cores", "1", ABSENT),)),
        SetConfig(100, QEMU, (Change("memory", "1", "2"),)),
        SetConfig(101, QEMU, (CORES,)),
    ]  # fmt: skip
    assert len({print_of(act) for act in acts}) == len(acts)
    assert {len(print_of(act)) for act in acts} == {32}


def test_what_was_there_before_is_no_part_of_what_was_agreed_to() -> None:
    assert print_of(SET) == print_of(SetConfig(100, QEMU, (Change("cores", "7", "2"),), "digest"))


def test_who_agreed_to_some_changes_agreed_to_fewer_of_them() -> None:
    assert prints_of([BOTH, START]) == {
        print_of(SET), print_of(SetConfig(100, QEMU, (NAME,))), print_of(START),
    }  # fmt: skip
    assert prints_of([]) == frozenset()
