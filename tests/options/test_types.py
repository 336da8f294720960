"""How values are checked, put on the wire and understood."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.model import DeclaredValue
from felhom_agent.options import (
    Invalid,
    Option,
    OptionType,
    PropertyString,
    Volume,
    declared,
    lookup,
)
from felhom_agent.options.formats import ZONE_REGIONS, parse_size, split_list

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPA4YScFrCc7is0HAT1IgioCzXGKbE79GKc806auuQq4 u@h"


def format_error(*lines: str) -> str:
    """Return what PVE says of a property string with these errors."""
    return "invalid format - format error\n" + "".join(f"{line}\n" for line in lines)


def known(kind: str, key: str) -> Option:
    option = lookup(kind, key)
    assert option is not None
    return option


def type_of(kind: str, key: str) -> OptionType:
    return known(kind, key).type


@pytest.mark.parametrize(
    ("kind", "key", "value", "wire"),
    [
        ("qemu", "onboot", True, "1"),
        ("qemu", "onboot", False, "0"),
        ("qemu", "onboot", 1, "1"),
        ("qemu", "onboot", "yes", "yes"),
        ("qemu", "memory", 2048, "2048"),
        ("lxc", "memory", 2048, "2048"),
        ("qemu", "cpulimit", 0.5, "0.5"),
        ("qemu", "cpulimit", 2, "2"),
        ("qemu", "tags", ("a", "b"), "a;b"),
        ("qemu", "tags", (), ""),
        ("lxc", "tags", "a b", "a b"),
        ("qemu", "boot", ("scsi0", "net0"), "order=scsi0;net0"),
        ("qemu", "boot", (), ""),
        ("qemu", "boot", "cdn", "cdn"),
        ("qemu", "agent", True, "1"),
        ("qemu", "agent", 0, "0"),
        ("qemu", "startup", 3, "3"),
        ("qemu", "hotplug", True, "1"),
        ("qemu", "hotplug", ("disk", "usb"), "disk,usb"),
        ("qemu", "affinity", (0, 2), "0,2"),
        ("qemu", "affinity", "0-3", "0-3"),
        ("qemu", "name", 123, "123"),
        ("lxc", "nameserver", ("1.1.1.1", "::1"), "1.1.1.1 ::1"),
        ("lxc", "env", ("A=b", "C=d e"), "A=b\0C=d e"),
        ("qemu", "hostpci0", "0000:0A:00.0,pcie=1", "0000:0a:00.0,pcie=1"),
        ("qemu", "sshkeys", "ssh-ed25519%20AAAA", "ssh-ed25519%20AAAA"),
        ("qemu", "sshkeys", ED25519, ED25519.replace(" ", "%20").replace("@", "%40")),
    ],
)
def test_a_declared_value_goes_on_the_wire_as_pve_takes_it(
    kind: str, key: str, value: DeclaredValue, wire: str
) -> None:
    assert type_of(kind, key).wire(value) == wire


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("qemu", "name", True),
        ("qemu", "description", ("a", "b")),
        ("qemu", "memory", (1, 2)),
        ("qemu", "memory", True),
        ("qemu", "cores", True),
        ("qemu", "net0", ("virtio", "bridge=vmbr0")),
        ("qemu", "tags", ("a b",)),
        ("qemu", "tags", ("a;b", "c")),
        ("qemu", "tags", ("",)),
        ("qemu", "tags", (True,)),
        ("qemu", "boot", ("scsi0,net0",)),
        ("qemu", "onboot", (True,)),
        ("qemu", "sshkeys", (f"{ED25519}\n{ED25519}",)),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_and_not_guessed_at(
    kind: str, key: str, value: DeclaredValue
) -> None:
    with pytest.raises(Invalid):
        type_of(kind, key).wire(value)


@pytest.mark.parametrize(
    ("kind", "key", "wire", "words"),
    [
        ("qemu", "cores", "0", "value must have a minimum value of 1"),
        ("qemu", "cores", "1.0", "type check ('integer') failed - got '1.0'"),
        ("qemu", "cpulimit", "x", "type check ('number') failed - got 'x'"),
        ("qemu", "cpulimit", "nan", "type check ('number') failed - got 'nan'"),
        ("qemu", "shares", "50001", "value must have a maximum value of 50000"),
        ("qemu", "serial0", "pty", "value does not match the regex pattern"),
        ("qemu", "hotplug", "gpu", "invalid format - invalid hotplug feature 'gpu'\n"),
        ("qemu", "affinity", "3-1", "invalid format - unable to parse cpuset option\n"),
        (
            "qemu",
            "net0",
            "virtio,bridge=vmbr0,rate=x,tag=5000",
            format_error(
                "net0.rate: type check ('number') failed - got 'x'",
                "net0.tag: value must have a maximum value of 4094",
            ),
        ),
        (
            "qemu",
            "net0",
            "virtio=BC:24:11:00:00:01,model=e1000",
            "invalid format - duplicate key in comma-separated list property: model\n",
        ),
        (
            "qemu",
            "net0",
            "model=e1000,virtio=BC:24:11:00:00:01",
            "invalid format - key alias 'model' is already defined\n",
        ),
        (
            "qemu",
            "agent",
            "1,1",
            "invalid format - duplicate key in comma-separated list property: enabled\n",
        ),
        (
            "qemu",
            "ipconfig0",
            "dhcp",
            "invalid format - value without key, but schema does not define a default key\n",
        ),
        (
            "qemu",
            "ipconfig0",
            "gw=10.0.0.1",
            format_error("ipconfig0.ip: missing property required by 'ipconfig0.gw'"),
        ),
        (
            "qemu",
            "boot",
            "order=",
            "invalid format - missing key in comma-separated list property\n",
        ),
        (
            "qemu",
            "boot",
            "order=tpmstate0",
            format_error("boot.order: invalid format - invalid boot device 'tpmstate0'\n"),
        ),
        (
            "qemu",
            "scsi0",
            "32",
            format_error("scsi0.file: invalid format - unable to parse volume ID '32'\n"),
        ),
        ("qemu", "smbios1", "serial=" + "A" * 600, "value may only be 512 characters long"),
        (
            "lxc",
            "mp0",
            "local:1,mp=/a/../b",
            format_error("mp0.mp: invalid format - /a/../b contains illegal character sequences\n"),
        ),
        (
            "lxc",
            "net0",
            "bridge=vmbr0",
            format_error("net0.name: property is missing and it is not optional"),
        ),
        (
            "lxc",
            "dev0",
            "/etc/passwd",
            format_error("dev0.path: invalid format - /etc/passwd is not a valid device path\n"),
        ),
        ("qemu", "sshkeys", "ssh-ed25519%20AAAA", "SSH public key validation error\n"),
        ("qemu", "tags", "a/b;c", "invalid format - invalid characters in tag\n"),
        (
            "qemu",
            "nameserver",
            "1.1.1.1 a_b",
            "invalid format - value does not look like a valid address: a_b\n",
        ),
        (
            "lxc",
            "nameserver",
            "dns.example",
            "invalid format - value does not look like a valid IP address\n",
        ),
        ("qemu", "hookscript", "x", "invalid format - unable to parse volume ID 'x'\n"),
        ("lxc", "env", "A", "value does not match the regex pattern"),
        ("lxc", "timezone", "Nowhere", "invalid format - invalid time zone 'Nowhere'\n"),
    ],
)
def test_what_pve_would_refuse_is_refused_in_its_words(
    kind: str, key: str, wire: str, words: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        type_of(kind, key).check(wire)
    assert str(refusal.value) == words


@given(st.lists(st.sampled_from(["0", "3-5", "", " 7 "]), max_size=5))
def test_a_cpu_set_has_no_empty_part_but_at_its_end(parts: list[str]) -> None:
    text = ",".join(parts)
    while parts and not parts[-1]:
        parts.pop()
    if "" not in parts:
        type_of("qemu", "affinity").check(text)
        return
    with pytest.raises(Invalid, match="unable to parse cpuset option"):
        type_of("qemu", "affinity").check(text)


@pytest.mark.parametrize("zone", ["eth0", "a1", "vmbr0.5", "bond_0:1"])
def test_an_ipv6_link_local_address_may_name_its_interface(zone: str) -> None:
    type_of("lxc", "nameserver").check(f"1.1.1.1 fe80::1%{zone}")
    for wrong in (f"fd00::1%{zone}", f"FE80::1%{zone}", f"fe80:%{zone}", f"1.1.1.1%{zone}"):
        with pytest.raises(Invalid):
            type_of("lxc", "nameserver").check(f"1.1.1.1 {wrong}")


@pytest.mark.parametrize("zone", ["", "e", "0eth", "eth-0", "eth0%1", "e" * 22, "eth0.x", "ethä"])
def test_the_interface_of_an_address_has_an_interfaces_name(zone: str) -> None:
    with pytest.raises(Invalid):
        type_of("lxc", "nameserver").check(f"fe80::1%{zone}")


ZONE_TAB = Path("/usr/share/zoneinfo/zone.tab")


@pytest.mark.skipif(not ZONE_TAB.exists(), reason="this host has no zone.tab")
def test_every_time_zone_that_a_host_lists_is_taken() -> None:
    lines = [each for each in ZONE_TAB.read_text().splitlines() if not each.startswith("#")]
    zones = {line.split("\t")[2] for line in lines}
    assert {zone.partition("/")[0] for zone in zones} == set(ZONE_REGIONS)
    for zone in (*zones, "UTC", "host"):
        type_of("lxc", "timezone").check(zone)


@pytest.mark.parametrize("region", ZONE_REGIONS)
def test_a_time_zone_that_came_later_is_known_by_its_region(region: str) -> None:
    for zone in (f"{region}/Nova_Urbs", f"{region}/Terra-1/Nova_Urbs"):
        type_of("lxc", "timezone").check(zone)
    for wrong in (region, f"{region}/", region.lower() + "/Nova", f"posix/{region}/Nova"):
        with pytest.raises(Invalid):
            type_of("lxc", "timezone").check(wrong)


@pytest.mark.parametrize(
    "zone",
    ["Etc/UTC", "Etc/GMT+1", "US/Eastern", "Brazil/East", "SystemV/EST5", "posix/UTC", "right/UTC",
     "GMT", "EST", "CET", "Zulu", "utc", "Host"],
)  # fmt: skip
def test_a_time_zone_of_no_region_is_refused_with_what_to_write_instead(zone: str) -> None:
    with pytest.raises(Invalid) as refusal:
        declared("lxc", "timezone", zone)
    assert "UTC, host, or a time zone by its region like Europe/Berlin" in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "key", "part", "value", "words"),
    [
        ("qemu", "ipconfig0", "ip", "10.0.0.2", "valid ipv4 network configuration"),
        ("qemu", "ipconfig0", "ip", "10.0.0.2/33", "valid ipv4 network configuration"),
        ("qemu", "ipconfig0", "ip6", "fd00::2/7", "valid ipv6 network configuration"),
        ("lxc", "net0", "gw", "fd00::1", "valid IPv4 address"),
        ("lxc", "net0", "gw6", "10.0.0.1", "valid IPv6 address"),
        ("lxc", "net0", "gw6", "fe80::1%eth0", "valid IPv6 address"),
        ("lxc", "net0", "hwaddr", "01:00:00:00:00:00", "valid unicast MAC address"),
        ("qemu", "net0", "bridge", "vm br", "invalid bridge ID 'vm br'"),
        ("qemu", "cpu", "phys-bits", "65", "value must be an integer between 8 and 64 or 'host'"),
        ("qemu", "scsi0", "size", "big", "valid disk size: big"),
        ("qemu", "scsi0", "import-from", "x", "unable to parse volume ID 'x'"),
        ("qemu", "scsi0", "wwn", "0x12", "value does not match the regex pattern"),
        ("qemu", "virtiofs0", "dirid", "1", "invalid configuration ID '1'"),
    ],
)
def test_a_part_that_pve_would_refuse_is_refused_in_its_words(
    kind: str, key: str, part: str, value: str, words: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        type_of(kind, key).check(f"{part}={value}")
    lines = str(refusal.value).splitlines()
    assert any(line.startswith(f"{key}.{part}: ") and words in line for line in lines)


@pytest.mark.parametrize(
    ("kind", "key", "wire"),
    [
        ("qemu", "startup", ","),
        ("qemu", "startup", "order=0"),
        ("qemu", "tags", ""),
        ("qemu", "nameserver", "dns.example, 1.1.1.1"),
        ("qemu", "usb0", "1234:abcd"),
        ("qemu", "usb0", "1-1.2,usb3=1"),
        ("qemu", "ipconfig0", "ip=10.0.0.2/24,gw=10.0.0.1,ip6=auto"),
        ("qemu", "cpu", "custom-mine"),
        ("qemu", "cpu", "host,phys-bits=host"),
        ("qemu", "scsi0", "local:0,import-from=/x.qcow2"),
        ("qemu", "machine", "pc-q35-9.0+pve1"),
        ("qemu", "scsi0", "local-lvm:32,iothread=on,ssd=yes"),
        ("qemu", "ide2", "none,media=cdrom"),
        ("qemu", "vmgenid", "1"),
        ("qemu", "amd-sev", "type=snp,no-debug=1"),
        ("lxc", "nameserver", "fe80::1%eth0 1.1.1.1"),
        ("lxc", "net0", "name=eth0,ip=dhcp,ip6=fd00::2/64,type=veth"),
        ("lxc", "timezone", "Europe/Budapest"),
        ("lxc", "env", "A=b\0C=d e"),
        ("lxc", "searchdomain", "a.example;b.example"),
    ],
)
def test_what_pve_takes_is_taken(kind: str, key: str, wire: str) -> None:
    type_of(kind, key).check(wire)


@pytest.mark.parametrize(
    ("kind", "key", "one", "other"),
    [
        ("qemu", "onboot", "1", "Yes"),
        ("qemu", "cores", "2", "02"),
        ("qemu", "cpulimit", "2", "2.00"),
        ("qemu", "affinity", "0,1,2", "2,0-1"),
        ("qemu", "startup", "1,order=2", "order=2"),
        ("qemu", "hotplug", "0", " "),
        ("qemu", "agent", "guest-fsfreeze=0,enabled=1", "1,freeze-fs=0"),
        ("qemu", "hostpci0", "01:00.0", "0000:01:00.0"),
        ("qemu", "usb0", "host=0x1234:0xABCD", "1234:abcd"),
        ("qemu", "usb0", "SPICE", "spice"),
        ("qemu", "net0", "virtio=BC:24:11:00:00:01", "macaddr=bc:24:11:00:00:01,model=virtio"),
        ("qemu", "net0", "virtio,trunks=1;2;3", "virtio,trunks=3;1-2"),
        ("qemu", "boot", "legacy=cdn,order=scsi0", "cdn"),
        ("qemu", "smbios1", "serial=QQ==,base64=1", "serial=A"),
        ("qemu", "rng0", "/dev/urandom,max_bytes=1024,period=1000", "source=/dev/urandom"),
        ("qemu", "vga", "memory=16", "std,memory=16"),
        ("qemu", "watchdog", "action=reset", "i6300esb"),
        ("qemu", "efidisk0", "local:1,efitype=2m", "local:1"),
        ("lxc", "mp0", "/a,mp=/b,mountoptions=nodev;noexec", "/a,mp=/b,mountoptions=noexec;nodev"),
        ("lxc", "features", "mount=nfs;cifs", "mount=cifs;nfs,keyctl=0"),
        ("lxc", "dev0", "/dev/null,mode=0660,uid=0", "/dev/null"),
    ],
)  # fmt: skip
def test_different_spellings_of_one_meaning_are_the_same(
    kind: str, key: str, one: str, other: str
) -> None:
    assert type_of(kind, key).same(one, other)


@pytest.mark.parametrize(
    ("kind", "key", "one", "other"),
    [
        ("qemu", "boot", " ", "cdn"),
        ("qemu", "boot", "order=scsi0;net0", "order=net0;scsi0"),
        ("qemu", "hotplug", "0", "1"),
        ("qemu", "name", "Web", "web"),
        ("qemu", "cpu", "Host", "host"),
        ("qemu", "scsi0", "local:x,backup=0", "local:x"),
        ("lxc", "mp0", "local:x,mp=/a,backup=1", "local:x,mp=/a"),
        ("lxc", "description", "x", "x \n"),
        ("qemu", "searchdomain", "A.example", "a.example"),
        ("qemu", "vmgenid", "0", "b917773d-c7ee-428d-9eaf-13502ded6895"),
        ("qemu", "ipconfig0", "ip=dhcp", "ip=dhcp,ip6=dhcp"),
    ],
)
def test_different_meanings_are_not_the_same(kind: str, key: str, one: str, other: str) -> None:
    assert not type_of(kind, key).same(one, other)


def test_a_property_string_keeps_a_part_that_a_newer_pve_knows() -> None:
    kind = type_of("qemu", "net0")
    assert isinstance(kind, PropertyString)
    assert kind.parts("virtio,flux=7")["flux"] == "7"


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("1K", 1024), ("1KiB", 1024), ("0.5G", 2**29), ("2T", 2**41), ("1k", None)],
)
def test_a_disk_size_is_read_in_bytes(text: str, size: int | None) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" ", []),
        (";", []),
        (" a,b;c\td\n", ["a", "b", "c", "d"]),
        ("a b\0c", ["a b", "c"]),
    ],
)
def test_a_list_is_split_at_each_of_pves_separators(text: str, words: list[str]) -> None:
    assert split_list(text) == words


@pytest.mark.parametrize(
    ("text", "storage", "new_bytes", "asks", "cdrom"),
    [
        ("local:32", "local", 32 * 2**30, True, False),
        ("local:0.5", "local", 2**29, True, False),
        ("local:100/vm-100-disk-0.qcow2", "local", None, False, False),
        ("local-lvm:vm-100-disk-0", "local-lvm", None, False, False),
        ("local:cloudinit", "local", None, True, True),
        ("local:100/vm-100-cloudinit.qcow2", "local", None, False, False),
        ("local:iso/debian.iso", "local", None, False, False),
        ("none", "", None, False, True),
        ("/dev/sdb", "", None, False, False),
    ],
)
def test_a_volume_says_what_it_is(
    text: str, storage: str, new_bytes: int | None, asks: bool, cdrom: bool
) -> None:
    volume = Volume(text)
    assert (volume.storage, volume.new_bytes) == (storage, new_bytes)
    assert (volume.is_request, volume.is_cdrom) == (asks, cdrom)


@given(st.sets(st.integers(0, 200), min_size=1))
def test_a_cpu_set_means_its_members_however_it_is_written(members: set[int]) -> None:
    kind = type_of("qemu", "affinity")
    singly = ",".join(str(n) for n in sorted(members, reverse=True))
    overlapping = ",".join(f"{n}-{n + 1}" if n + 1 in members else str(n) for n in members)
    assert kind.same(singly, overlapping)


@given(st.text(), st.sampled_from(["net0", "scsi0", "boot", "startup", "agent", "cpu", "sshkeys"]))
def test_reading_any_text_ends_in_a_meaning_or_in_invalid(text: str, key: str) -> None:
    kind = type_of("qemu", key)
    for read in (kind.check, kind.meaning):
        try:
            read(text)
        except Invalid:
            continue
