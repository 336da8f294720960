"""What became of a change whose answer was lost is found out by looking, and never too early."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from felhom_agent.daemon.assembly import Parts
from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.devnode.world.schema import Raw
from felhom_agent.errors import OutcomeUnknown, StillRunning, Unchanged
from felhom_agent.irreversible import Act, DeleteSnapshot, Destroy, Rollback
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operation import Operation, State, replay
from felhom_agent.journal.operations import Operations
from felhom_agent.journal.retention import Limits, retain
from felhom_agent.model import (
    ABSENT,
    Action,
    Change,
    Converged,
    DeclaredValue,
    Desired,
    DesiredGuest,
    Kind,
    Outcome,
    Retry,
    RunState,
    SetConfig,
    Start,
    Stop,
    TypeOfAbsent,
)
from felhom_agent.reconcile.recovery import Recovery
from felhom_agent.service.names import Names
from tests.conftest import TOKEN_ID, Clock, Open, Site
from tests.permits import ask

SOON = 30.0


def turn(parts: Parts, state: RunState | None = None, **config: DeclaredValue) -> Outcome:
    guest = DesiredGuest(100, state=state, config=MappingProxyType(config))
    parts.engine.desired = Desired(MappingProxyType({100: guest}))
    return parts.engine.reconcile(100).result(SOON).outcome


def states(site: Site) -> list[State]:
    return [o.state for o in replay(read(site.directory / "journal" / NAME))]


def test_a_change_that_pve_may_yet_begin_is_not_given_up_for_a_task_of_an_earlier_one(
    site: Site, agent: Open
) -> None:
    """A change that ended at once leaves a task whose name nobody was told."""
    with agent() as parts:
        assert turn(parts, cores=2) == Converged()
        site.devnode.faults.add(Fault("POST", "config$", "late:3600"))
        assert isinstance(turn(parts, cores=3), Retry)
    with agent() as parts:
        outcome = turn(parts, cores=3)
        assert isinstance(outcome, Retry)
        assert "PVE may yet " in outcome.why
        assert len(site.devnode.mutations) == 2
        site.clock.pass_by(60)
        assert turn(parts, cores=3) == Converged()
    assert states(site) == [State.SUCCEEDED, State.UNKNOWN, State.SUCCEEDED]


def test_every_task_that_may_be_the_lost_change_is_waited_for(site: Site, agent: Open) -> None:
    """Not the first that is found: that may be the one of an earlier change."""
    with agent() as parts:
        assert turn(parts, cores=2) == Converged()
        site.world.behave(100, Behaviour(config_seconds=3600))
        site.devnode.faults.add(Fault("POST", "config$", "reset-after"))
        assert isinstance(turn(parts, cores=3), Retry)
        parts.engine.adopt(site.config(config_timeout=0.1).reconcile)
        outcome = turn(parts, cores=3)
        assert isinstance(outcome, Retry)
        assert "still runs" in outcome.why
        site.clock.pass_by(3600)
        assert turn(parts, cores=3) == Converged()
        assert len(site.devnode.mutations) == 2
    assert states(site) == [State.SUCCEEDED, State.SUCCEEDED]


def test_the_task_of_an_earlier_operation_is_not_taken_for_the_lost_one(
    site: Site, agent: Open
) -> None:
    with agent() as parts:
        assert turn(parts, state=RunState.RUNNING) == Converged()
        site.world.stop(100)
        site.devnode.faults.add(Fault("POST", "start$", "reset-before"))
        assert isinstance(turn(parts, state=RunState.RUNNING), Retry)
    with agent() as parts:
        outcome = turn(parts, state=RunState.RUNNING)
        assert isinstance(outcome, Retry)
        assert "PVE may yet " in outcome.why
    assert states(site) == [State.SUCCEEDED, State.INTENT]


# What becomes of a change whose answer was lost: a table. Each row is one operation in flight, as
# the journal of this process has it (a request that PVE got, or did not, and an answer that never
# came), and what recovery makes of it now, and after the time in which PVE may yet begin it.

WAITS = "waits"
START, STOP = Start(100, Kind.QEMU), Stop(100, Kind.QEMU)
LXC_START, LXC_STOP = Start(200, Kind.LXC), Stop(200, Kind.LXC)


def change(vmid: int, kind: Kind, key: str, before: str, after: str | TypeOfAbsent) -> SetConfig:
    return SetConfig(vmid, kind, (Change(key, before, after),))


SET = change(100, Kind.QEMU, "cores", "1", "2")
DELETE = change(100, Kind.QEMU, "description", "old", ABSENT)
LXC_SET = change(200, Kind.LXC, "cores", "1", "2")
LXC_DELETE = change(200, Kind.LXC, "description", "old", ABSENT)
BOTH = SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"), Change("description", "old", ABSENT)))
POWER = [START, STOP, LXC_START, LXC_STOP]
CHANGES = [SET, DELETE, LXC_SET, LXC_DELETE, BOTH]


class Lost:
    """A guest, an operation in flight on it, and clocks that a test moves.

    `clock` is the agent's wall clock and starts as PVE's; `passed` is its monotonic one.
    """

    def __init__(self, site: Site, action: Action) -> None:
        self.site, self.world, self.action = site, site.world, action
        self.clock, self.passed = Clock(site.clock.now), Clock(0.0)
        self.node = site.connect()
        self.vmid = action.vmid
        self.world.edit(self.vmid, {"description": "old"})
        if isinstance(action, Stop):
            self.world.start(self.vmid)
        self.pass_by(1000.0)
        self.open()

    def open(self) -> None:
        """Begin, or begin again as another process would."""
        limits = Limits()
        log, records = JournalLog.open(
            self.site.directory / "journal", lambda r: retain(r, self.clock(), limits)
        )
        self.log = log
        self.operations = Operations(log, records, self.clock, limits, self.passed)
        self.recovery = Recovery(self.node, self.operations, Names())

    def restart(self) -> None:
        self.log.close()
        self.open()

    def pass_by(self, seconds: float) -> None:
        for clock in (self.site.clock, self.clock, self.passed):
            clock.pass_by(seconds)

    def ask(self, fault: str = "", action: Action | None = None) -> str:
        """Let PVE be asked for the action; return the UPID, if an answer comes."""
        action = action or self.action
        if fault:
            method = "PUT" if isinstance(action, SetConfig) and action.kind is Kind.LXC else "POST"
            self.site.devnode.faults.add(Fault(method, "", fault))
        if isinstance(action, SetConfig):
            config = self.node.guests.config(action.kind, action.vmid)
            action = replace(action, digest=str(config["digest"]))
        try:
            return ask(self.node, action)
        except OutcomeUnknown:
            return ""

    def lose(self, fault: str) -> Operation:
        """Begin the operation, and lose the answer."""
        operation = self.operations.begin(self.action)
        assert not self.ask(fault)
        return operation

    def settle(self) -> str:
        """Settle what is in flight; return its state, or "waits"."""
        (operation,) = self.operations.in_flight()
        before = len(self.site.devnode.mutations)
        try:
            settled = self.recovery.settle(operation, 0.2)
        except StillRunning:
            assert self.operations.in_flight()
            return WAITS
        finally:
            assert len(self.site.devnode.mutations) == before, "nothing is changed by looking"
        assert not self.operations.in_flight()
        self.why = settled.why
        return str(settled.state)

    def settle_twice(self) -> tuple[str, str]:
        """Settle at once, and after PVE's time is over."""
        first = self.settle()
        if first != WAITS:
            return first, first
        self.pass_by(60.0)
        return first, self.settle()


@pytest.fixture
def lost(site: Site) -> Iterator[Callable[[Action], Lost]]:
    made: list[Lost] = []

    def make(action: Action) -> Lost:
        made.append(Lost(site, action))
        return made[-1]

    yield make
    for one in made:
        one.log.close()


Make = Callable[[Action], Lost]
named = pytest.mark.parametrize("action", [*POWER, *CHANGES], ids=str)
power = pytest.mark.parametrize("action", POWER, ids=str)
changes = pytest.mark.parametrize("action", CHANGES, ids=str)
JUMPS = {
    "a right clock": 0.0,
    "one an hour back": -3600.0,
    "one ten years ahead": 10 * 365 * 86400.0,
}
jumps = pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS.keys())


@named
@jumps
@pytest.mark.parametrize("again", [False, True], ids=["same process", "next process"])
def test_a_request_that_never_arrived_is_waited_for_and_then_unknown(
    lost: Make, action: Action, jump: float, *, again: bool
) -> None:
    it = lost(action)
    it.lose("reset-before")
    it.clock.pass_by(jump)
    if again:
        it.pass_by(5000.0)
        it.restart()
    assert it.settle_twice() == (WAITS, State.UNKNOWN)


@named
def test_the_wait_is_as_long_as_pve_may_take_and_no_longer(lost: Make, action: Action) -> None:
    it = lost(action)
    it.lose("reset-before")
    it.clock.pass_by(-3600.0)
    it.passed.pass_by(9.9)  # write_timeout is 5
    assert it.settle() == WAITS
    it.passed.pass_by(0.2)
    assert it.settle() == State.UNKNOWN


@named
@pytest.mark.parametrize("fault", ["reset-after", "status:596", "truncated"])
def test_a_request_that_had_its_effect_has_succeeded(
    lost: Make, action: Action, fault: str
) -> None:
    it = lost(action)
    it.lose(fault)
    it.pass_by(30.0)
    it.restart()
    assert it.settle() == State.SUCCEEDED


@named
@jumps
def test_whatever_clock_jumped_after_the_request_its_effect_is_found_at_once(
    lost: Make, action: Action, jump: float
) -> None:
    it = lost(action)
    it.lose("reset-after")
    it.pass_by(5.0)
    it.clock.pass_by(jump)
    it.restart()
    assert it.settle() == State.SUCCEEDED


@power
@jumps
def test_a_clock_that_was_wrong_when_the_request_was_made_misses_no_task(
    lost: Make, action: Action, jump: float
) -> None:
    it = lost(action)
    it.operations.succeeded(it.operations.task(it.operations.begin(action), it.ask()))
    it.pass_by(40.0)
    turn_back(it)
    it.clock.pass_by(jump)
    it.lose("reset-after")
    it.clock.pass_by(-jump)
    it.pass_by(5.0)
    assert it.settle_twice()[1] == State.SUCCEEDED


def turn_back(it: Lost) -> None:
    """Let somebody undo a power action."""
    undo = it.world.stop if isinstance(it.action, Start) else it.world.start
    undo(it.vmid)
    it.pass_by(100.0)


@named
@jumps
def test_a_task_that_runs_is_waited_for_whatever_the_clocks_say(
    lost: Make, action: Action, jump: float
) -> None:
    it = lost(action)
    if action.kind is Kind.LXC and isinstance(action, SetConfig):
        pytest.skip("PVE makes no task of it")
    slow = Behaviour(start_seconds=300, shutdown_seconds=25, config_seconds=300)
    it.world.behave(it.vmid, slow)
    it.clock.pass_by(jump)
    it.lose("reset-after")
    it.clock.pass_by(-jump)
    assert it.settle() == WAITS
    # What is waited for is known by then, so that it is found again however it ends.
    (operation,) = it.operations.in_flight()
    assert bool(operation.upid) is not isinstance(action, SetConfig)
    it.pass_by(1000.0)
    assert it.settle() == State.SUCCEEDED


@power
def test_a_task_that_failed_has_failed(lost: Make, action: Action) -> None:
    it = lost(action)
    it.world.behave(it.vmid, Behaviour(start_error="no bridge", stop_error="no bridge"))
    it.lose("reset-after")
    assert it.settle() == State.FAILED
    assert it.why == "no bridge"


@changes
def test_a_change_whose_task_failed_is_not_written(lost: Make, action: Action) -> None:
    """Its task proves nothing: it may be the one of an earlier change."""
    it = lost(action)
    if action.kind is Kind.LXC:
        pytest.skip("PVE makes no task of it")
    it.world.behave(it.vmid, Behaviour(config_error="no space", config_seconds=30))
    it.lose("reset-after")
    it.pass_by(31.0)
    assert it.settle() == State.UNKNOWN


@named
def test_an_ok_that_does_not_show_is_no_success(lost: Make, action: Action) -> None:
    it = lost(action)
    operation = it.operations.begin(action)
    it.world.behave(it.vmid, Behaviour(config_seconds=3))
    if upid := it.ask():
        it.operations.task(operation, upid)
    it.pass_by(60.0)
    if isinstance(action, SetConfig):
        it.world.edit(it.vmid, {"cores": "3", "description": "old"})
    else:
        turn_back(it)
    it.restart()
    assert it.settle_twice()[1] == State.UNKNOWN
    if upid:
        assert it.why == "PVE said OK, but it does not show"


@pytest.mark.parametrize("action", [DELETE, LXC_DELETE, BOTH], ids=str)
def test_a_key_whose_delete_was_lost_is_not_written(lost: Make, action: Action) -> None:
    it = lost(action)
    it.lose("reset-before")
    if action is BOTH:
        it.world.edit(it.vmid, {"cores": "2"})
    assert it.settle_twice() == (WAITS, State.UNKNOWN)
    assert it.why.endswith("it does not show")


@power
def test_of_several_tasks_the_first_is_the_operations(lost: Make, action: Action) -> None:
    """A later one, that ended well, is of somebody else who has our token."""
    it = lost(action)
    it.world.behave(it.vmid, Behaviour(start_error="no bridge", stop_error="no bridge"))
    it.lose("reset-after")
    it.world.behave(it.vmid, Behaviour())
    it.pass_by(1.0)
    assert it.ask()
    it.pass_by(1.0)
    assert it.settle() == State.FAILED


@power
@jumps
def test_a_task_of_an_earlier_operation_or_of_before_it_is_never_the_lost_one(
    lost: Make, action: Action, jump: float
) -> None:
    it = lost(action)
    it.ask()  # nobody's, and older
    it.pass_by(40.0)
    turn_back(it)
    it.operations.succeeded(it.operations.task(it.operations.begin(action), it.ask()))
    it.pass_by(40.0)
    turn_back(it)
    it.clock.pass_by(jump)
    it.lose("reset-before")
    it.clock.pass_by(-jump)
    assert it.settle_twice() == (WAITS, State.UNKNOWN)
    assert it.why == "PVE knows no task of it; it does not show"


@power
def test_a_task_of_another_token_is_never_the_lost_one(lost: Make, action: Action) -> None:
    it = lost(action)
    it.lose("reset-before")
    act = it.world.start if isinstance(action, Start) else it.world.stop
    act(it.vmid)
    assert it.settle_twice() == (WAITS, State.UNKNOWN)
    assert it.why == "PVE knows no task of it; it is so now, and nothing tells who did it"


@named
def test_while_pve_cannot_be_asked_nothing_is_settled(lost: Make, action: Action) -> None:
    it = lost(action)
    it.lose("reset-after")
    it.pass_by(60.0)
    for fault in ("status:595", "reset-before", "not-json", "status:500"):
        it.site.devnode.faults.add(Fault("GET", "", fault, times=50))
        with pytest.raises(Unchanged):
            it.settle()
        it.site.devnode.faults.clear()
    assert it.settle() == State.SUCCEEDED


@named
@pytest.mark.parametrize("upid", ["UPID2:pve1:x", "", "a word", "UPID:pve1:0:0:0:qmstart:100:x:"])
def test_a_upid_of_another_form_is_settled_by_looking(
    lost: Make, action: Action, upid: str
) -> None:
    it = lost(action)
    operation = it.lose("reset-after")
    it.operations.task(operation, upid)
    assert it.settle_twice()[1] == State.SUCCEEDED


@named
def test_a_guest_that_is_gone_shows_nothing(lost: Make, action: Action) -> None:
    it = lost(action)
    it.lose("reset-before")
    it.world.stop(it.vmid)
    it.world.remove(it.vmid)
    assert it.settle_twice() == (WAITS, State.UNKNOWN)


def test_a_password_is_believed_to_be_written_by_its_own_task_alone(lost: Make) -> None:
    password = SetConfig(100, Kind.QEMU, (Change("cipassword", ABSENT, "hunter22", secret=True),))
    it = lost(password)
    it.world.behave(100, Behaviour(config_seconds=3))
    it.operations.task(it.operations.begin(password), it.ask())
    it.pass_by(10.0)
    assert it.settle() == State.SUCCEEDED
    it.world.behave(100, Behaviour())
    it.lose("reset-before")
    assert it.settle_twice() == (WAITS, State.UNKNOWN)


@power
def test_a_task_from_before_the_journal_is_never_the_lost_one(lost: Make, action: Action) -> None:
    it = lost(action)
    assert it.ask()
    it.pass_by(100.0)
    turn_back(it)
    it.lose("reset-before")
    assert it.settle_twice() == (WAITS, State.UNKNOWN)
    assert it.why == "PVE knows no task of it; it does not show"


@pytest.mark.parametrize("action", [START, LXC_START], ids=str)
def test_of_several_tasks_that_run_the_first_is_the_operations(lost: Make, action: Action) -> None:
    it = lost(action)
    it.world.behave(it.vmid, Behaviour(start_seconds=5, start_error="no bridge"))
    it.lose("reset-after")
    it.pass_by(1.0)
    assert it.ask()  # somebody else's; it waits for the guest's lock
    assert it.settle() == WAITS
    it.pass_by(5.0)
    assert not it.world.running(it.vmid)
    it.world.behave(it.vmid, Behaviour())
    it.pass_by(30.0)
    assert it.world.running(it.vmid)
    assert it.settle() == State.FAILED


@pytest.mark.parametrize(
    ("fault", "state", "level"),
    [
        ("reset-after", State.SUCCEEDED, logging.INFO),
        ("reset-before", State.UNKNOWN, logging.WARNING),
    ],
)
def test_what_was_found_out_is_one_line_and_a_warning_where_it_stays_unknown(
    lost: Make, caplog: pytest.LogCaptureFixture, fault: str, state: State, level: int
) -> None:
    it = lost(START)
    it.lose(fault)
    with caplog.at_level(logging.INFO, "felhom_agent.reconcile.recovery"):
        assert it.settle_twice()[1] == state
    (told,) = caplog.records
    assert told.levelno == level
    assert f"guest 100: found out: start: {state}" in told.getMessage()
    assert told.getMessage().endswith(f" ({it.why})" if it.why else str(state))


@changes
@pytest.mark.parametrize("done", [True, False])
def test_a_change_that_pve_is_done_with_is_judged_by_what_shows(
    lost: Make, action: Action, *, done: bool
) -> None:
    it = lost(action)
    operation = it.lose("reset-after" if done else "reset-before")
    settled = it.recovery.settle_ended(operation, "no space left")
    assert settled.state is (State.SUCCEEDED if done else State.FAILED)
    assert settled.why == ("" if done else "no space left")
    assert not it.operations.in_flight()


@pytest.mark.parametrize("looks", [1, 2])
@pytest.mark.parametrize(
    ("runs", "jump"),
    [(True, 0.0), (True, 3600.0), (False, 0.0)],
    ids=["it runs", "it runs, and our clock was wrong", "it has ended"],
)
def test_a_request_that_begins_while_it_is_looked_for_is_found(
    lost: Make, monkeypatch: pytest.MonkeyPatch, looks: int, jump: float, *, runs: bool
) -> None:
    it = lost(START)
    it.world.behave(100, Behaviour(start_seconds=300 if runs else 0))
    it.clock.pass_by(jump)
    it.lose("reset-before")
    it.clock.pass_by(-jump)
    it.pass_by(60.0)
    real, seen = it.site.devnode.answer, 0

    def answer(heard: Request, raw: Mapping[str, Raw], authorization: str) -> Answer:
        nonlocal seen
        answered = real(heard, raw, authorization)
        seen += heard.path.endswith("/tasks")
        if seen == looks:
            seen += 1000
            assert it.ask()
        return answered

    monkeypatch.setattr(it.site.devnode, "answer", answer)
    (operation,) = it.operations.in_flight()
    if runs:
        with pytest.raises(StillRunning):
            it.recovery.settle(operation, 0.2)
        (operation,) = it.operations.in_flight()
        assert operation.upid
        it.pass_by(301.0)
    assert it.recovery.settle(operation, 0.2).state is State.SUCCEEDED
    assert seen > 1000


@pytest.mark.parametrize(
    ("action", "words", "untouched"),
    [
        # What PVE only says before it writes anything.
        (SET, "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout", True),
        (SET, "VM is locked (backup)", True),
        # What may come in the middle.
        (SET, "no space", False),
        # A start is never said to have done nothing: what it did before it failed is not known.
        (START, "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout", False),
    ],
)
def test_a_task_that_failed_proves_that_nothing_was_done_only_of_a_change_and_by_its_words(
    lost: Make, action: Action, words: str, *, untouched: bool
) -> None:
    it = lost(action)
    it.world.behave(100, Behaviour(config_error=words, config_seconds=3, start_error=words))
    operation = it.operations.begin(action)
    it.operations.task(operation, it.ask())
    it.pass_by(10.0)
    (operation,) = it.operations.in_flight()
    settled = it.recovery.settle(operation, 0.2)
    assert (settled.state, settled.why, settled.untouched) == (State.FAILED, words, untouched)


@power
def test_once_pves_time_is_over_to_the_second_nothing_is_waited_for(
    lost: Make, action: Action
) -> None:
    it = lost(action)
    it.lose("reset-before")
    it.passed.pass_by(10.0)  # write_timeout is 5, and 5 are for clocks that differ
    assert it.settle() == State.UNKNOWN


@pytest.mark.parametrize(
    ("earlier", "later", "found"),
    [
        # Seconds from the request to two tasks that nobody owns.
        (10.0, 30.0, State.SUCCEEDED),
        (11.0, 30.0, State.UNKNOWN),
        (-5.0, 30.0, State.SUCCEEDED),
        (-6.0, 30.0, State.SUCCEEDED),  # there is one alone that can be meant
        (-6.0, 10.0, State.SUCCEEDED),
    ],
)
def test_of_several_tasks_the_one_that_began_when_pve_could_begin_ours_is_ours(
    lost: Make, earlier: float, later: float, found: State
) -> None:
    it = lost(START)
    began = it.site.clock.now
    for when in (earlier, later):
        it.site.clock.now = began + when
        assert it.ask()
        it.world.stop(100)
    it.world.start(100)
    it.site.clock.now = began
    it.lose("reset-before")
    it.pass_by(60.0)
    assert it.settle() == found


@pytest.mark.parametrize(("before", "found"), [(5.0, State.FAILED), (6.0, State.SUCCEEDED)])
def test_a_task_may_be_ours_that_began_a_little_before_the_request_by_pves_clock(
    lost: Make, before: float, found: State
) -> None:
    it = lost(START)
    asked = it.site.clock.now
    it.world.behave(100, Behaviour(start_error="no bridge"))
    it.site.clock.now = asked - before
    assert it.ask()
    it.world.behave(100, Behaviour())
    it.site.clock.now = asked + 1.0
    assert it.ask()
    it.site.clock.now = asked
    it.lose("reset-before")
    it.pass_by(60.0)
    assert it.settle() == found


def test_a_task_of_the_second_in_which_an_earlier_one_began_may_be_ours(lost: Make) -> None:
    it = lost(START)
    operation = it.operations.begin(START)
    it.operations.succeeded(it.operations.task(operation, it.ask()))
    it.world.stop(100)
    it.lose("reset-after")
    assert it.settle() == State.SUCCEEDED


def test_a_password_that_is_not_there_was_not_written_whatever_its_task_says(lost: Make) -> None:
    password = SetConfig(100, Kind.QEMU, (Change("cipassword", ABSENT, "hunter22", secret=True),))
    it = lost(password)
    it.world.behave(100, Behaviour(config_seconds=3))
    it.operations.task(it.operations.begin(password), it.ask())
    it.pass_by(10.0)
    it.world.edit(100, {}, delete=["cipassword"])
    assert it.settle() == State.UNKNOWN
    assert it.why == "PVE said OK, but it does not show"


# What a signature is for: whether it was done is told by what PVE shows, too.


def in_flight(it: Lost, action: Act) -> Operation:
    """Return an operation of which no more is known than that it was begun, long ago."""
    operation = it.operations.begin(action)
    it.pass_by(60.0)
    return operation


@pytest.mark.parametrize("kind", Kind)
def test_a_rollback_shows_by_the_snapshot_that_the_guest_comes_from(lost: Make, kind: Kind) -> None:
    vmid = 100 if kind is Kind.QEMU else 200
    it = lost(START)
    it.world.snapshot(vmid, "before")
    it.world.snapshot(vmid, "after")
    shown = it.recovery._shows(in_flight(it, Rollback(vmid, kind, "after")))
    assert (shown, it.recovery._shows(in_flight(it, Rollback(vmid, kind, "before")))) == (
        True, False,
    )  # fmt: skip


@pytest.mark.parametrize("kind", Kind)
def test_a_snapshot_is_deleted_once_it_is_not_listed(lost: Make, kind: Kind) -> None:
    vmid = 100 if kind is Kind.QEMU else 200
    it = lost(START)
    it.world.snapshot(vmid, "before")
    assert not it.recovery._shows(in_flight(it, DeleteSnapshot(vmid, kind, "before")))
    assert it.recovery._shows(in_flight(it, DeleteSnapshot(vmid, kind, "other")))


@pytest.mark.parametrize("said_ok", [False, True])
def test_a_guest_is_destroyed_once_it_is_nowhere_and_not_merely_hidden(
    lost: Make, *, said_ok: bool
) -> None:
    it = lost(START)
    operation = in_flight(it, Destroy(100, Kind.QEMU))
    assert not it.recovery._shows(operation, said_ok=said_ok)
    it.world.remove(100)
    assert it.recovery._shows(operation, said_ok=said_ok)


@pytest.mark.parametrize("said_ok", [False, True])
def test_a_guest_that_has_moved_is_not_destroyed(lost: Make, *, said_ok: bool) -> None:
    it = lost(START)
    operation = in_flight(it, Destroy(100, Kind.QEMU))
    it.world.move(100, "pve2")
    assert not it.recovery._shows(operation, said_ok=said_ok)


@pytest.mark.parametrize("said_ok", [False, True])
def test_a_guest_that_is_hidden_is_destroyed_only_if_its_task_ended_well(
    lost: Make, *, said_ok: bool
) -> None:
    """recorded: 110-destroy-qemu/045-069: PVE takes the rights on the guest along with it."""
    it = lost(START)
    operation = in_flight(it, Destroy(100, Kind.QEMU))
    it.world.remove(100)
    it.world.grant(TOKEN_ID, {"/vms/200": ["VM.Audit"]})
    assert it.recovery._shows(operation, said_ok=said_ok) is said_ok


@power
@pytest.mark.parametrize("apart", [0.0, 0.05], ids=["at once", "within a second"])
def test_of_two_tasks_of_one_second_the_first_is_the_operations(
    lost: Make, action: Action, apart: float
) -> None:
    it = lost(action)
    it.world.behave(it.vmid, Behaviour(start_error="no bridge", stop_error="no bridge"))
    it.lose("reset-after")
    it.site.clock.pass_by(apart)
    it.world.behave(it.vmid, Behaviour())
    assert it.ask()  # somebody else's, which is done
    assert it.settle() == State.FAILED
    assert it.why == "no bridge"
