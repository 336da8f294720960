"""Power goes away between any two system calls; whatever the disk kept, the promise is kept too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from felhom_agent.durable.line import Record
from felhom_agent.journal.log import JournalLog
from tests.journal.disks import FragileDisk, PowerLoss

MARK: Record = {"mark": f"{0:012x}", "forgotten": 0}


def with_mark(records: list[Record]) -> list[Record]:
    """Keep all, and the mark that the agent always keeps: a file of it is never empty."""
    return [MARK, *(record for record in records if record != MARK)]


def opened(directory: Path, disk: FragileDisk) -> tuple[JournalLog, list[Record]]:
    """Open a journal as the agent does; return it with what else it holds."""
    log, found = JournalLog.open(directory, with_mark, disk)
    assert found[0] == MARK
    return log, found[1:]


class Story:
    """What a journal was asked to do, and what it acknowledged."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: list[Record] = []
        self.acknowledged: list[Record] = []
        self.let_go: list[Record] = []

    def open(self, disk: FragileDisk) -> JournalLog:
        return opened(self.directory, disk)[0]

    def append(self, log: JournalLog, *numbers: int) -> None:
        records = [{"n": number, "text": "x" * number} for number in numbers]
        self.asked += records
        log.append(*records)
        self.acknowledged += records

    def drop(self, log: JournalLog, number: int, *, late: int | None = None) -> None:
        """Compact the log without a record, and append another one in the middle of that."""

        def keep(records: list[Record]) -> list[Record]:
            if late is not None:
                self.append(log, late)
            return [record for record in records if record.get("n") != number]

        self.let_go += [record for record in self.asked if record["n"] == number]
        log.compact(keep)

    def check(self, found: list[Record]) -> None:
        """Fail unless what is found keeps what was promised."""
        assert found == [r for r in self.asked if r in found], "order, and nothing strange"
        lost = [r for r in self.acknowledged if r not in found and r not in self.let_go]
        assert not lost, "an acknowledged record is gone"
        extra = [r for r in found if r not in self.acknowledged]
        unacknowledged = [r for r in self.asked if r not in self.acknowledged]
        assert extra == unacknowledged[: len(extra)], "of a cut append only a first part may stay"


Script = Callable[[Story, FragileDisk], None]


def _appends(story: Story, disk: FragileDisk) -> None:
    log = story.open(disk)
    story.append(log, 1)
    story.append(log, 2, 30)
    log.close()
    log = story.open(disk)
    story.append(log, 4)
    log.close()


def _compaction(story: Story, disk: FragileDisk) -> None:
    log = story.open(disk)
    story.append(log, 1, 20)
    story.drop(log, 1)
    story.append(log, 3)
    log.close()


def _compaction_with_an_append_in_the_middle(story: Story, disk: FragileDisk) -> None:
    log = story.open(disk)
    story.append(log, 1, 2)
    story.drop(log, 2, late=30)
    story.append(log, 4)
    story.drop(log, 1)
    log.close()


SCRIPTS = [_appends, _compaction, _compaction_with_an_append_in_the_middle]


def crashes(script: Script, directory: Path) -> Iterator[tuple[int, Story, FragileDisk]]:
    """Play a script again and again, each time with power for one more system call."""
    for fuel in range(1000):
        story, disk = Story(directory), FragileDisk(fuel=fuel)
        try:
            script(story, disk)
        except PowerLoss:
            yield fuel, story, disk
        else:
            assert fuel > 15, "a script without system calls shows nothing"
            return


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.__name__.strip("_"))
def test_after_a_power_loss_at_any_call_the_journal_opens_and_keeps_its_promise(
    script: Script, tmp_path: Path
) -> None:
    for _, story, disk in crashes(script, tmp_path):
        for survivor in disk.survivors():
            _, found = opened(tmp_path, survivor)
            story.check(found)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.__name__.strip("_"))
def test_a_second_power_loss_while_opening_loses_nothing_either(
    script: Script, tmp_path: Path
) -> None:
    for _, story, disk in crashes(script, tmp_path):
        for survivor in list(disk.survivors())[::7]:
            _, first = opened(tmp_path, _copy(survivor))
            for fuel in range(20):
                again = _copy(survivor)
                again.fuel = fuel
                try:
                    opened(tmp_path, again)
                except PowerLoss:
                    for left in list(again.survivors())[::11]:
                        _, found = opened(tmp_path, left)
                        assert found == first
                        story.check(found)


def _copy(disk: FragileDisk) -> FragileDisk:
    return next(iter(disk.survivors()))


def test_what_was_read_back_at_a_start_is_on_the_disk_before_anybody_acts_on_it(
    tmp_path: Path,
) -> None:
    """The last process wrote it and could not sync it; the page cache shows it all the same."""
    disk = FragileDisk()
    story = Story(tmp_path)
    log = story.open(disk)
    disk.fuel = 1  # the write passes, the sync does not
    with pytest.raises(PowerLoss):
        story.append(log, 5)
    disk.fuel = 1000
    _, found = opened(tmp_path, disk)
    assert found == story.asked
    for survivor in disk.survivors():
        _, again = opened(tmp_path, survivor)
        assert again == found
