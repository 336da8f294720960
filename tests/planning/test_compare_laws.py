"""What holds for every value, not only for those somebody thought of."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from felhom_agent.model import ABSENT, DeclaredValue
from felhom_agent.options import Invalid, PropertyString, lookup
from felhom_agent.planning.compare import Verdict, compare, to_wire

MACS = st.integers(0, 2**24 - 1).map(
    lambda n: f"BC:24:11:{n >> 16:02X}:{n >> 8 & 255:02X}:{n & 255:02X}"
)
BOOLEANS = st.sampled_from(["0", "1"])
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
TAGS = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.+-]{0,6}", fullmatch=True)


def parts(**values: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries({}, optional=values)


NETS = parts(
    bridge=st.sampled_from(["vmbr0", "vmbr1"]),
    macaddr=MACS,
    firewall=BOOLEANS,
    link_down=BOOLEANS,
    rate=st.sampled_from(["0", "1.5", "10"]),
    tag=st.integers(1, 4094).map(str),
    queues=st.integers(0, 64).map(str),
).map(lambda some: {"model": "virtio", **some})
CONTAINER_NETS = parts(
    bridge=st.sampled_from(["vmbr0", "vmbr1"]), hwaddr=MACS, firewall=BOOLEANS,
    ip=st.sampled_from(["dhcp", "manual", "10.0.0.2/24"]), tag=st.integers(1, 4094).map(str),
).map(lambda some: {"name": "eth0", **some})  # fmt: skip
DRIVES = parts(
    backup=BOOLEANS, discard=st.sampled_from(["ignore", "on"]), iothread=BOOLEANS, ssd=BOOLEANS,
    cache=st.sampled_from(["none", "writeback"]), iops=st.integers(0, 100).map(str),
    size=st.sampled_from(["1G", "1024M", "1048576K"]),
).map(lambda some: {"file": "local:100/vm-100-disk-0.raw", **some})  # fmt: skip
MOUNTS = parts(
    backup=BOOLEANS, ro=BOOLEANS, quota=BOOLEANS, acl=BOOLEANS,
    mountoptions=st.sampled_from(["nodev", "nodev;noexec", "noexec;nodev"]),
).map(lambda some: {"volume": "local:x", "mp": "/a", **some})  # fmt: skip
AGENTS = parts(
    fstrim_cloned_disks=BOOLEANS, type=st.sampled_from(["virtio", "isa"])
).map(lambda some: {"enabled": "1", **some})  # fmt: skip

FAMILIES = {
    ("qemu", "net0"): NETS,
    ("lxc", "net0"): CONTAINER_NETS,
    ("qemu", "scsi0"): DRIVES,
    ("lxc", "mp0"): MOUNTS,
    ("qemu", "agent"): AGENTS,
}
PROPERTY_STRINGS = st.sampled_from(sorted(FAMILIES)).flatmap(
    lambda family: st.tuples(*map(st.just, family), FAMILIES[family])
)
SCALARS = st.one_of(
    st.tuples(st.just("qemu"), st.just("cores"), st.integers(1, 999)),
    st.tuples(st.just("lxc"), st.just("memory"), st.integers(16, 10**6)),
    st.tuples(st.just("qemu"), st.just("memory"), st.integers(16, 10**6)),
    st.tuples(st.just("lxc"), st.just("cpuunits"), st.integers(0, 500000)),
    st.tuples(st.just("qemu"), st.just("onboot"), st.booleans()),
    st.tuples(st.just("qemu"), st.just("cpulimit"), st.integers(0, 128) | st.floats(0, 128)),
    st.tuples(st.just("lxc"), st.just("hostname"), NAMES),
    st.tuples(st.just("qemu"), st.just("description"), st.text(max_size=30)),
    st.tuples(st.just("lxc"), st.just("description"), st.text(max_size=30)),
    st.tuples(st.just("lxc"), st.just("tags"), st.lists(TAGS, max_size=4).map(tuple)),
    st.tuples(st.just("qemu"), st.just("boot"), st.permutations(["scsi0", "net0"]).map(tuple)),
)


def written(values: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in values.items())


def read_back(kind: str, key: str, sent: str) -> object:
    """Answer as PVE does to a GET after a PUT of `sent`, for the options of this page."""
    match key:
        case "description" if kind == "qemu":
            return sent.rstrip() or ABSENT
        case "description":
            return sent.rstrip("\n") + "\n" if sent.strip("\n") else ABSENT
        case "tags":
            return ";".join(sorted({tag.lower() for tag in sent.split(";")})) or " "
        case "cpuunits":
            return min(int(sent), 10000)
        case "onboot" | "cores":
            return int(sent)
        case "memory" if kind == "lxc":
            return int(sent)
        case "net0" | "scsi0" | "mp0":
            return reprinted(kind, key, sent)
    return sent


def reprinted(kind: str, key: str, sent: str) -> str:
    option = lookup(kind, key)
    assert option is not None
    assert isinstance(option.type, PropertyString)
    filled_in = {
        ("qemu", "net0"): {"macaddr": "BC:24:11:FF:FF:FF"},
        ("lxc", "net0"): {"hwaddr": "BC:24:11:FF:FF:FF", "type": "veth"},
        ("qemu", "scsi0"): {"size": "1G"},
        ("lxc", "mp0"): {"size": "1G"},
    }[kind, key]
    return option.type.print(filled_in | option.type.split(sent))


@given(SCALARS)
def test_a_value_equals_what_pve_answers_to_it(case: tuple[str, str, DeclaredValue]) -> None:
    kind, key, value = case
    answer = read_back(kind, key, to_wire(kind, key, value, ABSENT))
    assert compare(kind, key, value, answer).verdict == Verdict.EQUAL


@given(PROPERTY_STRINGS, st.data())
def test_a_property_string_means_the_same_in_any_order(
    case: tuple[str, str, dict[str, str]], data: st.DataObject
) -> None:
    kind, key, values = case
    shuffled = dict(data.draw(st.permutations(list(values.items()))))
    assert compare(kind, key, written(values), written(shuffled)).verdict == Verdict.EQUAL


@given(PROPERTY_STRINGS)
def test_a_property_string_equals_what_pve_answers_to_it(
    case: tuple[str, str, dict[str, str]],
) -> None:
    kind, key, values = case
    answer = read_back(kind, key, written(values))
    assert compare(kind, key, written(values), answer).verdict == Verdict.EQUAL


@given(PROPERTY_STRINGS, st.data())
def test_what_is_sent_for_a_drift_ends_it(
    case: tuple[str, str, dict[str, str]], data: st.DataObject
) -> None:
    kind, key, values = case
    before = read_back(kind, key, written(data.draw(FAMILIES[kind, key])))
    assume(compare(kind, key, written(values), before).verdict == Verdict.DRIFT)
    after = read_back(kind, key, to_wire(kind, key, written(values), before))
    assert compare(kind, key, written(values), after).verdict == Verdict.EQUAL


@given(NETS, MACS)
def test_a_write_never_changes_a_mac_that_was_not_declared(net: dict[str, str], mac: str) -> None:
    net.pop("macaddr", None)
    sent = to_wire("qemu", "net0", written(net), f"e1000={mac},bridge=old")
    assert f"virtio={mac}" in sent


@given(
    st.lists(TAGS, max_size=4).flatmap(lambda tags: st.tuples(st.just(tags), st.permutations(tags)))
)
def test_tags_are_a_set(tags: tuple[list[str], list[str]]) -> None:
    declared, present = tags
    assert compare("qemu", "tags", tuple(declared), ";".join(present)).verdict == Verdict.EQUAL


@given(st.sets(st.sampled_from(["scsi0", "net0", "ide2"]), min_size=2).map(sorted))
def test_the_boot_order_is_a_sequence(devices: list[str]) -> None:
    backwards = "order=" + ";".join(reversed(devices))
    assert compare("qemu", "boot", tuple(devices), backwards).verdict == Verdict.DRIFT


@given(
    st.sampled_from(["qemu", "lxc"]),
    st.sampled_from(["onboot", "memory", "net0", "tags", "description", "startup", "nosuch"]),
    st.text(max_size=20) | st.integers() | st.booleans(),
    st.text(max_size=20) | st.integers() | st.just(ABSENT),
)
def test_every_comparison_comes_to_a_verdict(
    kind: str, key: str, desired: DeclaredValue, actual: object
) -> None:
    comparison = compare(kind, key, desired, actual)
    assert comparison.verdict in Verdict
    if comparison.verdict == Verdict.REJECT:
        with pytest.raises(Invalid):
            to_wire(kind, key, desired, actual)
