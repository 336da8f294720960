"""`felhom-agent audit` shows each decision; `verify` finds what is not as it was written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.cli.auditlog import examine
from felhom_agent.durable.line import decode_file, encode_file
from felhom_agent.journal.audit import AuditEntry, AuditLog
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.signed import SignedFacts, Spent
from tests.commands import Felhom, typed, validated
from tests.conftest import Site
from tests.process import SOON

NOW = 1_800_000_000.0
ENTRY = AuditEntry(
    NOW, "refused", "time", "it ended", "guest_destroy", 101, "web", "operational",
    "SHA256:abc", "b" * 64, "a" * 32, "d" * 40, "socket",
)  # fmt: skip


@pytest.fixture
def felhom(site: Site, capsys: pytest.CaptureFixture[str]) -> Felhom:
    return typed(site.write_config(), capsys, "audit")


@pytest.fixture
def log(site: Site) -> Iterator[Path]:
    """An audit log of a refused job and of one that was done, whose nonce the journal has, and
    which is open: as beside a running agent.
    """
    directory = site.directory / "journal"
    journal, records = JournalLog.open(directory)
    audit = AuditLog.open(directory, NOW)
    facts = SignedFacts(journal, records)
    audit.append(ENTRY)
    authorized = replace(ENTRY, decision="authorized", stage="", why="")
    facts.burn(Spent("a" * 32, "b" * 64, NOW + 60, NOW), lambda: audit.append(authorized))
    audit.append(replace(authorized, decision="done", upid="UPID:pve1:1", exit="OK"))
    yield directory / "audit.jsonl"
    audit.close()
    journal.close()


def test_each_decision_is_a_line_under_its_day(log: Path, felhom: Felhom) -> None:
    code, out, err = felhom()
    assert (code, err) == (0, "")
    assert out.splitlines()[0].endswith("2027-01-15")
    assert out.splitlines()[1].endswith("begun       the log")
    assert [line.split()[1] for line in out.splitlines()[1:]] == [
        "begun", "refused", "authorized", "done",
    ]  # fmt: skip
    assert "guest_destroy 101 web by operational key SHA256:abc (socket) - time: it ended" in out
    assert "UPID:pve1:1" in out


def test_a_limit_is_of_the_newest(log: Path, felhom: Felhom) -> None:
    assert "refused" not in felhom("--limit", "2")[1]
    assert "authorized" in felhom("-n", "2")[1]
    assert "begun" in felhom("--limit", "0")[1]


def test_json_is_as_its_schema_says(log: Path, felhom: Felhom) -> None:
    answer = validated("audit", felhom("--json")[1])
    assert (answer["good"], answer["lines"], answer["known"]) == (True, 4, 1)
    assert [e["decision"] for e in answer["entries"]] == ["begun", "refused", "authorized", "done"]
    assert answer["entries"][1]["at"] == "2027-01-15T08:00:00Z"
    verified = validated("audit", felhom("verify", "--json")[1])
    assert (verified["entries"], verified["head"]) == ([], answer["head"])


def test_a_good_log_is_called_good_and_its_head_is_found_again(log: Path, felhom: Felhom) -> None:
    code, out, _ = felhom("verify")
    assert code == 0
    assert out.startswith(f"{log}: good, 4 lines\n  the journal knows 1 of them")
    head = out.partition("head ")[2].split()[0]
    assert felhom("verify", "--against", head.upper())[0] == 0
    code, out, _ = felhom("verify", "--against", "0123456789abcdef" * 4)
    assert code == 65
    assert "no line has the hash 0123456789abcdef" in out


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_line_that_was_changed_with_its_checksum_breaks_the_chain(
    log: Path, felhom: Felhom, number: int
) -> None:
    records = [{**record} for record in _records(log)]
    records[number - 1]["at"] = 5
    head = validated("audit", felhom("verify", "--json")[1])["head"]
    log.write_bytes(encode_file(records))
    code, out, _ = felhom("verify", "--against", head)
    assert code == 65
    assert f"{log}: NOT what was written" in out
    assert f"mv {log} {log}.kept" in out
    if number < 3:
        assert f"{log}:{number + 1}: the line before it is not the one" in out
    if number < 4:
        assert felhom("verify")[0] == 65, "the journal knows the third line, and what is before it"
    listed, out, err = felhom()
    assert "done" in out
    assert (listed, bool(err)) == ((65, True) if number < 4 else (0, False))


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_log_that_was_cut_off_is_found_out_by_the_journal(
    log: Path, felhom: Felhom, left: int
) -> None:
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:left]))
    code, out, _ = felhom("verify")
    assert code == 65
    assert "line 3 is not the one that the journal knows" in out


def test_a_log_that_was_removed_is_found_out_and_one_that_never_was_is_not(
    log: Path, felhom: Felhom
) -> None:
    log.unlink()
    code, out, err = felhom("verify")
    assert (code, err) == (65, "")
    assert "line 3 is not the one that the journal knows" in out
    log.with_name(NAME).unlink()
    for words in ([], ["verify"]):
        code, out, err = felhom(*words)
        assert (code, err) == (0, "")
        assert out == f"Nothing yet: no agent has begun the log {log}.\n"
    assert validated("audit", felhom("--json")[1])["lines"] == 0


def test_an_empty_log_is_one_that_was_cut_off(site: Site, felhom: Felhom) -> None:
    (site.directory / "journal").mkdir()
    (site.directory / "journal" / "audit.jsonl").touch()
    code, out, _ = felhom("verify")
    assert code == 65
    assert "it is empty, and no log ever is" in out
    code, out, err = felhom()
    assert (code, out) == (65, "")
    assert "it is empty" in err


def test_a_damaged_journal_is_told_since_it_knows_less(log: Path, felhom: Felhom) -> None:
    journal = log.with_name(NAME)
    journal.write_bytes(journal.read_bytes().replace(b"nonce", b"nOnce", 1))
    code, out, _ = felhom("verify")
    assert code == 65
    assert f"{journal}: is damaged" in out
    assert "felhom-agent journal verify" in out


def test_times_and_texts_that_nobody_wrote_are_shown_all_the_same(
    log: Path, felhom: Felhom
) -> None:
    records = [{**record} for record in _records(log)]
    records[1] |= {"at": 1e300, "why": "\x1b[31m\n"}
    records[2] |= {"at": -1e300}
    records[3] |= {"vmid": 10**30}
    log.write_bytes(encode_file(records))
    code, out, _ = felhom()
    assert code == 65
    assert "\x1b" not in out
    assert r"\x1b[31m\n" in out
    validated("audit", felhom("--json")[1])


@pytest.mark.parametrize(
    "words",
    [
        ("--against", "x"),
        ("verify", "--against", "x"),
        ("verify", "-n", "1"),
        ("--limit", "-1"),
        ("so",),
    ],
)
def test_wrong_usage_is_told(felhom: Felhom, words: tuple[str, ...]) -> None:
    assert felhom(*words)[0] == 64


def _records(log: Path) -> list[dict[str, object]]:
    return [dict(record) for record in decode_file(log.read_bytes(), lambda record: "").records]


def test_decisions_that_an_agent_makes_meanwhile_are_no_sign_of_damage(site: Site) -> None:
    directory = site.directory / "journal"
    journal, records = JournalLog.open(directory)
    audit = AuditLog.open(directory, NOW)
    facts = SignedFacts(journal, records)

    def decide() -> None:
        for number in range(300):
            nonce = f"{number:032x}"
            facts.burn(Spent(nonce, "b" * 64, NOW + 60, NOW), lambda: audit.append(ENTRY))

    agent = threading.Thread(target=decide)
    agent.start()
    looks = 0
    while agent.is_alive():
        assert examine(directory).problems == ()
        looks += 1
    agent.join(SOON)
    assert looks > 5
    assert examine(directory).known == 300
    audit.close()
    journal.close()


def test_nothing_is_changed_by_a_look(log: Path, felhom: Felhom) -> None:
    before = {path: path.read_bytes() for path in log.parent.iterdir()}
    felhom()
    felhom("verify")
    assert {path: path.read_bytes() for path in log.parent.iterdir()} == before
    assert read(log.with_name(NAME))
