"""Draws the little part of mermaid that docs/architecture.md uses, as SVG: boxes and arrows down.

A drawing begins with `graph TD`. Its lines are `a --> b`, where either may bring its box along:
`a["name: what it is"]`. A box stands one row below the lowest of those that point to it.
"""

from __future__ import annotations

import re
from html import escape

_LINE = re.compile(r'^\s*(\w+)(?:\["([^"]*)"\])?(?:\s*-->\s*(\w+)(?:\["([^"]*)"\])?)?\s*$')
_WIDTH, _HEIGHT, _GAP, _BETWEEN, _LETTERS = 264, 62, 24, 46, 36
_STYLE = (
    "rect{fill:#eef3fb;stroke:#4a6fa5}line{stroke:#8a97a8;marker-end:url(#tip)}"
    "text{font:13px sans-serif;fill:#1d2733;text-anchor:middle}.name{font-weight:bold}"
)

_TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto"><path d="M0 0L8 4L0 8z" fill="#8a97a8"/></marker>'
)


def svg(drawing: str) -> str:
    """Given a drawing, return its picture. Raise ValueError if a line of it is anything else."""
    texts, arrows = _parsed(drawing)
    rows = _rows(list(texts), arrows)
    wide = max(len(row) for row in rows) * (_WIDTH + _GAP) + _GAP
    high = len(rows) * (_HEIGHT + _BETWEEN) + _GAP
    places = {
        name: (int((wide - len(row) * (_WIDTH + _GAP) + _GAP) / 2 + x * (_WIDTH + _GAP)),
               _GAP + y * (_HEIGHT + _BETWEEN))
        for y, row in enumerate(rows) for x, name in enumerate(row)
    }  # fmt: skip
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img">',
        f"<style>{_STYLE}</style><defs>{_TIP}</defs>",
    ]
    for above, below in arrows:
        (x1, y1), (x2, y2) = places[above], places[below]
        middle = _WIDTH // 2
        lines.append(f'<line x1="{x1 + middle}" y1="{y1 + _HEIGHT}" x2="{x2 + middle}" y2="{y2}"/>')
    for name, (x, y) in places.items():
        lines += _box(texts[name], x, y)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _parsed(drawing: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    texts: dict[str, str] = {}
    arrows: list[tuple[str, str]] = []
    first, *lines = drawing.strip().splitlines()
    if first.strip() != "graph TD":
        raise ValueError(f"a drawing begins with graph TD, not with {first!r}")
    for line in lines:
        if (found := _LINE.match(line)) is None:
            raise ValueError(f"neither a box nor an arrow: {line!r}")
        above, text, below, other = found.groups()
        for name, label in ((above, text), (below, other)):
            if name:
                texts[name] = label or texts.get(name, name)
        if below:
            arrows.append((above, below))
    return texts, arrows


def _rows(names: list[str], arrows: list[tuple[str, str]]) -> list[list[str]]:
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for above, below in arrows:
            depth[below] = max(depth[below], depth[above] + 1)
    if any(depth[below] <= depth[above] for above, below in arrows):
        raise ValueError("the arrows run in a circle")
    return [[n for n in names if depth[n] == row] for row in range(max(depth.values()) + 1)]


def _box(text: str, x: int, y: int) -> list[str]:
    name, _, rest = text.partition(": ")
    lines = [""]
    for word in rest.split():
        if len(lines[-1]) + len(word) >= _LETTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    middle = x + _WIDTH // 2
    drawn = [f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>',
             f'<text class="name" x="{middle}" y="{y + 19}">{escape(name)}</text>']  # fmt: skip
    return drawn + [
        f'<text x="{middle}" y="{y + 38 + 16 * n}">{escape(line)}</text>'
        for n, line in enumerate(lines)
    ]
