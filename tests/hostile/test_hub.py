"""A hub that drips, floods and lies, at every stage of HTTP: one line, bounded, and the agent goes
on with what it had.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from felhom_agent.httpcall.wire import MAX_BODY_BYTES
from tests.conftest import Site
from tests.hostile.rawhub import PATIENCE, Behaviour, Caller, RawHub, raw_hub
from tests.hub.conftest import KEY, STATE, Begin, Round, begin, http

__all__ = ["begin"]

SMALL = {"connect_timeout": 0.2, "read_timeout": 0.15}
LATE = "its answer took longer than 0.5 s"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def hub() -> Iterator[RawHub]:
    with raw_hub() as hub:
        yield hub


def after(head: bytes, act: Callable[[Caller], None]) -> Behaviour:
    """Return a behaviour that hears the request, sends a beginning, and then acts."""

    def behave(caller: Caller) -> None:
        caller.hear()
        caller.send(head)
        act(caller)

    return behave


def drip(data: bytes) -> Callable[[Caller], None]:
    return lambda caller: caller.drip(data)


def flood(data: bytes) -> Callable[[Caller], None]:
    return lambda caller: caller.flood(data)


def answers(data: bytes) -> Behaviour:
    return after(data, Caller.stall)


def one_line(caplog: pytest.LogCaptureFixture) -> str:
    """Return the only line that was logged; it is short, printable, and holds no key."""
    heard = [record for record in caplog.records if record.levelno > logging.INFO]
    lines = [record.getMessage() for record in heard]
    assert len(lines) == 1, lines
    assert lines[0].isprintable()
    assert len(lines[0]) < 400
    assert KEY not in lines[0]
    assert "internal error" not in lines[0]
    return lines[0]


def still_good(round_: Round, hub: RawHub, site: Site) -> None:
    """The next round is as good as any, and what was in force stays."""
    hub.behaviour = answers(http("200 OK", {"poll_interval_seconds": 60}))
    assert round_.loop.round() == 60.0
    assert round_.provider.kept.generation == 3
    assert site.devnode.mutations == ()


DRIPS: dict[str, Behaviour] = {
    "the status line": after(b"HTTP/1.1 200 ", drip(b"O")),
    "a header's name": after(OK, drip(b"x")),
    "a header's value": after(OK + b"X: ", drip(b"y")),
    "many headers": after(OK, drip(b"a: b\r\n")),
    "interim answers": after(b"", drip(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "other interim answers": after(b"", drip(b"HTTP/1.1 103 Early Hints\r\n\r\n")),
    "the body": after(OK + b"Content-Length: 100000\r\n\r\n", drip(b" ")),
    "a body without length": after(OK + b"\r\n", drip(b" ")),
    "a chunk's size": after(CHUNKED, drip(b"0")),
    "a chunk's extension": after(CHUNKED + b"5;", drip(b"x")),
    "a chunk": after(CHUNKED + b"fffff\r\n", drip(b" ")),
    "small chunks": after(CHUNKED, drip(b"1\r\n \r\n")),
    "trailers": after(CHUNKED + b"2\r\n{}\r\n0\r\n", drip(b"X: y\r\n")),
}


@pytest.mark.parametrize("stage", DRIPS)
def test_a_drip_ends_at_the_calls_deadline(
    stage: str, hub: RawHub, begin: Begin, caplog: pytest.LogCaptureFixture, site: Site
) -> None:
    round_ = begin(hub.url, **SMALL)
    round_.provider.accept(3, STATE)
    hub.behaviour = DRIPS[stage]
    round_.loop.round()
    # Some end sooner, by a bound of their own.
    assert one_line(caplog).removeprefix("no report reached the hub: ") in (
        LATE, "it sends interim answers and no other", "it broke the connection (HTTPException)",
    )  # fmt: skip
    assert hub.gone.wait(PATIENCE / 3), "the connection was given up"
    still_good(round_, hub, site)


@pytest.mark.parametrize("act", [drip(b"\x00"), Caller.stall], ids=["drips", "says nothing"])
def test_a_hub_that_never_gets_done_with_tls_is_given_up(
    act: Callable[[Caller], None], begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    def behave(caller: Caller) -> None:
        caller.send(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb\x03\x03")
        act(caller)

    with raw_hub(scheme="https") as hub:
        hub.behaviour = behave
        begin(hub.url, **SMALL).loop.round()
        assert hub.gone.wait(PATIENCE / 3)
    assert "in time" in one_line(caplog)


def test_a_drip_inside_of_tls_ends_at_the_deadline_too(
    begin: Begin, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with raw_hub(context) as hub:
        hub.behaviour = DRIPS["the body"]
        more = {**SMALL, "connect_timeout": 1.0, "read_timeout": 0.25}
        begin(hub.url, ca_file=tmp_path / "ca.pem", **more).loop.round()
        assert hub.gone.wait(PATIENCE / 3)
    assert one_line(caplog).endswith("its answer took longer than 1.5 s")


def test_a_hub_that_takes_no_report_is_given_up(
    hub: RawHub, begin: Begin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The report is longer than what the sockets' buffers take."""
    over = threading.Event()

    def behave(_: Caller) -> None:
        over.wait(PATIENCE)

    hub.behaviour = behave
    monkeypatch.setattr("felhom_agent.hub.loop.report_of", lambda *_: {"x": "y" * 30_000_000})
    begin(hub.url, **SMALL).loop.round()
    over.set()
    assert "in time" in one_line(caplog)


FLOODS: dict[str, tuple[Behaviour, str]] = {
    "the status line": (after(b"HTTP/1.1 200 ", flood(b"O")), "broke the connection"),
    "a header": (after(OK + b"X: ", flood(b"y")), "broke the connection"),
    "many headers": (after(OK, flood(b"a: b\r\n")), "broke the connection"),
    "odd headers": (after(OK, flood(b"\x00\xff:\r\n : \r\n")), "broke the connection"),
    "long headers": (after(OK, flood(b"a" * 60_000 + b": b\r\n")), "longer than"),
    "interim answers": (after(b"", flood(b"HTTP/1.1 100 Go on\r\n\r\n")), "longer than"),
    "other interim answers": (
        after(b"", flood(b"HTTP/1.1 103 Hints\r\nX: y\r\n\r\n")), "interim answers and no other",
    ),
    "the body": (after(OK + b"\r\n", flood(b" ")), "longer than"),
    "a chunk's size": (after(CHUNKED, flood(b"0")), "broke the connection"),
    "chunks": (after(CHUNKED, flood(b"1\r\n \r\n")), "longer than"),
    "trailers": (after(CHUNKED + b"2\r\n{}\r\n0\r\n", flood(b"X: y\r\n")), "longer than"),
}  # fmt: skip


@pytest.mark.parametrize("stage", FLOODS)
def test_a_flood_ends_at_its_bound_and_in_one_line(
    stage: str, hub: RawHub, begin: Begin, caplog: pytest.LogCaptureFixture, site: Site
) -> None:
    round_ = begin(hub.url, connect_timeout=5.0, read_timeout=5.0)
    round_.provider.accept(3, STATE)
    hub.behaviour, words = FLOODS[stage]
    round_.loop.round()
    assert words in one_line(caplog)
    assert hub.gone.wait(PATIENCE / 3)
    still_good(round_, hub, site)


def body(raw: bytes) -> bytes:
    return http("200 OK", raw=raw)


LIES: dict[str, tuple[bytes, str]] = {
    "NaN": (body(b'{"poll_interval_seconds": NaN}'), "not JSON"),
    "Infinity": (body(b'{"x": -Infinity}'), "not JSON"),
    "an endless number": (body(b'{"x": 1e999}'), "not JSON"),
    "a number of 5,000 digits": (body(b'{"x": ' + b"9" * 5000 + b"}"), "not JSON"),
    "half a surrogate pair": (body(b'{"x": "\\ud800"}'), "not JSON"),
    "half a surrogate pair as bytes": (body(b'{"x": "\xed\xa0\x80"}'), "not JSON"),
    "half a surrogate pair as a key": (body(b'{"\\udfff": 1}'), "not JSON"),
    "UTF-16": (body('{"x": 1}'.encode("utf-16")), "not JSON"),
    "a byte order mark": (body(b"\xef\xbb\xbf{}"), "not JSON"),
    "a key twice": (body(b'{"blocked": true, "blocked": false}'), "not JSON"),
    "nothing": (body(b""), "not JSON"),
    "a length that is no number": (OK + b"Content-Length: many\r\n\r\n{}", "Content-Length"),
    "a length below nothing": (OK + b"Content-Length: -1\r\n\r\n{}", "Content-Length"),
    "a length of 5,000 digits": (
        OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}", "Content-Length",
    ),
    "a length in other digits": (OK + "Content-Length: ٢\r\n\r\n{}".encode(), "Content-Length"),
    "two lengths": (
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", "two different Content-Length",
    ),
    "an unknown transfer": (OK + b"Transfer-Encoding: gzip\r\n\r\n{}", "HTTP does not know"),
    "a status that is none": (b"HTTP/1.1 20 OK\r\n\r\n", "broke the connection"),
    "a status that is text": (b"HTTP/1.1 abc OK\r\n\r\n", "broke the connection"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", "broke the connection"),
    "a switch of protocols": (b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n", "status 101"),
    "a chunk below nothing": (CHUNKED + b"-5\r\n{}\r\n0\r\n\r\n", ""),
    "patience for what is no number": (
        http("503 Wait", {}, "Retry-After: for ever"), "no number of seconds",
    ),
    "patience of 5,000 digits": (http("503 Wait", {}, "Retry-After: " + "9" * 5000), "patience"),
    "a redirect": (http("307 Go", {}, "Location: http://127.0.0.1:1/"), "redirect"),
    "escape sequences in its reason": (b"HTTP/1.1 500 \x1b[2J\x07\r\n\r\n", "status 500"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_the_hubs_fault_in_one_line(
    lie: str, hub: RawHub, begin: Begin, caplog: pytest.LogCaptureFixture, site: Site
) -> None:
    round_ = begin(hub.url, connect_timeout=2.0, read_timeout=0.3)
    round_.provider.accept(3, STATE)
    data, words = LIES[lie]

    def behave(caller: Caller) -> None:
        caller.hear()
        caller.send(data)

    hub.behaviour = behave
    assert 60.0 <= round_.loop.round() <= 3600.0
    assert words in one_line(caplog)
    still_good(round_, hub, site)


@pytest.mark.parametrize(
    "lines",
    [b"X" * 1000 + b"\r\n", b"Set-Cookie: a=b\r\n", b": x\r\n", b"\xff\xfe: \x00\r\n",
     b"ETag: \"a\r\n b\"\r\n", b"X: y\r\n z\r\n"],
)  # fmt: skip
def test_odd_headers_beside_a_good_answer_are_nobodys_business(
    lines: bytes, hub: RawHub, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[bytes] = []

    def behave(caller: Caller) -> None:
        heard.append(caller.hear())
        caller.send(OK + lines + b"Content-Length: 28\r\n\r\n" + b'{"poll_interval_seconds":60}')

    hub.behaviour = behave
    loop = begin(hub.url).loop
    assert [loop.round(), loop.round()] == [60.0, 60.0]
    assert caplog.records == []
    assert b"cookie" not in heard[1].lower(), "no cookie comes back"


def test_a_hub_that_refuses_a_report_before_it_has_all_of_it_is_understood(
    hub: RawHub, begin: Begin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes while the report is still being sent, which breaks the connection."""
    hub.behaviour = lambda caller: caller.send(http("413 Too Large", {}))
    monkeypatch.setattr("felhom_agent.hub.loop.report_of", lambda *_: {"x": "y" * 30_000_000})
    begin(hub.url).loop.round()
    assert "too large for it" in one_line(caplog)


def test_a_call_under_way_ends_when_the_agent_stops(
    hub: RawHub, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    heard = threading.Event()

    def behave(caller: Caller) -> None:
        caller.hear()
        heard.set()
        caller.stall()

    hub.behaviour = behave
    loop = begin(hub.url, connect_timeout=60.0, read_timeout=60.0).loop
    loop.start()
    assert heard.wait(PATIENCE)
    loop.close(PATIENCE)
    assert not loop._thread.is_alive()
    assert caplog.records == [], "a stop is no fault of the hub's"


def wishes(announced: int, state: Any, **more: object) -> Behaviour:
    """Return a hub that announces a generation, and serves a state."""
    served = {"host_id": "pve1", "generation": announced, "desired_state": state, **more}

    def behave(caller: Caller) -> None:
        if caller.hear().startswith(b"POST"):
            caller.send(http("200 OK", {"desired_generation": announced}))
        else:
            caller.send(http("200 OK", served))

    return behave


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return lines


MANY: dict[str, Any] = {
    "unknown names": {"guest": {"100": {"config": {f"option{n}": 1 for n in range(20_000)}}}},
    "unknown words": {"guest": {"100": {f"word{n}": 1 for n in range(20_000)}}},
    "unknown tables": {f"guests{n}": 1 for n in range(20_000)},
    "unknown names to unset": {"guest": {"100": {"unset": [f"n{n}" for n in range(20_000)]}}},
    "guests": {"guest": {str(100 + n): {} for n in range(20_000)}},
    "no guests": {"guest": {f"x{n}": {} for n in range(400)}},
    "one long name": {"guest": {"100": {"config": {"x" * 1_000_000: 1}}}},
    "escape sequences": {"guest": {"100": {"\x1b[2J\n": 1}}},
}


@pytest.mark.parametrize("what", MANY)
def test_what_is_wrong_with_a_generation_is_told_in_twenty_lines_and_once(
    what: str, hub: RawHub, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    round_ = begin(hub.url, read_timeout=10.0)
    hub.behaviour = wishes(1, MANY[what])
    round_.loop.round()
    lines = lines_of(caplog)
    assert lines[0] == "generation 1 of the hub is refused whole"
    assert 2 <= len(lines) <= 22
    assert all(line.isprintable() and len(line) < 400 for line in lines)
    assert not any("did you mean" in line for line in lines)
    round_.loop.round()
    assert lines_of(caplog) == []
    refusal = round_.loop._refusal
    assert refusal is not None
    assert refusal.generation == 1


def test_a_complaint_is_said_once_a_different_one_too_and_the_first_again_after_all_was_well(
    hub: RawHub, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    round_ = begin(hub.url)
    wrong, other = {"guest": {"100": {"x": 1}}}, {"guest": {"100": {"y": 1}}}
    told = []
    for generation, state in ((1, wrong), (1, wrong), (1, other), (2, other), (3, STATE),
                              (4, wrong), (4, wrong)):  # fmt: skip
        hub.behaviour = wishes(generation, state)
        round_.loop.round()
        told.append(lines_of(caplog)[:1])
    refused = [["generation 1 of the hub is refused whole"], [],
               ["generation 1 of the hub is refused whole"],
               ["generation 2 of the hub is refused whole"]]  # fmt: skip
    good = ["generation 3 of the hub is in force"]
    assert told == [*refused, good, ["generation 4 of the hub is refused whole"], []]
    for answer, line in (("500 Oops", True), ("500 Oops", False), ("501 Oops", True),
                         ("500 Oops", True)):  # fmt: skip
        hub.behaviour = answers(http(answer, {}))
        round_.loop.round()
        assert bool(lines_of(caplog)) == line
    hub.behaviour = answers(http("200 OK", {}))
    round_.loop.round()
    assert lines_of(caplog) == ["the hub has the report again"]
    hub.behaviour = answers(http("500 Oops", {}))
    round_.loop.round()
    assert len(lines_of(caplog)) == 1


@pytest.mark.parametrize(
    ("announced", "more", "words"),
    [
        (2**53 - 1, {}, "more than 1000000 ahead of 3"),
        (1_000_004, {}, "more than 1000000 ahead of 3"),
        (9, {"generation": 2**53 - 1}, "more than 1000000 ahead of 3"),
        (9, {"generation": 2**53}, "no whole number below 2^53"),
        (9, {"generation": True}, "no whole number below 2^53"),
        (9, {"generation": 9.0}, "no whole number below 2^53"),
        (9, {"generation": -1}, "no whole number below 2^53"),
        (9, {"host_id": "pve2"}, "it is not for pve1"),
        (9, {"host_id": None}, "it is not for pve1"),
        (9, {"host_id": ["pve1"]}, "it is not for pve1"),
    ],
    ids=str,
)
def test_a_state_that_is_mad_or_another_hosts_is_not_followed(
    announced: int, more: dict[str, object], words: str, hub: RawHub, begin: Begin, site: Site,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    round_ = begin(hub.url)
    round_.provider.accept(3, STATE)
    hub.behaviour = wishes(announced, STATE, **more)
    round_.loop.round()
    assert words in one_line(caplog)
    hub.behaviour = wishes(4, STATE)
    round_.loop.round()
    assert round_.provider.kept.generation == 4, "the channel is not shut"


def test_a_block_that_cannot_be_kept_or_is_not_allowed_costs_nothing_but_itself(
    hub: RawHub, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    round_ = begin(hub.url)
    round_.provider.let_block(allowed=False)
    served = {"host_id": "pve1", "generation": 1, "desired_state": STATE}

    def behave(caller: Caller) -> None:
        asked = caller.hear().startswith(b"POST")
        caller.send(http("200 OK", {"blocked": True, "desired_generation": 1} if asked else served))

    hub.behaviour = behave
    for _ in range(2):
        round_.loop.round()
    assert (round_.provider.kept.blocked, round_.provider.kept.generation) == (False, 1)
    assert "the owner of this host does not let it" in one_line(caplog)


def test_a_thousand_odd_jobs_are_seven_short_lines_and_said_once(
    hub: RawHub, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = {"jobs": [{"job_id": f"\x1b[{n}"} for n in range(1000)]}

    def behave(caller: Caller) -> None:
        asked = caller.hear().startswith(b"POST")
        caller.send(http("200 OK", {"has_signed_ops": True} if asked else jobs))

    hub.behaviour = behave
    loop = begin(hub.url).loop
    for _ in range(2):
        loop.round()
    lines = lines_of(caplog)
    assert len(lines) == 7
    assert all(line.isprintable() and len(line) < 400 for line in lines)
    assert "95 more lines" in lines[5]
    assert "more than 100 jobs" in lines[6]


def test_the_watchdog_hears_of_each_call(hub: RawHub, begin: Begin) -> None:
    doing: list[list[str]] = []
    loop = begin(hub.url).loop
    watchdog = loop._client._watchdog

    def behave(caller: Caller) -> None:
        caller.hear()
        doing.append([what for what, _ in watchdog._doing.values()])
        caller.send(http("200 OK", {}))

    hub.behaviour = behave
    loop.round()
    assert doing == [["hub: POST /host-report"]]
    assert watchdog._doing == {}


def test_the_bound_is_what_the_contract_allows(
    hub: RawHub, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    text = json.dumps({"x": "y" * (MAX_BODY_BYTES - 9)}).encode()
    assert len(text) == MAX_BODY_BYTES
    hub.behaviour = answers(body(text))
    begin(hub.url, read_timeout=10.0).loop.round()
    assert caplog.records == []


def test_brackets_in_a_text_are_no_depth(
    hub: RawHub, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    hub.behaviour = answers(http("200 OK", {"x": "[" * 100}))
    begin(hub.url).loop.round()
    assert caplog.records == []


def test_a_mark_of_a_state_that_no_header_could_carry_is_not_sent_back(
    hub: RawHub, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[bytes] = []
    served = {"host_id": "pve1", "generation": 1, "desired_state": STATE}

    def behave(caller: Caller) -> None:
        heard.append(caller.hear())
        post = heard[-1].startswith(b"POST")
        mark = "ETag: \xe9\r\n\x01" if post else "ETag: a\r\n b: \x01"
        answer = {"desired_generation": len(heard)} if post else served
        caller.send(http("200 OK", answer, mark))

    hub.behaviour = behave
    loop = begin(hub.url).loop
    for _ in range(2):
        loop.round()
    assert len(heard) == 4
    assert not any(b"If-None-Match" in each for each in heard)
    assert "internal error" not in caplog.text
