"""Makes the site of docs/: pages as files, to be served from anywhere, or read from the disk.

    python -m tools.site build/site

The pages are those that docs/index.md lists, under its headings, and the three of the project
itself. They read well on a forge, too, so a page of the site differs from its source in little:
links into docs/ and out of it lead to the page of the site, and a mermaid drawing becomes a
picture, since what draws it in a browser would be fetched from elsewhere. Afterwards every file
of the site is searched for what a browser would fetch from another host.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools import roomspicture

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PROJECT = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
CONF = Path(__file__).parent / "siteconf.py"
_LISTED = re.compile(r"^\* \[[^\]]+\]\(([^)#]+\.md)\)", re.MULTILINE)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_UP = re.compile(r"(\]\()(?:\.\./|docs/)")
_FETCHED = re.compile(
    r"""<(?:script|img|source|iframe|video|audio|embed|object)\b[^>]*?\s(?:src|srcset|data)=["']?\s*"""
    r"""((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|icon|preload|prefetch|preconnect|dns-prefetch|"""
    r"""modulepreload|manifest|shortcut))[^>]*?\shref=["']?\s*((?:https?:)?//[^"'\s>]+)"""
    r"""|(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"'\s)]+)""",
    re.IGNORECASE,
)


def parts(index: str) -> dict[str, list[str]]:
    """Given the text of docs/index.md, return the pages that it lists, by heading."""
    pieces = _HEADING.split(index)
    return {
        title: _LISTED.findall(text) for title, text in zip(pieces[1::2], pieces[2::2], strict=True)
    }


def assemble(source: Path) -> None:
    """Write the pages, as Sphinx is to read them, into a directory that is not there yet."""
    shutil.copytree(DOCS, source)
    for name in PROJECT:
        shutil.copy(ROOT / name, source)
    for page in source.rglob("*.md"):
        page.write_text(_UP.sub(r"\1", page.read_text()))
    for page in source.rglob("*.md"):
        _draw(page)
    index = source / "index.md"
    text = index.read_text()
    index.write_text(text + "".join(_tree(title, names) for title, names in parts(text).items()))
    (source / "conf.py").write_text(CONF.read_text())


def _draw(page: Path) -> None:
    """Put pictures in place of a page's drawings."""
    for number, drawing in enumerate(_MERMAID.findall(page.read_text())):
        picture = f"{page.stem}-{number}.svg"
        (page.parent / picture).write_text(roomspicture.svg(drawing))
        page.write_text(_MERMAID.sub(f"![{page.stem}]({picture})", page.read_text(), count=1))


def _tree(title: str, names: list[str]) -> str:
    listed = "\n".join(name.removesuffix(".md") for name in names)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{listed}\n```\n"


def fetched(site: Path) -> Iterator[str]:
    """Yield what a browser that shows the site would fetch from another host, with its file."""
    for path in sorted(site.rglob("*")):
        if path.suffix in {".html", ".css", ".js", ".svg"}:
            for found in _FETCHED.finditer(path.read_text(errors="replace")):
                yield f"{path.relative_to(site)}: {next(filter(None, found.groups()))}"


def main() -> int:
    """Make the site in the directory that is named; return 1 if it is not as it shall be."""
    target = Path(sys.argv[1])
    source = target.with_name(f"{target.name}-source")
    for path in (source, target):
        shutil.rmtree(path, ignore_errors=True)
    assemble(source)
    words = ["-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(source), str(target)]
    if subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode:
        return 1
    if wrong := list(fetched(target)):
        print("\n".join(["these would be fetched from elsewhere:", *wrong]), file=sys.stderr)
        return 1
    print(f"{target}/index.html: {len(list(target.rglob('*.html')))} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
