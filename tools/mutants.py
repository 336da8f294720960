"""Which faults the tests would not see: breaks one place of a module at a time and runs tests.

    python -m tools.mutants felhom_agent/reconcile/places.py --tests tests/reconcile

The tests run once as they are, and it is noted which lines each of them runs. Then each mutation
(`tools.mutations`) is put into a copy of the tree, and the tests that run its lines are run there
until the first failure: those that failed for other mutations of the module first, then the quick
ones. What no test minds is shown to mypy, which is a part of `make test`, too. What neither minds
survives. `tools/survivors.toml` has those that are known, with the reason; any other is listed, and
either a test is missing or a reason is.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from coverage import CoverageData

from tools.mutations import Mutation, mutations
from tools.survivors import explained, of

ROOT = Path(__file__).resolve().parent.parent
_IGNORED = shutil.ignore_patterns(".git", ".venv*", "__pycache__", "dist", "build", ".*_cache")
_COVERED = "[run]\nsource = felhom_agent\ndata_file = {file}\n"
_FIRST_RUN = 3600.0
"""Seconds for all tests without any mutation."""


class Tree:
    """A copy of a tree in which mutations are tried, one at a time."""

    def __init__(self, root: Path, source: Path = ROOT) -> None:
        self.root = root
        self._notes = root / "notes.jsonl"
        shutil.copytree(source, root, ignore=_IGNORED, dirs_exist_ok=True)

    def killer(self, path: str, source: bytes, tests: Sequence[str], deadline: float) -> str | None:
        """Given a module's path, another source for it and tests, return the test that failed,
        "mypy" if that did, or None. Tests that take longer than `deadline` seconds count as failed.
        """
        target = self.root / path
        before = target.read_bytes()
        target.write_bytes(source)
        chosen = self.root / "chosen.json"
        chosen.write_text(json.dumps(tests))
        files = sorted({test.partition("::")[0] for test in tests})
        try:
            passed = not tests or self._run(["-x", *files], deadline, ONLYTHESE_TESTS=str(chosen))
            if not passed:
                return next((test for test, ok, _ in self._noted() if not ok), "no test")
            return None if self.is_typed() else "mypy"
        finally:
            target.write_bytes(before)

    def is_typed(self) -> bool:
        """Return whether mypy has nothing to say."""
        words = [sys.executable, "-m", "mypy", "--no-error-summary", "felhom_agent"]
        run = subprocess.run(  # noqa: S603 - mypy, on a copy of this very tree
            words, cwd=self.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
        return run.returncode == 0

    def first(self, tests: Sequence[str]) -> tuple[dict[str, float], CoverageData]:
        """Given what pytest is to run, return how many seconds each test took, and which test runs
        which lines. One that fails is named, and left out: it cannot tell anything.
        """
        file, config = self.root / "lines", self.root / "coverage.ini"
        config.write_text(_COVERED.format(file=file))
        words = ["--cov", f"--cov-config={config}", "--cov-context=test", "--cov-report="]
        self._run([*words, *tests], _FIRST_RUN, PYTHONDONTWRITEBYTECODE="")
        for test in [test for test, ok, _ in self._noted() if not ok]:
            print(f"left out, since it fails without any mutation: {test}", flush=True)
        lines = CoverageData(str(file))
        lines.read()
        return {test: took for test, ok, took in self._noted() if ok}, lines

    def _noted(self) -> list[tuple[str, bool, float]]:
        if not self._notes.exists():
            return []
        lines = [json.loads(line) for line in self._notes.read_text().splitlines()]
        return [(line["test"], line["passed"], line["took"]) for line in lines]

    def _run(self, words: list[str], deadline: float, **more: str) -> bool:
        self._notes.unlink(missing_ok=True)
        environment = {
            **os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1",
            "ONLYTHESE_NOTES": str(self._notes), **more,
        }  # fmt: skip
        command = [sys.executable, "-m", "pytest", "-p", "tools.onlythese"]
        run = subprocess.Popen(  # noqa: S603 - pytest, on a copy of this very tree
            [*command, "-p", "no:cacheprovider", *words],
            cwd=self.root, env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            # 5: none of these tests is there; then none minds.
            return run.wait(deadline) in (0, 5)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, 9)
            run.wait()
            return False


class Shown:
    """Which tests a mutation is shown to, and in which order.

    Shared by all threads without a lock: a count that is lost costs a little time, no verdict.
    """

    def __init__(self, took: dict[str, float], lines: CoverageData, root: Path) -> None:
        self.took = took
        self._lines = lines
        self._root = root
        self.killers: Counter[str] = Counter()

    def of(self, path: str, mutation: Mutation) -> list[str]:
        """Return the tests that run a line of the mutation, in order. For a line that runs when the
        module is imported these are all tests of each file of which one runs a line of the module:
        what such a line makes (a default, a table) is also used without running another.
        """
        by_line = self._lines.contexts_by_lineno(str(self._root / path))
        here: set[str] = set()
        for line in range(mutation.line, mutation.last + 1):
            here.update(by_line.get(line, ()))
        tests = {context.rpartition("|")[0] for context in here}
        if "" in here or not mutation.where:
            of_module = {
                context.partition("::")[0] for found in by_line.values() for context in found
            }
            tests = {test for test in self.took if test.partition("::")[0] in of_module}
        tests &= self.took.keys()
        return sorted(tests, key=lambda test: (-self.killers[test], self.took[test]))

    def seconds(self, tests: Sequence[str]) -> float:
        """Return for how long these tests may go on before they count as failed."""
        return 60.0 + 4.0 * sum(self.took[test] for test in tests)


def _line(word: str, path: str, mutation: Mutation) -> str:
    return f"{word:8}  {path}:{mutation.line}  {mutation.change}"


def survivors(
    path: str, tests: Shown, trees: Sequence[Tree], chosen: Sequence[Mutation]
) -> list[Mutation]:
    """Given a module, the tests, a copy of the tree per job, and mutations, return those that the
    tests let pass.
    """
    source = (ROOT / path).read_bytes()
    work: queue.SimpleQueue[Mutation] = queue.SimpleQueue()
    for mutation in chosen:
        work.put(mutation)
    found: list[Mutation] = []
    known = explained()

    def try_all(tree: Tree) -> None:
        while True:
            try:
                mutation = work.get_nowait()
            except queue.Empty:
                return
            shown = tests.of(path, mutation)
            killer = tree.killer(path, mutation.of(source), shown, tests.seconds(shown))
            if killer is None:
                found.append(mutation)
                word = "known" if of(path, mutation) in known else "SURVIVED"
            else:
                tests.killers[killer] += 1
                word = "killed"
            print(_line(word, path, mutation), flush=True)

    threads = [threading.Thread(target=try_all, args=(tree,)) for tree in trees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found, key=lambda m: (m.line, m.start))


def main() -> int:
    """Try the mutations of the modules that are named; return 1 if one survives unexplained."""
    wanted = _arguments()
    table: list[tuple[str, int, int, int]] = []
    left: list[str] = []
    known = explained()
    again = frozenset(wanted.again.read_text().splitlines()) if wanted.again else frozenset()
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        trees = [Tree(Path(directory) / str(number)) for number in range(wanted.jobs)]
        tests = Shown(*trees[0].first(wanted.tests), trees[0].root)
        print(f"{len(tests.took)} tests pass without any mutation", flush=True)
        if not tests.took or not trees[0].is_typed():
            print("no test passes as it is, or mypy does not: nothing could be told", flush=True)
            return 1
        for path in (str(each.resolve().relative_to(ROOT)) for each in wanted.modules):
            chosen = mutations((ROOT / path).read_bytes())
            if wanted.again:
                chosen = [m for m in chosen if _line("SURVIVED", path, m) in again]
            if 0 < wanted.sample < len(chosen):
                chosen = random.Random(wanted.seed).sample(chosen, wanted.sample)  # noqa: S311
            found = survivors(path, tests, trees, chosen)
            unknown = [mutation for mutation in found if of(path, mutation) not in known]
            table.append((path, len(chosen), len(found), len(unknown)))
            left += [f"{path}:{m.line}  {m.where}\n  - {m.before}\n  + {m.after}" for m in unknown]
    print("\n" + "\n".join(left))
    print(f"\n{'module':48} {'tried':>6} {'survived':>8} {'unexplained':>11}")
    for path, tried, lived, unknown_here in table:
        print(f"{path:48} {tried:6} {lived:8} {unknown_here:11}")
    return 1 if left else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Breaks modules, and sees whether tests mind.")
    parser.add_argument("modules", nargs="+", type=Path, metavar="MODULE", help="path of one")
    parser.add_argument("--tests", nargs="+", required=True, help="what pytest is to run")
    parser.add_argument("--sample", type=int, default=0, help="only so many mutations per module")
    parser.add_argument("--seed", type=int, default=0, help="which ones are drawn")
    parser.add_argument("--again", type=Path, help="what an earlier run printed: its survivors")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at the same time")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
