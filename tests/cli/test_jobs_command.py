"""`felhom-agent jobs` lists signed jobs from the audit log, beside a running agent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from felhom_agent.journal.audit import AuditEntry, AuditLog
from tests.commands import Felhom, typed, validated
from tests.conftest import Site


@pytest.fixture
def felhom(site: Site, capsys: pytest.CaptureFixture[str]) -> Felhom:
    return typed(site.write_config(), capsys, "jobs")


@pytest.fixture
def log(site: Site) -> Iterator[AuditLog]:
    audit = AuditLog.open(site.directory / "journal", time.time())
    yield audit
    audit.close()


def decided(log: AuditLog, blob: str, *decisions: str, **given: str) -> None:
    entry = AuditEntry(time.time(), "", act="guest_destroy", vmid=101, name="web", blob=blob * 64)
    for decision in decisions:
        log.append(replace(entry, decision=decision, **given))  # type: ignore[arg-type]


def test_no_log_is_no_job(felhom: Felhom) -> None:
    code, out, err = felhom()
    assert (code, err) == (0, "")
    assert out == "No signed job waits, and none came within the last 7 days.\n"
    assert validated("jobs", felhom("--json")[1])["jobs"] == []


def test_each_job_is_a_row_with_its_guest_and_why(log: AuditLog, felhom: Felhom) -> None:
    decided(log, "a", "accepted", "authorized")
    decided(log, "a", "done", upid="UPID:pve1:1", exit="OK")
    decided(log, "b", "refused", stage="key", why="not on the list")
    decided(log, "c", "accepted")
    code, out, err = felhom()
    assert (code, err) == (0, "")
    head, done, refused, pending = out.splitlines()
    assert head.split() == ["WHEN", "JOB", "ACT", "GUEST", "STATE", "WHY"]
    assert "aaaaaaaaaaaa  guest_destroy  101 web  done     UPID:pve1:1" in done
    assert "refused  key: not on the list" in refused
    assert "pending" in pending


def test_json_is_as_its_schema_says(log: AuditLog, felhom: Felhom) -> None:
    decided(log, "a", "accepted", "authorized", "unknown")
    decided(log, "b", "accepted")
    found = validated("jobs", felhom("--json")[1])["jobs"]
    assert [(job["job"][0], job["state"], job["vmid"]) for job in found] == [
        ("a", "unknown", 101), ("b", "pending", 101),
    ]  # fmt: skip


def test_a_log_that_is_not_what_was_written_is_told(
    log: AuditLog, felhom: Felhom, site: Site
) -> None:
    decided(log, "a", "accepted")
    decided(log, "b", "accepted")
    log.path.write_bytes(log.path.read_bytes().replace(b"a" * 64, b"d" * 64, 1))
    code, out, err = felhom()
    assert code == 65
    assert "bbbbbbbbbbbb" in out
    assert "felhom-agent audit verify" in err
    assert err.count("\n") == 1


def test_many_jobs_are_bounded_for_a_person_and_whole_for_a_program(
    log: AuditLog, felhom: Felhom
) -> None:
    for number in range(205):
        log.append(AuditEntry(time.time(), "refused", "key", blob=f"{number:064x}"))
    _, out, _ = felhom()
    assert out.startswith("5 older ones are left out; --json has all.\n")
    assert len(out.splitlines()) == 202
    assert len(validated("jobs", felhom("--json")[1])["jobs"]) == 205
