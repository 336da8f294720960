"""The control socket, towards clients of every kind."""

from __future__ import annotations

import grp
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from felhom_agent import redaction
from felhom_agent.errors import FelhomError
from felhom_agent.redaction import remember
from felhom_agent.service.control import (
    Caller,
    ControlAnswer,
    ControlLimits,
    ControlRoute,
    ControlServer,
    ControlUnavailable,
    caller_of,
)
from felhom_agent.service.controlclient import ControlRefused, NoAgent, call
from felhom_agent.service.request import (
    MAX_BODY,
    MAX_HEAD,
    ControlError,
    ControlRequest,
    read_request,
)
from tests.control import asked, connect, parsed, raw, received
from tests.process import SOON, wait_until

Serve = Callable[..., ControlServer]
HELLO = b"GET /v1/hello HTTP/1.1\r\nHost: x\r\n\r\n"
WAITING = (
    b"POST /v1/hello HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    b"Expect: 100-continue\r\n\r\n"
)
# Nobody of a test's clients is cut off by chance.
PATIENT = ControlLimits(read=SOON, total=2 * SOON)
HASTY = ControlLimits(read=0.1, total=SOON)


def hello(request: ControlRequest, caller: Caller) -> ControlAnswer:
    return ControlAnswer(200, {"you": caller.name, "sent": request.fields()})


def refuse(request: ControlRequest, caller: Caller) -> ControlAnswer:
    raise ControlError(409, "not now")


def fail(request: ControlRequest, caller: Caller) -> ControlAnswer:
    raise FelhomError("the disk is full")


def break_down(request: ControlRequest, caller: Caller) -> ControlAnswer:
    raise KeyError("a bug")


ROUTES = (
    ControlRoute("GET", "/v1/hello", hello),
    ControlRoute("POST", "/v1/hello", hello),
    ControlRoute("POST", "/v1/owner", hello, owner_only=True),
    ControlRoute("POST", "/v1/refused", refuse),
    ControlRoute("POST", "/v1/fails", fail),
    ControlRoute("POST", "/v1/broken", break_down),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def serve(path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def begin(
            *more: ControlRoute, limits: ControlLimits = PATIENT, **words: str
        ) -> ControlServer:
            server = ControlServer(path, (*ROUTES, *more), limits, **words)  # type: ignore[arg-type]
            server.start()
            stack.callback(server.close)
            return server

        yield begin


def test_a_request_is_answered_in_json_and_the_connection_ends(serve: Serve, path: Path) -> None:
    serve()
    reply = raw(path, HELLO)
    assert (reply.status, reply.body["sent"]) == (200, {})
    assert "Content-Type: application/json" in reply.head
    assert "Connection: close" in reply.head
    assert asked(path, "POST", "/v1/hello", {"a": [1, "x"]}).body["sent"] == {"a": [1, "x"]}


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")
def test_curl_can_ask(serve: Serve, path: Path) -> None:
    serve()
    words = ["curl", "--silent", "--show-error", "--unix-socket", str(path), "--max-time", "30"]
    json = ["--header", "Content-Type: application/json", "--data", '{"a": 1}']
    for more in ([], json, [*json, "--header", "Expect: 100-continue"]):
        done = subprocess.run(
            [*words, *more, "http://localhost/v1/hello"], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert '"sent"' in done.stdout


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "no HTTP request"),
        (b"\x00" * 100 + b"\r\n\r\n", 400, "no HTTP request"),
        (b"\r\n\r\n", 400, "no HTTP request"),
        (b"GET /v1/hello\r\n\r\n", 400, "no HTTP request"),
        (b"get /v1/hello HTTP/1.1\r\n\r\n", 400, "no HTTP request"),
        (b"GET  /v1/hello HTTP/1.1\r\n\r\n", 400, "no HTTP request"),
        (b"GET /v1/hello HTTP/1.1 \r\n\r\n", 400, "no HTTP request"),
        (b"GET /v1/h\xc3\xa9 HTTP/1.1\r\n\r\n", 400, "no HTTP request"),
        (b"GET /v1/hello HTTP/2.0\r\n\r\n", 505, "HTTP/1"),
        (b"GET /v1/hello HTTP/1.1\n\n", 400, "CR LF"),
        (b"GET /v1/hello HTTP/1.1\r\nno header\r\n\r\n", 400, "malformed"),
        (b"GET /v1/hello HTTP/1.1\r\n folded: x\r\n\r\n", 400, "malformed"),
        (b"GET /v1/hello HTTP/1.1\r\nA : x\r\n\r\n", 400, "malformed"),
        (b"GET /v1/hello HTTP/1.1\r\nA: \x1b[2J\r\n\r\n", 400, "malformed"),
        (b"GET /v1/hello HTTP/1.1\r\nA: x\ny\r\n\r\n", 400, "malformed"),
        (b"GET /v1/hello HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "no number"),
        (b"GET /v1/hello HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n", 400, "no number"),
        (b"GET /v1/hello HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", 400, "no number"),
        (
            b"POST /v1/hello HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 2\r\n\r\nxx",
            400,
            "two content-length",
        ),
        (
            b"POST /v1/hello HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            411,
            "Content-Length",
        ),
        (b"POST /v1/hello HTTP/1.1\r\nExpect: gold\r\n\r\n", 417, "100-continue"),
        (b"GET /v1/hello HTTP/1.1\r\nA: " + b"x" * MAX_HEAD + b"\r\n\r\n", 431, "longer"),
        (b"x" * (MAX_HEAD + 70000), 431, "longer"),
        (
            f"POST /v1/hello HTTP/1.1\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n".encode()
            + b"x" * (MAX_BODY + 1),
            413,
            "longer",
        ),
        (b"POST /v1/hello HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", 413, "longer"),
    ],
)
def test_what_is_no_plain_request_is_answered_with_what_is_wrong(
    serve: Serve, path: Path, data: bytes, status: int, words: str
) -> None:
    serve()
    reply = raw(path, data)
    assert (reply.status, words in reply.body["error"]) == (status, True), reply
    assert raw(path, HELLO).status == 200


@pytest.mark.parametrize(
    ("kind", "body", "status", "words"),
    [
        (b"application/x-www-form-urlencoded", b"a=1", 415, "application/json"),
        (b"text/plain", b"{}", 415, "application/json"),
        (b"", b"{}", 415, "application/json"),
        (b"application/json", b"{", 400, "no JSON"),
        (b"application/json", b'{"a": NaN}', 400, "no JSON"),
        (b"application/json", b'{"a": 1, "a": 2}', 400, "no JSON"),
        (b"application/json", b"\xff\xfe", 400, "no JSON"),
        (b"application/json", b"9" * 5000, 400, "no JSON"),
        (b"application/json", b"[" * MAX_BODY, 400, "no JSON"),
        (b"application/json", b"[1]", 400, "JSON object"),
        (b"application/json", b"null", 400, "JSON object"),
    ],
)
def test_a_body_is_one_json_object_and_says_so(
    serve: Serve, path: Path, kind: bytes, body: bytes, status: int, words: str
) -> None:
    serve()
    head = b"POST /v1/hello HTTP/1.1\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    reply = raw(path, head % (kind, len(body)) + body)
    assert (reply.status, words in reply.body["error"]) == (status, True), reply


@pytest.mark.parametrize(
    "target",
    ["/", "/v1", "/v1/hello/", "//v1/hello", "/v1//hello", "/v1/./hello", "/v1/x/../hello",
     "/v1/%68ello", "/v1/none?x=1", "/v1/hello/?x=1", "/v1/hello#x", "?x=1", "/V1/hello",
     "http://localhost/v1/hello", "*",
     "/../../etc/passwd", "/v1/hello%00", "/v2/hello"],
)  # fmt: skip
def test_a_path_is_taken_as_it_stands(serve: Serve, path: Path, target: str) -> None:
    serve()
    assert asked(path, "GET", target).status == 404


FOUND = ControlRoute(
    "GET",
    "/v1/found",
    lambda request, caller: ControlAnswer(200, dict(request.parameters(("after", "vmid")))),
    parameters=("after", "vmid"),
)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {}),
        ("?after=7", {"after": "7"}),
        ("?vmid=101&after=0", {"vmid": "101", "after": "0"}),
        ("?after=-1.5_x", {"after": "-1.5_x"}),
        ("?after=" + "9" * 100, {"after": "9" * 100}),
    ],
)
def test_a_route_that_has_parameters_takes_them_as_they_stand(
    serve: Serve, path: Path, query: str, found: dict[str, str]
) -> None:
    serve(FOUND)
    reply = asked(path, "GET", "/v1/found" + query)
    assert (reply.status, reply.body) == (200, found)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?", "not plain"), ("?&", "not plain"), ("?after", "not plain"), ("?after=", "not plain"),
        ("?=7", "not plain"), ("?after=1&", "not plain"), ("?&after=1", "not plain"),
        ("?after=1&&vmid=2", "not plain"), ("?after=%31", "not plain"), ("?after=1+1", "not plain"),
        ("?after=1;vmid=2", "not plain"), ("?after==1", "not plain"),
        ("?after=1?vmid=2", "not plain"),
        ("?after=1#x", "not plain"), ("?after=../x", "not plain"), ("?after=\"1\"", "not plain"),
        ("?after=" + "9" * 101, "not plain"), ("?" + "a" * 21 + "=1", "not plain"),
        ("?AFTER=1", "not plain"), ("?after[]=1", "not plain"),
        ("?after=1&after=1", "after is there twice"), ("?after=1&after=2", "after is there twice"),
        ("?other=1", "unknown: other; known are: after, vmid"),
        ("?after=1&other=1", "unknown: other"), ("?" + "&".join(["x=1"] * 400), "unknown: x"),
    ],
)  # fmt: skip
def test_a_query_that_is_not_plain_or_not_known_is_refused(
    serve: Serve, path: Path, query: str, words: str
) -> None:
    serve(FOUND)
    reply = asked(path, "GET", "/v1/found" + query)
    assert (reply.status, words in reply.body["error"]) == (400, True), reply
    assert asked(path, "GET", "/v1/found").status == 200


@pytest.mark.parametrize(
    ("method", "route"), [("GET", "/v1/hello"), ("POST", "/v1/hello"), ("POST", "/v1/owner")]
)
@pytest.mark.parametrize("query", ["?", "?after=1", "?x"])
def test_a_route_without_parameters_takes_no_query(
    serve: Serve, path: Path, method: str, route: str, query: str
) -> None:
    serve(FOUND)
    reply = asked(path, method, route + query)
    assert (reply.status, reply.body["error"]) == (400, "nothing may follow the path here")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "X"])
def test_another_method_is_told_which_there_are(serve: Serve, path: Path, method: str) -> None:
    serve()
    reply = asked(path, method, "/v1/hello")
    assert (reply.status, reply.body["error"]) == (405, "only GET, POST is known here")


def test_what_a_handler_raises_costs_its_request_alone(
    serve: Serve, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serve()
    assert asked(path, "POST", "/v1/refused").body == {"error": "not now"}
    reply = asked(path, "POST", "/v1/fails")
    assert (reply.status, reply.body["error"]) == (503, "the disk is full")
    assert "internal error" not in caplog.text
    reply = asked(path, "POST", "/v1/broken")
    assert (reply.status, "a bug" in reply.body["error"]) == (500, False)
    assert "internal error" in caplog.text
    assert raw(path, HELLO).status == 200


def test_no_answer_has_a_secret_in_it(
    serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redaction, "_known", ())
    remember("s3cret-of-the-token")
    serve()
    reply = asked(path, "POST", "/v1/hello", {"why": ["it is s3cret-of-the-token"]})
    assert reply.body["sent"] == {"why": ["it is (secret)"]}


class TestSlowClients:
    @pytest.mark.parametrize(
        "half", [b"G", HELLO[:-2], b"POST /v1/hello HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]
    )
    def test_half_a_request_is_waited_for_and_no_longer(
        self, serve: Serve, path: Path, half: bytes
    ) -> None:
        serve(limits=HASTY)
        reply = raw(path, half)
        assert (reply.status, "in time" in reply.body["error"]) == (408, True)

    def test_one_that_drips_is_no_better_than_one_that_stops(self) -> None:
        """Each look at the clock is a second, in which one more byte comes."""
        ours, theirs = socket.socketpair()
        drops = itertools.cycle(HELLO[:-4])
        with ours, theirs:

            def second() -> float:
                theirs.sendall(bytes([next(drops)]))
                return next(seconds)

            seconds = itertools.count(0.0)
            with pytest.raises(ControlError, match="in time") as caught:
                read_request(ours, 5.0, second)
        assert caught.value.status == 408
        assert next(seconds) == 6.0

    @pytest.mark.parametrize(
        "half", [HELLO[:-2], b"POST /v1/hello HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]
    )
    def test_half_a_request_that_ends_is_answered_at_once(
        self, serve: Serve, path: Path, half: bytes
    ) -> None:
        serve()
        with connect(path) as connection:
            connection.sendall(half)
            connection.shutdown(socket.SHUT_WR)
            assert parsed(received(connection)).status == 400

    def test_who_says_nothing_and_leaves_is_no_news(
        self, serve: Serve, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = serve()
        for _ in range(50):
            connect(path).close()
        wait_until(lambda: not server._open)
        assert raw(path, HELLO).status == 200
        assert caplog.text == ""

    def test_one_that_waits_for_a_word_before_its_body_gets_it(
        self, serve: Serve, path: Path
    ) -> None:
        serve()
        with connect(path) as connection:
            connection.sendall(WAITING)
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b"{}")
            assert parsed(received(connection)).status == 200

    def test_who_breaks_the_connection_is_no_news(
        self, serve: Serve, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = serve()
        with connect(path) as connection:
            connection.sendall(WAITING)
            # Closed with the answer unread, it is a reset to the other end.
            assert connection.recv(1, socket.MSG_PEEK)
        wait_until(lambda: not server._open)
        assert caplog.text == ""

    def test_who_does_not_read_its_answer_is_let_go(self, serve: Serve, path: Path) -> None:
        big = ControlRoute(
            "GET", "/v1/big", lambda r, c: ControlAnswer(200, {"x": "y" * 5_000_000})
        )
        server = serve(big, limits=ControlLimits(read=0.1, total=0.3))
        with connect(path) as connection:
            connection.sendall(b"GET /v1/big HTTP/1.1\r\n\r\n")
            wait_until(lambda: not server._open)
            assert len(received(connection)) < 5_000_000


class TestManyClients:
    def test_more_than_there_are_places_for_are_sent_away_and_the_next_is_served(
        self, serve: Serve, path: Path
    ) -> None:
        server = serve()
        with ExitStack() as stack:
            held = [stack.enter_context(connect(path)) for _ in range(8)]
            wait_until(lambda: len(server._open) == 8)
            reply = raw(path, HELLO)
            assert (reply.status, reply.body["error"][:8]) == (503, "too many")
            held[0].close()
            wait_until(lambda: len(server._open) == 7)
            assert raw(path, HELLO).status == 200

    def test_hundreds_at_once_all_get_an_answer_and_leave_no_thread(
        self, serve: Serve, path: Path
    ) -> None:
        server = serve()
        replies: list[int] = []
        threads = [
            threading.Thread(target=lambda: replies.append(raw(path, HELLO).status))
            for _ in range(200)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
        assert len(replies) == 200
        assert set(replies) <= {200, 503}
        wait_until(lambda: not server._open)
        assert raw(path, HELLO).status == 200

    def test_members_cannot_take_the_places_that_are_kept_for_root(self, serve: Serve) -> None:
        server = serve()
        member, root = Caller("a member", owner=False), Caller("root", owner=True)
        with ExitStack() as stack:
            for _ in range(6):
                server._open[threading.Thread()] = (stack.enter_context(_broken()), member)
            places = [server._has_place(member), server._has_place(root)]
            server._open.clear()
        assert places == [False, True]


def _broken() -> socket.socket:
    """Return a connection whose other end is closed."""
    one, other = socket.socketpair()
    other.close()
    return one


class TestCallers:
    def test_the_kernel_says_who_calls(self, serve: Serve, path: Path) -> None:
        serve()
        name = "root" if os.geteuid() == 0 else "the agent's own user"
        assert raw(path, HELLO).body["you"] == name
        one, other = socket.socketpair()
        with one, other:
            assert caller_of(one) == Caller(name, owner=True)

    def test_the_agents_own_user_may_do_all(self, serve: Serve, path: Path) -> None:
        serve()
        assert asked(path, "POST", "/v1/owner").status == 200

    def test_only_root_and_its_own_user_can_open_it_where_there_is_no_such_group(
        self, serve: Serve, path: Path
    ) -> None:
        serve(admins="no-such-group-at-all")
        assert path.stat().st_mode & 0o7777 == 0o600

    def test_a_group_that_is_there_is_let_in(self, serve: Serve, path: Path) -> None:
        serve(admins=grp.getgrgid(os.getegid()).gr_name)
        assert path.stat().st_mode & 0o7777 == 0o660


# Leaves for another user, says a request at the socket, and prints the answer.
AS_ANOTHER = """
import os, socket, sys
path, uid, gid, request = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
os.setgroups([]); os.setgid(gid); os.setuid(uid)
connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
connection.settimeout(30)
try:
    connection.connect(path)
except PermissionError:
    print("no entry"); sys.exit()
connection.sendall(f"{request} HTTP/1.1\\r\\n\\r\\n".encode())
while data := connection.recv(65536):
    print(data.decode(), end="")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
class TestOtherUsers:
    GROUP = grp.getgrgid(os.getegid()).gr_name if os.geteuid() else "daemon"
    UID = 4242

    @pytest.fixture
    def path(self) -> Iterator[Path]:
        """A socket in a directory that others may enter, as its group may in /run."""
        with tempfile.TemporaryDirectory() as directory:
            Path(directory).chmod(0o755)
            yield Path(directory, "control.sock")

    def ask(self, path: Path, request: str, gid: int) -> str:
        words = [sys.executable, "-c", AS_ANOTHER, str(path), str(self.UID), str(gid), request]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd="/")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_a_member_of_the_group_may_do_what_is_not_kept_for_root(
        self, serve: Serve, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        serve(admins=self.GROUP)
        gid = grp.getgrnam(self.GROUP).gr_gid
        assert (path.stat().st_gid, path.stat().st_mode & 0o7777) == (gid, 0o660)
        assert '"you": "a member of felhom-admin"' in self.ask(path, "GET /v1/hello", gid)
        refused = self.ask(path, "POST /v1/owner", gid)
        assert refused.startswith("HTTP/1.1 403 ")
        assert "this needs root" in refused
        assert "/v1/owner was refused to a member of felhom-admin" in caplog.text

    def test_whoever_is_in_no_such_group_cannot_open_it(self, serve: Serve, path: Path) -> None:
        serve(admins=self.GROUP)
        assert self.ask(path, "GET /v1/hello", 4242) == "no entry\n"


class TestPlace:
    def test_what_a_killed_agent_left_is_replaced(self, serve: Serve, path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
            left.bind(str(path))
            left.listen()
        assert path.exists()
        serve()
        assert raw(path, HELLO).status == 200

    def test_what_somebody_answers_at_is_left_alone(self, serve: Serve, path: Path) -> None:
        serve()
        second = ControlServer(path, ())
        with pytest.raises(ControlUnavailable, match="somebody answers there already"):
            second.start()
        second.close()
        assert raw(path, HELLO).status == 200

    def test_one_who_is_too_busy_to_answer_is_alive(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as busy, ExitStack() as stack:
            busy.bind(str(path))
            busy.listen(0)
            stack.enter_context(connect(path))
            with pytest.raises(ControlUnavailable, match="somebody answers there already"):
                ControlServer(path, ()).start()

    @pytest.mark.parametrize("make", [Path.mkdir, Path.touch], ids=["directory", "file"])
    def test_what_is_no_socket_is_left_alone(
        self, path: Path, make: Callable[[Path], None]
    ) -> None:
        make(path)
        with pytest.raises(ControlUnavailable, match="is no socket"):
            ControlServer(path, ()).start()
        assert path.exists()

    def test_a_link_is_not_followed(self, path: Path) -> None:
        path.symlink_to(path.with_name("elsewhere"))
        with pytest.raises(ControlUnavailable, match="is no socket"):
            ControlServer(path, ()).start()

    def test_nothing_else_is_left_beside_it(self, serve: Serve, path: Path) -> None:
        path.with_name("control.sock.new").touch()
        serve()
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("name", ["x" * 200, "missing/control.sock"])
    def test_one_that_cannot_be_made_says_why(self, path: Path, name: str) -> None:
        with pytest.raises(ControlUnavailable, match="cannot be made"):
            ControlServer(path.parent / name, ()).start()


class TestEnd:
    def test_closing_removes_it_and_ends_every_thread(self, serve: Serve, path: Path) -> None:
        server = serve()
        before = set(threading.enumerate())
        with connect(path) as silent, connect(path) as half:
            half.sendall(HELLO[:-2])
            wait_until(lambda: len(server._open) == 2)
            server.close()
            assert received(silent) == b""
        assert not path.exists()
        assert server._accepting is not None
        assert not server._accepting.is_alive()
        assert {t for t in before if t.is_alive() and t.name.startswith("control")} == set()
        server.close()

    def test_an_answer_that_is_being_made_still_arrives(self, serve: Serve, path: Path) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def wait(request: ControlRequest, caller: Caller) -> ControlAnswer:
            begun.set()
            assert go_on.wait(SOON)
            return ControlAnswer(200, {"x": 1})

        server = serve(ControlRoute("GET", "/v1/wait", wait))
        with connect(path) as connection:
            connection.sendall(b"GET /v1/wait HTTP/1.1\r\n\r\n")
            assert begun.wait(SOON)
            closing = threading.Thread(target=lambda: server.close(SOON))
            closing.start()
            wait_until(lambda: not path.exists())
            go_on.set()
            assert parsed(received(connection)).status == 200
            closing.join(SOON)
            assert not closing.is_alive()

    def test_a_handler_that_hangs_does_not_hold_up_the_end(self, serve: Serve, path: Path) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def hang(request: ControlRequest, caller: Caller) -> ControlAnswer:
            begun.set()
            go_on.wait(SOON)
            return ControlAnswer(200, {})

        server = serve(ControlRoute("GET", "/v1/hang", hang))
        with connect(path) as connection:
            connection.sendall(b"GET /v1/hang HTTP/1.1\r\n\r\n")
            assert begun.wait(SOON)
            server.close(timeout=0.0)
            assert received(connection) == b""
            go_on.set()
        wait_until(lambda: not server._open)

    def test_anothers_socket_of_that_path_is_not_removed(self, serve: Serve, path: Path) -> None:
        server = serve()
        path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.bind(str(path))
            server.close()
            assert path.exists()


class TestClient:
    def test_it_returns_the_answer(self, serve: Serve, path: Path) -> None:
        serve()
        assert call(path, "POST", "/v1/hello", {"a": 1})["sent"] == {"a": 1}
        assert call(path, "GET", "/v1/hello")["sent"] == {}

    def test_what_is_refused_is_raised_in_the_agents_words(self, serve: Serve, path: Path) -> None:
        serve()
        with pytest.raises(ControlRefused, match="^not now$") as caught:
            call(path, "POST", "/v1/refused")
        assert caught.value.status == 409
        with pytest.raises(ControlRefused, match="longer than"):
            call(path, "POST", "/v1/hello", {"a": "x" * MAX_BODY})

    def test_nobody_there_is_told_with_what_to_do(self, path: Path) -> None:
        with pytest.raises(NoAgent, match="systemctl start felhom-agent"):
            call(path, "GET", "/v1/hello")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
            left.bind(str(path))
        with pytest.raises(NoAgent, match="systemctl start felhom-agent"):
            call(path, "GET", "/v1/hello")
        with pytest.raises(NoAgent, match="cannot be spoken to"):
            call(path.with_name("x" * 200), "GET", "/v1/hello")

    @pytest.mark.parametrize(
        "answer",
        [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n[]", b"hello\r\n\r\n{}",
         b"HTTP/1.1 200 OK\r\n\r\n{\"a\": ", b"\xff" * 100],
    )  # fmt: skip
    def test_an_answer_that_makes_no_sense_is_told(self, path: Path, answer: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen()

            def odd() -> None:
                with listener.accept()[0] as connection:
                    connection.recv(65536)
                    connection.sendall(answer)

            thread = threading.Thread(target=odd)
            thread.start()
            with pytest.raises(FelhomError, match="makes no sense"):
                call(path, "GET", "/v1/hello")
            thread.join(SOON)
