"""Which measurements a run has, in their order: each is a command, and a number of rounds.

A step runs in a process of its own and prints its rows as JSON. Where it is short it has three
rounds, and each figure is the median of them.
"""

from __future__ import annotations

from dataclasses import dataclass

ROUNDS = 3


@dataclass(frozen=True)
class Step:
    """A module of `benchmarks`, its words, how often it is run, and its deadline in seconds."""

    part: str
    words: tuple[str, ...] = ()
    rounds: int = 1
    deadline: float = 300.0

    def __str__(self) -> str:
        times = f" ({self.rounds} rounds)" if self.rounds > 1 else ""
        return " ".join([self.part, *self.words]) + times


def _fleet(*words: str, rounds: int = 1) -> Step:
    return Step("fleet", words, rounds)


def _peers(*words: str, deadline: float = 1800.0) -> Step:
    return Step("peers", words, 1, deadline)


FULL = (
    Step("queue"),  # its rounds are its own: what it compares takes turns
    Step("journal", rounds=ROUNDS),
    Step("planner", rounds=ROUNDS),
    _fleet("calm", "20", rounds=ROUNDS),
    _fleet("calm", "100", rounds=ROUNDS),
    _fleet("calm", "1000"),
    _fleet("tenth", "100"),
    _fleet("configs", "100", rounds=ROUNDS),
    _fleet("configs", "1000"),
    _fleet("starts", "100", "--cap", "2"),
    _fleet("starts", "100", "--cap", "16"),
    Step("process", ("--guests", "100", "--seconds", "60")),
    Step("quiet", ("--guests", "1000", "--seconds", "600"), deadline=1200.0),
    _peers("calm", "20"),
    _peers("calm", "100"),
    _peers("calm", "1000", "--tools", "felhom-agent,proxctl"),
    _peers("tenth", "20"),
    _peers("tenth", "100"),
)
_QUICK = ("--delay", "0.001", "--start", "0.1")
SHORT = (
    Step("queue", ("--short",)),
    Step("journal", ("--short",)),
    Step("planner", ("--short",)),
    _fleet("calm", "4", *_QUICK),
    _fleet("tenth", "12", *_QUICK),
    _fleet("configs", "4", *_QUICK),
    _fleet("starts", "4", "--cap", "2", *_QUICK),
    Step("process", ("--guests", "4", "--seconds", "0.1", "--delay", "0.001")),
    Step("quiet", ("--guests", "4", "--seconds", "1", "--delay", "0.001", "--settle", "1")),
)
PARTS = tuple(dict.fromkeys(step.part for step in FULL))
