"""The long run in short, and that its verdict can be bad."""

from __future__ import annotations

import logging
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from felhom_agent.config.tomlscan import MAX_DEPTH
from tests.hostile import trial
from tests.hostile.fuzz import Course, fuzz, good, harnesses, main, table
from tests.hostile.fuzz_files import one, seeds
from tests.hostile.mutator import MAX_INPUT, MAX_KEPT, MAX_LONG, Mutator
from tests.hostile.reached import Reached
from tests.hostile.trial import MAX_MEMORY, MAX_SECONDS, Result, Trial

GOOD = Result(inputs=1, longest=0.01, memory=40_000)


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    root.handlers[:] = before


def tried(directory: Path, one: Callable[[bytes], object], *inputs: bytes) -> Result:
    """Given a harness and inputs, return what comes of them."""
    each = Trial(lambda data: (one(data), None)[1], directory, "odd")
    for data in inputs:
        each.run(data)
    return each.result


def test_some_hundred_inputs_to_every_harness_are_taken_as_documented(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The time of each input is judged, and what measures coverage takes several times as long.
    for variable in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(variable, raising=False)
    code = main(["--inputs", "1500", "--seed", "1", "--seconds", "60"])
    said = capsys.readouterr().out
    assert code == 0, said
    for name in harnesses():
        assert re.search(rf"^{name} +[1-9][0-9,]* +0 ", said, re.MULTILINE), said


def test_each_module_of_a_harness_is_found() -> None:
    assert {"files", "hub", "node", "text"} <= harnesses().keys()
    assert harnesses()["node"] == "tests.hostile.fuzz_node"


def test_a_harness_that_raises_is_bad_and_its_input_is_kept(tmp_path: Path) -> None:
    result = tried(tmp_path, bytes.decode, b"good", b"\xff", b"\xfe")
    assert (result.inputs, result.bad) == (3, 2)
    (finding,) = result.findings  # of one kind
    assert finding.what.startswith("UnicodeDecodeError at test_fuzz.py ")
    assert finding.path is not None
    assert finding.path.read_bytes() == b"\xff"


def test_a_slow_input_is_bad_when_it_is_slow_twice(tmp_path: Path) -> None:
    slow = {b"once": 1, b"twice": 2}

    def spin(data: bytes) -> None:
        slow[data] -= 1
        end = time.process_time() + (MAX_SECONDS * 1.2 if slow[data] >= 0 else 0)
        while time.process_time() < end:
            pass

    result = tried(tmp_path, spin, b"once", b"twice")
    assert result.bad == 1
    assert result.longest > MAX_SECONDS
    assert [f.path.read_bytes() for f in result.findings if f.path] == [b"twice"]
    assert "of CPU time" in result.findings[0].what


def test_an_input_that_takes_much_memory_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "MAX_MEMORY", 64 * 1024)
    held: list[bytearray] = []

    def grow(data: bytes) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        # No more than is needed: the time that it takes counts, too.
        held.append(bytearray(b"x") * (peak - now + 2**27 if data == b"b" else 1))

    result = tried(tmp_path, grow, b"a", b"b", b"a")
    assert result.bad == 1, "the one that passes the bound"
    assert result.findings[0].what.startswith("memory grew by ")


def test_an_input_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(_data: bytes) -> None:
        reading, _writing = os.pipe()
        os.read(reading, 1)

    monkeypatch.setattr(trial, "HANGS_AFTER", 0.05)
    result = tried(tmp_path, hang, b"a")
    assert result.findings[0].what.startswith("Hung at ")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda log: [log.error("line") for _ in range(trial.MAX_LOGGED + 1)],
        lambda log: log.error("Traceback (most recent call last):"),
    ],
    ids=["flood", "traceback"],
)
def test_what_no_log_may_hold_is_bad(
    tmp_path: Path, spoil: Callable[[logging.Logger], object]
) -> None:
    result = tried(tmp_path, lambda _data: spoil(logging.getLogger("felhom_agent.odd")), b"a")
    assert result.bad == 1


def test_a_harness_in_a_process_that_dies_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fuzz_odd.py").write_text("import os\ndef one(data): os._exit(7)\n")
    monkeypatch.syspath_prepend(tmp_path)
    results = fuzz(harnesses(tmp_path, ""), Course(10, 60.0), tmp_path, print)
    assert results["odd"].bad == 1
    assert not good(results)
    assert "the process ended with 7; input: not kept" in list(table(results))[-1]


@pytest.mark.parametrize(
    "worse",
    [
        replace(GOOD, inputs=0),
        replace(GOOD, bad=1),
        replace(GOOD, longest=MAX_SECONDS + 0.1),
        replace(GOOD, memory=MAX_MEMORY + 1),
    ],
)
def test_a_run_is_good_if_each_harness_was(worse: Result) -> None:
    assert good({"a": GOOD, "b": GOOD})
    assert not good({"a": GOOD, "b": worse})


def test_an_unknown_harness_is_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.fuzz", "--only", "nothing"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "invalid choice: 'nothing'" in done.stderr


def test_mutations_are_bounded_and_the_same_for_the_same_seed() -> None:
    def made(seed: int) -> list[bytes]:
        mutator = Mutator(Random(seed), seeds(), ())  # noqa: S311  # it need not be secret
        for number in range(MAX_KEPT + 10):
            mutator.keep(b"%d" % number)
        return [mutator.next() for _ in range(3000)]

    inputs = made(1)
    assert inputs == made(1)
    assert inputs != made(2)
    assert MAX_INPUT < max(map(len, inputs)) <= MAX_LONG
    assert len(set(inputs)) > 2000


def test_an_input_that_takes_other_steps_is_seen() -> None:
    reached = Reached()
    before = sys.gettrace()
    assert reached.grew(lambda: one(b"a = 1"))
    assert not reached.grew(lambda: one(b"a = 1"))
    assert reached.grew(lambda: one(b"a = " + b"[" * (MAX_DEPTH + 1)))
    assert sys.gettrace() is before
