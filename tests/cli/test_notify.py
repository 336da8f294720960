"""`felhom-agent notify test`: does a message arrive, and if not, why?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import QUICK, Felhom, Start, typed
from tests.conftest import Site
from tests.control import asked, valid
from tests.notify.receiver import Receiver, receiving
from tests.process import Process, wait_until

TOKEN = "tk-0123456789-secret"  # no secret of anybody's


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def settings(site: Site, url: str, more: str = "") -> str:
    file = site.directory / "notify-token"
    file.touch(mode=0o600)
    file.write_text(TOKEN)
    return f'[notify]\nurl = "{url}"\ntoken_file = "notify-token"\ntimeout = 1\n{more}'


def command(site: Site, text: str, capsys: pytest.CaptureFixture[str]) -> Felhom:
    return typed(site.write_config(text), capsys)


def started(site: Site, start: Start, text: str) -> Process:
    """Return an agent that can be asked."""
    agent = start(settings=QUICK + text)
    wait_until((site.directory / "control.sock").exists)
    return agent


def test_where_an_agent_runs_it_sends_the_message_itself(
    site: Site, receiver: Receiver, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare("")
    started(site, start, settings(site, receiver.url))
    path = site.directory / "agent.toml"
    code, out, _ = typed(path, capsys)("notify", "test")
    assert (code, out) == (0, f"Delivered: {receiver.url} took it.\n")
    (posted,) = receiver.posted
    assert posted.data["event"] == "notify-test"
    assert "by the word of root" in posted.data["text"] or "own user" in posted.data["text"]
    # What counts is what the agent began with, not what the file says now.
    path.write_text(path.read_text().replace(receiver.url, "http://127.0.0.1:1/"))
    assert typed(path, capsys)("notify", "test")[0] == 0


@pytest.mark.parametrize(("status", "expected"), [(503, 75), (401, 1), (302, 1)])
def test_the_exit_code_tells_whether_it_may_be_taken_later(
    site: Site, receiver: Receiver, start: Start, status: int, expected: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    receiver.status = status
    site.declare("")
    agent = started(site, start, settings(site, receiver.url))
    code, out, err = typed(site.directory / "agent.toml", capsys)("notify", "test")
    assert (code, out) == (expected, "")
    assert err.startswith(f"felhom-agent: not delivered: {receiver.url}: ")
    assert TOKEN not in err
    agent.end()
    code, out, alone = typed(site.directory / "agent.toml", capsys)("notify", "test")
    assert (code, out) == (expected, "")
    assert alone == err.replace("not delivered: ", "")


def test_where_no_agent_runs_the_command_sends_it(
    site: Site, receiver: Receiver, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    more = f'command = true\nspool = "{spool}"\n'
    code, out, _ = command(site, settings(site, receiver.url, more), capsys)("notify", "test")
    assert (code, len(list(spool.iterdir()))) == (0, 1)
    end = "it was left for felhom-agent-notify.service"
    assert out == f"Delivered: {receiver.url} took it; {end}.\n"
    assert receiver.posted[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_where_nobody_is_named_that_is_told(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(site, "", capsys)("notify", "test")
    assert (code, out) == (1, "")
    assert "[notify] names nobody: set its url, or command = true" in err


def test_an_agent_that_notifies_nobody_says_so(
    site: Site, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare("")
    started(site, start, "")
    code, _, err = typed(site.directory / "agent.toml", capsys)("notify", "test")
    assert code == 1
    assert "this agent notifies nobody" in err


def test_a_token_that_cannot_be_read_is_a_wrong_configuration(
    site: Site, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    text = settings(site, receiver.url)
    (site.directory / "notify-token").chmod(0o644)
    code, _, err = command(site, text, capsys)("notify", "test")
    assert code == 78
    assert "every user can read the receiver's token" in err
    assert TOKEN not in err


def test_its_answer_is_as_the_schema_says(site: Site, receiver: Receiver, start: Start) -> None:
    site.declare("")
    started(site, start, settings(site, receiver.url))
    socket = site.directory / "control.sock"
    valid("done", asked(socket, "POST", "/v1/notify-test").body)
    assert asked(socket, "POST", "/v1/notify-test", {"x": 1}).status == 400
