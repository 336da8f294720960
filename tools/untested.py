"""Which modules have no test file of their own.

A module `felhom_agent/a/b.py` has one if there is a `tests/a/test_b.py`, or one whose name goes on
behind that (`test_b_laws.py`). The others are tested through their neighbours; the list of them is
in `tests/untested.txt`, so that a new module without a test is seen. `python -m tools.untested`
prints the list as it is now.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIST = ROOT / "tests" / "untested.txt"


def untested() -> Iterator[str]:
    """Yield the modules without a test file of their own, in order."""
    for path in sorted((ROOT / "felhom_agent").rglob("*.py")):
        module = path.relative_to(ROOT / "felhom_agent")
        if path.name.startswith("__") or module.parts[0] in ("devnode", "devhub"):
            continue
        folder = ROOT / "tests" / module.parent
        if not any(folder.glob(f"test_{path.stem}.py")) and not any(
            folder.glob(f"test_{path.stem}_*.py")
        ):
            yield str(module)


def main() -> None:
    """Print the list."""
    print("\n".join(untested()))


if __name__ == "__main__":
    main()
