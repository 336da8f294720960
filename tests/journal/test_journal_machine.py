"""Whatever is done to a journal, in whatever order, replaying it equals a plain model of it.

The model is a dict of operations and a set of spent keys. The machine begins, advances and ends
operations, hands in one-shot jobs, tidies, lets the clock run, closes and opens again, dies with a
torn write, and meets disks that fail; after each step the open journal, and in the end what a
reader finds in the file, must be what the model says.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from felhom_agent.errors import JobRefused, JournalClosed, JournalError
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operation import Operation, State, replay
from felhom_agent.journal.operations import Operations
from felhom_agent.journal.retention import Limits, retain
from felhom_agent.model import Kind, Start
from tests.conftest import Clock
from tests.journal.disks import WatchedDisk, failing

DAY = 86400.0
LIMITS = Limits(days=10.0, size=3000)
BEGIN = Clock().now
VMIDS = st.sampled_from([101, 102])
ENDS = st.sampled_from([State.SUCCEEDED, State.FAILED, State.UNKNOWN])


class Journal(RuleBasedStateMachine):
    """Drives `Operations` over a real file."""

    operations_begun = Bundle("operations_begun")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="journal-"))
        self.clock = Clock()
        self.disk = WatchedDisk()
        self.model: dict[str, Operation] = {}
        self.highest = ""
        self.latest = 0.0
        self.passed = Clock(0.0)

    @initialize()
    def open(self) -> None:
        self.log, records = JournalLog.open(
            self.directory, lambda found: retain(found, self.clock(), LIMITS), self.disk
        )
        self.operations = Operations(self.log, records, self.clock, LIMITS, self.passed)

    @rule(target=operations_begun, vmid=VMIDS)
    def begin(self, vmid: int) -> str:
        return self._take(self.operations.begin(Start(vmid, Kind.QEMU)))

    @rule(vmid=VMIDS, name=st.sampled_from("abc"), days=st.sampled_from([None, 5, 40]))
    def hand_in_a_job(self, vmid: int, name: str, days: int | None) -> None:
        """What may have had an effect is never begun again, whatever clock and tidying do."""
        key, expires = f"{name}-{days}", None if days is None else BEGIN + days * DAY
        begun = [o for o in self.model.values() if o.key == key and o.spends_its_key]
        try:
            operation = self.operations.begin(Start(vmid, Kind.QEMU), key=key, expires=expires)
        except JobRefused:
            seen = max(self.clock(), self.latest, int(self.highest or "0", 16) / 1000)
            over = expires is not None and expires <= seen
            assert begun or over, "a job that is good and was never begun must be begun"
            self.latest = max(self.latest, expires or 0.0) if over else self.latest
        else:
            assert expires is None or expires > self.latest, "a job that expired came back"
            assert not begun, "a job was begun twice"
            self._take(operation)

    @rule(op_id=operations_begun)
    def note_the_task(self, op_id: str) -> None:
        operation = self.model.get(op_id)
        if operation is not None and operation.state is State.INTENT:
            self._take(self.operations.task(operation, f"UPID:{op_id}"))

    @rule(vmid=VMIDS, end=ENDS, untouched=st.booleans())
    def end_the_oldest(self, vmid: int, end: State, *, untouched: bool) -> None:
        for operation in self.operations.in_flight(vmid)[:1]:
            match end:
                case State.SUCCEEDED:
                    ended = self.operations.succeeded(operation)
                case State.FAILED:
                    ended = self.operations.failed(operation, "so", untouched=untouched)
                case _:
                    ended = self.operations.unknown(operation, "so")
            self._take(ended)

    @rule(seconds=st.sampled_from([0.001, 60.0, 2 * DAY, 20 * DAY, -5 * DAY]))
    def let_time_pass(self, seconds: float) -> None:
        """The clock may be put back; what has passed has passed."""
        self.clock.now += seconds
        self.passed.now += abs(seconds)

    @rule()
    def compact(self) -> None:
        self.operations.compact()

    @rule()
    def open_again(self) -> None:
        self.log.close()
        self.open()

    @rule(share=st.floats(0.0, 0.9), vmid=VMIDS)
    def die_in_the_middle_of_a_write(self, share: float, vmid: int) -> None:
        path = self.directory / NAME
        size = path.stat().st_size
        self.operations.begin(Start(vmid, Kind.QEMU))
        self.log.close()
        written = path.stat().st_size - size
        with path.open("r+b") as file:
            file.truncate(size + int(written * share))
        self.open()

    @rule(call=st.sampled_from(["write", "sync"]), error=st.sampled_from([errno.EIO, errno.ENOSPC]))
    def meet_a_failing_disk(self, call: str, error: int) -> None:
        self.disk.before = failing(call, error)
        with pytest.raises(JournalClosed):
            self.operations.begin(Start(101, Kind.QEMU))
        self.disk.before = lambda name: None
        self.log.close()
        # What was written and could not be synced may be found, or not; it was promised to nobody.
        unsure = {o.op_id: o for o in replay(read(self.directory / NAME)) if o.in_flight}
        self.open()
        self.model |= unsure
        self.highest = max([self.highest, *unsure])

    @rule(call=st.sampled_from(["create", "sync", "write"]))
    def fail_to_tidy(self, call: str) -> None:
        self.disk.before = failing(call, errno.ENOSPC)
        with suppress(JournalError):  # it may not be time to
            self.operations.compact()
        self.disk.before = lambda name: None

    @invariant()
    def what_is_in_flight_is_what_the_model_says(self) -> None:
        wanted = {o.op_id for o in self.model.values() if o.in_flight}
        assert {o.op_id for o in self.operations.in_flight()} == wanted

    @invariant()
    def a_reader_finds_what_the_model_says_and_nothing_else(self) -> None:
        found = {o.op_id: o for o in replay(read(self.directory / NAME))}
        for op_id, operation in found.items():
            assert operation == self.model[op_id]
        missing = [o for op_id, o in self.model.items() if op_id not in found]
        assert not [o for o in missing if o.in_flight], "what is in flight is never let go"

    def teardown(self) -> None:
        self.log.close()
        shutil.rmtree(self.directory)

    def _take(self, operation: Operation) -> str:
        if operation.op_id not in self.model:
            assert operation.op_id > self.highest, "ids are unique and sort by their beginning"
            self.highest = operation.op_id
        self.model[operation.op_id] = operation
        return operation.op_id


TestJournal = Journal.TestCase
TestJournal.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
