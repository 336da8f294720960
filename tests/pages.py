"""The pages for people, and the commands that they tell a reader to type.

A block of the language `sh` has commands, one a line, in the order in which a reader types them. A
line that ends in a backslash goes on in the next. Any other block is what a program prints or what
a file holds.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^([ \t]*)```([^\n]*)\n(.*?)^\1```[ \t]*$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")

RUN_BY: Mapping[str, str] = {
    "README.md": "tests/e2e/test_pages.py",
    "docs/install.md": "tests/e2e/test_first_steps.py",
    "docs/day-by-day.md": "tests/e2e/test_pages.py",
    "docs/guest-files.md": "tests/e2e/test_pages.py",
    "docs/certificates.md": "tests/e2e/test_pages.py",
    "docs/notifications.md": "tests/e2e/test_pages.py",
    "docs/metrics.md": "tests/e2e/test_pages.py",
    "docs/tutorial.md": "tests/cli/test_pages.py",
    "docs/control.md": "tests/cli/test_pages.py",
    "docs/rights.md": "tests/cli/test_pages.py",
    "docs/signed-operations.md": "tests/cli/test_signed_page.py",
    "CONTRIBUTING.md": ".ci/run",
}
"""What runs the commands of a page: all of its blocks, in their order."""


@dataclass(frozen=True)
class Block:
    """A block of a page: its language, the heading above it, and its text without the indent."""

    language: str
    heading: str
    text: str

    @property
    def lines(self) -> list[str]:
        """The commands of it, each in one line."""
        joined = self.text.replace("\\\n", " ")
        return [line for line in joined.splitlines() if line.strip()]


def written() -> list[str]:
    """Return the path of every page that git has, or would take; the parts of pages in tools/ count
    where the page is that is made of them.
    """
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    found = set(subprocess.check_output(words, cwd=ROOT, text=True).split("\0")) - {""}
    return sorted(n for n in found if not n.startswith("tools/") and (ROOT / n).exists())


def names() -> list[str]:
    """Return the path of every page that is for readers of the project."""
    return [name for name in written() if not name.startswith(("tests/", "."))]


def blocks(name: str) -> list[Block]:
    """Given a page's path, return its blocks."""
    text = (ROOT / name).read_text()
    return [
        Block(match[2].strip(), _heading(text[: match.start()]), _dedented(match[3], match[1]))
        for match in _BLOCK.finditer(text)
    ]


def commands(name: str) -> list[str]:
    """Given a page's path, return all that it tells to type."""
    return [line for b in blocks(name) if b.language == "sh" for line in b.lines]


def spans(name: str) -> list[str]:
    """Given a page's path, return what stands in its text as code, blocks left out."""
    return [match[1] for match in _SPAN.finditer(_BLOCK.sub("", (ROOT / name).read_text()))]


def _heading(before: str) -> str:
    prose = _BLOCK.sub("", before)
    headings: list[str] = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return headings[-1] if headings else ""


def _dedented(text: str, indent: str) -> str:
    return re.sub(f"^{indent}", "", text, flags=re.MULTILINE)
