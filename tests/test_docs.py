"""What docs/ and packaging/ take from the code is what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.docs import pages

PAGES = pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_made_of_the_code_is_current(path: Path) -> None:
    assert path.read_text() == PAGES[path], "run: make docs"
