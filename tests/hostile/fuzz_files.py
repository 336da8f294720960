"""Any bytes as a guest file: through parsing, reading and judging, to what would be sent.

`one` is what a fuzzer calls; it raises only where the agent would do something undocumented.
"""

from __future__ import annotations

from pathlib import Path

from felhom_agent.config import tomlfile
from felhom_agent.desired.guestfile import MAX_PROBLEMS, declarations_of
from felhom_agent.errors import ConfigError
from felhom_agent.model import Kind, Problem
from felhom_agent.options import Invalid, declared

PATH = Path("fuzzed.toml")
MAX_LINE = 1000
"""How long any line for an operator may be."""


def one(data: bytes) -> None:
    """Given what is in a guest file, read it as the agent does.

    Raise nothing but AssertionError, or what no caller of the agent's expects.
    """
    try:
        file = tomlfile.parse_bytes(data, PATH)
    except ConfigError as error:
        _bounded(list(error.problems))
        return
    found = declarations_of(file)
    _bounded(found.problems)
    assert not found.guests.keys() & found.wrong.keys()
    assert bool(found.problems) == (bool(found.wrong) or not found.whole)
    for guest in found.guests.values():
        kinds = [guest.kind] if guest.kind else list(Kind)
        for key, value in guest.config.items():
            sent = [wire for kind in kinds if (wire := _wire(kind, key, value)) is not None]
            assert sent, f"{key} = {value!r} is taken, and neither kind of guest takes it"


def _wire(kind: Kind, key: str, value: object) -> str | None:
    try:
        wire = declared(kind, key, value)  # type: ignore[arg-type]
    except Invalid:
        return None
    assert isinstance(wire, str)
    wire.encode()
    assert len(wire) < 250_000
    return wire


def _bounded(problems: list[Problem]) -> None:
    assert len(problems) <= MAX_PROBLEMS + 1
    for problem in problems:
        line = str(problem)
        assert line.isprintable(), repr(line)
        assert len(line) <= MAX_LINE
