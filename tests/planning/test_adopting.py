"""Keys of a guest, in the order and the values in which a person would write them."""

from __future__ import annotations

import pytest

from felhom_agent.model import ActualGuest, DeclaredValue, Kind, RunState
from felhom_agent.planning.adopting import Why, entries_of, is_known_name


def guest(kind: str, **config: object) -> ActualGuest:
    return ActualGuest(100, Kind(kind), "pve1", RunState.STOPPED, config=config, digest="d1")


def test_keys_come_in_the_order_of_their_names_and_numbers() -> None:
    there = guest("qemu", net10="e1000", net2="e1000", cores=1, agent="0", net0="e1000")
    assert [e.key for e in entries_of(there)] == ["agent", "cores", "net0", "net2", "net10"]


@pytest.mark.parametrize(
    ("only", "keys"),
    [
        ({"net"}, ["net0", "net1"]),
        ({"net1", "cores"}, ["cores", "net1"]),
        ({"scsi"}, []),
        ({"memory"}, ["memory"]),
    ],
)
def test_keys_may_be_named_one_by_one_or_as_a_family(only: set[str], keys: list[str]) -> None:
    there = guest("qemu", net0="e1000", net1="e1000", cores=1, memory="512", numa="1")
    assert [e.key for e in entries_of(there, only)] == keys


@pytest.mark.parametrize(
    ("kind", "key", "text", "value"),
    [
        ("qemu", "onboot", 1, True),
        ("qemu", "onboot", "off", False),
        ("qemu", "cores", "4", 4),
        ("qemu", "cores", "04", "04"),
        ("qemu", "cpulimit", "1.50", 1.5),
        ("qemu", "cpulimit", "1e3", "1e3"),
        ("qemu", "memory", "2048", 2048),
        ("qemu", "memory", "current=2048", "current=2048"),
        ("qemu", "agent", "1", True),
        ("qemu", "agent", "1,type=isa", "1,type=isa"),
        ("qemu", "boot", "order=scsi0;net0", ("scsi0", "net0")),
        ("qemu", "boot", "cdn", "cdn"),
        ("qemu", "tags", "a;b", ("a", "b")),
        ("qemu", "nameserver", "1.1.1.1 9.9.9.9", ("1.1.1.1", "9.9.9.9")),
        ("qemu", "hotplug", "1", "1"),
        ("qemu", "name", "1", "1"),
        ("qemu", "sshkeys", "ssh-rsa%20A%0Assh-rsa%20B", ("ssh-rsa A", "ssh-rsa B")),
        ("lxc", "description", "one\n", "one"),
        ("lxc", "env", "A=1\0B=2", ("A=1", "B=2")),
        ("lxc", "net0", "name=eth0,hwaddr=BC:24:11:00:00:01,type=veth", "name=eth0"),
    ],
)
def test_a_value_is_written_with_the_types_that_a_person_would_use(
    kind: str, key: str, text: object, value: DeclaredValue
) -> None:
    (entry,) = entries_of(guest(kind, **{key: text}))
    assert (type(entry.forms[0]), entry.forms[0]) == (type(value), value)


@pytest.mark.parametrize(
    ("kind", "key", "text", "why"),
    [
        ("qemu", "digest", "d1", Why.PVES),
        ("qemu", "vmgenid", "1", Why.PVES),
        ("qemu", "unused0", "local:a", Why.PVES),
        ("lxc", "unprivileged", 1, Why.PVES),
        ("qemu", "args", "-S", Why.ROOT),
        ("qemu", "startup", "order=1", Why.ROOT),
        ("qemu", "hostpci0", "0000:01:00.0", Why.ROOT),
        ("lxc", "features", "fuse=1", Why.ROOT),
        ("lxc", "dev0", "/dev/null", Why.ROOT),
        ("lxc", "mp0", "/srv,mp=/srv", Why.ROOT),
        ("lxc", "mp0", "local:100/a.raw,mp=/srv", Why.VOLUME),
        ("qemu", "cipassword", "x", Why.SECRET),
        ("qemu", "newest", "1", Why.OTHER),
    ],
)
def test_what_is_not_declared_has_one_reason(kind: str, key: str, text: object, why: Why) -> None:
    (entry,) = entries_of(guest(kind, **{key: text}))
    assert entry.forms == ()
    assert [remark.why for remark in entry.remarks] == [why]


@pytest.mark.parametrize("name", ["cores", "net", "net31", "mp", "rootfs", "lxc", "lxc.cap.drop"])
def test_names_and_families_of_either_kind_are_known(name: str) -> None:
    assert is_known_name(name)


@pytest.mark.parametrize("name", ["", "net32", "net[n]", "corse", "lxc.", "LXC"])
def test_other_names_are_not(name: str) -> None:
    assert not is_known_name(name)
