"""What PVE does where an option is absent, when other keys decide it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from felhom_agent.options import PropertyString, lookup
from felhom_agent.planning.context import Context
from felhom_agent.planning.defaults import with_default


def default(key: str, context: Context, kind: str = "qemu") -> str | None:
    option = lookup(kind, key)
    assert option is not None
    return with_default(option, context).default


def part(key: str, name: str, context: Context) -> str | None:
    option = lookup("qemu", key)
    assert option is not None
    changed = with_default(option, context).type
    assert isinstance(changed, PropertyString)
    return changed.keys[name].default


def of(config: Mapping[str, object], version: tuple[int, ...] = (9, 1)) -> Context:
    return Context(vmid=100, config=config, version=version)


@pytest.mark.parametrize(
    ("config", "display"),
    [
        ({}, "std"),
        ({"ostype": "l26"}, "std"),
        *(({"ostype": old}, "cirrus") for old in ("wxp", "w2k", "w2k3")),
        *(({"ostype": new}, "std") for new in ("w2k8", "wvista", "win7", "win11")),
        ({"ostype": "xwin7"}, "std"),
        # Machines from before 2.9 have the display of their time.
        ({"machine": "pc-i440fx-2.8"}, "cirrus"),
        ({"machine": "pc-q35-2.8"}, "cirrus"),
        ({"machine": "pc-i440fx-2.9"}, "std"),
        ({"machine": "pc-i440fx-2.10"}, "std"),
        ({"machine": "pc-i440fx-1.9"}, "cirrus"),
        ({"machine": "pc-i440fx-10.0"}, "std"),
        ({"machine": "q35"}, "std"),
        *(({"machine": "pc-i440fx-2.8", "ostype": new}, "std") for new in ("w2k8", "win10")),
        ({"machine": "pc-i440fx-2.8", "ostype": "wxp"}, "cirrus"),
        ({"arch": "aarch64", "ostype": "wxp"}, "virtio"),
    ],
)
def test_the_display_that_a_vm_has_without_vga(config: dict[str, object], display: str) -> None:
    assert default("vga", of(config)) == display
    assert part("vga", "type", of(config)) == display


@pytest.mark.parametrize("number", [0, 9, 15])
def test_a_display_of_the_host_stands_in_for_an_absent_one_and_hides_the_hypervisor(
    number: int,
) -> None:
    passed = of({f"hostpci{number}": "0000:01:00,x-vga=1"})
    assert (default("vga", passed), part("vga", "type", passed)) == ("none", "std")
    assert part("cpu", "hidden", passed) == "1"
    other = of({f"hostpci{number}": "0000:01:00,x-vga=0"})
    assert (default("vga", other), part("cpu", "hidden", other)) == ("std", "0")


@pytest.mark.parametrize(
    ("vga", "tablet"),
    [
        (None, "1"), ("std", "1"), ("virtio", "1"), ("type=none", "1"), ("xserial0", "1"),
        *((kind, "0") for kind in ("qxl", "qxl2", "qxl4", "serial0", "type=serial3,memory=4")),
        ("qxl5", "1"), ("memory=16", "1"), ("no,such=thing", "1"),
    ],
)  # fmt: skip
def test_there_is_a_tablet_unless_the_display_needs_none(vga: str | None, tablet: str) -> None:
    assert default("tablet", of({} if vga is None else {"vga": vga})) == tablet


@pytest.mark.parametrize(
    ("config", "localtime", "tdf", "citype"),
    [
        ({}, "0", "0", "nocloud"),
        ({"ostype": "l26"}, "0", "0", "nocloud"),
        ({"ostype": "l26", "acpi": 1}, "0", "0", "nocloud"),
        ({"ostype": "other"}, "0", "0", "nocloud"),
        ({"ostype": "win10"}, "1", "1", "configdrive2"),
        ({"ostype": "w2k"}, "1", "1", "configdrive2"),
        ({"ostype": "win10", "acpi": 0}, "1", "0", "configdrive2"),
        ({"ostype": "win10", "acpi": " 1 "}, "1", "1", "configdrive2"),
    ],
)
def test_windows_has_defaults_of_its_own(
    config: dict[str, object], localtime: str, tdf: str, citype: str
) -> None:
    found = tuple(default(key, of(config)) for key in ("localtime", "tdf", "citype"))
    assert found == (localtime, tdf, citype)


@pytest.mark.parametrize(
    ("config", "vcpus"),
    [
        ({}, None),
        ({"memory": 512}, "1"),
        ({"cores": 2}, "2"),
        ({"cores": 2, "sockets": 3}, "6"),
        ({"cores": 2, "smp": 3}, "6"),
        ({"cores": 2, "smp": 3, "sockets": 1}, "2"),
        ({"cores": "two"}, None),
        ({"cores": 2, "sockets": "two"}, None),
    ],
)
def test_all_cores_are_there_from_the_start(config: dict[str, object], vcpus: str | None) -> None:
    assert default("vcpus", of(config)) == (vcpus or lookup_default("vcpus"))


def lookup_default(key: str) -> str | None:
    option = lookup("qemu", key)
    assert option is not None
    return option.default


@pytest.mark.parametrize(
    ("config", "balloon"),
    [
        ({}, None),
        ({"cores": 1}, "512"),
        ({"memory": 2048}, "2048"),
        ({"memory": "current=4096"}, "4096"),
    ],
)
def test_the_balloon_is_the_memory(config: dict[str, object], balloon: str | None) -> None:
    assert default("balloon", of(config)) == (balloon or lookup_default("balloon"))


@pytest.mark.parametrize(
    ("machine", "tunnel"),
    [
        ("pc-i440fx-10.0", "1"),
        ("pc-i440fx-11.0", "1"),
        ("pc-i440fx-11.0+pve0", "1"),
        ("pc-i440fx-11.0+pve1", "0"),
        ("pc-i440fx-11.1", "0"),
        ("pc-q35-12.0", "0"),
    ],
)
def test_the_tunnel_of_a_card_is_by_the_machines_version(machine: str, tunnel: str) -> None:
    assert part("net0", "host-tunnel", of({"machine": machine})) == tunnel


def test_without_a_pinned_machine_the_tunnel_is_as_the_table_says() -> None:
    option = lookup("qemu", "net0")
    assert option is not None
    assert isinstance(option.type, PropertyString)
    assert part("net0", "host-tunnel", of({})) == option.type.keys["host-tunnel"].default


@pytest.mark.parametrize(
    ("version", "mtu"), [((), None), ((8, 4), None), ((9, 0), "1"), ((9, 0, 3), "1"), ((9, 1), "1")]
)
def test_a_card_has_its_bridges_mtu_since_pve_9(version: tuple[int, ...], mtu: str | None) -> None:
    assert part("net0", "mtu", of({}, version)) == mtu


@pytest.mark.parametrize(
    ("arch", "config", "cpu", "kvm", "machine"),
    [
        ("x86_64", {}, "kvm64", "1", "pc"),
        ("x86_64", {"kvm": 0}, "qemu64", "1", "pc"),
        ("x86_64", {"arch": "aarch64"}, "max", "0", "virt"),
        ("x86_64", {"arch": "aarch64", "kvm": 1}, "host", "0", "virt"),
        ("aarch64", {}, "host", "1", "virt"),
        ("aarch64", {"arch": "x86_64"}, "qemu64", "0", "pc"),
    ],
)
def test_processor_and_machine_are_by_the_architecture(
    arch: str, config: dict[str, object], cpu: str, kvm: str, machine: str
) -> None:
    context = Context(vmid=100, config=config, arch=arch)
    assert (default("cpu", context), default("kvm", context)) == (cpu, kvm)
    assert (default("machine", context), part("machine", "type", context)) == (machine, machine)
    assert default("arch", context) == arch


def test_what_is_called_after_the_guest_has_its_number_where_that_is_known() -> None:
    assert default("hostname", Context(vmid=105), "lxc") == "CT105"
    assert part("ivshmem", "name", Context(vmid=105)) == "105"
    assert default("hostname", Context(), "lxc") is None
    assert part("ivshmem", "name", Context()) is None
