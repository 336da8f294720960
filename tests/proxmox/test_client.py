"""Calls over real HTTPS, and what their failures mean."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.errors import (
    Busy,
    Denied,
    Interrupted,
    Missing,
    NotSent,
    OutcomeUnknown,
    PveError,
    Rejected,
    Stale,
    Unanswered,
)
from felhom_agent.proxmox import answers
from felhom_agent.proxmox.client import READS, WRITES
from felhom_agent.proxmox.sessions import KEPT
from felhom_agent.proxmox.transport import IDLE_LIMIT
from felhom_agent.service.flag import Flag
from tests.conftest import Site
from tests.permits import CONFIG, write
from tests.process import SOON, wait_until


def test_a_read_returns_pves_data(site: Site) -> None:
    assert site.connect().client.get("version")["version"] == "9.1.7"


def test_a_write_sends_booleans_as_one_and_zero(site: Site) -> None:
    client = site.connect().client
    write(client, "PUT", *CONFIG, data={"onboot": True, "protection": False})
    assert site.devnode.requests[-1].params == {"onboot": "1", "protection": "0"}
    assert site.world.config(100)["onboot"] == 1


def test_the_token_is_shown_nowhere_even_when_all_is_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    node = site.connect()
    with pytest.raises(Rejected) as caught:
        write(node.client, "PUT", *CONFIG, data={"cipassword": "hunter2", "nosuch": "x"})
    shown = caplog.text + repr(caught.value) + str(caught.value) + repr(node)
    (session,) = node.client._sessions._idle
    shown += repr(session) + repr(session.api._store) + repr(session.adapter)
    assert site.secret not in shown
    assert "hunter2" not in shown


def test_bad_parameters_are_rejected_with_pves_words_per_parameter(site: Site) -> None:
    with pytest.raises(Rejected, match="nosuch: property is not defined") as caught:
        write(site.connect().client, "PUT", *CONFIG, data={"nosuch": "1"})
    assert set(caught.value.errors) == {"nosuch"}
    assert caught.value.call == "PUT /nodes/pve1/qemu/100/config"


def test_a_wrong_secret_is_denied_without_saying_it(site: Site) -> None:
    site.proxmox.token_file.write_text("00000000-0000-0000-0000-000000000000")
    with pytest.raises(Denied, match="the API token was not accepted") as caught:
        site.connect().client.get("version")
    assert "pveum user token list felhom-agent@pve?" in str(caught.value)
    assert "make a new token, and put what pveum shows" in str(caught.value)
    assert "00000000" not in str(caught.value)


@pytest.mark.parametrize("write_too", [False, True])
def test_a_node_that_the_cluster_has_not_is_told_with_those_it_has(
    site: Site, write_too: bool
) -> None:
    client = site.connect(node="pve7").client
    call = ("nodes", "pve7", "qemu", 100, "config")
    with pytest.raises(Rejected) as caught:
        write(client, "PUT", *call, data={"cores": 2}) if write_too else client.get(*call)
    words = 'the cluster has no node "pve7" (it has: pve1); set node in [proxmox] of agent.toml'
    assert caught.value.text == words


def test_a_missing_privilege_is_named_with_its_path(make_site: Callable[..., Site]) -> None:
    site = make_site(privileges={"/vms": ["VM.Audit"]})
    site.world.add("qemu", 100, {"cores": 1})
    with pytest.raises(Denied) as caught:
        write(site.connect().client, "POST", "nodes", "pve1", "qemu", 100, "status", "start")
    assert (caught.value.path, caught.value.privilege) == ("/vms/100", "VM.PowerMgmt")


def test_a_guest_that_is_not_here_is_missing(site: Site) -> None:
    with pytest.raises(Missing, match="does not exist"):
        site.connect().client.get("nodes", "pve1", "qemu", 999, "config")


@pytest.mark.parametrize(("kind", "vmid"), [("qemu", 100), ("lxc", 200)])
def test_both_digest_texts_are_stale(site: Site, kind: str, vmid: int) -> None:
    with pytest.raises(Stale):
        write(
            site.connect().client,
            "PUT",
            "nodes",
            "pve1",
            kind,
            vmid,
            "config",
            data={"cores": 2, "digest": "0" * 40},
        )


def test_a_held_lock_is_busy(make_site: Callable[..., Site]) -> None:
    site = make_site()
    slow = Behaviour(shutdown_seconds=30.0)
    site.world.add("qemu", 100, {"cores": 1}, running=True, behaviour=slow)
    client = site.connect().client
    write(client, "POST", "nodes", "pve1", "qemu", 100, "status", "shutdown")
    with pytest.raises(Busy, match="can't lock file"):
        write(client, "PUT", *CONFIG, data={"cores": 2})


@pytest.mark.parametrize(
    ("action", "read", "written"),
    [
        ("reset-before", Unanswered, OutcomeUnknown),
        ("reset-after", Unanswered, OutcomeUnknown),
        ("status:595", Unanswered, NotSent),
        ("status:596", Unanswered, OutcomeUnknown),
        ("not-json", Unanswered, OutcomeUnknown),
        ("redirect", Unanswered, OutcomeUnknown),
        ("garbage", Unanswered, OutcomeUnknown),
        ("truncated", Unanswered, OutcomeUnknown),
        ("refuse:bridge 'vmbr0' does not exist", Rejected, OutcomeUnknown),
        ("refuse:got no worker upid - start worker failed", Busy, Busy),
    ],
)
def test_what_brings_no_answer_changes_nothing_for_a_read_and_is_unknown_for_a_write(
    site: Site, action: str, read: type[PveError], written: type[PveError]
) -> None:
    client = site.connect().client
    # A read that is cut off is repeated once.
    times = 2 if action.startswith("reset") else 1
    site.devnode.faults.add(Fault("GET", "config$", action, times=times))
    with pytest.raises(read):
        client.get(*CONFIG)
    site.devnode.faults.add(Fault("PUT", "config$", action))
    with pytest.raises(written):
        write(client, "PUT", *CONFIG, data={"cores": 2})
    assert client.get(*CONFIG)["cores"] in (1, 2)


def test_an_answer_that_never_comes_is_given_up(site: Site) -> None:
    client = site.connect(read_timeout=0.2, write_timeout=0.2).client
    site.devnode.faults.add(Fault("GET", "config$", "hang"))
    with pytest.raises(Unanswered, match="gave no answer in time"):
        client.get(*CONFIG)
    site.devnode.faults.add(Fault("PUT", "config$", "hang"))
    with pytest.raises(OutcomeUnknown, match="gave no answer in time"):
        write(client, "PUT", *CONFIG, data={"cores": 2})


def test_a_redirect_is_not_followed(site: Site) -> None:
    site.devnode.faults.add(Fault("GET", "config$", "redirect"))
    before = len(site.devnode.requests)
    with pytest.raises(Unanswered, match="redirect"):
        site.connect().client.get(*CONFIG)
    assert len(site.devnode.requests) == before + 1


def test_nobody_listening_means_not_sent(site: Site) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"https://127.0.0.1:{free.getsockname()[1]}"
    client = site.connect(endpoint=endpoint).client
    with pytest.raises(
        NotSent, match="cannot be reached: nobody listens at port .*Connection refused.*pveproxy"
    ):
        write(client, "PUT", *CONFIG, data={"cores": 2})


def test_a_name_that_does_not_resolve_means_not_sent(site: Site) -> None:
    client = site.connect(endpoint="https://no-such-host.invalid:8006").client
    with pytest.raises(NotSent, match='the name "no-such-host.invalid" cannot be looked up'):
        client.get("version")


def test_proxies_and_netrc_of_the_environment_have_no_say(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login root password toor\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent.pem"))
    assert site.connect().client.get("version")


def test_no_session_is_used_by_two_threads_at_once_and_idle_ones_are_used_again(
    site: Site,
) -> None:
    client = site.connect().client
    meeting = threading.Barrier(3)

    def call(_: int) -> None:
        meeting.wait(10)
        session = client._sessions.borrow()
        meeting.wait(10)
        client._sessions.give_back(session)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(call, range(3)))
    assert len({id(session) for session in client._sessions._idle}) == 3
    for _ in range(5):
        client.get("version")
    assert len(client._sessions._idle) == 3


def test_a_closed_client_keeps_no_connection_not_even_one_given_back_later(site: Site) -> None:
    client = site.connect().client
    borrowed = client._sessions.borrow()
    client.get("version")
    client.close()
    client._sessions.give_back(borrowed)
    assert client._sessions._idle == []


def test_no_connection_by_old_settings_is_used_once_others_are_taken(site: Site) -> None:
    """The node is known by another fingerprint from then on."""
    client = site.connect().client
    borrowed = client._sessions.borrow()
    client.get("version")
    (idle,) = client._sessions._idle
    fresh = replace(client.config, read_timeout=client.config.read_timeout + 1)
    client.adopt(fresh)
    assert client._sessions._idle == []
    client._sessions.give_back(borrowed)
    assert client._sessions._idle == [], "one that was in use meanwhile is closed, too"
    client.get("version")
    (used,) = client._sessions._idle
    assert used is not idle
    assert used.config is fresh


def test_a_burst_leaves_no_more_than_a_few_connections_behind(site: Site) -> None:
    client = site.connect().client
    borrowed = [client._sessions.borrow() for _ in range(KEPT + 5)]
    for session in borrowed:
        session.adapter.bound("GET", 1000)
        session.api.version.get()
        client._sessions.give_back(session)
    assert len(client._sessions._idle) == KEPT
    wait_until(lambda: len(site.devnode._server._open) <= KEPT)


def test_a_connection_that_idled_is_not_used_again(site: Site) -> None:
    """PVE closes it after 5 s, and a write that meets the closing is lost (82-keepalive/001)."""
    client = site.connect().client
    client.get("version")
    (session,) = client._sessions._idle
    warm = session.adapter._connection.sock
    client.get("version")
    assert session.adapter._connection.sock is warm
    session.adapter._used -= IDLE_LIMIT + 1
    client.get("version")
    assert session.adapter._connection.sock is not warm


def test_the_trust_in_a_peer_is_told_in_the_proxys_own_words() -> None:
    reason = "tls_process_server_certificate: certificate verify failed"
    error = answers.error_of("GET /nodes/pve2/qemu", answers.Answer(596, reason))
    assert "certificate verify failed" in str(error)


def test_the_end_of_a_connection_after_a_hundred_requests_is_not_noticed(site: Site) -> None:
    """The server closes it then (recorded: 82-keepalive/001)."""
    client = site.connect().client
    for _ in range(250):
        assert client.get("version")
    assert len(client._sessions._idle) == 1


def test_a_write_after_the_hundredth_request_of_a_connection_arrives_once(site: Site) -> None:
    client = site.connect().client
    (*_, last) = [client._sessions._idle[0] for _ in range(100) if client.get("version")]
    assert last.adapter._connection.sock is None
    write(client, "PUT", *CONFIG, data={"cores": 2})
    assert [r.method for r in site.devnode.requests].count("PUT") == 1
    assert last.adapter._connection.sock is not None


def test_a_value_that_cannot_be_encoded_is_not_sent(site: Site) -> None:
    with pytest.raises(NotSent, match="is no text"):
        write(site.connect().client, "PUT", *CONFIG, data={"description": "\ud800"})
    assert site.devnode.requests == ()


def test_a_read_that_waits_for_its_place_hears_of_a_stop(site: Site) -> None:
    """A snapshot waits behind the reads of lanes, and those hear of a stop only later."""
    site.devnode.faults.add(Fault("GET", "config$", "hang", times=READS))
    node = site.connect(read_timeout=2 * SOON)
    stop, heard = Flag(), threading.Event()

    def wait() -> None:
        with pytest.raises(Interrupted):
            node.client.abandoned_by(stop).get("version")
        heard.set()

    def hang() -> None:
        with suppress(Interrupted):
            node.client.get(*CONFIG)

    others = [threading.Thread(target=hang) for _ in range(READS)]
    for thread in others:
        thread.start()
    wait_until(lambda: sum(r.path.endswith("config") for r in site.devnode.requests) == READS)
    threading.Thread(target=wait, daemon=True).start()
    wait_until(lambda: node.client._reads.waiting == 1)
    stop.set()
    try:
        assert heard.wait(SOON)
    finally:
        node.cancel_waits.set()
        for thread in others:
            thread.join(SOON)


def test_a_node_that_is_busy_is_asked_for_fewer_changes_at_once(site: Site) -> None:
    client = site.connect().client
    site.world.hold_lock(100)
    assert client.writes.allowed == WRITES
    with pytest.raises(Busy):
        write(client, "PUT", *CONFIG, data={"cores": 2})
    assert client.writes.allowed < WRITES
