"""Any bytes as a guest file: through parsing, reading and judging, to what would be sent.

`one` is what a fuzzer calls; it raises only where the agent would do something undocumented.
"""

from __future__ import annotations

import json
from pathlib import Path

from felhom_agent.config import tomlfile
from felhom_agent.desired.guestfile import MAX_PROBLEMS, declarations_of
from felhom_agent.errors import ConfigError
from felhom_agent.model import Kind, Problem
from felhom_agent.options import Invalid, declared

PATH = Path("fuzzed.toml")
MAX_LINE = 1000
"""How long any line for an operator may be."""
TOKENS = (
    b"[guest.101]\n", b"[guest.101.config]\n", b"[guest.", b"[[guest]]\n", b"guest = ", b"config.",
    b"kind = ", b'"qemu"', b'"lxc"', b"state = ", b'"running"', b"unset = [", b"identity = ",
    b'cores = ', b'cpulimit = "', b'startup = "order=', b'net0 = "', b'scsi0 = "', b'mp0 = "',
    b'tags = ["', b'"""', b"'''", b"{", b"}", b"]", b", ", b"\n", b"\r", b"=", b";", b".", b":",
    b"/", b"0x" + b"f" * 300, b"0o", b"0b1", b"9" * 90, b"9" * 5000, b"1e99", b"1e999999999",
    b"1e-999999999", b"-0", b"inf", b"nan", b"true", b"1979-05-27T07:32:00Z", b"07:32:00", b"\\",
    b"\\u0000", b"\\u001b", b"\\ud800", b"\\U00110000", b"\xe2\x80\xae", b"\xff", b"\x00",
    b"\xef\xbb\xbf", b"\xd9\xa1", b"a." * 40, b"[" * 40, b"volume=", b"size=8G",
    b"size=" + b"9" * 40, b"bridge=vmbr0", b"virtio=BC:24:11:00:00:01",
    b"none", b"local:vm-101-disk-0",
)  # fmt: skip
_TESTS = Path(__file__).parent.parent


def seeds() -> list[bytes]:
    """Return sound guest files: those of the scenarios, and one for each recorded value."""
    sound = [path.read_bytes() for path in sorted(_TESTS.glob("scenarios/*/*.toml"))]
    cases = (_TESTS / "data" / "drift_cases.jsonl").read_text().splitlines()
    # A text of JSON is one of TOML, too.
    recorded = (
        f'[guest.101]\nkind = "{case["guest"]}"\n[guest.101.config]\n'
        f"{json.dumps(case['field'])} = {json.dumps(case['desired'])}\n"
        for case in map(json.loads, cases)
    )
    return [*sound, *(text.encode() for text in recorded)]


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
