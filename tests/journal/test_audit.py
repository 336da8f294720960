"""The audit log keeps every decision, and tells if any was changed, moved or taken out."""

from __future__ import annotations

import errno
import hashlib
import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent.durable.line import body_of, decode_file, encode
from felhom_agent.errors import JournalClosed, JournalDamaged
from felhom_agent.journal.audit import AUDIT_NAME, BEGUN, AuditEntry, AuditLog, verify_audit
from felhom_agent.journal.signed import Decision
from tests.authz.desk import at_once
from tests.journal.disks import WatchedDisk, failing

NOW = 1_800_000_000.0


def entry(number: int) -> AuditEntry:
    return AuditEntry(NOW + number, "refused", "time", f"reason {number}", vmid=101, name="web")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    found = AuditLog.open(tmp_path, NOW)
    yield found
    found.close()


@pytest.fixture
def five(log: AuditLog) -> list[Decision]:
    return [log.append(entry(n)) for n in range(5)]


def test_what_was_appended_is_found_again_in_order(log: AuditLog, five: list[Decision]) -> None:
    report = verify_audit(log.path, five, five[-1].head)
    assert report.problems == ()
    assert report.entries[1:] == tuple(entry(n) for n in range(5))
    assert report.entries[0] == AuditEntry(NOW, BEGUN)
    assert (report.lines, report.head) == (6, log.last.head)
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


def test_a_new_log_and_none_have_no_problem(log: AuditLog, tmp_path: Path) -> None:
    assert verify_audit(log.path).lines == 1
    assert verify_audit(log.path).problems == ()
    assert verify_audit(tmp_path / "none").lines == 0


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    heads = []
    for number in range(4):
        log = AuditLog.open(tmp_path, NOW)
        heads.append(log.append(entry(number)))
        log.close()
    assert verify_audit(tmp_path / AUDIT_NAME, heads).problems == ()
    assert [each.entry for each in heads] == [2, 3, 4, 5]


def rewritten(path: Path, change: object) -> None:
    """Give a file other records, with good checksums and numbers, as whoever is root could."""
    assert callable(change)
    records = change(list(decode_file(path.read_bytes()).records))
    path.write_bytes(b"".join(encode(n, body_of(r)) for n, r in enumerate(records, start=1)))


@pytest.mark.parametrize(
    "change",
    [
        lambda r: [{**r[0], "why": "another"}, *r[1:]],
        lambda r: [*r[:2], {**r[2], "decision": "accepted"}, *r[3:]],
        lambda r: [*r[:2], *r[3:]],
        lambda r: r[1:],
        lambda r: [*r[:2], r[1], *r[2:]],
        lambda r: [r[1], r[0], *r[2:]],
        lambda r: [*r[:3], {**r[3], "prev": "0" * 64}, r[4]],
    ],
)
def test_a_line_changed_lost_added_or_moved_is_told(
    log: AuditLog, five: list[Decision], change: object, tmp_path: Path
) -> None:
    log.close()
    rewritten(log.path, change)
    assert verify_audit(log.path).problems
    with pytest.raises(JournalDamaged, match="no signed operation is done"):
        AuditLog.open(tmp_path, NOW)


@pytest.mark.parametrize(
    "change", [lambda r: r[:5], lambda r: [*r[:-1], {**r[-1], "why": "x"}], lambda r: []]
)
def test_an_end_that_was_cut_or_changed_is_told_by_the_journal_or_a_kept_head(
    log: AuditLog, five: list[Decision], change: object
) -> None:
    rewritten(log.path, change)
    assert verify_audit(log.path).problems == ()
    assert "journal knows" in verify_audit(log.path, five).problems[0]
    assert "was kept" in verify_audit(log.path, (), five[-1].head).problems[0]


def test_a_damaged_byte_is_told_with_its_line(log: AuditLog, five: list[Decision]) -> None:
    data = log.path.read_bytes()
    log.path.write_bytes(data.replace(b"reason 2", b"reason 7"))
    assert f"{log.path}:4:" in verify_audit(log.path).problems[0]


def test_a_torn_tail_is_set_aside_and_the_log_goes_on(tmp_path: Path, five: list[Decision]) -> None:
    path = tmp_path / AUDIT_NAME
    whole = path.read_bytes()
    for length in range(len(whole) - 40, len(whole)):
        path.write_bytes(whole[:length])
        log = AuditLog.open(tmp_path, NOW)
        kept = log.last.entry
        log.append(entry(9))
        log.close()
        assert verify_audit(path, five[: kept - 1]).problems == ()
        assert kept in (5, 6)
    assert path.with_name(f"{AUDIT_NAME}.broken").exists()


@pytest.mark.parametrize("call", ["write", "sync"])
def test_after_a_failed_write_nothing_more_is_taken(tmp_path: Path, call: str) -> None:
    disk = WatchedDisk()
    log = AuditLog.open(tmp_path, NOW, disk)
    log.append(entry(1))
    disk.before = failing(call, errno.ENOSPC)
    for _ in range(2):
        with pytest.raises(JournalClosed):
            log.append(entry(2))
    with pytest.raises(JournalClosed):
        log.check()
    log.close()
    assert verify_audit(tmp_path / AUDIT_NAME).problems == ()


def test_nothing_is_written_into_a_file_that_was_replaced(log: AuditLog) -> None:
    log.append(entry(1))
    log.path.rename(log.path.with_suffix(".old"))
    with pytest.raises(JournalClosed, match="restart the agent"):
        log.append(entry(2))
    log.path.write_bytes(b"")
    with pytest.raises(JournalClosed):
        log.check()


def test_decisions_of_many_threads_make_one_chain(log: AuditLog) -> None:
    found = at_once(*[lambda n=n: log.append(entry(n)) for n in range(8)])
    assert sorted(d.entry for d in found if isinstance(d, Decision)) == list(range(2, 10))
    assert verify_audit(log.path, (), log.last.head).problems == ()


def test_what_others_wrote_is_one_printable_bounded_line(
    log: AuditLog, caplog: pytest.LogCaptureFixture
) -> None:
    odd = AuditEntry(NOW, "refused", why="a\nb\x1b[31m" + "x" * 5000, name="\u202e", source="s\n")
    with caplog.at_level(logging.INFO):
        log.append(odd)
    _, found = verify_audit(log.path).entries
    assert found.why.isprintable()
    assert len(found.why) <= 500
    assert caplog.records[0].getMessage().isprintable()
    assert caplog.records[0].levelno == logging.WARNING


def test_a_head_is_the_hash_of_a_whole_line(log: AuditLog) -> None:
    decision = log.append(entry(1))
    assert (
        hashlib.sha256(log.path.read_bytes().splitlines(keepends=True)[-1]).hexdigest()
        == decision.head
    )


@pytest.mark.parametrize(
    "record", [{"at": 1}, {"at": "1", "decision": "x", "prev": ""}, {"decision": "x", "prev": ""},
               {"at": 1, "decision": "x", "prev": "", "vmid": True}]
)  # fmt: skip
def test_a_record_of_another_shape_is_damage(log: AuditLog, record: dict[str, object]) -> None:
    log.path.write_bytes(encode(1, body_of(record)))
    assert verify_audit(log.path).problems
