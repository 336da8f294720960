"""One call to whoever is at the other end: it ends in time, says why, and holds no token."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import NotifyConfig
from felhom_agent.notify.webhook import Undelivered, Webhook
from tests.hostile.rawhub import PATIENCE, Caller, RawHub, raw_hub
from tests.notify.receiver import Receiver, notice, receiving

TOKEN = "tk-0123456789"  # no secret of anybody's


@pytest.fixture
def hub() -> Iterator[RawHub]:
    with raw_hub() as hub:
        yield hub


def webhook(url: str, ca_file: Path | None = None) -> Webhook:
    config = NotifyConfig(url=url, ca_file=ca_file, timeout=0.6)
    return Webhook(config, Secret(TOKEN))


def refusal(url: str, ca_file: Path | None = None) -> Undelivered:
    with pytest.raises(Undelivered) as caught:
        webhook(url, ca_file).post(notice())
    assert TOKEN not in repr(caught.value) + str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


@pytest.mark.parametrize(
    ("path", "asked"), [("", "/"), ("/", "/"), ("/push", "/push"), ("/a/b/", "/a/b/")]
)
def test_a_notice_is_posted_to_the_url_as_it_stands(
    receiver: Receiver, path: str, asked: str
) -> None:
    webhook(receiver.url.removesuffix("/push") + path).post(notice())
    (posted,) = receiver.posted
    assert posted.path == asked
    assert posted.data["text"] == notice().text
    assert posted.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("status", "words", "temporary", "final"),
    [
        (500, "it answers with status 500", True, False),
        (429, "it asks for patience", True, False),
        (401, "it wants a token, or another one", False, False),
        (404, "there is nothing at this address", False, False),
        (400, "it answers with status 400", False, True),
        (413, "the message is too large for it", False, True),
        (302, "it answers with a redirect, which is not followed", False, False),
    ],
)
def test_whatever_is_no_yes_is_told_with_whether_it_may_pass(
    receiver: Receiver, status: int, words: str, temporary: bool, final: bool
) -> None:
    receiver.status = status
    error = refusal(receiver.url)
    assert (str(error), error.temporary, error.is_final) == (words, temporary, final)
    assert receiver.posted == []


def test_a_receiver_that_is_not_there_is_told() -> None:
    with receiving() as gone:
        pass
    error = refusal(gone.url)
    assert (str(error), error.temporary) == ("it cannot be reached: Connection refused", True)


def test_a_receiver_that_says_nothing_ends_at_the_calls_deadline(hub: RawHub) -> None:
    hub.behaviour = Caller.stall
    error = refusal(hub.url)
    assert (str(error), error.temporary) == ("it gives no answer in time", True)
    assert hub.gone.wait(PATIENCE / 3)


def test_a_receiver_that_drips_ends_at_the_calls_deadline(hub: RawHub) -> None:
    def drip(caller: Caller) -> None:
        caller.hear()
        caller.send(b"HTTP/1.1 200 OK\r\n")
        caller.drip(b"a: b\r\n")

    hub.behaviour = drip
    before = time.monotonic()
    assert str(refusal(hub.url)) in (
        "its answer took longer than 0.6 s", "it broke the connection (HTTPException)",
    )  # fmt: skip
    assert time.monotonic() - before < PATIENCE / 3


def test_of_an_endless_answer_only_the_head_is_read(hub: RawHub) -> None:
    def flood(caller: Caller) -> None:
        caller.hear()
        caller.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        caller.flood(b"5\r\nxxxxx\r\n")

    hub.behaviour = flood
    webhook(hub.url).post(notice())
    assert hub.gone.wait(PATIENCE / 3), "the connection was given up"


def test_an_endless_head_is_refused(hub: RawHub) -> None:
    def flood(caller: Caller) -> None:
        caller.hear()
        caller.send(b"HTTP/1.1 200 OK\r\n")
        caller.flood(b"x: " + b"y" * 60_000 + b"\r\n")

    hub.behaviour = flood
    assert len(str(refusal(hub.url))) < 200


def test_what_is_no_http_is_told(hub: RawHub) -> None:
    def nonsense(caller: Caller) -> None:
        caller.hear()
        caller.send(b"\x1b[2J nonsense\r\n\r\n")

    hub.behaviour = nonsense
    assert str(refusal(hub.url)).startswith("it broke the connection (")


def test_a_certificate_that_is_not_trusted_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    ca, other = trustme.CA(), trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    ca.cert_pem.write_to_path(str(good))
    other.cert_pem.write_to_path(str(bad))
    with receiving(tls) as receiver:
        error = refusal(receiver.url, bad)
        assert str(error) == "its certificate is not trusted"
        assert receiver.posted == []
        webhook(receiver.url, good).reach()
        assert receiver.posted == []
        webhook(receiver.url, good).post(notice())
        assert len(receiver.posted) == 1


def test_https_towards_a_server_of_http_is_told(receiver: Receiver) -> None:
    url = receiver.url.replace("http://", "https://")
    with pytest.raises(Undelivered, match="it broke the connection"):
        webhook(url).reach()


def test_a_call_that_is_under_way_can_be_ended_from_another_thread(hub: RawHub) -> None:
    config = NotifyConfig(url=hub.url, timeout=3 * PATIENCE)
    caller = Webhook(config, None)

    def hear_and_close(other: Caller) -> None:
        other.hear()
        caller.close()

    hub.behaviour = hear_and_close
    with pytest.raises(Undelivered):
        caller.post(notice())
