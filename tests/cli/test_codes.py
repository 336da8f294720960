"""The exit codes are one table, which the manual has."""

from __future__ import annotations

from pathlib import Path

from felhom_agent.cli import codes

ROOT = Path(codes.__file__).parent.parent.parent
CODES = {name: value for name, value in vars(codes).items() if isinstance(value, int)}


def test_each_code_is_told_with_what_it_means_and_no_two_are_the_same() -> None:
    assert sorted(CODES.values()) == sorted(codes.MEANINGS)
    assert all(codes.MEANINGS.values())


def test_they_are_those_that_scripts_and_the_unit_rely_on() -> None:
    assert CODES == {
        "OK": 0, "ERROR": 1, "WOULD_CHANGE": 2, "DIFFERS": 3, "USAGE": 64, "DATAERR": 65,
        "UNAVAILABLE": 69, "SOFTWARE": 70, "TEMPFAIL": 75, "CONFIG": 78, "INTERRUPTED": 130,
    }  # fmt: skip
    unit = (ROOT / "packaging" / "systemd" / "felhom-agent.service").read_text()
    kept = next(line for line in unit.splitlines() if line.startswith("RestartPreventExitStatus="))
    assert {int(word) for word in kept.partition("=")[2].split()} == {codes.CONFIG, codes.DATAERR}


def test_the_manual_page_and_the_documentation_have_all() -> None:
    manual = (ROOT / "packaging" / "man" / "felhom-agent.1").read_text()
    page = (ROOT / "docs" / "exit-codes.md").read_text()
    status = manual.partition(".SH EXIT STATUS")[2].partition(".SH FILES")[0]
    for code, meaning in codes.MEANINGS.items():
        assert f"\\fB{code}\\fR" in status
        assert f"| {code} | {meaning} |" in page
