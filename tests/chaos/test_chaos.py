"""The short form of `make chaos`: twenty kills of the real daemon, each at another moment."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.chaos import run

KILLS = 20


def test_killed_twenty_times_it_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    report = run(KILLS, 20_261_125, tmp_path, lambda line: None)
    assert report.good, "\n".join(report.lines())
    assert report.kills.total() == KILLS
    assert report.operations > KILLS / 2, "an agent that does nothing keeps every promise"
    assert report.jobs > 0
    assert report.signed["done"] > 0
