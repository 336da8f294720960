"""Every link of a page to this repository leads to something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.pages import ROOT, written

_FENCED = re.compile(r"^([ \t]*)(```|~~~).*?^\1\2[ \t]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).*?\1", re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_DEFINED = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?\s*$", re.MULTILINE)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def links(text: str) -> list[str]:
    """Return where the links of a page lead to, those in code left out."""
    prose = _CODE.sub("", _FENCED.sub("", text))
    return _LINK.findall(prose) + _DEFINED.findall(prose)


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return the anchors of a page, as a forge makes them of its headings."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCED.sub("", path.read_text())):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number, unique = 0, anchor
        while unique in found:
            number += 1
            unique = f"{anchor}-{number}"
        found.add(unique)
    return frozenset(found)


def broken(page: Path, root: Path) -> Iterator[str]:
    """Yield each link of a page that leads nowhere."""
    for link in links(page.read_text()):
        if _ELSEWHERE.match(link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        if root not in (target, *target.parents) or not target.exists():
            yield f"{link}: there is no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{link}: there is no such heading"


@pytest.mark.parametrize("page", written())
def test_every_link_of_a_page_leads_to_a_file_and_a_heading_that_are_there(page: str) -> None:
    assert list(broken(ROOT / page, ROOT)) == []


def test_a_link_that_leads_nowhere_is_named_and_what_is_code_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text(
        "# What it is\n## Twice\n## Twice\n## `code`, and [a](b.md)\n"
    )
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](other.md#what-it-is) [b](other.md#twice-1) [c](#here) ![d](none.svg)\n"
        "[e](other.md#thrice) [f](../outside.md) [g](https://example.org/x) `[h](code.md)`\n"
        "[i](other.md#code-and-a) [j][j]\n```\n[k](code.md)\n```\n\n[j]: missing.md\n"
    )
    assert list(broken(page, tmp_path)) == [
        "none.svg: there is no such file",
        "other.md#thrice: there is no such heading",
        "../outside.md: there is no such file",
        "missing.md: there is no such file",
    ]
