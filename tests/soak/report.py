"""What a long run came to, and what may be said against it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from felhom_agent.proxmox.observer import READERS
from tests.soak.process import Usage

KEPT_CONNECTIONS = READERS
"""How many more descriptors the end may have than the beginning.

The agent keeps the connections of the most calls it ever made at once. The warm-up, with every lane
busy, needed more of them than the drift ever does; but PVE may just have closed those that a pass
reads with at one end, and not yet at the other.
"""
KEPT_MEMORY = 1024
"""How many KiB more the end may have than the beginning, and the last fifth of the drift than its
first: what the allocator scatters.

The second is the sharper look: it is seldom off by more than 400 KiB, while from the beginning to
the end the agent may also give a megabyte back. What grows by 10 KiB a pass is told within ten
minutes.
"""
KEPT_PER_OPERATION = 0.25
"""KiB that each change may leave behind: the agent remembers the tasks that were its own."""


@dataclass
class Report:
    """Figures and `defects`, which are what was seen to be wrong in itself.

    `grown` is by how many KiB the agent's memory grew during the drift.
    """

    beginning: Usage = field(default_factory=Usage)
    peak: Usage = field(default_factory=Usage)
    end: Usage = field(default_factory=Usage)
    grown: int = 0
    drifts: int = 0
    mutations: int = 0
    passes: int = 0
    healed: int = 0
    changed_in_calm: int = 0
    exit_code: int = 0
    defects: list[str] = field(default_factory=list)

    def complaints(self) -> list[str]:
        """Return what speaks against the agent; the verdict is good if nothing does."""
        return [*self.defects, *self._growth(), *self._misconduct()]

    def table(self) -> list[str]:
        """Return the lines that a person reads at the end."""
        rows = {"beginning": self.beginning, "peak": self.peak, "end": self.end}
        growth = f"{self.grown:+} KiB from the first fifth of the drift to the last"
        counts = (
            f"{self.drifts} drifts, {self.mutations} changes asked of the node, "
            f"{self.healed} operations done, {self.passes} passes"
        )
        head = f"{'':10}{'fds':>8}{'threads':>9}{'RSS MiB':>9}"
        return [head, *(_row(name, usage) for name, usage in rows.items()), growth, counts]

    def _growth(self) -> Iterator[str]:
        begun, ended = self.beginning, self.end
        if ended == Usage():
            yield "the end was never measured"
            return
        if ended.fds > begun.fds + KEPT_CONNECTIONS:
            yield f"{ended.fds} descriptors, {begun.fds} at the beginning"
        if ended.threads != begun.threads:
            yield f"{ended.threads} threads, {begun.threads} at the beginning"
        allowed = KEPT_MEMORY + KEPT_PER_OPERATION * self.mutations
        if (more := ended.memory - begun.memory) > allowed:
            yield f"{more} KiB more than at the beginning; {allowed:.0f} are allowed"
        if self.grown > allowed:
            yield f"{self.grown} KiB grown during the drift; {allowed:.0f} are allowed"

    def _misconduct(self) -> Iterator[str]:
        if self.changed_in_calm:
            yield f"{self.changed_in_calm} changes although all was as declared"
        if self.exit_code:
            yield f"exit code {self.exit_code}"


def _row(name: str, usage: Usage) -> str:
    return f"{name:10}{usage.fds:>8}{usage.threads:>9}{usage.memory / 1024:>9.1f}"
