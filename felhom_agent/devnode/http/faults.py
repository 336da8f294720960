"""What can go wrong on the way: faults that a test puts between a caller and the node.

* `reset-before`: the connection is cut before anything happened.
* `reset-after`: it happens, then the connection is cut.
* `hang`: it happens, and no answer comes until the caller gives up or the node closes.
* `status:596` to `status:599`: it happens, and the proxy says it does not know;
  `status:595` (no connection to the worker) and any other status: nothing happened.
* `refuse:TEXT`: 500 with that text, as PVE dies; nothing happened. With `got no worker upid - start
  worker failed` it is what any call that starts a task may meet.
* `late:SECONDS`: the connection is cut, and it happens that much later, as PVE's workers go on with
  what nobody waits for any more.
* `delay:SECONDS`: it happens, and the answer comes that much later, if the node lives so long.
* `truncated`: it happens, and half of the answer comes.
* `not-json`: 200 with a page of HTML; `redirect`: 301 to another place; `garbage`: bytes that are
  no HTTP; nothing happened.

What can go wrong inside of the node is in `mishaps`: a lock that is held, tasks that are lost,
killed or not yet known, a pvestatd that is gone. `Behaviour` has the tasks that fail, warn, or
never end.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

_ACTIONS = re.compile(
    r"reset-before|reset-after|hang|not-json|redirect|garbage|truncated|status:[1-9]\d\d|"
    r"refuse:.+|(?:delay|late):\d+(?:\.\d+)?"
)
_AFTER_THE_EFFECT = frozenset({"reset-after", "hang", "truncated"})


@dataclass(frozen=True)
class Fault:
    """What shall happen to the next `times` requests of that method whose path matches.

    `path` is a regular expression, searched in the path without "/api2/json"; an empty `method`
    is any method. Raise `ValueError` for an action that is not one of the module's.
    """

    method: str = ""
    path: str = ""
    action: str = "reset-before"
    times: int = 1

    def __post_init__(self) -> None:
        if not _ACTIONS.fullmatch(self.action):
            raise ValueError(f"no such action: {self.action!r}")

    @property
    def status(self) -> int:
        """The status it answers with; 0 if it is of another sort."""
        return int(self.action.removeprefix("status:")) if self.action[:6] == "status" else 0

    @property
    def takes_effect(self) -> bool:
        """Whether the request is carried out all the same."""
        return self.action in _AFTER_THE_EFFECT or 596 <= self.status <= 599

    @property
    def argument(self) -> str:
        """What stands behind the colon of its action; empty if there is none."""
        return self.action.partition(":")[2]


class Faults:
    """The faults that still wait for their request; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: list[tuple[Fault, int]] = []

    def add(self, fault: Fault) -> None:
        """Let a fault wait for its requests, after those that wait already."""
        with self._lock:
            self._left.append((fault, fault.times))

    def clear(self) -> None:
        """Forget all that still wait."""
        with self._lock:
            self._left.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Given a request, return the first fault meant for it, counted down."""
        with self._lock:
            for index, (fault, left) in enumerate(self._left):
                if fault.method in ("", method) and re.search(fault.path, path):
                    self._left[index : index + 1] = [(fault, left - 1)] if left > 1 else []
                    return fault
        return None
