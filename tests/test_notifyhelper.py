"""What hands notifications to this host's commands: once each, in order, whatever they do."""

from __future__ import annotations

import ast
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from felhom_agent import notifyhelper
from felhom_agent.notify.commandspool import CommandSpool
from felhom_agent.notifyhelper import MAX_BYTES, why_not
from tests.notify.receiver import notice
from tests.process import SOON, wait_until


class Place:
    """A spool and a configuration; what a command writes to `told` is seen."""

    def __init__(self, directory: Path) -> None:
        self.spool, self.configuration = directory / "spool", directory / "etc"
        self.commands = self.configuration / "notify.d"
        self.told = directory / "told"
        self.spool.mkdir()
        self.commands.mkdir(parents=True)

    def command(self, name: str, script: str = "", path: Path | None = None) -> Path:
        """Write a command that tells its name and what it was given."""
        path = path or self.commands / name
        script = script or f'echo "{name} $(cat "$1") $(cat)" >> {self.told}'
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def run(self) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-I", "-S", "-B", notifyhelper.__file__]
        return subprocess.run(
            [*program, self.spool, self.configuration],
            capture_output=True, text=True, check=False, timeout=SOON,
        )  # fmt: skip

    def lines(self) -> list[str]:
        return self.told.read_text().splitlines() if self.told.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_each_message_is_handed_to_each_command_as_file_and_on_stdin_in_order(
    place: Place,
) -> None:
    place.command("20-second")
    place.command("10-first")
    place.command("single", path=place.configuration / "notify")
    spool = CommandSpool(place.spool)
    spool.put(notice(at=1.0, text="one"))
    spool.put(notice(at=2.0, text="two"))
    done = place.run()
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.split(maxsplit=1)[0] for line in place.lines()]
    assert names == ["10-first", "20-second", "single"] * 2
    first = json.dumps(notice(at=1.0, text="one").as_json())
    assert place.lines()[0] == f"10-first {first} {first}"
    assert list(place.spool.iterdir()) == []


def test_a_command_that_fails_costs_itself_and_is_one_line(place: Place) -> None:
    place.command("10-bad", "exit 3")
    place.command("20-deaf", "exit 0")
    place.command("30-good")
    CommandSpool(place.spool).put(notice())
    done = place.run()
    assert done.returncode == 0
    assert done.stderr == f"{place.commands / '10-bad'}: ended with exit code 3\n"
    assert len(place.lines()) == 1


def test_a_command_that_a_signal_ends_is_one_line_too(place: Place) -> None:
    place.command("10-bad", "kill -SEGV $$")
    place.command("20-good")
    CommandSpool(place.spool).put(notice())
    done = place.run()
    assert done.stderr == f"{place.commands / '10-bad'}: was ended by signal 11\n"
    assert len(place.lines()) == 1


def test_a_command_that_hangs_is_killed_with_all_that_it_has_started(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notifyhelper, "PATIENCE", 0.2)
    started = place.told.with_name("child")
    place.command("10-hangs", f"sleep 1000 & echo $! > {started}; wait")
    place.command("20-good")
    CommandSpool(place.spool).put(notice())
    assert notifyhelper.main([str(place.spool), str(place.configuration)]) == 0
    said = capfd.readouterr().err
    assert said == f"{place.commands / '10-hangs'}: was killed: it took longer than 0.2 s\n"
    assert len(place.lines()) == 1
    child = Path("/proc") / started.read_text().strip() / "stat"
    wait_until(lambda: not child.exists() or child.read_text().split()[2] == "Z")


def test_what_is_no_message_is_removed_with_a_line(place: Place, tmp_path: Path) -> None:
    place.command("10-first")
    mine = tmp_path / "mine"
    mine.write_text('{"a secret": 1}')
    (place.spool / "1.json").symlink_to(mine)
    (place.spool / "2.json").write_bytes(b"x" * (MAX_BYTES + 1))
    (place.spool / "3.json").write_text("[]")
    (place.spool / "4.json").write_text("[" * 50_000)
    (place.spool / "5.json").mkdir()
    os.mkfifo(place.spool / "6.json")
    (place.spool / "7\x1b\n.json").write_text("\x00")
    (place.spool / ".8.json").write_text("half")
    done = place.run()
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert len(lines) == 7
    assert all("is no message: " in line and line.isprintable() for line in lines)
    assert mine.exists()
    assert [path.name for path in place.spool.iterdir()] == [".8.json"]
    assert place.lines() == []


def test_a_message_is_gone_before_a_command_sees_it(place: Place) -> None:
    place.command("10-first", f"ls {place.spool} | wc -l >> {place.told}; kill -9 $PPID")
    CommandSpool(place.spool).put(notice())
    assert place.run().returncode != 0
    assert place.lines() == ["0"]


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o775])
def test_what_others_may_write_is_not_started(place: Place, mode: int) -> None:
    open_to_all = place.command("10-open")
    open_to_all.chmod(mode)
    CommandSpool(place.spool).put(notice())
    done = place.run()
    assert place.lines() == []
    assert done.stderr.startswith(f"{open_to_all}: is not started: others may write it")
    assert len(done.stderr.splitlines()) == 1


ROOT, US, STRANGER = 0, 4711, 4712


@pytest.mark.parametrize(
    ("mode", "owner", "group", "why"),
    [(0o755, ROOT, ROOT, ""), (0o755, US, US, ""), (0o750, ROOT, US, ""), (0o700, US, ROOT, ""),
     (0o755, STRANGER, ROOT, "others may write it"), (0o700, STRANGER, US, "others may write it"),
     (0o775, ROOT, US, "others may write it"), (0o757, US, US, "others may write it"),
     (0o700, ROOT, ROOT, "may not start it"), (0o750, ROOT, ROOT, "may not start it"),
     (0o701, ROOT, US, "may not start it"), (0o075, US, US, "others may write it"),
     (0o055, US, US, "may not start it")],
)  # fmt: skip
def test_whether_a_command_is_started_is_told_by_its_owner_and_mode(
    mode: int, owner: int, group: int, why: str
) -> None:
    status = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, group, 0, 0, 0, 0))
    said = why_not(status, US, {US})
    assert why in said
    assert bool(said) == bool(why)


def test_what_an_editor_left_and_what_is_no_program_is_not_started(place: Place) -> None:
    place.command("20-edited~")
    place.command(".30-hidden")
    place.command("40-conf.dpkg-old")
    place.command("50-no-command").chmod(0o644)
    CommandSpool(place.spool).put(notice())
    done = place.run()
    assert place.lines() == []
    assert done.stderr == ""


def test_what_cannot_be_removed_is_not_handed_over_without_end(place: Place) -> None:
    place.command("10-first")
    (place.spool / "1.json").mkdir()
    (place.spool / "1.json" / "x").write_text("")
    done = place.run()
    assert done.returncode == 1
    assert "nothing more is handed over" in done.stderr
    assert place.lines() == []


def test_without_commands_messages_are_taken_away(place: Place) -> None:
    place.commands.rmdir()
    CommandSpool(place.spool).put(notice())
    assert place.run().returncode == 0
    assert list(place.spool.iterdir()) == []


def test_a_command_can_read_its_file_and_nobody_else_can(place: Place) -> None:
    place.command("10-first", f'stat -c %a "$1" >> {place.told}')
    CommandSpool(place.spool).put(notice())
    place.run()
    assert [int(line, 8) & (stat.S_IRWXG | stat.S_IRWXO) for line in place.lines()] == [0]


def test_it_imports_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(notifyhelper.__file__).read_text())
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert names <= set(sys.stdlib_module_names)
