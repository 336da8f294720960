"""`make release-check`: is this tree a release?

It builds the packages twice (in another directory, with another umask, locale and time zone), and
looks at what came out. Each check is a line; what is wrong is named. Where all is well, `dist/` has
what a release consists of: the packages, a bill of materials (`tools/sbom.py`) and `SHA256SUMS`.
Where anything is wrong, it has neither of the last two, and the exit code is 1.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from felhom_agent import __version__
from tools import sbom
from tools.docs import pages

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
SUMS = "SHA256SUMS"
PACKAGED = ("felhom_agent", "packaging", "docs", "pyproject.toml", "README.md", "LICENSE")
"""What packaging/build-deb takes of the tree."""
BOM = f"felhom-agent-{__version__}.cdx.json"
OTHER = {"LC_ALL": "C", "LANG": "C", "TZ": "Pacific/Kiritimati"}
"""What the second build finds in its environment; its umask is 077."""


def versions() -> Iterator[str]:
    """Yield where the version is not the program's (`felhom_agent/__init__.py`)."""
    changelog = (ROOT / "packaging" / "debian" / "changelog").read_text()
    if not changelog.startswith(f"felhom-agent ({__version__}) "):
        yield f"packaging/debian/changelog does not begin with {__version__}"
    text = (ROOT / "CHANGELOG.md").read_text()
    if not re.search(rf"^## \[{re.escape(__version__)}\]", text, re.MULTILINE):
        yield f"CHANGELOG.md says nothing of {__version__}"


def documents() -> Iterator[str]:
    """Yield what docs/ and packaging/ have that is not what the code says."""
    for path, text in pages().items():
        if not path.exists() or path.read_text() != text:
            yield f"{path.relative_to(ROOT)} is not current; run: make docs"


def uncommitted() -> Iterator[str]:
    """Yield what the packages would have that git does not."""
    words = ["git", "status", "--porcelain", "--untracked-files=normal", "--", *PACKAGED]
    for line in subprocess.check_output(words, cwd=ROOT, text=True).splitlines():
        yield f"not committed: {line[3:]}"


def built(where: Path, *, umask: int = -1, **environment: str) -> list[Path]:
    """Build the packages into a directory, outside the tree if it is outside; return them. Raise
    CalledProcessError if that fails.
    """
    done = subprocess.run(
        [ROOT / "packaging" / "build-deb"],
        env={**os.environ, **environment, "BUILD": str(where / "build"), "DIST": str(where)},
        umask=umask,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Path(line) for line in done.stdout.splitlines()]


def differences(one: Iterable[Path], other: Iterable[Path]) -> Iterator[str]:
    """Given packages of two builds, yield those that are not the same byte by byte."""
    for first, second in zip(one, other, strict=True):
        if first.read_bytes() != second.read_bytes():
            yield f"{first.name} is another one when it is built again"


def paths(packages: Iterable[Path], machine: Iterable[Path]) -> Iterator[str]:
    """Given packages and directories of this machine, yield which file names which of them."""
    words = [str(path).encode() for path in machine]
    with tempfile.TemporaryDirectory() as scratch:
        for package in packages:
            tree = Path(scratch, package.stem)
            subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
            for path in sorted(p for p in tree.rglob("*") if p.is_file()):
                data = _plain(path)
                for word in words:
                    if word in data:
                        where = path.relative_to(tree)
                        yield f"{package.name}: {where} names {word.decode()}"


def _plain(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    return subprocess.check_output(["gzip", "--decompress", "--stdout", path])


def lintian(packages: Iterable[Path]) -> Iterator[str]:
    """Yield what lintian says of the packages."""
    words = ["lintian", "--allow-root", "--fail-on", "warning", "--tag-display-limit", "0"]
    done = subprocess.run([*words, *packages], capture_output=True, text=True, check=False)
    yield from done.stdout.splitlines()
    if done.returncode and not done.stdout:
        yield f"lintian: exit code {done.returncode}: {done.stderr.strip()}"


def write_sums(directory: Path, packages: Iterable[Path]) -> None:
    """Write the bill of materials and the checksums of it and the packages into a directory."""
    (directory / BOM).write_text(json.dumps(sbom.document(directory), indent=2) + "\n")
    listed = [*(path.name for path in packages), BOM]
    lines = [f"{sha256((directory / name).read_bytes()).hexdigest()}  {name}\n" for name in listed]
    (directory / SUMS).write_text("".join(lines))


def main() -> int:
    """Check everything, tell it, and write what a release has; return the exit code."""
    for name in (SUMS, BOM):
        (DIST / name).unlink(missing_ok=True)
    faults = _told("one version everywhere", versions)
    faults += _told("docs/ and packaging/ are what the code says", documents)
    faults += _told("all is committed", uncommitted)
    with tempfile.TemporaryDirectory(prefix="felhom-again-") as scratch:
        again = Path(scratch)
        first = built(DIST)
        second = built(again, umask=0o077, **OTHER)
        machine = [ROOT, again]
        faults += _told("two builds are the same", lambda: differences(first, second))
        faults += _told("no file names a path of this machine", lambda: paths(first, machine))
        faults += _told("lintian has nothing to say", lambda: lintian(first))
    shutil.rmtree(DIST / "build")
    if faults:
        print(f"{faults} faults; this is no release", file=sys.stderr)
        return 1
    write_sums(DIST, first)
    print((DIST / SUMS).read_text(), end="")
    return 0


def _told(what: str, check: Callable[[], Iterator[str]]) -> int:
    """Make a check and print what came of it; return how much is wrong."""
    wrong = list(check())
    print(f"{'FAIL' if wrong else 'ok  '}  {what}")
    for line in wrong:
        print(f"      {line}")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
