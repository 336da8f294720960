"""The world in a test's hand: guests, a person's acts on them, worlds out of JSON, the demo."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

from felhom_agent.devnode import Behaviour, DevNode, World
from felhom_agent.devnode.demo.site import write_site
from felhom_agent.devnode.demo.world import demo_world
from tests.devnode.conftest import Caller, Clock


def test_a_guest_is_made_with_the_types_of_pves_answers(clock: Clock) -> None:
    world = World(now=clock)
    world.add("qemu", 100, {"memory": 2048, "cores": "2", "onboot": True, "cpulimit": 1.5})
    config = world.config(100)
    assert config["memory"] == "2048"
    assert (config["cores"], config["onboot"], config["cpulimit"]) == (2, 1, "1.5")
    world.add("lxc", 200, {"memory": "128"})
    assert world.config(200)["memory"] == 128


def test_an_unknown_kind_of_guest_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="kvm"):
        world.add("kvm", 100)


def test_an_edit_by_hand_changes_the_digest_and_needs_no_rights(world: World) -> None:
    before = world.config(100)["digest"]
    world.edit(100, {"cores": 4}, delete=["memory"])
    after = world.config(100)
    assert after["cores"] == 4
    assert "memory" not in after
    assert after["digest"] != before


def test_a_person_starts_and_stops_as_root(world: World, call: Caller) -> None:
    world.start(100)
    assert world.running(100)
    world.stop(100)
    assert not world.running(100)
    rows = call("GET", "/nodes/pve1/tasks").data
    assert [(row["type"], row["user"]) for row in rows] == [
        ("qmstop", "root@pam"),
        ("qmstart", "root@pam"),
    ]


def test_a_paused_vm_still_runs_in_every_list(world: World, call: Caller) -> None:
    world.start(100)
    world.suspend(100)
    current = call("GET", "/nodes/pve1/qemu/100/status/current").data
    assert (current["status"], current["qmpstatus"]) == ("running", "paused")
    (row,) = call("GET", "/nodes/pve1/qemu").data
    assert row["status"] == "running"


def test_a_removed_guest_is_gone_from_everywhere(world: World, call: Caller) -> None:
    world.remove(100)
    reply = call("GET", "/nodes/pve1/qemu/100/config")
    words = "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist"
    assert (reply.status, reply.reason) == (500, words)
    assert [row["vmid"] for row in call("GET", "/cluster/resources?type=vm").data] == [200]


def test_a_guest_without_a_name_is_listed_by_its_number(world: World, call: Caller) -> None:
    world.edit(100, {}, delete=["name"])
    world.edit(200, {}, delete=["hostname"])
    rows = call("GET", "/cluster/resources?type=vm").data
    assert [row["name"] for row in rows] == ["VM 100", "CT200"]


def test_a_world_is_read_from_json(clock: Clock) -> None:
    spec = {
        "node": "alpha",
        "tag_style": "case-sensitive=1",
        "version": "8.4.1",
        "resources_lag": 12.0,
        "guests": {
            "100": {
                "kind": "qemu",
                "running": True,
                "config": {"name": "web"},
                "behaviour": {"shutdown_seconds": 2.0},
            },
            "200": {"kind": "lxc", "lock": "backup"},
            "201": {"kind": "lxc", "node": "beta"},
            "202": {"kind": "lxc", "ha": "stopped"},
        },
    }
    world = World.from_dict(spec, clock)
    assert world.node == "alpha"
    assert world.running(100)
    assert world.guests[100].behaviour == Behaviour(shutdown_seconds=2.0)
    assert world.config(200)["lock"] == "backup"
    assert (world.guests[201].node, world.guests[202].ha) == ("beta", "stopped")
    assert world.tag_style.case_sensitive
    assert (world.version, world.broadcasts.cycle) == ("8.4.1", 12.0)


def test_a_behaviour_of_an_unknown_word_is_refused() -> None:
    with pytest.raises(TypeError, match="dances"):
        World.from_dict({"guests": {"100": {"kind": "qemu", "behaviour": {"dances": True}}}})


def test_the_demo_has_four_vms_and_four_containers(clock: Clock) -> None:
    kinds = [guest.kind for guest in demo_world(clock).guests.values()]
    assert kinds == ["qemu"] * 4 + ["lxc"] * 4


def test_more_guests_are_numbered_on(clock: Clock) -> None:
    assert len(demo_world(clock, guests=50).guests) == 50


def test_a_node_is_equipped_with_what_an_agent_needs(tmp_path: Path) -> None:
    with DevNode(demo_world()) as node:
        agent_toml = write_site(node, tmp_path / "dev")
        settings = tomllib.loads(agent_toml.read_text())
        proxmox = settings["proxmox"]
        token_file = Path(proxmox["token_file"])
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        assert Path(proxmox["ca_file"]).read_text() == node.ca_file.read_text()
        assert proxmox["endpoint"] == node.endpoint
        caller = Caller(node, proxmox["token_id"], token_file.read_text().strip())
        assert len(caller("GET", "/cluster/resources?type=vm").data) == 8
        caller.connection.close()
    for room in ("desired", "journal"):
        assert Path(settings[room]["directory"]).is_dir()
