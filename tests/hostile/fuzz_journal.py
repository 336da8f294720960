"""Whatever bytes a journal's file holds, reading it ends in records or in words, never otherwise.

`one` is for a fuzzer: it takes bytes, and raises only where the code does what it must not. The
bytes are read as a file, and besides as the choice of odd records that carry a good checksum.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from felhom_agent.durable.line import Record, body_of, encode, encode_file
from felhom_agent.errors import JournalDamaged
from felhom_agent.journal.content import content_of, intact
from felhom_agent.journal.identities import known
from felhom_agent.journal.operation import record_of, replay
from felhom_agent.journal.retention import Limits, retain, watermark_of

_PATH = Path("journal.jsonl")
_TIME = "2026-11-25T12:00:00.000+00:00"
_GOOD: tuple[Record, ...] = (
    {"op": "019a00000001", "state": "intent", "begun": _TIME, "vmid": 101, "kind": "qemu",
     "action": "SetConfig", "text": "t", "wanted": {"cores": "2"}, "key": "k", "expires": 1.5,
     "name": "web"},
    {"op": "019a00000001", "state": "task", "upid": "UPID:x", "begun": _TIME, "vmid": 101,
     "kind": "qemu", "action": "SetConfig", "text": "t"},
    {"op": "019a00000001", "state": "failed", "ended": _TIME, "why": "w", "untouched": True},
    {"guest": 101, "identity": "uuid=1"},
    {"mark": "019a00000000", "forgotten": 1.0},
    {"nonce": "somebody else's"},
)  # fmt: skip
_ODD: tuple[object, ...] = (
    None, True, -1, 0, 99, 10**9, 10**400, 1.5, 1e308, "", "x", "\x00", "\ud800", "0" * 12,
    "fff" * 9, [], {}, {"a": 1}, [None], "intent", "task", "0001-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59-14:00", "2026-11-25T12:00:00", "2026-11-25", 2**63, "qemu", "Destroy",
)  # fmt: skip
_MISSING = object()


def one(data: bytes) -> None:
    """Given any bytes, read them as a journal, and as the makings of one."""
    use(data)
    use(encode_file(odd_records(data)))


def odd_records(data: bytes) -> list[Record]:
    """Given bytes, return the good records, each changed in a field or two as the bytes say."""
    choices = iter(data)
    return [_changed(record, choices) for record in _GOOD for _ in range(2)]


def each_odd_file() -> Iterator[bytes]:
    """Yield a file for each field of each record and each odd value of it, in a good line."""
    for place, record in enumerate(_GOOD):
        for key in record:
            for value in (*_ODD, _MISSING):
                odd = {**record, key: value}
                if value is _MISSING:
                    del odd[key]
                yield encode_file([*_GOOD[:place], odd, *_GOOD[place:]])
    for number, body in enumerate((b"[]", b"{}", b"null", b'{"a":NaN}', b'{"op":1e999}'), start=1):
        yield encode(1, body_of(_GOOD[0])) + encode(2, body) * number
    for depth in (90, 150, 950, 990, 5000):
        yield encode(1, b'{"a":%s1%s}' % (b"[" * depth, b"]" * depth))


def _changed(record: Record, choices: Iterator[int]) -> Record:
    changed = dict(record)
    for _ in range(next(choices, 0) % 3):
        keys = sorted({key for good in _GOOD for key in good})
        key = keys[next(choices, 0) % len(keys)]
        value = (*_ODD, _MISSING)[next(choices, 0) % (len(_ODD) + 1)]
        if value is _MISSING:
            changed.pop(key, None)
        else:
            changed[key] = value
    return changed


def use(data: bytes) -> None:
    """Read a file as every reader does."""
    content = content_of(data)
    for damage in content.damage:
        assert damage.text.isascii()
        assert "\n" not in damage.text
        assert len(damage.text) < 300
    with suppress(JournalDamaged):
        intact(_PATH, data)
        assert not content.damage
    records = list(content.records)
    operations = replay(records)
    known(records)
    watermark_of(records)
    for now in (0.0, 1_800_000_000.0, 9e10):
        kept = retain(records, now, Limits(90.0, 100_000))
        again = content_of(encode_file(kept))
        assert not again.damage, "what was good stays good"
        assert [o.op_id for o in replay(again.records) if o.in_flight] == [
            o.op_id for o in operations if o.in_flight
        ], "what is in flight is never let go"
    for operation in operations:
        step = record_of(operation)
        json.dumps(dict(step))
