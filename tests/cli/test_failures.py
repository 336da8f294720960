"""What the surroundings refuse is told in a line, and is no internal error; a bug of ours is."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from felhom_agent.cli.failures import told
from felhom_agent.cli.main import main
from felhom_agent.errors import (
    Busy,
    FelhomError,
    JournalDamaged,
    NoQuorum,
    NotSent,
    OutcomeUnknown,
    Rejected,
    Unanswered,
)
from felhom_agent.journal.lock import AlreadyRunning, held
from felhom_agent.service.controlclient import AgentBusy, ControlRefused, NoAgent
from tests.conftest import Site

SOON = 60.0
COMMANDS = (
    "plan",
    "history",
    "explain qemu tags a b",
    "check",
    "pause 100",
    "selftest task --vmid 100",
    "journal repair",
    "hub forget",
    "run --once --dry-run",
    "devnode --dir /proc/none",
    "--help",
)
AROUND = {
    "a full disk": "{} >/dev/full",
    "no stdout": "{} >&-",
    "no stderr": "{} 2>&-",
    "a full stderr": "{} 2>/dev/full",
    "no stdin": "{} <&-",
    "nothing at all": "{} <&- >&- 2>&-",
    "a reader that leaves": "{} | true",
    "a reader of one line": "{} | head -1",
    "no text on stdin": r"printf '\377\376y\n' | {}",
    "no home": "env -u HOME -u USER -u LOGNAME {}",
    "no directory": "d=$(mktemp -d); cd $d; rmdir $d; {}",
    "no files": "ulimit -n 10; {}",
    "a full quota": "ulimit -f 0; {}",
}


def run(
    config: Path, words: str, around: str, environment: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, str]:
    """Given a command and a line of shell around it, return its exit code, and what was said."""
    command = f"{sys.executable} -m felhom_agent --config {shlex.quote(str(config))} {words}"
    script = f"set -o pipefail; {around.format(command)}"
    # What measures coverage in each process would meet these surroundings, too, and complain.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    done = subprocess.run(
        ["bash", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SOON,
        check=False,
        env={**inherited, "PYTHONPATH": str(Path(__file__).parent.parent.parent), **environment},
    )
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


@pytest.fixture
def config(site: Site) -> Path:
    site.world.add("qemu", 100, {"name": "web", "cores": 1})
    site.declare("[guest.100.config]\ncores = 2\n")
    return site.write_config()


@pytest.mark.parametrize("around", AROUND)
def test_no_command_takes_its_surroundings_for_a_bug_of_ours(config: Path, around: str) -> None:
    for words in COMMANDS:
        code, said = run(config, words, AROUND[around])
        assert code in (0, 1, 2, 3, 75, 78), (words, said)
        for word in ("internal error", "Traceback", "Exception ignored"):
            assert word not in said, (words, said)


@pytest.mark.parametrize("words", ["check x", "check x y.toml", "selftest task --vmid 100"])
def test_a_working_directory_that_was_removed_is_told(config: Path, words: str) -> None:
    code, said = run(config, words, AROUND["no directory"])
    assert code in (1, 78)
    assert "felhom-agent: No such file or directory" not in said
    assert ("the working directory was removed" in said) is words.startswith("check")


@pytest.mark.parametrize("words", ["--help", "--version", "plan --help", "metrics", "plan"])
def test_what_was_to_go_to_a_closed_stdout_goes_nowhere_else(config: Path, words: str) -> None:
    assert run(config, words, "{} 2>&1 >&-")[1].count("\n") <= 1


def test_a_host_without_memory_is_told_as_that(config: Path) -> None:
    said = ""
    for kilobytes in range(30_000, 250_000, 20_000):
        code, said = run(config, "plan", f"ulimit -v {kilobytes}; {{}}")
        if code == 2:
            return
        assert "internal error" not in said, kilobytes
    raise AssertionError(said)


@pytest.mark.parametrize(
    "value", ["[" * 100_000, "9" * 5000, "1e999", "NaN", "\udcff", "\0", '{"a": ' * 50_000, ""]
)
def test_no_value_of_an_option_is_too_odd_to_be_judged(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in ("cores", "description", "net0", "tags"):
        for words in ([value, "1"], ["1", value]):
            assert main(["explain", "qemu", key, *words]) in (0, 1, 2)
            assert "internal error" not in capsys.readouterr().err


class TestCodes:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (FelhomError("x"), 1),
            (NoAgent("x"), 1),
            (AgentBusy("x"), 75),
            (ControlRefused(503, "x"), 75),
            (ControlRefused(403, "x"), 1),
            (AlreadyRunning("x"), 75),
            (JournalDamaged("x"), 65),
            (Busy("x"), 75),
            (NoQuorum("x"), 75),
            (NotSent("x"), 1),
            (NotSent("x", timed_out=True), 75),
            (Unanswered("x", cut_off=True), 75),
            (Unanswered("x", status=599), 75),
            (OutcomeUnknown("x", timed_out=True), 75),
            (Rejected("x", status=400), 1),
            (MemoryError(), 1),
            (OSError(24, "Too many open files", "/etc/x"), 1),
            (RuntimeError("can't start new thread"), 1),
            (ModuleNotFoundError("No module named 'tomli'", name="tomli"), 1),
            (ModuleNotFoundError("No module named 'x'", name="felhom_agent.x"), 70),
            (KeyError("x"), 70),
            (OSError("made by hand"), 70),
        ],
        ids=repr,
    )
    def test_the_code_tells_whether_to_try_again_to_mend_or_to_report(
        self, error: Exception, code: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert told(error, debug=False) == code
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert ("internal error" in said) == (code == 70)

    def test_a_bug_is_told_with_its_place_and_how_to_report_it(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(KeyError) as caught:
            dict[str, int]()["nothing"]
        assert told(caught.value, debug=True) == 70
        lines = capsys.readouterr().err.splitlines()
        assert "KeyError: 'nothing' (" in lines[0]
        assert "--debug" in lines[0]
        assert lines[1].startswith("  at ")

    def test_a_node_that_cannot_be_reached_may_be_tried_again_and_a_wrong_name_may_not(
        self, site: Site
    ) -> None:
        path = site.write_config()
        good = path.read_text()
        for endpoint, code in (("https://127.0.0.1:9", 75), ("https://no-such-host.invalid:1", 1)):
            path.write_text(good.replace(site.devnode.endpoint, endpoint))
            found, said = run(path, "plan", "{}")
            # A resolver that is not there itself is one that may come back.
            assert found in (code, 75), said
            assert "cannot be reached" in said

    def test_one_shots_beside_another_agent_may_be_tried_again(self, site: Site) -> None:
        path = site.write_config()
        with held(site.directory / "journal"):
            for words in ("run --once", "journal repair", "hub forget --yes"):
                found, said = run(path, words, "{}")
                assert (found, "stop it first" in said) == (75, True), words


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_a_signal_ends_a_command_in_silence(
    config: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-m", "felhom_agent", "selftest", "task", "--vmid", "100"]
    with subprocess.Popen(
        [*command, "--config", str(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, said = process.communicate(timeout=SOON)
    assert (process.returncode, said) == (code, b"")
