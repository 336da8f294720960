"""A probe that breaks or hangs costs itself, and the exit code is that of the worst fault."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent.cli.check import summary
from felhom_agent.cli.health import Finding, Level, bad, code_of, good, note, probed
from felhom_agent.errors import ConfigError, FelhomError, NotSent
from felhom_agent.model import Place, Problem


def one_then(error: Exception) -> Iterator[Finding]:
    yield good("first")
    raise error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FelhomError("it is so"), "it is so"),
        (ConfigError((Problem(Place("a.toml", 2), "odd"),)), "a.toml:2: odd"),
        (PermissionError(13, "Permission denied", "/x"), "it: /x: Permission denied"),
        (KeyError("k"), "it: internal error, please report it: KeyError: 'k'"),
    ],
)
def test_a_probe_that_breaks_is_a_finding_after_those_that_it_made(
    error: Exception, words: str
) -> None:
    first, second = probed("it", lambda: one_then(error))
    assert first == good("first")
    assert second.level is Level.BAD
    assert second.text.startswith(words)
    assert "\n" not in second.text


def test_a_probe_that_hangs_costs_itself() -> None:
    release = threading.Event()

    def hanging() -> Iterator[Finding]:
        yield good("first")
        release.wait(30)

    first, second = probed("the disk", hanging, deadline=0.05)
    release.set()
    assert first == good("first")
    assert second.text.startswith("the disk: no answer within 0.05 s")


def test_a_probe_ends_with_its_last_finding() -> None:
    assert list(probed("it", lambda: [good("a"), note("b")])) == [good("a"), note("b")]
    assert list(probed("it", lambda: ())) == []


def test_the_exit_code_is_that_of_the_worst_fault() -> None:
    away = NotSent("away")
    away.temporary = True
    _, unreachable = probed("the node", lambda: one_then(away))
    assert code_of([]) == code_of([good("a"), note("b")]) == 0
    assert code_of([good("a"), unreachable]) == 75
    assert code_of([unreachable, bad("x")]) == 1
    assert code_of([unreachable, bad("x"), bad("y", code=78)]) == 78


def test_the_summary_counts() -> None:
    assert summary([good("a")]) == "No fault; 1 good."
    assert summary([good("a"), note("b"), bad("c")]) == "1 fault, 1 note; 1 good."
    assert summary([bad("a"), bad("b"), note("c"), note("d")]) == "2 faults, 2 notes; 0 good."


def test_a_file_that_a_probe_cannot_read_is_told(tmp_path: Path) -> None:
    found = list(probed("it", lambda: [good((tmp_path / "nothing").read_text())]))
    assert [f.level for f in found] == [Level.BAD]
    assert found[0].text == f"it: {tmp_path}/nothing: No such file or directory"
