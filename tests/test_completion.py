"""What the shells complete, by real shells; the agent's guests are those of a program in its place.

`status --names` has tests of its own; here it is a script that answers as it does.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from felhom_agent.cli.commands import COMMANDS
from felhom_agent.cli.main import parsers

ROOT = Path(__file__).parent.parent
BASH = ROOT / "packaging" / "completion" / "felhom-agent"
ZSH = ROOT / "packaging" / "completion" / "_felhom-agent"
SOON = 30.0

TOP, PARSERS = parsers()
OPTIONS = [
    (name, option)
    for name, parser in {"": TOP, **PARSERS}.items()
    for option, action in parser._option_string_actions.items()
    if action.help != argparse.SUPPRESS or option in ("--config", "--debug")
]
NAMES = "101\tweb\n102\tbuild:er\n200\ta $(touch /nonexistent/x)\n"


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """A `felhom-agent` that knows three guests; another three under `--config other`."""
    program = tmp_path / "felhom-agent"
    program.write_text(
        "#!/bin/sh\n"
        'if [ "$*" = "status --names" ]; then printf "%s" \'' + NAMES + "'\n"
        'elif [ "$*" = "--config other status --names" ]; then printf "301\\tother\\n"\n'
        "else echo unknown; echo trouble >&2; exit 1; fi\n"
    )
    program.chmod(0o755)
    return program


def completed(agent: Path, *words: str, kind: int = 9) -> list[str]:
    """Given the words of a command line, the last of them begun, return what bash offers for it."""
    line = " ".join(map(shlex.quote, words))
    script = (
        f"source {shlex.quote(str(BASH))}; COMP_WORDS=({shlex.quote(str(agent))} {line}); "
        f"COMP_CWORD={len(words)}; COMP_TYPE={kind}; _felhom_agent; "
        f'printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=SOON
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines() if done.stdout.strip() else []


class TestBash:
    def test_every_command_is_completed(self, agent: Path) -> None:
        assert completed(agent, "") == list(COMMANDS)
        for name in COMMANDS:
            assert name in completed(agent, name[:-1])

    @pytest.mark.parametrize(("name", "option"), OPTIONS)
    def test_every_option_is_completed(self, agent: Path, name: str, option: str) -> None:
        assert option in completed(agent, *filter(None, [name]), option[:2])

    @pytest.mark.parametrize("before", [[], ["--config", "x"], ["--debug"], ["--config", "=", "x"]])
    def test_what_stands_before_the_command_does_not_matter(
        self, agent: Path, before: list[str]
    ) -> None:
        assert completed(agent, *before, "pla") == ["plan"]
        assert completed(agent, *before, "plan", "--js") == ["--json"]

    def test_guests_are_completed_by_number_and_only_once(self, agent: Path) -> None:
        assert completed(agent, "plan", "") == ["101", "102", "200"]
        assert completed(agent, "pause", "10") == ["101", "102"]
        assert completed(agent, "plan", "101", "--json", "") == ["102", "200"]
        assert completed(agent, "selftest", "task", "--vmid", "2") == ["200"]
        assert completed(agent, "adopt", "10") == completed(agent, "init", "10") == ["101", "102"]

    def test_a_list_of_guests_shows_their_names(self, agent: Path) -> None:
        assert completed(agent, "plan", "10", kind=63) == ["101  web", "102  build:er"]
        assert completed(agent, "plan", "2", kind=63) == ["200"]

    @pytest.mark.parametrize(
        "words", [["--config", "other", "plan"], ["plan", "--config", "other"],
                  ["plan", "--config", "=", "other"]]
    )  # fmt: skip
    def test_guests_are_those_of_the_agent_that_is_named(
        self, agent: Path, words: list[str]
    ) -> None:
        assert completed(agent, *words, "") == ["301"]

    def test_an_agent_that_answers_nothing_is_passed_over_in_silence(self, agent: Path) -> None:
        assert completed(agent, "--config", "none", "plan", "") == []
        assert completed(agent.parent / "missing", "plan", "") == []

    def test_choices_are_completed_and_what_is_free_text_is_not(self, agent: Path) -> None:
        assert completed(agent, "journal", "") == ["verify", "repair"]
        assert completed(agent, "journal", "verify", "") == []
        assert completed(agent, "explain", "l") == ["lxc"]
        assert completed(agent, "explain", "--cgroup", "") == ["1", "2"]
        assert completed(agent, "explain", "lxc", "mem") == ["memory"]
        assert "net0" in completed(agent, "explain", "qemu", "net")
        assert completed(agent, "freeze", "--why", "") == []
        assert completed(agent, "nonsense", "") == []

    def test_at_a_prompt_commands_guests_and_files_are_put_in(self, agent: Path) -> None:
        (agent.parent / "my agent.toml").touch()
        with prompt(["bash", "--norc", "-i"], agent.parent, f". {BASH}") as shell:
            assert shell.after("felhom-agent his\t#") == "felhom-agent history #"
            assert shell.after("felhom-agent plan 20\t#") == "felhom-agent plan 200 #"
            line = shell.after(f"felhom-agent --config {agent.parent}/my\t#")
            assert line.endswith("my\\ agent.toml #")


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
class TestZsh:
    @pytest.fixture
    def shell(self, agent: Path, tmp_path: Path) -> Iterator[Shell]:
        setup = (
            f"fpath=({ZSH.parent} $fpath); autoload -U compinit; "
            f"compinit -u -d {tmp_path}/dump; bindkey '^I' complete-word; LISTMAX=1000; "
            "unsetopt auto_menu; setopt no_beep"
        )
        with prompt(["zsh", "-f", "-i"], agent.parent, setup) as shell:
            yield shell

    @pytest.mark.parametrize(
        ("typed", "shown"),
        [
            ("felhom-agent his\t", "felhom-agent history #"),
            ("felhom-agent --config x his\t", "felhom-agent --config x history #"),
            ("felhom-agent plan --js\t", "felhom-agent plan --json #"),
            ("felhom-agent plan 20\t", "felhom-agent plan 200 #"),
            ("felhom-agent plan 101 20\t", "felhom-agent plan 101 200 #"),
            ("felhom-agent --config other plan \t", "felhom-agent --config other plan 301 #"),
            ("felhom-agent plan --config other 3\t", "felhom-agent plan --config other 301 #"),
            ("felhom-agent journal v\t", "felhom-agent journal verify #"),
            ("felhom-agent selftest task --vmid 20\t", "selftest task --vmid 200 #"),
            ("felhom-agent freeze --t\t", "felhom-agent freeze --ttl"),
        ],
    )
    def test_at_a_prompt_what_is_begun_is_put_in(
        self, shell: Shell, typed: str, shown: str
    ) -> None:
        assert shown in shell.after(f"{typed}#")

    def test_a_list_of_guests_shows_their_names(self, shell: Shell) -> None:
        listed = shell.after("felhom-agent plan 10\t\t#")
        assert re.search(r"101 +-- web", listed)
        assert re.search(r"102 +-- build:er", listed)

    def test_every_command_and_option_is_there(self) -> None:
        text = ZSH.read_text()
        for name, option in OPTIONS:
            part = text if not name else text.partition(f"        {name}) ")[2].partition(";;")[0]
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", part), (name, option)
        assert all(re.search(rf"^ +'{name}:", text, re.MULTILINE) for name in COMMANDS)


class Shell:
    """An interactive shell on a terminal."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal

    def after(self, keys: str) -> str:
        """Given keys of which the last is no Tab, press them; return what the terminal shows of
        them until the last one is there. The line is not sent.
        """
        os.write(self._terminal, keys.encode())
        shown = self.until(re.escape(keys[-1]))
        os.write(self._terminal, b"\x15")  # Ctrl-U takes the line away
        return shown

    def until(self, end: str) -> str:
        """Return what the terminal shows until it ends with a pattern."""
        shown, by = "", time.monotonic() + SOON
        while not re.search(f"{end}[ ]*$", shown):
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, by - time.monotonic()))
            assert ready, f"not shown: {end!r}; but {shown!r}"
            data = os.read(self._terminal, 65536).decode("utf-8", "replace")
            shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|[\x07\r]", "", data)
            shown = re.sub(r"[^\x08]\x08", "", shown)  # zsh writes some letters twice
        return shown


@contextmanager
def prompt(command: list[str], path: Path, setup: str) -> Iterator[Shell]:
    """Run a shell on a terminal for the length of a block."""
    ours, its = pty.openpty()
    search = f"{path}:{os.environ['PATH']}"
    environment = {"PATH": search, "TERM": "xterm", "PS1": "=> ", "LANG": "C.UTF-8",
                   "COLUMNS": "200", "HOME": str(path)}  # fmt: skip
    with subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, env=environment, cwd=path,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(its)
        shell = Shell(ours)
        try:
            os.write(ours, f"{setup}; echo re''ady\n".encode())
            shell.until(r"ready\n(?s:.*)=>")
            yield shell
        finally:
            process.kill()
            os.close(ours)
