"""How far one guest travels: counts the walk of a vmid from the scheduler to its outcome.

Run on a checkout with `python -m tools.walk`. One fixed scenario: a pass finds one VM whose `cores`
differ, the agent writes them at an embedded node and reads them back. From the moment at which the
scheduler is handed the plan until it has noted the outcome, every call of a function of the agent
that is given the vmid, or a value that belongs to it, is a step of the walk:

* a *stay* is a step that leads into another module than the step before it on the same thread;
* a *return* is a step that ends by handing a result back to another module.

The functions of values and their parsers, of the log and of the embedded node do not count.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import felhom_agent
from felhom_agent.daemon.assembly import assembled
from felhom_agent.devnode import World
from tests.conftest import Clock, opened_site

VMID = 4711
_PACKAGE = str(Path(felhom_agent.__file__).parent)
_APART = ("devnode", "service", "model", "options", "errors")
_VALUES = ("journal.operation", "planning.actions", "daemon.record", "proxmox.rows")
_BEGINS, _ENDS = "consider", "ended"


@dataclass
class Walk:
    """What was counted; one profiler per thread adds to it under `lock`."""

    stays: int = 0
    returns: int = 0
    modules: set[str] = field(default_factory=set)
    going: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    _stacks: threading.local = field(default_factory=threading.local)

    def profile(self, frame: FrameType, event: str, result: object) -> None:
        """Hear of each call and return, as sys.setprofile tells it."""
        if event not in ("call", "return") or not frame.f_code.co_filename.startswith(_PACKAGE):
            return
        module = frame.f_code.co_filename[len(_PACKAGE) + 1 : -3].replace("/", ".")
        if (
            module.split(".")[0] in _APART
            or module in _VALUES
            or frame.f_code.co_name.startswith(("<", "__"))
        ):
            return
        if event == "call":
            self._call(frame, module)
        else:
            self._return(frame, module, result)

    def _call(self, frame: FrameType, module: str) -> None:
        if frame.f_code.co_name == _BEGINS:
            self.going = True
        if not self.going or not any(_belongs(value) for value in frame.f_locals.values()):
            return
        stack = self._stack()
        with self.lock:
            self.stays += not stack or stack[-1][1] != module
            self.modules.add(module)
        stack.append((frame, module))

    def _return(self, frame: FrameType, module: str, result: object) -> None:
        stack = self._stack()
        if stack and stack[-1][0] is frame:
            stack.pop()
            caller = stack[-1][1] if stack else ""
            with self.lock:
                self.returns += result is not None and caller not in ("", module)
        if frame.f_code.co_name == _ENDS and module.endswith((".turns", ".scheduler")):
            self.going = False

    def _stack(self) -> list[tuple[FrameType, str]]:
        if not hasattr(self._stacks, "frames"):
            self._stacks.frames = []
        frames: list[tuple[FrameType, str]] = self._stacks.frames
        return frames


def _belongs(value: object) -> bool:
    """Return whether a value is the vmid, belongs to it, or is a table or batch that holds it."""
    if isinstance(value, Mapping):
        return VMID in value
    return value == VMID if isinstance(value, int) else getattr(value, "vmid", None) == VMID


def walk() -> Walk:
    """Run the scenario; return what was counted."""
    found = Walk()
    clock = Clock()
    world = World(node="pve1", now=clock)
    world.add("qemu", VMID, {"cores": 1})
    with tempfile.TemporaryDirectory() as name, opened_site(Path(name), world, clock) as site:
        site.declare(f"[guest.{VMID}.config]\ncores = 2\n")
        with assembled(site.config(), clock) as parts:
            from felhom_agent.daemon.loop import Daemon

            daemon = Daemon(site.config(), parts)
            threading.setprofile(found.profile)
            sys.setprofile(found.profile)
            try:
                daemon.run_pass()
            finally:
                sys.setprofile(None)
                threading.setprofile(None)
        if world.config(VMID)["cores"] != 2:
            raise RuntimeError("the agent did not do what was to be watched")
    return found


def main() -> Any:
    """Print the count."""
    logging.disable()
    found = walk()
    print(f"{found.stays} stays in {len(found.modules)} modules, {found.returns} returns:")
    print("  " + " ".join(sorted(found.modules)))


if __name__ == "__main__":
    main()
