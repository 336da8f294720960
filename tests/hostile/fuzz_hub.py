"""Junk that looks like a hub's answers, fed to everything that reads them.

`one` turns bytes into an answer of the right structure with something odd in it, and raises only
what is not documented. Usable with any fuzzer that makes bytes; `tests/hostile/test_fuzz_hub.py`
has a short run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from felhom_agent.authz.canonical import encode as canonical
from felhom_agent.authz.operation import parse as operation
from felhom_agent.authz.refusals import OperationRefused
from felhom_agent.authz.words import words_of
from felhom_agent.config.settings import HubConfig
from felhom_agent.desired.claims import Claims
from felhom_agent.desired.hub import NAME, HubProvider
from felhom_agent.desired.merged import MergedProvider
from felhom_agent.desired.provider import EmptyProvider
from felhom_agent.durable.line import encode
from felhom_agent.errors import FelhomError
from felhom_agent.hub.client import parsed
from felhom_agent.hub.envelope import InvalidEnvelope, parse
from felhom_agent.hub.jobrows import MAX_ID, MAX_ROWS, OddRow, is_named, rows_of
from felhom_agent.hub.report import AgentFacts, report_of
from felhom_agent.model import Kind
from felhom_agent.proxmox.nodereport import NodeReport, ReportedGuest, figures_of, options_of
from felhom_agent.proxmox.rows import guest_of

NAMED = HubConfig(guests=(range(100, 1000),), max_guests=5)
MAX_LINE = 400

_KEYS = ("guest", "100", "101", "0100", "x", "config", "unset", "kind", "state", "mode", "stop",
         "restart", "identity", "cores", "memory", "cpulimit", "description", "tags", "net0",
         "startup", "scsi0", "generation", "etag", "blocked", "may_block", "desired_state",
         "poll_interval_seconds", "desired_generation", "has_signed_ops", "host_id", "jobs",
         "job_id", "op_blob_b64", "sigs_armored", "request", "act", "vmid", "params", "version",
         "allowed_signers", "revoked_keys", "expires", "keys", "challenge", "requester",
         "")  # fmt: skip
_VALUES = ("null", "true", "false", "0", "1", "-1", "1.5", "1e999", "1e400000000", "NaN",
           "-Infinity", "9" * 5000, "9007199254740991", "9007199254740992", '""', '"running"',
           '"lxc"', '"qemu"', '"observe"', '"\\ud800"', '"\\u0000"', '"\\u001b[2J"', '"\\n"',
           '"1e9999999999999999999"', '"' + "9" * 4301 + '"', '"virtio,bridge=vmbr0"', '"a;b"',
           '"x\\u202ey"', "[]", "{}")  # fmt: skip

TOKENS = tuple(
    word.encode()
    for word in (*_VALUES, *map(json.dumps, _KEYS), *"{}[],:", '{"guest":{"100":{"config":{')
)
_SOUND = (
    {"status": "ok", "desired_generation": 7, "blocked": False, "has_signed_ops": False,
     "poll_interval_seconds": 900},
    {"guest": {"100": {"kind": "qemu", "state": "running", "mode": "observe", "unset": ["vga"],
                       "config": {"cores": 2, "memory": "4096", "description": "Shop\n",
                                  "tags": ["a", "b"], "net0": "virtio,bridge=vmbr0"}},
               "101": {"kind": "lxc", "state": "stopped", "config": {"cpulimit": 1.5}}}},
    {"name": "web", "status": "running", "vmid": 100, "cores": 2, "memory": {"total": 1}},
    {"job_id": "web-1", "op_blob_b64": "e30=", "sigs_armored": ["x"]},
    {"job_id": "r", "request": {"act": "snapshot_rollback", "vmid": 101, "stop": False,
                                "params": {"snapshot": "before"}}},
    {"act": "key_rotation", "params": {"version": 2, "expires": "20300101", "revoked_keys": "",
                                       "allowed_signers": "operational ssh-ed25519 AAAA\n"}},
    {"act": "key_revocation", "params": {"keys": ["ssh-ed25519 AAAA", "x"]}},
)  # fmt: skip


def seeds() -> list[bytes]:
    """Return sound answers as they are, for each part, and decisions."""
    texts = [json.dumps(sound).encode() for sound in _SOUND]
    return [
        *(bytes([part, 0]) + text for part in range(len(_PARTS)) for text in texts),
        *(bytes([part, 1, *range(start, 60)]) for part in range(len(_PARTS)) for start in range(4)),
    ]


class _Bytes:
    """Decisions, taken from bytes; zeros once they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def below(self, count: int) -> int:
        byte = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return byte % count

    def rest(self) -> bytes:
        return self._data[self._at :]


def one(data: bytes) -> None:
    """Given bytes, feed what they stand for to all readers. Raise what is not documented."""
    choose = _Bytes(data)
    part = _PARTS[choose.below(len(_PARTS))]
    text = _value(choose, 6) if choose.below(8) else choose.rest().decode("latin-1")
    part(text.encode("utf-8"))


def _value(choose: _Bytes, deep: int) -> str:
    form = choose.below(4) if deep else 3
    if form in (0, 1):
        pairs = (
            f"{json.dumps(_KEYS[choose.below(len(_KEYS))])}:{_value(choose, deep - 1)}"
            for _ in range(choose.below(5))
        )
        return "{" + ",".join(pairs) + "}"
    if form == 2:
        return "[" + ",".join(_value(choose, deep - 1) for _ in range(choose.below(4))) + "]"
    return _VALUES[choose.below(len(_VALUES))]


def _envelope(body: bytes) -> None:
    try:
        found = parse(parsed(body))
    except (InvalidEnvelope, FelhomError):
        return
    assert found.interval is None or 60.0 <= found.interval <= 3600.0
    assert found.generation is None or 0 <= found.generation < 2**53


def _accepted(body: bytes) -> None:
    try:
        answer = parsed(body)
    except FelhomError:
        return
    # As it comes, and as what is inside of a state's usual frame.
    for state in (answer, {"guest": answer}, {"guest": {"100": answer}},
                  {"guest": {"100": {"config": answer}}}):  # fmt: skip
        with tempfile.TemporaryDirectory() as directory:
            provider = HubProvider(Path(directory), NAMED, keeps=False)
            try:
                provider.accept(1, state)
            except FelhomError as error:
                _told(str(error))
            _loaded(provider, Path(directory))


def _told(text: str) -> None:
    lines = text.splitlines()
    assert "internal error" not in text
    assert len(lines) <= 21
    assert all(len(line) < MAX_LINE and line.isprintable() for line in lines)


def _kept(body: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name in (NAME, "hub-guests.json"):
            (Path(directory) / name).write_bytes(encode(1, body))
        _loaded(HubProvider(Path(directory), NAMED, keeps=False), Path(directory))


def _loaded(provider: HubProvider, directory: Path) -> None:
    claims = Claims(directory, keeps=False)
    found = MergedProvider(EmptyProvider(), provider, claims).load()
    assert all(100 <= vmid < 1000 for vmid in found.guests)
    assert all(len(str(p)) < MAX_LINE and str(p).isprintable() for p in found.problems)
    assert not any("internal error" in str(p) for p in found.problems)


def _reported(body: bytes) -> None:
    """What PVE says reaches the hub as JSON, whatever it is."""
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return
    row = said if isinstance(said, dict) else {"name": said, "status": said}
    status = {**row, "cpu": said, "memory": row, "loadavg": said, "uptime": said}
    config = {**row, "memory": said, "cores": said, "tags": said, "description": said}
    found = guest_of(100, Kind.QEMU, "n", row, {})
    guest = ReportedGuest(100, found.kind, found.state, found.name, options_of(config), seen=True)
    node = NodeReport(0.0, figures_of({**status, "pveversion": said}), (guest,))
    report = report_of("h", node, AgentFacts("n", 0.0, True))
    json.dumps(report, allow_nan=False, ensure_ascii=False).encode("utf-8")


def _jobs(body: bytes) -> None:
    try:
        answer = parsed(body)
    except FelhomError:
        return
    for listed in (answer, {"jobs": answer}, {"jobs": [answer]}, {"jobs": [{**_ROW, **answer}]}
                   if isinstance(answer, dict) else {}):  # fmt: skip
        try:
            found = rows_of(listed)
        except FelhomError as error:
            _told(str(error))
            continue
        assert len(found.rows) <= MAX_ROWS
        assert all(not is_named(row) or 0 < len(row.job_id) <= MAX_ID for row in found.rows)
        for row in found.rows:
            if isinstance(row, OddRow):
                _told(row.why)


def _operations(body: bytes) -> None:
    """What a signature was found good over is still read as if anybody had written it."""
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return
    for form in (said, {**_ON_HOST, **said} if isinstance(said, dict) else None):
        try:
            data = canonical(form)
            found = operation(data)
        except OperationRefused as error:
            _told(str(error))
            continue
        assert found.encode() == data
        for line in words_of(found):
            assert line.isprintable()


_ROW = {"job_id": "web-1", "op_blob_b64": "e30=", "sigs_armored": ["x"]}
_ON_HOST = {
    "act": "key_rotation", "challenge": "c" * 32, "expires": None, "host": "0" * 32,
    "issued": None, "nonce": "1" * 32, "not_before": None, "requester": "", "schema": 1,
    "shown": "", "params": {"version": 2, "allowed_signers": "", "revoked_keys": "",
                            "expires": ""},
}  # fmt: skip
_PARTS: tuple[Callable[[bytes], None], ...] = (
    _envelope, _accepted, _kept, _reported, _jobs, _operations,
)  # fmt: skip
