"""A node that drips, floods and lies, at every stage of TLS and HTTP.

Each call ends by its deadline (else the test runs into its own), changes nothing for a read, is
unknown for a write that left, and leaves a client that works.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.devnode.http.certificate import Identity, make
from felhom_agent.errors import Interrupted, NotSent, OutcomeUnknown, PveError, Unanswered
from felhom_agent.proxmox import bodies
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.node import Node
from felhom_agent.reconcile.quorum import Quorum
from tests.hostile.raw_node import (
    DEADLINE,
    OK,
    Peer,
    RawNode,
    Script,
    answer,
    dripped,
    flooded,
    spoken,
    whole,
)
from tests.permits import CONFIG, write

T = TypeVar("T")
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = spoken(answer("good"))


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return make(tmp_path_factory.mktemp("ca"), "127.0.0.1")


Connect = Callable[..., Client]
Open = Callable[..., tuple[RawNode, ProxmoxConfig]]


@pytest.fixture
def opened(identity: Identity, tmp_path: Path) -> Iterator[Open]:
    """Open a node with a script; return it and an agent's settings for it."""
    with ExitStack() as stack:

        def open_(script: Script, seconds: float = 0.2) -> tuple[RawNode, ProxmoxConfig]:
            node = stack.enter_context(RawNode(identity, script))
            token = tmp_path / "token"
            token.write_text("secret")
            token.chmod(0o600)
            return node, ProxmoxConfig(
                endpoint=node.endpoint,
                node="pve1",
                token_id="felhom-agent@pve!agent",
                token_file=token,
                ca_file=identity.ca_file,
                connect_timeout=seconds,
                read_timeout=seconds,
                write_timeout=seconds,
            )

        yield open_


@pytest.fixture
def client_of() -> Iterator[Callable[..., Client]]:
    """Make a client that is closed when the test ends."""
    made = []

    def make_(config: ProxmoxConfig, abandon: threading.Event | None = None) -> Client:
        made.append(Client(config, Secret("secret"), abandon=abandon))
        return made[-1]

    yield make_
    for client in made:
        client.close()


def in_time(call: Callable[[], T]) -> T:
    """Return what a call returns; fail if it has not ended by the test's deadline."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(call).result(DEADLINE)
    finally:
        pool.shutdown(wait=False)  # one that hangs ends with its node


def silent_before_tls(peer: Peer) -> None:
    peer.hang()


def dripping_tls(peer: Peer) -> None:
    # A record of a handshake that is announced and comes byte by byte.
    peer.say(b"\x16\x03\x03\x40\x00")
    peer.drip(b"\x00" for _ in iter(int, 1))


def silent(peer: Peer) -> None:
    peer.secure()
    peer.hear()
    peer.hang()


BEFORE_THE_REQUEST = {"silent before TLS": silent_before_tls, "dripping TLS": dripping_tls}
SLOW = {
    "silent": silent,
    "a status line": dripped(b"", b"H"),
    "headers": dripped(OK, b"X-Pad: x\r\n"),
    "one header": dripped(OK + b"X-Pad: ", b"x"),
    "interim answers": dripped(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers of an interim answer": dripped(b"HTTP/1.1 100 Continue\r\n", b"X: y\r\n"),
    "a body with a length": dripped(OK + b"Content-Length: 100000\r\n\r\n", b" "),
    "a body without a length": dripped(OK + b"\r\n", b" "),
    "a chunk's size": dripped(CHUNKED, b"0"),
    "a chunk's extension": dripped(CHUNKED + b"5;", b"x"),
    "chunks": dripped(CHUNKED, b"1\r\n \r\n"),
    "a chunk": dripped(CHUNKED + b"FFFF\r\n", b" "),
    "trailers": dripped(CHUNKED + b"0\r\n", b"X: y\r\n"),
    "an error's body": dripped(b"HTTP/1.1 500 x\r\nContent-Length: 9999\r\n\r\n", b" "),
}
FLOODS = {
    "headers": flooded(OK, b"X-Pad: x\r\n"),
    "one header": flooded(OK + b"X-Pad: ", b"x"),
    "interim answers": flooded(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body without a length": flooded(OK + b"\r\n", b" "),
    "a body with a length": flooded(OK + b"Content-Length: 99999999999999\r\n\r\n", b" "),
    "chunks": flooded(CHUNKED, b"8\r\n        \r\n"),
    "a chunk of a negative size": flooded(CHUNKED + b"-5\r\n", b" "),
    "trailers": flooded(CHUNKED + b"0\r\n", b"X: y\r\n"),
    "an error's body": flooded(b"HTTP/1.1 500 x\r\n\r\n", b" "),
}
LIES = {
    "nothing": spoken(b""),
    "no HTTP": spoken(b"\x00\xff\r\n\r\n"),
    "another version": spoken(b"HTTP/9.9 200 OK\r\n\r\n"),
    "a status that is no number": spoken(b"HTTP/1.1 abc OK\r\n\r\n"),
    "a status of its own": spoken(b"HTTP/1.1 999 OK\r\n\r\n"),
    "early hints": spoken(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "a redirect": spoken(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
    "no such page": spoken(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    "no content": spoken(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "created": spoken(answer(1).replace(b"200 OK", b"201 Created")),
    "no type": spoken(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"data":1}'),
    "half a body": spoken(OK + b"Content-Length: 99\r\n\r\n{"),
    "a length that is no number": spoken(OK + b"Content-Length: abc\r\n\r\n{"),
    "a negative length": spoken(OK + b"Content-Length: -1\r\n\r\n{"),
    "two lengths": spoken(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
    "two lengths, one of them right": spoken(
        OK + b'Content-Length: 10\r\nContent-Length: 9\r\n\r\n{"data":1}'
    ),
    "less than its length, though it is JSON": spoken(OK + b'Content-Length: 99\r\n\r\n{"data":1}'),
    "a chunk's size that is no number": spoken(CHUNKED + b"zz\r\n{}"),
    "compressed": spoken(OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"),
    "no JSON": spoken(whole(b"<html>")),
    "no UTF-8": spoken(whole(b'{"data":"\xff"}')),
    "UTF-16": spoken(whole('{"data":1}'.encode("utf-16"))),
    "a list": spoken(whole(b"[1]")),
    "a number": spoken(whole(b"7")),
    "no data": spoken(whole(b'{"errors":{}}')),
    "not a number": spoken(whole(b'{"data":NaN}')),
    "infinity": spoken(whole(b'{"data":-Infinity}')),
    "a number of 5,000 digits": spoken(whole(b'{"data":%s}' % (b"9" * 5000))),
    "nested for ever": spoken(whole(b'{"data":%s}' % (b"[" * 4000))),
    "nested deep": spoken(whole(b'{"data":%s%s}' % (b"[" * 100, b"]" * 100))),
    "rows without end": spoken(whole(b'{"data":[%s0]}' % (b"[]," * 30000))),
}


@pytest.mark.parametrize("script", BEFORE_THE_REQUEST.values(), ids=BEFORE_THE_REQUEST.keys())
def test_a_node_that_drips_before_the_request_left_did_nothing(
    opened: Open, client_of: Connect, script: Script
) -> None:
    node, config = opened(script)
    client = client_of(config)
    for call in (lambda: client.get("version"), lambda: write(client, "POST", *CONFIG)):
        with pytest.raises(NotSent, match="does not accept a connection in time") as caught:
            in_time(call)
        assert caught.value.timed_out
    node.script = GOOD
    assert in_time(lambda: client.get("version")) == "good"


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW.keys())
def test_a_node_that_drips_is_given_up_by_the_deadline_of_the_whole_call(
    opened: Open, client_of: Connect, script: Script
) -> None:
    node, config = opened(script)
    client = client_of(config)
    with pytest.raises(Unanswered, match="gave no answer in time") as read:
        in_time(lambda: client.get("version"))
    assert read.value.timed_out
    with pytest.raises(OutcomeUnknown, match="gave no answer in time"):
        in_time(lambda: write(client, "POST", *CONFIG))
    node.script = GOOD
    assert in_time(lambda: client.get("version")) == "good"


@pytest.mark.parametrize("script", FLOODS.values(), ids=FLOODS.keys())
def test_a_node_that_floods_is_cut_off_at_the_size_of_an_answer(
    opened: Open, client_of: Connect, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "OTHER", bodies.BodyLimit(200_000, 1000))
    node, config = opened(script, seconds=DEADLINE)
    client = client_of(config)
    with pytest.raises(Unanswered) as read:
        in_time(lambda: client.get("version"))
    assert not read.value.timed_out
    with pytest.raises(OutcomeUnknown):
        in_time(lambda: write(client, "POST", *CONFIG))
    node.script = GOOD
    assert in_time(lambda: client.get("version")) == "good"


@pytest.mark.parametrize("script", LIES.values(), ids=LIES.keys())
def test_a_node_that_lies_is_an_error_in_words_and_a_write_unknown(
    opened: Open, client_of: Connect, script: Script
) -> None:
    node, config = opened(script, seconds=5.0)
    client = client_of(config)
    for call, meaning in (
        (lambda: client.get("version"), Unanswered),
        (lambda: write(client, "POST", *CONFIG), OutcomeUnknown),
    ):
        with pytest.raises(meaning) as caught:
            in_time(call)
        assert len(str(caught.value)) < 600
        assert str(caught.value).isprintable()
        # Where it happened; and a person who asks is told what to look at.
        assert str(caught.value).startswith(config.endpoint)
        assert ("; is endpoint in [proxmox] that of PVE's" in str(caught.value)) == (
            meaning is Unanswered
        )
    node.script = GOOD
    assert in_time(lambda: client.get("version")) == "good"


def test_what_a_node_says_beside_its_answer_is_not_the_answer_to_the_next_request(
    opened: Open,
    client_of: Connect,
) -> None:
    """A second answer in the same breath would be taken for that of the next write."""
    # Padded, so that the second is in the same TLS record and beyond what is read at once.
    bare = len(whole(b'{"data":"first"}' + b" " * 1000)) - 1000
    first = whole(b'{"data":"first"}' + b" " * (8192 - bare))

    def twice(peer: Peer) -> None:
        peer.secure()
        while peer.hear():
            peer.say(first + answer("second"))

    _, config = opened(twice, seconds=5.0)
    client = client_of(config)
    for _ in range(4):
        # If not an answer, then that the connection has bytes which nobody asked for.
        with contextlib.suppress(NotSent):
            assert in_time(lambda: write(client, "POST", *CONFIG)) == "first"


def test_an_error_of_a_node_is_bounded_printable_and_one_line(
    opened: Open, client_of: Connect
) -> None:
    words = b"\x1b[2J\x00" + b"a" * 5000
    script = spoken(b"HTTP/1.1 500 " + words + b"\r\nContent-Length: 0\r\n\r\n")
    _, config = opened(script, seconds=5.0)
    with pytest.raises(PveError) as caught:
        in_time(lambda: client_of(config).get("version"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_node_sets_no_cookie(opened: Open, client_of: Connect) -> None:
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.secure()
        for _ in range(2):
            heads.append(peer.socket.recv(65536))
            peer.say(answer(1).replace(b"OK\r\n", b"OK\r\nSet-Cookie: a=b\r\n", 1))

    _, config = opened(script, seconds=5.0)
    client = client_of(config)
    client.get("version")
    client.get("version")
    assert b"Cookie: a" not in heads[1]


STAGES = {**BEFORE_THE_REQUEST, "silent": silent, "dripping headers": SLOW["headers"]}


@pytest.mark.parametrize("script", STAGES.values(), ids=STAGES.keys())
def test_a_read_that_waits_is_given_up_when_the_agent_leaves(
    opened: Open, client_of: Connect, script: Script
) -> None:
    reached = threading.Event()

    def announced(peer: Peer) -> None:
        reached.set()
        script(peer)

    _, config = opened(announced, seconds=600.0)
    shutting_down = threading.Event()
    client = client_of(config, shutting_down)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(client.get, "version")
        assert reached.wait(DEADLINE)
        shutting_down.set()
        with pytest.raises(Interrupted):
            reading.result(DEADLINE)


def test_a_write_is_not_given_up_when_the_agent_leaves(opened: Open, client_of: Connect) -> None:
    shutting_down = threading.Event()

    def script(peer: Peer) -> None:
        peer.secure()
        peer.hear()
        shutting_down.set()
        peer.drip([b"", b""])
        peer.say(answer("done"))

    _, config = opened(script, seconds=DEADLINE)
    client = client_of(config, shutting_down)
    assert in_time(lambda: write(client, "POST", *CONFIG)) == "done"


def test_a_snapshot_of_a_node_that_hangs_ends_when_the_agent_leaves(opened: Open) -> None:
    raw, config = opened(silent, seconds=600.0)
    node = Node.connect(config)
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(node.observer.snapshot, [100])
        assert raw.hears.wait(DEADLINE)
        node.shutting_down.set()
        with pytest.raises(Interrupted):
            looking.result(DEADLINE)
    node.client.close()


def closes_before_tls(peer: Peer) -> None:
    del peer


def closes(peer: Peer) -> None:
    peer.secure()
    peer.hear()


def resets(peer: Peer) -> None:
    peer.secure()
    peer.hear()
    # Closed without lingering, a connection is reset (socket(7)).
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closes_a_kept_connection(peer: Peer) -> None:
    peer.secure()
    peer.hear()
    peer.say(answer("first"))
    peer.hear()


def in_turn(*scripts: Script) -> Script:
    """Return a script that gives each connection the next of these, and the last one for ever."""
    left = list(scripts)

    def script(peer: Peer) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(peer)

    return script


CUT_OFF = {"before TLS": closes_before_tls, "by a close": closes, "by a reset": resets}


@pytest.mark.parametrize("cut", CUT_OFF.values(), ids=CUT_OFF.keys())
def test_a_read_that_is_cut_off_is_repeated_on_a_new_connection(
    opened: Open, client_of: Connect, cut: Script
) -> None:
    _, config = opened(in_turn(cut, GOOD), seconds=DEADLINE)
    assert in_time(lambda: client_of(config).get("version")) == "good"


def test_a_read_that_meets_the_end_of_a_kept_connection_is_repeated(
    opened: Open, client_of: Connect
) -> None:
    node, config = opened(in_turn(closes_a_kept_connection, GOOD), seconds=DEADLINE)
    client = client_of(config)
    assert [in_time(lambda: client.get("version")) for _ in range(2)] == ["first", "good"]
    assert len(node.heard) == 3


def test_a_read_is_repeated_once_and_no_more(opened: Open, client_of: Connect) -> None:
    node, config = opened(in_turn(closes, closes, GOOD), seconds=DEADLINE)
    with pytest.raises(Unanswered, match="broke the connection"):
        in_time(lambda: client_of(config).get("version"))
    assert len(node.heard) == 2


@pytest.mark.parametrize("cut", CUT_OFF.values(), ids=CUT_OFF.keys())
def test_a_write_that_is_cut_off_is_never_repeated(
    opened: Open, client_of: Connect, cut: Script
) -> None:
    before_the_request = cut is closes_before_tls
    node, config = opened(in_turn(cut, GOOD), seconds=DEADLINE)
    with pytest.raises(NotSent if before_the_request else OutcomeUnknown):
        in_time(lambda: write(client_of(config), "PUT", *CONFIG))
    assert len(node.heard) == (0 if before_the_request else 1)


@pytest.mark.parametrize(
    "script",
    [silent, spoken(OK), spoken(b"H"), spoken(answer("x")[:-1])],
    ids=["silent", "a head", "a byte", "all but a byte"],
)
def test_a_read_that_took_too_long_or_was_half_answered_is_not_repeated(
    opened: Open, client_of: Connect, script: Script
) -> None:
    node, config = opened(in_turn(script, GOOD), seconds=0.5)
    with pytest.raises(Unanswered):
        in_time(lambda: client_of(config).get("version"))
    assert len(node.heard) == 1


def test_what_is_left_of_its_time_bounds_a_read_that_is_repeated(
    opened: Open, client_of: Connect
) -> None:
    _, config = opened(in_turn(closes, silent), seconds=0.5)
    with pytest.raises(Unanswered, match="gave no answer in time") as caught:
        in_time(lambda: client_of(config).get("version"))
    assert caught.value.timed_out


def test_a_read_is_not_repeated_once_the_agent_is_told_to_stop(
    opened: Open, client_of: Connect
) -> None:
    stop = threading.Event()

    def closes_and_stops(peer: Peer) -> None:
        peer.secure()
        peer.hear()
        stop.set()

    node, config = opened(in_turn(closes_and_stops, GOOD), seconds=DEADLINE)
    with pytest.raises(Interrupted):
        in_time(lambda: client_of(config, stop).get("version"))
    assert len(node.heard) == 1


def test_a_write_is_not_sent_on_a_connection_that_the_node_closed_meanwhile(
    opened: Open, client_of: Connect
) -> None:
    closed = threading.Event()

    def closes_after_one(peer: Peer) -> None:
        peer.secure()
        peer.hear()
        peer.say(answer("first"))
        peer.socket.shutdown(socket.SHUT_RDWR)
        closed.set()

    node, config = opened(in_turn(closes_after_one, GOOD), seconds=DEADLINE)
    client = client_of(config)
    assert in_time(lambda: client.get("version")) == "first"
    assert closed.wait(DEADLINE)
    assert in_time(lambda: write(client, "PUT", *CONFIG)) == "good"
    assert len(node.heard) == 2


@pytest.mark.parametrize("head", [b"HTTP/1.1 500 x\r\n", OK + b"Connection: close\r\n"])
def test_nothing_is_sent_on_a_connection_after_an_answer_that_ends_it(
    head: bytes, opened: Open, client_of: Connect
) -> None:
    """PVE closes after each error, and says so only in a header (recorded: 82-keepalive)."""

    def keeps_open(peer: Peer) -> None:
        peer.secure()
        peer.hear()
        peer.say(head + b"Content-Length: 11\r\n\r\n" + b'{"data": 1}')
        peer.hang()

    node, config = opened(in_turn(keeps_open, GOOD), seconds=DEADLINE)
    client = client_of(config)
    with contextlib.suppress(PveError):
        in_time(lambda: client.get("version"))
    assert in_time(lambda: write(client, "PUT", *CONFIG)) == "good"
    assert len(node.heard) == 2


def test_nothing_is_sent_on_a_connection_on_which_an_answer_may_still_come(
    opened: Open, client_of: Connect
) -> None:
    """The one that an interim answer announces would be taken for that of the next request."""

    def late(peer: Peer) -> None:
        peer.secure()
        peer.hear()
        peer.say(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        if peer.hear():
            peer.say(answer("to the first"))
        peer.hang()

    _, config = opened(in_turn(late, GOOD), seconds=DEADLINE)
    client = client_of(config)
    with pytest.raises(Unanswered):
        in_time(lambda: client.get("version"))
    assert in_time(lambda: write(client, "PUT", *CONFIG)) == "good"


def test_an_answer_that_comes_before_the_whole_request_was_taken_is_the_answer(
    opened: Open, client_of: Connect
) -> None:
    def refuses_early(peer: Peer) -> None:
        peer.secure()
        peer.socket.recv(100)
        peer.say(b"HTTP/1.1 413 too large\r\nContent-Length: 0\r\n\r\n")
        # Closed with so much left unread, the connection is reset while the rest is being sent.

    _, config = opened(refuses_early, seconds=DEADLINE)
    much = {"description": "x" * 20_000_000}
    with pytest.raises(OutcomeUnknown, match="413 too large"):
        in_time(lambda: write(client_of(config), "PUT", *CONFIG, data=much))


def plain_http(peer: Peer) -> None:
    peer.socket.recv(65536)
    peer.say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    peer.hang()


def test_a_node_without_tls_is_not_trusted_and_nothing_is_sent(
    opened: Open, client_of: Connect
) -> None:
    _, config = opened(plain_http, seconds=DEADLINE)
    with pytest.raises(
        NotSent, match="is not trusted: no TLS is spoken at that port, but plain HTTP"
    ):
        in_time(lambda: write(client_of(config), "PUT", *CONFIG))


def test_a_certificate_for_another_name_is_not_trusted_and_nothing_is_sent(
    opened: Open, client_of: Connect, tmp_path: Path
) -> None:
    other = make(tmp_path, "192.0.2.1")
    with RawNode(other, GOOD) as node:
        _, config = opened(GOOD)
        config = replace(config, endpoint=node.endpoint, ca_file=other.ca_file)
        with pytest.raises(
            NotSent,
            match="its certificate is not for the name in endpoint .IP address mismatch",
        ):
            in_time(lambda: write(client_of(config), "PUT", *CONFIG))
        assert node.heard == []


def test_what_is_no_tls_after_a_write_left_makes_it_unknown(
    opened: Open, client_of: Connect
) -> None:
    def breaks_tls(peer: Peer) -> None:
        peer.secure()
        peer.hear()
        below = socket.socket(fileno=peer.socket.detach())
        peer.socket = below
        below.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.hang()

    _, config = opened(breaks_tls, seconds=DEADLINE)
    with pytest.raises(OutcomeUnknown, match="broke the connection"):
        in_time(lambda: write(client_of(config), "PUT", *CONFIG))


def test_a_part_of_a_path_cannot_bring_a_query_or_another_request(
    opened: Open, client_of: Connect
) -> None:
    node, config = opened(GOOD, seconds=DEADLINE)
    client = client_of(config)
    in_time(lambda: client.get("nodes", "a?b#c%2f d:y\u00e9", start=1))
    path = "/api2/json/nodes/a%3Fb%23c%252f%20d:y%C3%A9?start=1"
    assert node.heard == [f"GET {path} HTTP/1.1"]


SENSELESS: list[object] = [
    None, {}, "1", [], [None], [{"type": "quorum"}], [{"type": "quorum", "quorate": {}}],
    [{"type": "quorum", "quorate": "yes"}], [{"quorate": 1}], [{"type": ["quorum"], "quorate": 1}],
]  # fmt: skip


@pytest.mark.parametrize("data", SENSELESS, ids=repr)
def test_a_senseless_answer_about_the_quorum_neither_takes_it_nor_gives_it(
    data: object, opened: Open, client_of: Connect
) -> None:
    _, config = opened(spoken(answer(data)), seconds=5.0)
    quorum = Quorum(client_of(config))
    for ask in (quorum.why_no_restart, quorum.why_no_stop, quorum.why_no_signed):
        with pytest.raises(Unanswered, match="does not tell whether the cluster has quorum"):
            ask()
    assert quorum.reason() == ""
    quorum.note_lost()
    quorum.look_again()
    assert quorum.reason() == "", "lanes try, and PVE refuses by itself"
    with pytest.raises(Unanswered):
        quorum.why_no_stop()
