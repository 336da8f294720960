"""Which faults the tests would not see: breaks one place of a module at a time and runs tests.

    python -m tools.mutants felhom_agent/reconcile/places.py --tests tests/reconcile/test_places.py

Each mutation is a small change that a hand could slip in: a condition negated, a comparison, a
sum or a constant replaced, a statement dropped, a value returned early. It is put into a copy of
the tree, and the tests run there until the first failure. A mutation that no test minds survives,
and is listed with its place: either a test is missing, or the change makes no difference.
"""

from __future__ import annotations

import argparse
import ast
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_IGNORED = shutil.ignore_patterns(".git", ".venv*", "__pycache__", "dist", "build", ".*_cache")
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_SUMS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
_DROPPED = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Return, ast.Delete)


@dataclass(frozen=True)
class Mutation:
    """A change of a source: what stands between two offsets of its UTF-8 is replaced."""

    line: int
    start: int
    end: int
    before: str
    after: str

    def of(self, source: bytes) -> bytes:
        """Given the source, return it with this change."""
        return source[: self.start] + self.after.encode() + source[self.end :]

    def __str__(self) -> str:
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
        self.found: list[Mutation] = []

    def _replace(self, node: ast.stmt | ast.expr, after: str) -> None:
        start = self._lines[node.lineno - 1] + node.col_offset
        # A node that was parsed has an end.
        end = self._lines[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        before = self._source[start:end].decode()
        self.found.append(Mutation(node.lineno, start, end, before, after))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)
        if body and not isinstance(body[0], ast.Return | ast.Pass | ast.Raise):
            first = body[0]
            text = ast.get_source_segment(self._source.decode(), first) or ""
            self._replace(first, f"return None\n{' ' * first.col_offset}{text}")
        for statement in body:
            self.visit(statement)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            if not isinstance(statement, ast.Expr):  # a docstring, or an attribute's
                self.visit(statement)

    def visit_Module(self, node: ast.Module) -> None:
        for statement in node.body:
            if not isinstance(statement, ast.Expr | ast.Import | ast.ImportFrom):
                self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, _DROPPED) and not _is_logging(node):
            self._replace(node, "return None" if isinstance(node, ast.Return) else "pass")
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


class Tree:
    """A copy of the tree in which mutations are tried."""

    def __init__(self, root: Path) -> None:
        self._root = root
        shutil.copytree(ROOT, root, ignore=_IGNORED, dirs_exist_ok=True)

    def survives(self, path: str, source: bytes, tests: Sequence[str], deadline: float) -> bool:
        """Given a module's path and another source for it, return whether the tests pass; those
        that take longer than `deadline` seconds do not.
        """
        target = self._root / path
        before = target.read_bytes()
        target.write_bytes(source)
        try:
            return self._passes(tests, deadline)
        finally:
            target.write_bytes(before)

    def _passes(self, tests: Sequence[str], deadline: float) -> bool:
        environment = {
            **os.environ, "PYTHONPATH": str(self._root), "PYTHONDONTWRITEBYTECODE": "1"
        }  # fmt: skip
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        run = subprocess.Popen(  # noqa: S603 - pytest, on a copy of this very tree
            command, cwd=self._root, env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return run.wait(deadline) == 0
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, 9)
            run.wait()
            return False


def survivors(
    path: str, tests: Sequence[str], chosen: Sequence[Mutation], *, jobs: int
) -> list[Mutation]:
    """Given a module, its tests and mutations, return those that the tests let pass.

    Raise RuntimeError if the tests fail without any mutation.
    """
    source = (ROOT / path).read_bytes()
    work: queue.SimpleQueue[Mutation] = queue.SimpleQueue()
    for mutation in chosen:
        work.put(mutation)
    found: list[Mutation] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        trees = [Tree(Path(directory) / str(number)) for number in range(jobs)]
        begun = time.monotonic()
        if not trees[0].survives(path, source, tests, 600.0):
            raise RuntimeError(f"without any mutation {' '.join(tests)} fails")
        deadline = 30.0 + 4.0 * (time.monotonic() - begun)

        def try_all(tree: Tree) -> None:
            while True:
                try:
                    mutation = work.get_nowait()
                except queue.Empty:
                    return
                lives = tree.survives(path, mutation.of(source), tests, deadline)
                word = "SURVIVED" if lives else "killed"
                print(f"{word:8}  {path}:{mutation.line}  {mutation}", flush=True)
                if lives:
                    found.append(mutation)

        threads = [threading.Thread(target=try_all, args=(tree,)) for tree in trees]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sorted(found, key=lambda m: (m.line, m.start))


def main() -> int:
    """Try the mutations of the modules that are named; return 1 if any survives."""
    parser = argparse.ArgumentParser(description="Breaks modules, and sees whether tests mind.")
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="path of a module")
    parser.add_argument("--tests", nargs="+", required=True, help="what pytest is to run")
    parser.add_argument("--sample", type=int, default=0, help="only so many mutations per module")
    parser.add_argument("--seed", type=int, default=0, help="which ones are drawn")
    parser.add_argument("--lines", default="", help="only these lines, as in 10-20")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at the same time")
    wanted = parser.parse_args()
    table: list[tuple[str, int, int]] = []
    left: list[str] = []
    first, _, last = wanted.lines.partition("-")
    for path in wanted.modules:
        chosen = mutations((ROOT / path).read_bytes())
        if first:
            chosen = [m for m in chosen if int(first) <= m.line <= int(last or first)]
        if 0 < wanted.sample < len(chosen):
            chosen = random.Random(wanted.seed).sample(chosen, wanted.sample)  # noqa: S311
        found = survivors(path, wanted.tests, chosen, jobs=wanted.jobs)
        table.append((path, len(chosen), len(found)))
        left += [f"{path}:{m.line}\n  - {m.before}\n  + {m.after}" for m in found]
    print("\n" + "\n".join(left))
    print(f"\n{'module':48} {'tried':>6} {'survived':>8}")
    for path, tried, lived in table:
        print(f"{path:48} {tried:6} {lived:8}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
