"""Which steps of the agent's code a call takes: so a fuzzer learns what leads somewhere new."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import felhom_agent

_OURS = str(Path(felhom_agent.__file__).parent)


class Reached:
    """The steps, from a line to the next, that were gone so far in felhom_agent/."""

    def __init__(self) -> None:
        self._steps: set[tuple[int, int, int]] = set()

    def grew(self, call: Callable[[], object]) -> bool:
        """Given a call, make it, and return whether it went where none had gone before.

        It takes several times as long as without, and must not raise.
        """
        before = len(self._steps)
        other = sys.gettrace()
        sys.settrace(self._enter)
        try:
            call()
        finally:
            sys.settrace(other)
        return len(self._steps) > before

    def _enter(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        # Code lives as long as its module, so its id is its name; its hash is costly.
        code, last = id(frame.f_code), 0
        steps = self._steps

        def step(frame: FrameType, _event: str, _argument: Any) -> Any:
            nonlocal last
            steps.add((code, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step
