"""The real daemon tells a real receiver, and keeps its guests whatever that one does."""

from __future__ import annotations

import signal
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from felhom_agent.daemon.notifying import backups_of
from felhom_agent.daemon.passes import Pass
from felhom_agent.model import ActualGuest, Kind, RunState
from tests.commands import QUICK
from tests.conftest import Site
from tests.control import asked
from tests.hostile.rawhub import Caller, raw_hub
from tests.notify.receiver import Receiver, receiving
from tests.process import Process, wait_until

TOKEN = "tk-0123456789-secret"  # no secret of anybody's
START = '[guest.100]\nstate = "running"\n'
BLOCKED = '[guest.100]\nkind = "lxc"\nstate = "running"\n'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def begin(site: Site) -> Iterator[Callable[..., Process]]:
    """Starts an agent that notifies a URL."""
    made: list[Process] = []

    def start(url: str, *lines: str, events: str = "", token: bool = True) -> Process:
        names = f"events = [{events}]\n" if events else ""
        file = site.directory / "notify-token"
        file.touch(mode=0o600)
        file.write_text(TOKEN)
        notify = f'[notify]\nurl = "{url}"\n{names}' + "".join(f"{line}\n" for line in lines)
        named = 'token_file = "notify-token"\n' if token else ""
        made.append(Process(site.write_config(f"{QUICK}{notify}{named}")))
        return made[-1]

    yield start
    for process in made:
        if not process.is_over():
            process.end()


Begin = Callable[..., Process]


def test_what_a_person_must_act_on_is_told_and_the_token_is_in_its_header_alone(
    site: Site, receiver: Receiver, begin: Begin
) -> None:
    site.declare(BLOCKED)
    agent = begin(receiver.url)
    wait_until(lambda: bool(receiver.posted))
    assert agent.end() == 0
    (posted,) = receiver.posted
    assert posted.data["event"] == "guest-blocked"
    assert (posted.data["node"], posted.data["vmid"]) == ("pve1", 100)
    assert posted.data["text"].startswith("guest 100 web: waits: declared as lxc, but vmid 100 is")
    assert posted.headers["authorization"] == f"Bearer {TOKEN}"
    assert not agent.count(TOKEN)


def test_beginning_and_end_can_be_told_too(site: Site, receiver: Receiver, begin: Begin) -> None:
    site.declare(START)
    agent = begin(receiver.url, events='"agent-started", "agent-stopped", "guest-changed"')
    agent.wait_for("guest 100 web: done: start")
    assert agent.end() == 0
    assert receiver.events == ["agent-started", "guest-changed", "agent-stopped"]


@pytest.mark.parametrize("act", ["stalls", "floods", "says 500", "is not there"])
def test_a_bad_receiver_costs_one_warning_and_no_guest(site: Site, begin: Begin, act: str) -> None:
    site.declare(START)
    with raw_hub() as hub:

        def behave(caller: Caller) -> None:
            if act == "says 500":
                caller.hear()
                caller.send(b"HTTP/1.1 500 No\r\n\r\n")
            elif act == "floods":
                caller.flood(b"x")
            else:
                caller.stall()

        hub.behaviour = behave
        url = "http://127.0.0.1:1/none" if act == "is not there" else f"{hub.url}/x"
        agent = begin(url, "timeout = 0.5", events='"agent-started", "guest-changed"')
        agent.wait_for("guest 100 web: done: start")
        agent.wait_for("no notification is delivered: ")
        site.world.stop(100)
        agent.wait_for("guest 100 web: done: start", times=2)
        assert agent.end() == 0
    assert agent.count("no notification is delivered: ") == 1
    assert agent.count("internal error") == 0
    assert not agent.count(TOKEN)


def test_a_receiver_of_another_ca_gets_nothing(site: Site, begin: Begin, tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    site.declare(BLOCKED)
    with receiving(tls) as receiver:
        agent = begin(receiver.url, f'ca_file = "{tmp_path}/other.pem"')
        agent.wait_for("its certificate is not trusted")
        assert agent.end() == 0
        assert receiver.posted == []


def test_a_token_that_cannot_be_read_costs_the_notifications_and_no_guest(
    site: Site, receiver: Receiver, begin: Begin
) -> None:
    site.declare(START)
    agent = begin(receiver.url, 'token_file = "none"', token=False)
    agent.wait_for("nobody is notified: ")
    agent.wait_for("guest 100 web: done: start")
    reply = asked(site.directory / "control.sock", "POST", "/v1/notify-test")
    assert (reply.status, agent.end()) == (409, 0)
    assert receiver.posted == []


def test_a_nightly_backup_wakes_nobody(site: Site, receiver: Receiver, begin: Begin) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    site.world.lock(100, "backup")
    agent = begin(receiver.url, events='"guest-blocked", "agent-stopped"')
    agent.wait_for("guest 100 web: waits: locked (backup)")
    # Another guest is told of meanwhile, so that the first one was not only late.
    site.declare('[guest.200]\nkind = "qemu"\nstate = "running"\n', "dns.toml")
    agent.send(signal.SIGHUP)
    wait_until(lambda: receiver.events == ["guest-blocked"])
    site.world.lock(100, "")
    agent.wait_for("guest 100 web: done: set cores")
    assert agent.end() == 0
    assert receiver.events == ["guest-blocked", "agent-stopped"]
    assert receiver.posted[0].data["vmid"] == 200


def test_another_lock_is_told_at_once(site: Site, receiver: Receiver, begin: Begin) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    site.world.lock(100, "migrate")
    agent = begin(receiver.url)
    wait_until(lambda: receiver.events == ["guest-blocked"])
    assert agent.end() == 0


def test_commands_get_a_file_that_others_cannot_read(
    site: Site, receiver: Receiver, begin: Begin
) -> None:
    spool = site.directory / "spool"
    spool.mkdir()
    site.declare(BLOCKED)
    agent = begin(receiver.url, "command = true", f'spool = "{spool}"')
    wait_until(lambda: any(path.suffix == ".json" for path in spool.iterdir()))
    assert agent.end() == 0
    (path,) = spool.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert '"event": "guest-blocked"' in path.read_text()


def test_one_pass_by_hand_notifies_nobody(site: Site, receiver: Receiver, begin: Begin) -> None:
    site.declare(BLOCKED)
    begin(receiver.url).end()
    receiver.posted.clear()
    assert Process(site.directory / "agent.toml", "--once").end(None) == 2
    assert receiver.posted == []


def test_a_pass_that_could_not_look_tells_of_no_backup_that_is_over() -> None:
    guest = ActualGuest(100, Kind.QEMU, "pve1", RunState.RUNNING, lock="backup")
    other = ActualGuest(101, Kind.QEMU, "pve1", RunState.RUNNING, lock="snapshot")
    seen = Pass(begun=7.0, good=True, here={100: guest, 101: other})
    assert backups_of(seen).vmids == {100}
    assert backups_of(seen).seen_at == 7.0
    assert backups_of(Pass(begun=7.0, good=False)).seen_at == 0.0
