"""Who sees what: privileges on paths, lists, other nodes (02, 91, 95, 160, 161)."""

from __future__ import annotations

from collections.abc import Callable

from felhom_agent.devnode import World
from felhom_agent.devnode.world import access
from tests.devnode.conftest import AGENT, Caller

NOT_HERE = "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist"


def vmids(caller: Caller, path: str) -> list[int]:
    return [row["vmid"] for row in caller("GET", path).data if "vmid" in row]


def test_a_wrong_secret_is_a_401_with_an_empty_body(call: Caller) -> None:
    reply = call("GET", "/version", authorization=f"PVEAPIToken={AGENT}=wrong")
    assert (reply.status, reply.reason, reply.body) == (401, "Authentication failed!", "")


def test_a_new_secret_ends_the_old_one(world: World, call: Caller) -> None:
    world.token(AGENT)
    assert call("GET", "/version").status == 401


def test_lists_show_only_what_the_caller_may_audit(callers: Callable[..., Caller]) -> None:
    limited = callers("limited@pve!t", privileges={"/vms/100": ("VM.Audit",)})
    assert vmids(limited, "/cluster/resources") == [100]
    assert vmids(limited, "/nodes/pve1/qemu") == [100]
    assert vmids(limited, "/nodes/pve1/lxc") == []
    assert limited("GET", "/nodes/pve1/lxc/200/config").status == 403


def test_the_nearest_entry_replaces_the_ones_above_it(callers: Callable[..., Caller]) -> None:
    hidden = callers("h@pve!t", privileges={"/vms": ("VM.Audit",), "/vms/100": ()})
    assert vmids(hidden, "/cluster/resources") == [200]


def test_permissions_list_the_fixed_paths_and_the_entries(callers: Callable[..., Caller]) -> None:
    limited = callers("l@pve!t", privileges={"/vms/100": ("VM.Audit",)})
    assert limited("GET", "/access/permissions").data == {"/vms/100": {"VM.Audit": 1}}
    everywhere = callers("e@pve!t", privileges={"/": ("VM.Audit",)})
    paths = {"/", "/vms", "/nodes", "/storage", "/pool", "/access", "/access/groups", "/sdn"}
    assert set(everywhere("GET", "/access/permissions").data) == paths
    asked = everywhere("GET", "/access/permissions?path=/vms/9999").data
    assert asked == {"/vms/9999": {"VM.Audit": 1}}


def test_what_is_not_handed_down_holds_on_its_very_path(callers: Callable[..., Caller]) -> None:
    """PVE: pve-access-control AccessControl.pm roles, RPCEnvironment.pm compile_acl_path."""
    here = callers("p@pve!t", privileges={"/vms": ()}, there={"/vms": ("VM.Audit",)})
    assert here("GET", "/access/permissions").data == {"/vms": {"VM.Audit": 0}}
    assert here("GET", "/access/permissions?path=/vms/100").data == {"/vms/100": {}}
    assert vmids(here, "/cluster/resources") == []


def test_a_guest_on_another_node_is_listed_but_not_here(world: World, call: Caller) -> None:
    world.move(100, "pve2")
    rows = {row["vmid"]: row for row in call("GET", "/cluster/resources?type=vm").data}
    assert rows[100]["node"] == "pve2"
    assert vmids(call, "/nodes/pve1/qemu") == []
    assert call("GET", "/nodes/pve1/qemu/100/config").reason == NOT_HERE


def test_a_node_that_does_not_answer_is_a_595_with_an_empty_body(
    world: World, call: Caller
) -> None:
    world.move(100, "pve2")
    reply = call("PUT", "/nodes/pve2/qemu/100/config", {"nosuch": 1})
    assert (reply.status, reply.reason, reply.body) == (595, "Connection refused", "")


def test_rights_are_checked_before_the_other_node_is_asked(
    world: World, callers: Callable[..., Caller]
) -> None:
    world.move(100, "pve2")
    stranger = callers("s@pve!t", privileges={})
    assert stranger("GET", "/nodes/pve2/qemu/100/config").status == 403


def test_what_is_not_handed_down_counts_on_its_own_path_alone() -> None:
    """PVE: pve-access-control AccessControl.pm roles"""
    held = {"/": ("VM.Audit",), "/vms/100": ()}
    caller = access.Caller("a@pve!t", held, {"/vms": ("VM.Console",), "/storage": ("A",)})
    assert caller.on("/vms") == ("VM.Console",)
    assert caller.on("/vms/101") == ("VM.Audit",)
    assert caller.on("/vms/100") == caller.on("/vms/100/x") == ()
    told = caller.permissions()
    assert told["/vms"] == {"VM.Console": 0}
    assert told["/"] == {"VM.Audit": 1}
    assert "/vms/100" not in told
