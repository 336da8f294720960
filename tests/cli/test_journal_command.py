"""`felhom-agent journal`: what a person sees of a good journal and of a damaged one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from felhom_agent.durable.line import encode_file
from felhom_agent.journal import lock
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operation import State, replay
from felhom_agent.journal.operations import Operations
from felhom_agent.journal.retention import Limits
from felhom_agent.model import Kind, Start
from tests.commands import Felhom, typed
from tests.conftest import Site

START = Start(101, Kind.QEMU)


@pytest.fixture
def felhom(site: Site, capsys: pytest.CaptureFixture[str]) -> Felhom:
    path = site.write_config()

    return typed(path, capsys, "journal")


@pytest.fixture
def journal(site: Site) -> Path:
    """A journal of a success, a failed job, and a start in flight."""
    log, records = JournalLog.open(site.directory / "journal")
    operations = Operations(log, records, lambda: 1_800_000_000.0, Limits())
    operations.succeeded(operations.begin(START))
    operations.failed(operations.begin(START, key="job"), "it failed")
    operations.begin(START)
    log.close()
    return site.directory / "journal" / NAME


def damage(journal: Path, number: int) -> bytes:
    """Change a letter in a line; return the file as it is then."""
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace(b"qemu", b"qemO")
    journal.write_bytes(b"".join(lines))
    return journal.read_bytes()


def test_a_good_journal_is_called_good_and_its_story_told(journal: Path, felhom: Felhom) -> None:
    size = journal.stat().st_size
    code, out, _ = felhom("verify")
    assert code == 0
    in_flight = replay(read(journal))[-1].op_id
    assert out == (
        f"{journal}: good, 5 records, {size} bytes\n"
        "  3 operations: 1 succeeded, 1 failed, 0 unknown, 1 in flight\n"
        f"  in flight: 101: start op={in_flight}\n"
        "  1 one-shot jobs are remembered\n"
    )


def test_verify_looks_also_while_an_agent_holds_the_journal(journal: Path, felhom: Felhom) -> None:
    before = journal.read_bytes()
    with lock.held(journal.parent):
        assert felhom("verify")[0] == 0
    assert journal.read_bytes() == before


def test_a_torn_tail_is_told_and_is_no_damage(journal: Path, felhom: Felhom) -> None:
    with journal.open("ab") as file:
        file.write(b'{"v":1,"n":6')
    code, out, _ = felhom("verify")
    assert code == 0
    assert "12 bytes at the end are of a write that a crash cut short" in out


def test_damage_is_told_line_by_line_with_its_remedy(journal: Path, felhom: Felhom) -> None:
    before = damage(journal, 3)
    code, out, _ = felhom("verify")
    assert code == 65
    assert f"{journal}: damaged, 4 records" in out
    assert f"  {journal}:3: the line is damaged (its checksum does not match)\n" in out
    assert "`felhom-agent journal repair` cuts it out" in out
    assert journal.read_bytes() == before


def test_repair_cuts_out_what_is_damaged_keeps_a_copy_and_says_what_it_did(
    journal: Path, felhom: Felhom
) -> None:
    before = damage(journal, 5)
    code, out, _ = felhom("repair")
    assert code == 0
    assert f"{journal}: 4 intact records were kept; cut out:\n  {journal}:5: the line is" in out
    (copy,) = journal.parent.glob(NAME + ".damaged-*")
    assert f"The file as it was is kept as {copy}." in out
    assert copy.read_bytes() == before
    assert stat.S_IMODE(copy.stat().st_mode) == stat.S_IMODE(journal.stat().st_mode) == 0o600
    assert [o.state for o in replay(read(journal))] == [State.SUCCEEDED, State.FAILED]
    assert felhom("verify")[0] == 0
    log, records = JournalLog.open(journal.parent)
    log.close()
    assert len(records) == 4


def test_repair_of_a_good_journal_changes_nothing(journal: Path, felhom: Felhom) -> None:
    before = journal.read_bytes()
    code, out, _ = felhom("repair")
    assert (code, out) == (0, f"{journal}: nothing is damaged, nothing was changed\n")
    assert journal.read_bytes() == before
    assert not list(journal.parent.glob("*.damaged-*"))


def test_repair_is_refused_while_an_agent_holds_the_journal(journal: Path, felhom: Felhom) -> None:
    before = damage(journal, 1)
    with lock.held(journal.parent):
        code, _, err = felhom("repair")
    assert code == 75
    assert "stop it first" in err
    assert journal.read_bytes() == before


def test_repair_does_not_cut_out_what_a_newer_version_wrote(journal: Path, felhom: Felhom) -> None:
    journal.write_bytes(encode_file([{"op": "1"}]) + b'{"v":2,"n":2}\n' + b"damage\n")
    before = journal.read_bytes()
    code, _, err = felhom("repair")
    assert code == 65
    assert f"{journal}:2: the line has format 2, written by a newer felhom-agent; install" in err
    assert journal.read_bytes() == before


def test_a_journal_that_is_not_there_is_told_in_words(felhom: Felhom) -> None:
    for what in ("verify", "repair"):
        code, _, err = felhom(what)
        assert code == 1
        assert "journal.jsonl: cannot be read: No such file or directory" in err
