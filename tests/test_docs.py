"""What docs/ takes from the code is what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES: dict[Path, str] = runpy.run_path(str(ROOT / "tools" / "docs.py"))["pages"]()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_made_of_the_code_is_current(path: Path) -> None:
    assert path.read_text() == PAGES[path], "run: make docs"
