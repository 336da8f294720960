"""Whatever is printed: the terminal, its encoding, and a reader that is not there any more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.conftest import Site

HOSTILE = "\x1b[2J\x07\u202egnp\u2028ü\U000e0041"


def felhom(
    config: Path,
    *words: str | bytes,
    stdout: int | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "felhom_agent", "--config", str(config), *words]
    return subprocess.run(
        command,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.fixture
def config(site: Site) -> Path:
    """An agent.toml whose guest has a name and options that no terminal should be sent."""
    site.world.add("lxc", 300, {"hostname": "dns", "description": HOSTILE, "tags": "x"})
    site.declare('[guest.300.config]\ntags = ["y"]\n[guest.999]\n')
    site.declare("[guest.300.config]\nx = 1\n", os.fsdecode(b"\xe9t\xe9\x1b[2J.toml"))
    return site.write_config()


@pytest.mark.parametrize(
    "environment",
    [
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "latin-1:strict"},
        {"PYTHONIOENCODING": "utf-8:strict"},
    ],
    ids=["C", "ascii", "latin-1", "utf-8"],
)
def test_every_command_prints_on_every_terminal(config: Path, environment: dict[str, str]) -> None:
    for words in (["plan"], ["explain", "lxc", "description", HOSTILE, "ü"]):
        done = felhom(config, *words, environment=environment)
        assert done.returncode in (0, 1, 2), done.stderr
        assert b"Traceback" not in done.stderr
        assert b"internal error" not in done.stderr
        text = (done.stdout + done.stderr).decode("latin-1")
        assert not {c for c in text if ord(c) < 32 or ord(c) == 127} - {"\n"}
        assert "\u202e".encode() not in done.stdout + done.stderr
        assert "Trace" not in text


def test_a_name_that_is_not_text_is_shown_and_json_stays_json(config: Path) -> None:
    done = felhom(config, "plan", "--json")
    assert rb"\udce9t\udce9\x1b[2J.toml" in done.stderr
    plan = json.loads(done.stdout)
    assert any(r"\udce9t\udce9\x1b[2J.toml" in problem for problem in plan["problems"])
    assert done.stdout.isascii()


@pytest.mark.parametrize("words", [["plan"], ["plan", "--json"], ["run", "--help"]])
def test_a_reader_that_has_left_is_told_nothing(config: Path, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = felhom(config, *words, stdout=writer)
    os.close(writer)
    assert done.returncode == 1
    assert not [line for line in done.stderr.splitlines() if b"BrokenPipe" in line]
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("words", [["plan"], ["--version"]])
def test_a_disk_that_is_full_is_an_error_in_words(config: Path, words: list[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    done = felhom(config, *words, stdout=full)
    os.close(full)
    assert done.returncode == 1
    assert b"felhom-agent: stdout cannot be written: No space left on device\n" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("words", "closed", "code"),
    [
        ("plan", "<&- >&- 2>&-", 1),
        ("plan", "2>/dev/full", 1),
        ("plan 12 --x", "2>&-", 64),
        ("explain lxc tags a a", ">&-", 0),
        ("run --once --dry-run", "2>&-", 2),
        ("run --once --dry-run", "2>/dev/full", 2),
    ],
)
def test_streams_that_are_closed_or_full_change_no_exit_code(
    config: Path, words: str, closed: str, code: int
) -> None:
    script = f'{sys.executable} -m felhom_agent --config "$0" {words} {closed}'
    done = subprocess.run(["sh", "-c", script, config], check=False, timeout=60,
                          capture_output=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (code, b"")


def test_what_was_typed_is_quoted_safely(config: Path) -> None:
    done = felhom(config, "plan", "\x1b[31m\u202e", b"\xe9")
    assert done.returncode == 64
    assert b"\x1b" not in done.stderr
    done = felhom(config, "reconcile", "\x1b[31m\u202e", b"\xe9")
    assert done.returncode == 64
    assert rb"'\x1b[31m\u202e' '\udce9'" in done.stderr
    assert b"\x1b" not in done.stderr


def test_an_interrupt_is_quiet(site: Site) -> None:
    site.declare("[guest.100]\n")
    command = [sys.executable, "-m", "felhom_agent", "--config", str(site.write_config()),
               "selftest", "task", "--vmid", "100"]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")
