"""A value that has a line feed: the schema may let it pass, the file cannot hold it."""

from __future__ import annotations

import pytest

from felhom_agent.devnode import World
from tests.devnode.conftest import Caller

VM, CT = "/nodes/pve1/qemu/100/config", "/nodes/pve1/lxc/200/config"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cpulimit", "1\n"),
        ("ciuser", "a\nb"),
        ("ciuser", "a\rb"),
        ("searchdomain", "a.example\nb.example"),
        ("nameserver", "192.0.2.1\n"),
        ("name", "web\n"),
        ("cores", "2\n"),
        ("startdate", "now\n"),
    ],
)
def test_a_vm_is_not_written_in_pves_words(
    world: World, call: Caller, key: str, value: str
) -> None:
    """recorded: 202-values/309, for one key; PVE: QemuServer.pm check_type, for all."""
    before = world.guests[100].conf.text()
    reply = call("PUT", VM, {key: value, "description": "a\nb"})
    words = f"unable to parse value of '{key}' - property contains a line feed"
    assert (reply.status, reply.reason) == (500, words)
    # The other key was written, and waits (recorded: 9.2 200b/065).
    assert world.guests[100].conf.text() == before + "\n[PENDING]\n#a\n#b\n"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cpulimit", "1\n"),
        ("hostname", "dns\n"),
        ("searchdomain", "a.example\nb.example"),
        ("memory", "512\n"),
        ("entrypoint", "/sbin/init\n"),
    ],
)
def test_a_container_is_not_written_in_pves_words(
    world: World, call: Caller, key: str, value: str
) -> None:
    """recorded: 202-values/310, for one key; PVE: LXC/Config.pm write_pct_config, for all."""
    before = world.guests[200].conf.text()
    reply = call("PUT", CT, {key: value})
    words = f"detected invalid newline inside property '{key}'"
    assert (reply.status, reply.reason) == (500, words)
    assert world.guests[200].conf.text() == before


def test_a_task_that_cannot_write_ends_in_pves_words(world: World, call: Caller) -> None:
    upid = call("POST", VM, {"ciuser": "a\nb"}).data
    words = "unable to parse value of 'ciuser' - property contains a line feed"
    status = call("GET", f"/nodes/pve1/tasks/{upid}/status").data
    assert status["exitstatus"] == words
    assert "ciuser" not in call("GET", VM).data


@pytest.mark.parametrize(("path", "key"), [(VM, "onboot"), (VM, "bios"), (CT, "cmode")])
def test_a_word_of_a_list_is_compared_whole(call: Caller, path: str, key: str) -> None:
    good = {"onboot": "1", "bios": "ovmf", "cmode": "tty"}[key]
    assert call("PUT", path, {key: good + "\n"}).status == 400


def test_what_pve_prints_anew_loses_its_line_feeds(call: Caller) -> None:
    values = {"tags": "b\na\n", "description": "a\nb", "net0": "virtio\n"}
    assert call("PUT", VM, values).status == 200
    found = call("GET", VM).data
    assert (found["tags"], found["description"]) == ("a;b", "a\nb")
    assert "\n" not in found["net0"]
