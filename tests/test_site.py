"""The site of docs/: its pages as Sphinx gets them, and that a browser fetches nothing for them."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tools.roomspicture import svg
from tools.site import PROJECT, assemble, fetched, parts

INDEX = """# Title
## How to
* [One](one.md)
* [Two](../TWO.md), and a word
## Reference
* [Three](three.md#part)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site") / "source"
    assemble(directory)
    return directory


def test_the_pages_of_a_heading_are_its_list_of_links() -> None:
    assert parts(INDEX) == {"How to": ["one.md", "../TWO.md"], "Reference": []}


def test_every_page_is_there_and_no_link_leads_out_of_the_site(source: Path) -> None:
    assert (source / "conf.py").exists()
    assert {name for name in PROJECT if (source / name).exists()} == set(PROJECT)
    for page in source.rglob("*.md"):
        assert not re.search(r"\]\((\.\./|docs/)", page.read_text()), page


def test_each_page_is_in_the_navigation_under_its_heading(source: Path) -> None:
    index = (source / "index.md").read_text()
    trees = re.findall(
        r"```\{toctree\}\n:hidden:\n:caption: ([^\n]+)\n\n(.*?)```", index, re.DOTALL
    )
    assert [title for title, _ in trees] == list(parts(index))
    listed = [name for _, names in trees for name in names.split()]
    there = [page.stem for page in source.glob("*.md") if page.name != "index.md"]
    assert sorted(listed) == sorted(page.removesuffix(".md") for page in there)


def test_a_drawing_becomes_a_picture_with_its_boxes(source: Path) -> None:
    page = (source / "architecture.md").read_text()
    assert "mermaid" not in page
    drawn = (source / "architecture-0.svg").read_text()
    picture = ElementTree.fromstring(drawn)  # noqa: S314 - our own
    texts = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"cli", "daemon", "reconcile", "model, errors"} <= texts


def test_a_box_stands_below_all_that_point_to_it() -> None:
    drawn = svg('graph TD\n  a["A: one"] --> c\n  a --> b["B"]\n  b --> c["C: <three>"]\n')
    rows = re.findall(r'class="name" x="\d+" y="(\d+)">(\w)<', drawn)
    high = {name: int(y) for y, name in rows}
    assert high["A"] < high["B"] < high["C"]
    assert "&lt;three&gt;" in drawn


@pytest.mark.parametrize(
    ("drawing", "why"),
    [
        ("graph LR\n  a --> b\n", "begins with graph TD"),
        ("graph TD\n  a ==> b\n", "neither a box nor an arrow"),
        ("graph TD\n  a --> b\n  b --> a\n", "in a circle"),
    ],
)
def test_what_cannot_be_drawn_is_said(drawing: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        svg(drawing)


@pytest.mark.parametrize(
    "text",
    [
        '<script async src="https://cdn.example/x.js"></script>',
        "<script src='//cdn.example/x.js'></script>",
        '<link rel="stylesheet" href="http://fonts.example/a.css">',
        '<link href="https://fonts.example/" rel="preconnect">',
        '<img alt="a" src="https://img.example/x.png">',
        "<img src=https://img.example/x.png>",
        '<source srcset="https://img.example/x.webp 2x">',
        "@import url(https://fonts.example/a.css);",
        '@import "//fonts.example/a.css";',
        "body { background: url('https://img.example/x.png') }",
    ],
)
def test_what_a_browser_would_fetch_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "page.html").write_text(f"<html>{text}</html>")
    (found,) = fetched(tmp_path)
    assert found.startswith("page.html: ")
    assert ".example" in found


@pytest.mark.parametrize(
    "text",
    [
        '<a href="https://example.org/">a link that a person follows</a>',
        '<script src="_static/x.js"></script>',
        '<link rel="canonical" href="https://example.org/page.html">',
        '<img src="data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22%3E">',
        '<svg xmlns="http://www.w3.org/2000/svg"></svg>',
    ],
)
def test_what_is_there_already_or_is_only_a_link_is_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "page.html").write_text(f"<html>{text}</html>")
    assert list(fetched(tmp_path)) == []
