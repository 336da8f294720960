"""Every benchmark still runs, and tells all that its table needs. No figure is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as bench
from benchmarks import peerenv, peers
from benchmarks.fleet import ideal, spoilt
from benchmarks.measure import command, share
from benchmarks.node import Fleet, kind_of
from benchmarks.steps import SHORT, Step
from benchmarks.tables import TABLES, markdown

SOON = 120.0
# Without systemd's library the daemon has no way to say that it is ready.
LEFT_OUT = {"peers"} if find_spec("systemd") else {"peers", "process"}
IN_SHORT = [table for table in TABLES if table.name not in LEFT_OUT]


def test_a_short_run_of_all_parts_has_the_rows_of_each_table_with_all_of_its_columns(
    tmp_path: Path,
) -> None:
    path = tmp_path / "build" / "bench.json"
    words = [sys.executable, "-m", "benchmarks", "--short", "--json", str(path)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=SOON, check=False)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(path.read_text())
    assert found["failed"] == []
    assert found["machine"].keys() == {"date", "python", "processors", "load"}
    for step in SHORT:
        assert f"{step} ..." in ended.stderr
    for table in IN_SHORT:
        rows = [row for row in found["rows"] if row["table"] == table.name]
        assert rows, table.name
        assert table.title in ended.stdout
        for row in rows:
            assert [c.key for c in table.columns if c.key not in row] == [], table.name
    _assert_the_work_was_done([row for row in found["rows"] if row["table"] == "fleet"])


def _assert_the_work_was_done(rows: list[dict[str, Any]]) -> None:
    done = {row["case"]: (row["writes"], row["left"]) for row in rows}
    assert done == {"calm": (0, 0), "tenth": (2, 0), "configs": (4, 0), "starts": (4, 0)}


@pytest.mark.parametrize(
    ("case", "guests", "cap", "seconds"),
    [
        ("calm", 1000, 0, 1000 / 4 * 0.015 + 5 * 0.015),
        ("configs", 1000, 0, 3000 / 4 * 0.015 + 5 * 0.015),
        ("tenth", 100, 0, 2 * 2.0),
        ("starts", 100, 2, 50 * 2.0),
        ("starts", 100, 16, 7 * 2.0),
    ],
)
def test_the_ideal_is_what_delays_and_limits_alone_would_take(
    case: str, guests: int, cap: int, seconds: float
) -> None:
    assert ideal(case, Fleet(guests, 0.015, 2.0), cap) == pytest.approx(seconds)


def test_a_step_of_several_rounds_tells_the_median_of_each_figure() -> None:
    step = Step("planner", ("--short",), rounds=3)
    rows = bench.run(step)
    assert [row["options"] for row in rows] == [5, 10]
    found = ({"name": "a", "n": 3.0}, {"name": "a", "n": 1.0}, {"name": "a", "n": 2.0})
    assert bench.median_of(found) == {"name": "a", "n": 2.0}


def test_a_step_that_fails_is_told_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(bench.Failed):
        bench.run(Step("fleet", ("no-such-case", "1")))
    path = tmp_path / "bench.json"
    monkeypatch.setattr(bench, "FULL", (Step("queue", ("--no-such-word",)), SHORT[2]))
    monkeypatch.setattr(sys, "argv", ["bench", "--json", str(path)])
    assert bench.main() == 1
    found = json.loads(path.read_text())
    assert found["failed"] == ["queue --no-such-word"]
    assert [row["table"] for row in found["rows"]] == ["planner", "planner"]


def test_figures_go_between_the_markers_of_the_page_and_nowhere_else() -> None:
    page = bench.PAGE.read_text()
    assert page.count(bench.BEGIN) == page.count(bench.END) == 1
    head, tail = page.split(bench.BEGIN)[0], page.split(bench.END)[1]
    new = bench.put_into(page, "1st run\n")
    assert new == f"{head}{bench.BEGIN}\n1st run\n{bench.END}{tail}"
    assert bench.put_into(new, "2nd run\n") == new.replace("1st run", "2nd run")


def test_a_table_without_rows_is_left_out() -> None:
    assert markdown([], "nothing was measured") == "nothing was measured\n"


def test_a_peer_that_cannot_be_installed_is_skipped_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "file"
    place.write_text("no directory")
    monkeypatch.setattr(peerenv, "ROOT", place)
    rows = peers.run("calm", Fleet(2, 0.0, 0.1), ["proxctl", "ansible"])
    assert [row["tool"] for row in rows] == ["felhom-agent"]
    assert (rows[0]["code"], rows[0]["left"], rows[0]["ratio_requests"]) == (0, 0, 1.0)
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" cannot")[0] for line in told] == [
        "skipped: proxctl",
        "skipped: ansible",
    ]


def test_a_command_is_measured_with_its_children_and_ended_at_its_deadline() -> None:
    ended = command(["/bin/sh", "-c", 'echo "$WORD"; exit 3'], {"WORD": "heard"}, SOON)
    assert (ended.code, ended.said) == (3, "heard\n")
    assert ended.rss > 0
    with pytest.raises(subprocess.TimeoutExpired):
        command(["/bin/sh", "-c", "sleep 1000; true"], {}, 0.05)


def test_a_share_of_a_sample_is_one_of_its_values() -> None:
    values = [float(n) for n in range(100)]
    assert (share(values, 0.5), share(values, 0.99), share(values, 1.0)) == (50.0, 99.0, 99.0)


def test_a_tenth_that_differs_are_vms_half_of_them_changed_and_half_stopped() -> None:
    """Not every peer can mend a container's configuration."""
    some = spoilt("tenth", 100)
    assert (len(some["configs"]), len(some["states"])) == (5, 5)
    assert {kind_of(vmid) for vmid in some["configs"] + some["states"]} == {"qemu"}
