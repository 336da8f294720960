"""The node on the wire: TLS, kept-alive connections, faults, the log of requests, a clean end."""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from felhom_agent.devnode import DevNode, Fault, World
from tests.devnode.conftest import AGENT, Caller, Clock

VM = "/nodes/pve1/qemu/100/config"


def port(node: DevNode) -> int:
    return int(node.endpoint.rpartition(":")[2])


def test_the_certificate_is_vouched_for_by_the_ca_and_named_by_the_fingerprint(
    node: DevNode,
) -> None:
    context = ssl.create_default_context(cafile=str(node.ca_file))
    with (
        socket.create_connection(("127.0.0.1", port(node)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        assert secure.version() in ("TLSv1.2", "TLSv1.3")
        der = secure.getpeercert(binary_form=True)
    assert der is not None
    digest = hashlib.sha256(der).digest()
    assert node.fingerprint == ":".join(f"{byte:02X}" for byte in digest)


def test_a_caller_that_trusts_another_ca_is_not_served(node: DevNode) -> None:
    with DevNode(World()) as other:
        context = ssl.create_default_context(cafile=str(other.ca_file))
        with (
            socket.create_connection(("127.0.0.1", port(node)), timeout=5) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_caller_that_never_speaks_holds_up_nobody(node: DevNode, call: Caller) -> None:
    with socket.create_connection(("127.0.0.1", port(node)), timeout=5):
        assert call("GET", "/version").status == 200


def test_a_connection_is_kept_for_a_hundred_requests(call: Caller) -> None:
    first = [call("GET", "/version").headers["Connection"] for _ in range(100)]
    assert first == ["Keep-Alive"] * 99 + ["close"]


def test_a_refusal_closes_the_connection(call: Caller) -> None:
    assert call("GET", "/nosuch").headers["Connection"] == "close"
    assert call("GET", "/version").status == 200


def test_form_and_json_bodies_and_bodies_of_no_type_are_read(world: World, call: Caller) -> None:
    call("PUT", VM, sent=b"description=a+b")
    assert world.config(100)["description"] == "a b"
    call("PUT", VM, sent=b'{"onboot": true, "cores": 2}', content_type="application/json")
    assert (world.config(100)["onboot"], world.config(100)["cores"]) == (1, 2)
    call("PUT", VM, sent=b"onboot=0", content_type="")
    assert world.config(100)["onboot"] == 0


@pytest.mark.parametrize(
    ("method", "content_type", "body", "status"),
    [
        ("PUT", "text/plain", b"onboot=1", 506),
        ("PUT", "application/json", b'{"onboot": 1', 500),
        ("PUT", "application/json", b"[1]", 500),
        ("PUT", "application/x-www-form-urlencoded", b"description=" + b"x" * 600_000, 501),
        ("GET", "application/x-www-form-urlencoded", b"current=1", 501),
        ("PATCH", "application/x-www-form-urlencoded", b"", 501),
    ],
    ids=["text", "broken-json", "json-list", "too-large", "get-with-body", "patch"],
)
def test_a_body_that_cannot_be_read_is_refused(
    world: World, call: Caller, method: str, content_type: str, body: bytes, status: int
) -> None:
    before = world.config(100)
    assert call(method, VM, sent=body, content_type=content_type).status == status
    assert world.config(100) == before


def test_requests_are_logged_in_the_order_of_their_arrival(
    node: DevNode, call: Caller, clock: Clock
) -> None:
    call("GET", "/version")
    clock.pass_by(3)
    call("PUT", VM, {"onboot": 1})
    call("GET", "/nosuch?a=b")
    seen = [(r.seq, r.method, r.path, dict(r.params), r.token, r.status) for r in node.requests]
    assert seen == [
        (0, "GET", "/version", {}, AGENT, 200),
        (1, "PUT", VM, {"onboot": "1"}, AGENT, 200),
        (2, "GET", "/nosuch", {"a": "b"}, AGENT, 501),
    ]
    assert node.requests[1].at - node.requests[0].at == 3
    assert [r.seq for r in node.mutations] == [1]


def test_no_secret_is_in_the_log(node: DevNode, call: Caller) -> None:
    call("GET", "/version")
    assert call.authorization.rpartition("=")[2] not in repr(node.requests)


@pytest.mark.parametrize(("action", "happens"), [("reset-before", False), ("reset-after", True)])
def test_a_cut_connection_leaves_the_caller_in_doubt(
    node: DevNode, world: World, call: Caller, action: str, happens: bool
) -> None:
    node.faults.add(Fault("PUT", r"/qemu/100/config$", action))
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        call("PUT", VM, {"onboot": 1})
    assert ("onboot" in world.config(100)) is happens
    assert node.requests[-1].status == 0
    call.connection.close()
    assert call("PUT", VM, {"onboot": 1}).status == 200


def test_a_call_that_hangs_has_happened(
    node: DevNode, world: World, callers: Callable[..., Caller]
) -> None:
    impatient = callers(timeout=0.2)
    node.faults.add(Fault("PUT", "config", "hang"))
    with pytest.raises(TimeoutError):
        impatient("PUT", VM, {"onboot": 1})
    assert world.config(100)["onboot"] == 1


@pytest.mark.parametrize(
    ("action", "status", "happens"),
    [
        ("status:595", 595, False),
        ("status:596", 596, True),
        ("status:599", 599, True),
        ("status:502", 502, False),
        ("not-json", 200, False),
        ("redirect", 301, False),
    ],
)
def test_a_proxys_answer_says_little_of_what_happened(
    node: DevNode, world: World, call: Caller, action: str, status: int, happens: bool
) -> None:
    node.faults.add(Fault("PUT", "config", action))
    reply = call("PUT", VM, {"onboot": 1})
    assert reply.status == status
    assert not isinstance(reply.body, dict)
    assert ("onboot" in world.config(100)) is happens


def test_a_fault_strikes_as_often_as_it_was_told(node: DevNode, call: Caller) -> None:
    node.faults.add(Fault("GET", "version", "status:596", times=2))
    assert [call("GET", "/version").status for _ in range(3)] == [596, 596, 200]
    assert call("GET", "/nodes").status == 200


def test_faults_are_forgotten_at_a_word(node: DevNode, call: Caller) -> None:
    node.faults.add(Fault(action="status:596", times=9))
    node.faults.clear()
    assert call("GET", "/version").status == 200


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="explode"):
        Fault(action="explode")


def test_many_callers_are_served_at_once(world: World, callers: Callable[..., Caller]) -> None:
    eight = [callers(f"many@pve!t{n}") for n in range(8)]

    def write(numbered: tuple[int, Caller]) -> list[int]:
        number, caller = numbered
        path = f"/nodes/pve1/{'qemu/100' if number % 2 else 'lxc/200'}/config"
        return [caller("PUT", path, {"onboot": n % 2}).status for n in range(10)]

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(write, enumerate(eight)))
    assert statuses == [[200] * 10] * 8


@pytest.mark.parametrize("action", ["hang", "delay:3600"])
def test_closing_ends_every_thread_and_connection_even_a_hanging_one(action: str) -> None:
    asked = threading.Event()

    def now() -> float:
        asked.set()
        return 1_800_000_000.0

    world = World(now=now)
    before = threading.active_count()
    with DevNode(world) as node, ThreadPoolExecutor(1) as pool:
        caller = Caller(node, AGENT, world.token(AGENT))
        assert caller("GET", "/version").status == 200
        node.faults.add(Fault("GET", "version", action))
        asked.clear()
        hanging = pool.submit(caller, "GET", "/version")
        assert asked.wait(5)
        ca_file = node.ca_file
        node.close()
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            hanging.result(timeout=5)
        caller.connection.close()
    assert threading.active_count() == before
    assert not ca_file.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port(node)), timeout=5)


def test_an_answer_in_several_pieces_waits_for_no_acknowledgement(
    node: DevNode, call: Caller
) -> None:
    """Of a large listing the second piece would come 40 ms late, and every pass with it."""
    assert call("GET", "/version").status == 200
    (connection,) = node._server._open
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
