"""What a hand could slip into a module: each mutation is one small change of its source.

A condition is negated, a comparison, a sum or a constant replaced, a statement dropped, a value
returned early.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_SUMS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
_DROPPED = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Delete)


@dataclass(frozen=True)
class Mutation:
    """A change of a source: what stands between two offsets of its UTF-8 is replaced.

    `where` is the function or class, as in `Gate.allows`, and empty outside of both.
    """

    where: str
    line: int
    last: int
    start: int
    end: int
    before: str
    after: str

    def of(self, source: bytes) -> bytes:
        """Given the source, return it with this change."""
        return source[: self.start] + self.after.encode() + source[self.end :]

    @property
    def change(self) -> str:
        """What is changed, in one line of bounded length."""
        return f"{_one_line(self.before)}  ->  {_one_line(self.after)}"


def _one_line(text: str) -> str:
    found = " ".join(text.split())
    return found if len(found) <= 70 else f"{found[:67]}..."


class _Finder(ast.NodeVisitor):
    """Collects the mutations of a source; docstrings, imports and type hints are left alone."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._within: list[str] = []
        self.found: list[Mutation] = []

    def _replace(self, node: ast.stmt | ast.expr, after: str) -> None:
        start = self._lines[node.lineno - 1] + node.col_offset
        # A node that was parsed has an end.
        end = self._lines[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        before = self._source[start:end].decode()
        last = node.end_lineno or node.lineno
        where = ".".join(self._within)
        self.found.append(Mutation(where, node.lineno, last, start, end, before, after))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        self._within.append(node.name)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)
        if body and not isinstance(body[0], ast.Return | ast.Pass | ast.Raise):
            first = body[0]
            text = ast.get_source_segment(self._source.decode(), first) or ""
            self._replace(first, f"return None\n{' ' * first.col_offset}{text}")
        for statement in body:
            self.visit(statement)
        self._within.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._within.append(node.name)
        for statement in node.body:
            if not isinstance(statement, ast.Expr):  # a docstring, or an attribute's
                self.visit(statement)
        self._within.pop()

    def visit_Module(self, node: ast.Module) -> None:
        for statement in node.body:
            if not isinstance(statement, ast.Expr | ast.Import | ast.ImportFrom):
                self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Return):
            if node.value is not None:
                self._replace(node, "return None")
        elif isinstance(node, _DROPPED) and not _is_logging(node):
            self._replace(node, "pass")
        if isinstance(node, ast.If | ast.While | ast.IfExp):
            self._replace(node.test, f"(not ({ast.unparse(node.test)}))")
        if isinstance(node, ast.expr | ast.stmt):
            for changed in _changed(node):
                self._replace(node, changed)
        if not _is_logging(node):
            super().generic_visit(node)


def _is_logging(node: ast.AST) -> bool:
    """Return whether a statement only writes a line into the log."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func).startswith("_log.")
    )


def _changed(node: ast.expr | ast.stmt) -> Iterator[str]:
    """Yield what a node may be replaced with."""
    match node:
        case ast.Compare(left, [op, *more], [right, *rest]) if type(op) in _COMPARISONS:
            swapped = _COMPARISONS[type(op)]()
            yield f"({ast.unparse(ast.Compare(left, [swapped, *more], [right, *rest]))})"
        case ast.BoolOp(op, values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield f"({ast.unparse(ast.BoolOp(other, values))})"
            yield from (f"({ast.unparse(value)})" for value in values)
        case ast.BinOp(left, op, right) if type(op) in _SUMS:
            yield f"({ast.unparse(ast.BinOp(left, _SUMS[type(op)](), right))})"
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            yield f"({ast.unparse(operand)})"
        case ast.Constant(bool() as value):
            yield str(not value)
        case ast.Constant(int() | float() as value):
            yield repr(value + 1)
        case ast.Break():
            yield "continue"
        case ast.Continue():
            yield "break"


def mutations(source: bytes) -> list[Mutation]:
    """Given a module's source, return its mutations in the order of their places."""
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    unique = {(m.start, m.end, m.after): m for m in finder.found if m.before != m.after}
    return sorted(unique.values(), key=lambda m: (m.line, m.start, m.end))
