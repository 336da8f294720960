"""Keys of a guest, in the order and the values in which a person would write them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from felhom_agent.model import ActualGuest, DeclaredValue, Kind, RunState
from felhom_agent.planning.adopting import Entry, Remark, Why, entries_of, is_known_name

NOT_KNOWN = "stays: this version of felhom-agent does not know it"
VOLUME = "its volume is moved and exchanged by hand"
DUPLICATE = "invalid format - duplicate key in comma-separated list property"
BY_HAND = "by hand in the container's configuration file"


def guest(kind: str, **config: object) -> ActualGuest:
    return ActualGuest(100, Kind(kind), "pve1", RunState.STOPPED, config=config, digest="d1")


def test_keys_come_in_the_order_of_their_names_and_numbers() -> None:
    there = guest("qemu", net10="e1000", net2="e1000", net="", cores=1, agent="0", net0="e1000")
    keys = ["agent", "cores", "net", "net0", "net2", "net10"]
    assert [entry.key for entry in entries_of(there)] == keys


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
        ("lxc", "env", "A=1\0B=2", Why.SECRET),
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


@pytest.mark.parametrize(
    ("kind", "key", "text", "entry"),
    [
        ("qemu", "digest", "d1", Entry("digest", remarks=(Remark(Why.PVES, "PVE's own"),))),
        ("qemu", "unused0", "local:a",
         Entry("unused0", (), "local:a", (Remark(Why.PVES, "PVE's own"),))),
        ("lxc", "unprivileged", 1,
         Entry("unprivileged", (), "1", (Remark(Why.PVES, "fixed when the guest was made"),))),
        ("qemu", "cipassword", "x",
         Entry("cipassword", (), None,
               (Remark(Why.SECRET, "a secret; it is never written into a file by this command"),))),
        ("qemu", "newest", "1",
         Entry("newest", (), "1",
               (Remark(Why.OTHER, "this version of felhom-agent does not know it"),))),
        ("qemu", "net0", "e1000,e1000",
         Entry("net0", (), "e1000,e1000", (Remark(Why.OTHER, f"{DUPLICATE}: model"),))),
        ("qemu", "startup", "order=1",
         Entry("startup", (), "order=1",
               (Remark(Why.ROOT, "needs Sys.Modify on / besides; better set by hand"),))),
        # what PVE fills in by itself, and what a newer PVE knows
        ("qemu", "net0", "virtio=BC:24:11:00:00:01,bridge=vmbr0",
         Entry("net0", ("virtio,bridge=vmbr0",), "virtio,bridge=vmbr0",
               (Remark(Why.MAC, "MAC BC:24:11:00:00:01, PVE's own"),))),
        ("lxc", "net0", "name=eth0,hwaddr=BC:24:11:00:00:01,type=veth",
         Entry("net0", ("name=eth0",), "name=eth0",
               (Remark(Why.MAC, "MAC BC:24:11:00:00:01, PVE's own"),))),
        ("qemu", "net0", "virtio,newest=1,another=2",
         Entry("net0", ("virtio",), "virtio",
               (Remark(Why.OTHER, f"another=2 {NOT_KNOWN}"),
                Remark(Why.OTHER, f"newest=1 {NOT_KNOWN}")))),
        ("qemu", "smbios1", "uuid=a-b",
         Entry("smbios1", (), None, (Remark(Why.PVES, "uuid a-b, PVE's own"),))),
        ("qemu", "tags", "felhom-pause;web",
         Entry("tags", (("web",), "web"), ("web",),
               (Remark(Why.PVES, "felhom-pause: set in PVE, and never declared"),))),
        ("qemu", "tags", "felhom-pause",
         Entry("tags", (), None,
               (Remark(Why.PVES, "felhom-pause: set in PVE, and never declared"),))),
        # volumes
        ("lxc", "mp0", "local:100/a.raw,mp=/srv",
         Entry("mp0", (), "local:100/a.raw,mp=/srv", (Remark(Why.VOLUME, VOLUME),))),
        ("lxc", "mp0", "local:100/a.raw,mp=/srv,size=8G,newest=1",
         Entry("mp0", (), "local:100/a.raw,mp=/srv",
               (Remark(Why.VOLUME, f"{VOLUME}; size 8G, PVE's own; newest=1 {NOT_KNOWN}"),))),
        # what is empty is declared so
        ("qemu", "tags", "", Entry("tags", ("",), "")),
        ("qemu", "description", "a", Entry("description", ("a",), "a")),
        ("qemu", "name", "a\n", Entry("name", ("a\n",), "a\n")),
        ("qemu", "description", "a\n\n", Entry("description", ("a", "a\n\n"), "a")),
        ("qemu", "boot", "order=scsi0;net0,legacy=cdn",
         Entry("boot", ("order=scsi0;net0,legacy=cdn",), "order=scsi0;net0,legacy=cdn")),
        ("qemu", "boot", "legacy=cdn", Entry("boot", ("legacy=cdn",), "legacy=cdn")),
        ("qemu", "onboot", True, Entry("onboot", (True, "1"), True)),
    ],
)  # fmt: skip
def test_an_entry_has_the_value_and_what_is_told_of_it(
    kind: str, key: str, text: object, entry: Entry
) -> None:
    assert list(entries_of(guest(kind, **{key: text}))) == [entry]


def test_a_volume_may_be_declared_where_it_is_named() -> None:
    there = guest("lxc", mp0="local:100/a.raw,mp=/srv,size=8G", rootfs="local:100/b.raw")
    value = "local:100/a.raw,mp=/srv"
    entry = Entry("mp0", (value,), value, (Remark(Why.PVES, "size 8G, PVE's own"),))
    assert list(entries_of(there, {"mp"})) == [entry]


def test_lines_of_lxc_itself_are_shown_key_by_key() -> None:
    pairs = [["lxc.cap.drop", "mac_admin"], ["lxc.apparmor.profile", "x"], ["lxc.cap.drop", "b"]]
    assert list(entries_of(guest("lxc", cores=1, lxc=pairs), {"lxc"})) == [
        Entry(key, (), shown, (Remark(Why.ROOT, f"only root can set '{key}', {BY_HAND}"),))
        for key, shown in (("lxc.apparmor.profile", ("x",)), ("lxc.cap.drop", ("mac_admin", "b")))
    ]
    assert list(entries_of(guest("lxc", lxc=[]))) == []


@pytest.mark.parametrize(("unprivileged", "forms"), [(1, ("nesting=1",)), (0, ())])
def test_what_root_alone_may_set_depends_on_the_guest(
    unprivileged: int, forms: tuple[str, ...]
) -> None:
    there = guest("lxc", features="nesting=1", unprivileged=unprivileged)
    (entry,) = entries_of(there, {"features"})
    assert entry.forms == forms


@pytest.mark.parametrize(
    ("now", "pending", "entry"),
    [
        ({}, "2", Entry("cores", (), "2", (Remark(Why.WAITS, "goes at the next restart"),))),
        ({"cores": "4"}, 2,
         Entry("cores", (), "4", (Remark(Why.WAITS, "waits for a restart; 2 is in effect"),))),
        ({"cores": "4"}, 0,
         Entry("cores", (), "4", (Remark(Why.WAITS, "waits for a restart; 0 is in effect"),))),
        ({"cores": "4"}, None,
         Entry("cores", (), "4", (Remark(Why.WAITS, "waits for a restart; it is not in effect"),))),
        ({"cores": "4"}, "",
         Entry("cores", (), "4", (Remark(Why.WAITS, "waits for a restart; it is not in effect"),))),
    ],
)  # fmt: skip
def test_what_waits_for_a_restart_is_shown_with_what_is_in_effect(
    now: dict[str, object], pending: object, entry: Entry
) -> None:
    there = replace(guest("qemu", **now), pending={"cores": pending})
    assert list(entries_of(there)) == [entry]


def test_a_secret_that_goes_at_the_next_restart_is_not_shown_either() -> None:
    (entry,) = entries_of(replace(guest("qemu"), pending={"cipassword": "x"}))
    assert (entry.shown, entry.remarks[0].why) == (None, Why.SECRET)


def test_of_a_guest_that_was_not_read_there_is_nothing() -> None:
    assert list(entries_of(replace(guest("qemu"), config=None))) == []
