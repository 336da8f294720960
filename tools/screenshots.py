"""Pictures of what a person sees: `plan`, `apply` and `status` at work on the embedded node.

Each command runs on a terminal, and what is on its screen at the end becomes an SVG in docs/images.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from felhom_agent.cli.demo import write_demo
from felhom_agent.devnode import DevNode
from felhom_agent.devnode.demo.world import demo_world
from tests.cli.pty_of import on_terminal

IMAGES = Path(__file__).parent.parent / "docs" / "images"
COLUMNS = 90
DEADLINE = 60.0
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.S)
# The cursor goes up some lines, and all below is taken away.
_BACK = re.compile(r"\x1b\[(\d+)A\x1b\[J")


def main() -> int:
    """Make all pictures; return the exit code."""
    with tempfile.TemporaryDirectory() as directory, DevNode(demo_world()) as node:
        config = write_demo(node, Path(directory))
        picture("plan", config, ["plan"])
        picture("apply", config, ["apply", "--yes", "101", "102", "103"])
        with running(config):
            picture("status", config, ["status"])
    return 0


def picture(name: str, config: Path, words: Sequence[str]) -> None:
    """Run a command on a terminal, and write what is on its screen at the end."""
    screen = on_screen([*command(config), *words])
    console = Console(record=True, width=COLUMNS, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(Text.from_ansi(f"$ felhom-agent {' '.join(words)}\n{screen}"))
    path = IMAGES / f"{name}.svg"
    # Without fonts that would be fetched from afar.
    drawn = _FONTS.sub("", console.export_svg(title="felhom-agent", unique_id=name))
    drawn = re.sub(r"\s*<!-- Generated.*?-->", "", drawn)
    path.write_text(drawn.replace("Fira Code, ", ""))
    print(f"{path.name}: {screen.count(chr(10))} lines")


def command(config: Path) -> list[str]:
    """Return the beginning of a command line."""
    return [sys.executable, "-m", "felhom_agent", "--config", str(config)]


@contextmanager
def running(config: Path) -> Iterator[None]:
    """Run the agent until it has done its first pass, and for the length of a block."""
    process = subprocess.Popen([*command(config), "run"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "done: " in line:
                break
        yield
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(DEADLINE)


def on_screen(words: Sequence[str]) -> str:
    """Run a command on a terminal of its own; return what is on the screen at the end."""
    _, lines = on_terminal(words, COLUMNS)
    return screen_of("\n".join(lines))


def screen_of(text: str) -> str:
    """Given all that was written, return what stays of it."""
    while found := _BACK.search(text):
        lines = text[: found.start()].split("\n")
        kept = lines[: len(lines) - 1 - int(found[1])]
        text = "\n".join([*kept, text[found.end() :]])
    return text.rstrip("\n")


if __name__ == "__main__":
    sys.exit(main())
