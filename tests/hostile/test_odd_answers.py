"""JSON that PVE would never send: it costs its own row, or its own guest, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.devnode.http.certificate import make
from felhom_agent.errors import Interrupted, Unanswered
from felhom_agent.model import Actual, Kind, RunState
from felhom_agent.proxmox.node import Node
from tests.hostile.odd_node import DIGEST, LXC, PERMISSIONS, QEMU, RESOURCES, OddNode
from tests.hostile.raw_node import RawNode, serving

DECLARED = [100, 101, 200, 201]
JUNK: list[Any] = [None, [], {}, [[1]], {"a": {"b": []}}, True, 1.5, -1, 2**70, "", "x", "\ud800"]


class Odd:
    """A node with odd answers, and an agent's door to it."""

    def __init__(self, odd: OddNode, node: Node) -> None:
        self.odd = odd
        self.node = node

    @property
    def answers(self) -> dict[str, Any]:
        return self.odd.answers

    def snapshot(self) -> Actual:
        return self.node.observer.snapshot(DECLARED)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RawNode, Node]]:
    directory: Path = tmp_path_factory.mktemp("odd")
    identity = make(directory, "127.0.0.1")
    token = directory / "token"
    token.write_text("secret")
    token.chmod(0o600)
    with RawNode(identity, serving(OddNode())) as raw:
        config = ProxmoxConfig(
            endpoint=raw.endpoint,
            node="pve1",
            token_id="felhom-agent@pve!agent",
            token_file=token,
            ca_file=identity.ca_file,
        )
        node = Node.connect(config)
        yield raw, node
        node.client.close()


@pytest.fixture
def at(served: tuple[RawNode, Node]) -> Iterator[Odd]:
    raw, first = served
    odd = OddNode()
    raw.script = serving(odd)
    node = Node.connect(first.client.config)
    yield Odd(odd, node)
    node.client.close()


def sound(actual: Actual, *vmids: int) -> bool:
    """Return whether these guests were read, each with its configuration."""
    return all(v in actual.guests and actual.guests[v].config is not None for v in vmids)


def test_the_sound_world_is_read(at: Odd) -> None:
    actual = at.snapshot()
    assert sound(actual, 100, 101, 200)
    assert actual.elsewhere == {201: "pve2"}
    assert actual.facts.case_sensitive_tags
    assert actual.guests[101].pending == {"cores": 1, "vga": "std"}
    assert not actual.timed_out


@pytest.mark.parametrize("vmid", [*JUNK, 0, 99, 10**9, "abc", "1e2", " 100", "0100"], ids=repr)
@pytest.mark.parametrize("listing", [RESOURCES, QEMU])
def test_a_row_that_tells_no_vmid_costs_that_row(
    at: Odd, listing: str, vmid: object, caplog: pytest.LogCaptureFixture
) -> None:
    at.answers[listing].append({"type": "qemu", "vmid": vmid, "node": "pve1"})
    assert sound(at.snapshot(), 100, 101, 200)
    at.snapshot()
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    (line,) = said
    assert listing.removeprefix("/") in line
    assert line.isprintable()
    assert len(line) < 200


def test_what_was_odd_and_is_again_is_said_again(at: Odd, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        at.answers[QEMU].append({"vmid": []})
        at.snapshot()
        at.answers[QEMU].pop()
        at.snapshot()
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 2


@pytest.mark.parametrize("row", [*JUNK, {"type": []}, {"type": ["qemu"]}, {"type": 7}], ids=repr)
def test_a_row_that_is_nothing_costs_that_row(at: Odd, row: object) -> None:
    at.answers[RESOURCES].insert(0, row)
    at.answers[LXC].insert(0, row)
    assert sound(at.snapshot(), 100, 101, 200)
    assert at.node.observer.observe_guest(100).guests[100].config is not None


def test_a_vmid_as_text_is_a_vmid(at: Odd) -> None:
    for listing in (RESOURCES, QEMU, LXC):
        for row in at.answers[listing]:
            if "vmid" in row:
                row["vmid"] = str(row["vmid"])
    assert sound(at.snapshot(), 100, 101, 200)


@pytest.mark.parametrize("key", ["lock", "template", "ha", "qmpstatus"])
@pytest.mark.parametrize("value", [[1], ["x"], {"state": ["x"]}, 1.5, "\ud800"], ids=repr)
def test_a_guest_of_which_a_fact_makes_no_sense_is_unread_and_alone(
    at: Odd, key: str, value: object
) -> None:
    """A lock that makes no sense must not read as none."""
    at.answers[QEMU][0][key] = value
    actual = at.snapshot()
    assert actual.guests[100].config is None
    assert f"its {key}" in actual.guests[100].unread or "its state" in actual.guests[100].unread
    assert sound(actual, 101, 200)


@pytest.mark.parametrize("value", JUNK, ids=repr)
@pytest.mark.parametrize("key", ["name", "status", "cpu", "maxmem"])
def test_a_fact_that_nothing_hangs_on_costs_nothing(at: Odd, key: str, value: object) -> None:
    at.answers[QEMU][0][key] = value
    actual = at.snapshot()
    assert sound(actual, 100, 101, 200)
    # A name can be shown whatever it was.
    assert actual.guests[100].name in ("web", "x", "")


def test_text_where_a_flag_is_meant_is_understood(at: Odd) -> None:
    at.answers[QEMU][0]["template"] = "0"
    at.answers[QEMU][1]["template"] = "1"
    actual = at.snapshot()
    assert (actual.guests[100].template, actual.guests[101].template) == (False, True)


@pytest.mark.parametrize("listing", [RESOURCES, QEMU, LXC])
def test_a_guest_that_is_listed_twice_is_unread_and_alone(at: Odd, listing: str) -> None:
    at.answers[listing].append({"type": "lxc", "vmid": 100, "node": "pve9"})
    if listing == LXC:
        assert at.answers[QEMU][0]["vmid"] == 100  # in both kinds
    actual = at.snapshot()
    assert actual.guests[100].unread == "PVE lists it twice"
    assert sound(actual, 101, 200)


@pytest.mark.parametrize("node", JUNK, ids=repr)
def test_a_guest_whose_node_is_none_is_unread_and_not_gone(at: Odd, node: object) -> None:
    at.answers[RESOURCES][4]["node"] = node
    actual = at.snapshot()
    if isinstance(node, str) and node == "x":
        assert actual.elsewhere == {201: "x"}
    else:
        assert actual.guests[201].unread == "PVE does not tell its node"
    assert sound(actual, 100, 101, 200)


def test_while_a_row_tells_no_vmid_nobody_is_called_gone(at: Odd) -> None:
    """It may be the very guest that is missed."""
    for listing, index in ((RESOURCES, 1), (QEMU, 0)):
        at.answers[listing][index]["vmid"] = "?"
    assert at.snapshot().hidden == {100}
    assert at.node.observer.observe_guest(100).hidden == {100}


@pytest.mark.parametrize("mode", [*JUNK, 3, "2", 1.0, "v2"], ids=repr)
def test_a_strange_cgroup_mode_costs_nothing(at: Odd, mode: object) -> None:
    at.answers[RESOURCES][0]["cgroup-mode"] = mode
    actual = at.snapshot()
    assert actual.facts.cgroup == 2
    assert sound(actual, 100, 101, 200)


@pytest.mark.parametrize(
    "config",
    [
        *JUNK,
        {"cores": 1},
        {"cores": 1, "digest": 7},
        {"cores": [1], "digest": DIGEST},
        {"cores": {"a": 1}, "digest": DIGEST},
        {"cores": None, "digest": DIGEST},
        {"cores": 1e999, "digest": DIGEST},
        {"cores": 2**64, "digest": DIGEST},
        {"name": "\ud800", "digest": DIGEST},
        {"\udfff": "x", "digest": DIGEST},
        {"lock": 3, "digest": DIGEST},
        {"template": "perhaps", "digest": DIGEST},
        {**{f"k{n}": n for n in range(4500)}, "digest": DIGEST},
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_configuration_that_makes_no_sense_costs_its_guest(at: Odd, config: object) -> None:
    at.answers[f"{LXC}/200/config"] = config
    actual = at.snapshot()
    assert actual.guests[200].config is None
    assert actual.guests[200].unread
    assert actual.guests[200].unread.isprintable()
    assert sound(actual, 100, 101)
    with pytest.raises(Unanswered):
        at.node.observer.observe_guest(200)


@pytest.mark.parametrize(
    "rows",
    [
        *JUNK,
        [1],
        [{"value": 1}],
        [{"key": [], "value": 1}],
        [{"key": "cores"}],
        [{"key": "cores", "value": 1}, {"key": "cores", "value": 2}],
        [{"key": "cores", "value": 1, "delete": []}],
        [{"key": "cores", "value": [], "pending": 2}],
        [{"key": "cores", "value": 1, "pending": {}}],
    ],
    ids=repr,
)
def test_pending_changes_that_make_no_sense_cost_their_guest(at: Odd, rows: object) -> None:
    digest = [{"key": "digest", "value": DIGEST}]
    at.answers[f"{QEMU}/101/pending"] = rows + digest if isinstance(rows, list) else rows
    if rows == []:
        at.answers[f"{QEMU}/101/pending"] = []
    actual = at.snapshot()
    assert actual.guests[101].config is None
    assert actual.guests[101].unread
    assert sound(actual, 100, 200)


@pytest.mark.parametrize("status", [v for v in JUNK if not isinstance(v, dict)], ids=repr)
def test_a_look_at_a_guest_whose_status_makes_no_sense_is_an_error(at: Odd, status: object) -> None:
    at.answers[f"{QEMU}/100/status/current"] = status
    with pytest.raises(Unanswered):
        at.node.observer.observe_guest(100)


@pytest.mark.parametrize("ha", [None, {"managed": 1}, {"managed": 1, "state": None}], ids=repr)
def test_where_a_status_does_not_tell_how_ha_holds_a_guest_the_resources_do(
    at: Odd, ha: object
) -> None:
    """A guest that HA manages must not read as one that it does not."""
    at.answers[f"{QEMU}/100/status/current"]["ha"] = ha
    at.answers[RESOURCES][1]["hastate"] = "started"
    at.snapshot()
    assert at.node.observer.observe_guest(100).guests[100].ha_state == "started"


@pytest.mark.parametrize(
    "ha", [v for v in JUNK if not (isinstance(v, dict) or v is None)], ids=repr
)
def test_a_look_at_a_guest_of_which_ha_makes_no_sense_is_an_error(at: Odd, ha: object) -> None:
    at.snapshot()
    at.answers[f"{QEMU}/100/status/current"]["ha"] = ha
    with pytest.raises(Unanswered, match="its ha is no object"):
        at.node.observer.observe_guest(100)


@pytest.mark.parametrize("path", ["/version", "/cluster/options", RESOURCES, QEMU, LXC])
@pytest.mark.parametrize("data", ["x", 7, None, {"a": 1}, [1]], ids=repr)
def test_a_listing_or_table_of_another_type_is_an_error_or_harmless(
    at: Odd, path: str, data: object
) -> None:
    at.answers[path] = data
    if isinstance(data, dict) and path == "/cluster/options":
        assert not at.snapshot().facts.case_sensitive_tags
    elif isinstance(data, list) and path in (RESOURCES, QEMU, LXC):
        actual = at.snapshot()
        assert all(v in actual.hidden or v in actual.guests for v in (100, 200))
    else:
        with pytest.raises(Unanswered, match="its answer is not what PVE answers to this"):
            at.snapshot()


@pytest.mark.parametrize("style", JUNK, ids=repr)
def test_a_strange_tag_style_is_the_default_one(at: Odd, style: object) -> None:
    at.answers["/cluster/options"]["tag-style"] = style
    assert not at.snapshot().facts.case_sensitive_tags


@pytest.mark.parametrize("version", [v for v in JUNK if not isinstance(v, str)], ids=repr)
def test_a_version_that_is_no_text_is_an_error(at: Odd, version: object) -> None:
    at.answers["/version"]["version"] = version
    with pytest.raises(Unanswered):
        at.snapshot()


def test_five_thousand_guests_that_do_not_exist_cost_one_question(at: Odd) -> None:
    wanted = range(1000, 6000)
    at.node.observer.snapshot(())  # what is asked for every few minutes, and by no guest
    before = len(at.odd.asked)
    actual = at.node.observer.snapshot(wanted)
    assert at.odd.asked[before:].count(PERMISSIONS) == 1
    assert len(at.odd.asked) - before == 4, at.odd.asked[before:]
    assert not actual.hidden
    assert not actual.guests.keys() & set(wanted)


@pytest.mark.parametrize(
    ("permissions", "hidden"),
    [
        ({"/vms": {"VM.Audit": 1}}, False),
        ({"/vms": {"VM.Audit": 1}, "/vms/300": {"VM.PowerMgmt": 1}}, True),
        ({"/vms/300": {"VM.Audit": 0}}, False),
        # A right that is not handed down (recorded: 95-access/074-078).
        ({"/vms": {"VM.Audit": 0}}, True),
        ({"/": {"VM.Audit": 1}}, True),
        ({"/vms": {"VM.PowerMgmt": 1}}, True),
        ({"/vms": [], "/vms/300": 7}, True),
        ({}, True),
    ],
)
def test_who_may_see_a_guest_is_worked_out_from_all_permissions(
    at: Odd, permissions: object, hidden: bool
) -> None:
    at.answers[PERMISSIONS] = permissions
    assert at.node.observer.snapshot([300]).hidden == ({300} if hidden else set())


def test_a_look_at_a_guest_that_is_not_there_asks_for_its_path_alone(at: Odd) -> None:
    at.answers[PERMISSIONS] = {"/vms/300": {"VM.PowerMgmt": 1}}
    assert at.node.observer.observe_guest(300).hidden == {300}
    assert at.odd.asked.count(PERMISSIONS) == 1


def test_the_watchdog_is_fed_and_a_stop_heard_inside_a_long_listing(
    at: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = at.answers[RESOURCES][-1]
    at.answers[RESOURCES] += [row] * 3000
    beats: list[int] = []
    observer = at.node.observer
    monkeypatch.setattr(observer, "_beat", lambda: beats.append(1))
    observer.snapshot([])
    assert len(beats) > 10
    fed = len(beats)

    def beat_and_leave() -> None:
        beats.append(1)
        if len(beats) == fed + 3:
            at.node.shutting_down.set()

    monkeypatch.setattr(observer, "_beat", beat_and_leave)
    with pytest.raises(Interrupted):
        observer.snapshot([])
    assert len(beats) == fed + 3
    assert at.odd.asked.count(QEMU) == 1


def test_the_states_of_a_guest_are_pves_words_alone(at: Odd) -> None:
    at.answers[QEMU][0]["status"] = ["running"]
    guest = at.snapshot().guests[100]
    assert (guest.state, guest.kind) == (None, Kind.QEMU)
    assert at.snapshot().guests[101].state is RunState.RUNNING
