"""Every recorded comparison, and its neighbours: what is equal, what is not, and what is neither.

`tests/data/drift_cases.jsonl` holds verdicts on pairs of a declared value and PVE's answer, most
of them executed on PVE's own code. Its `context` is prose; `context_of` puts it into a `Context`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.model import ABSENT, DeclaredValue, TypeOfAbsent
from felhom_agent.planning.compare import Context, Verdict, compare

DATA = Path(__file__).parent.parent / "data" / "drift_cases.jsonl"
CASES = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIPA4YScFrCc7is0HAT1IgioCzXGKbE79GKc806auuQq4"
DISK = "local:100/vm-100-disk-0.qcow2"
UUID = "ABCDEF01-2222-3333-4444-555555555555"
MAC = "BC:24:11:AA:BB:CC"


def context_of(case: dict[str, Any]) -> Context:
    """Put what a case says of its circumstances into a `Context`."""
    text = case["context"]
    if text == "datacenter.cfg tag-style: case-sensitive=1":
        return Context(case_sensitive_tags=True)
    if text.startswith("ostype "):
        return Context(config={"ostype": text.removeprefix("ostype ")})
    if text == "scsi0 exists with 32G":
        # and its answer shows that the volume in it was put aside
        return Context(before=f"{case['also_returned']['unused0']},size=32G")
    if case["why"] == "device that does not exist":
        return Context(devices=frozenset({"scsi0"}))
    return Context()


def desired_of(case: dict[str, Any]) -> DeclaredValue | TypeOfAbsent:
    value = case["desired"]
    if case["desired_absent"]:
        return ABSENT
    return tuple(value) if isinstance(value, list) else value


def actual_of(case: dict[str, Any]) -> object:
    """`None` where the answer does not matter, because the declaration alone is refused."""
    return ABSENT if case["actual_absent"] else case["actual"]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_recorded_comparison_comes_to_its_verdict(case: dict[str, Any]) -> None:
    comparison = compare(
        case["guest"], case["field"], desired_of(case), actual_of(case), context_of(case)
    )
    assert comparison.verdict == case["verdict"], comparison.why


def pair(text: str) -> tuple[str, str, str, str]:
    """Given "qemu memory: 1 | 2", return kind, key, desired and actual."""
    head, _, values = text.partition(": ")
    kind, key = head.split()
    desired, _, actual = values.partition(" | ")
    return kind, key, desired, actual


def verdict(text: str, context: Context | None = None) -> Verdict:
    kind, key, desired, actual = pair(text)
    present = ABSENT if actual == "ABSENT" else actual
    return compare(kind, key, desired, present, context or Context()).verdict


@pytest.mark.parametrize(
    "text",
    [
        # spellings
        "qemu memory: 2048 | 02048",
        "qemu balloon: 0 | 0",
        "qemu cpulimit: 1.50 | 1.5",
        "lxc cpulimit: 2 | 2.0",
        "qemu agent: 1,type=virtio | 1",
        "qemu agent: 1,freeze-fs-on-backup=1 | enabled=yes",
        "qemu agent: 0 | fstrim_cloned_disks=1,enabled=0",
        "qemu vga: type=std | std",
        "qemu vga: memory=32 | std,memory=32",
        "qemu cpu: host,flags=+aes;-pcid | host,flags=-pcid;+aes",
        "qemu cpu: host,hidden=off | host",
        "qemu machine: type=q35,viommu=intel | q35,viommu=intel",
        "qemu watchdog: action=reset,model=i6300esb | i6300esb",
        "qemu rng0: source=/dev/urandom,max_bytes=1024,period=1000 | /dev/urandom",
        "qemu usb0: 1234:ABCD | host=1234:abcd",
        "qemu usb0: mapping=key,usb3=0 | mapping=key",
        "qemu hostpci0: 0000:01:00.0 | 01:00.0",
        "qemu hostpci0: 0A:00.0 | 0a:00.0",
        "qemu hostpci0: mapping=gpu,rombar=1,x-vga=0 | mapping=gpu",
        "qemu numa0: cpus=0-3,hostnodes=0;1 | cpus=0;1;2;3,hostnodes=0-1",
        "qemu ipconfig0: gw=10.0.0.1,ip=10.0.0.2/24 | ip=10.0.0.2/24,gw=10.0.0.1",
        "qemu ipconfig0: ip6=FD00::2/64 | ip6=fd00::2/64",
        "qemu hotplug: 0 |  ",
        "qemu hotplug: usb,disk,network | 1",
        f"qemu smbios1: uuid={UUID} | uuid={UUID.lower()}",
        "qemu smbios1: base64=1,serial=QUI= | serial=QUI=,base64=1",
        "qemu smbios1: serial=A,base64=1 | base64=1,serial=A",
        "qemu boot: order=scsi0 net0 | order=scsi0;net0",
        "qemu boot: legacy=cdn | cdn",
        "qemu searchdomain: a.example,b.example | a.example b.example",
        "qemu name: web | web",
        "lxc features: nesting=1 | nesting=1,fuse=0",
        "lxc features: mount=nfs;cifs | mount=cifs;nfs",
        "lxc env: A=1 | A=1",
        "lxc startup: up=30,order=1,order=2 | order=2,up=30",
        # what the server owns
        f"qemu smbios1: serial=A | uuid={UUID},serial=A",
        f"qemu smbios1:  | uuid={UUID}",
        f"qemu net0: e1000 | e1000={MAC}",
        f"qemu net0: virtio={MAC},firewall=0,link_down=0,rate=0 | virtio={MAC}",
        f"qemu net0: virtio,trunks=2;1;3 | virtio={MAC},trunks=1-3",
        f"lxc net0: name=eth0,type=veth,firewall=0 | name=eth0,hwaddr={MAC},type=veth",
        f"lxc net0: name=eth0,hwaddr={MAC.lower()} | name=eth0,hwaddr={MAC},type=veth",
        f"qemu scsi0: file={DISK},discard=on | {DISK},discard=on,size=32G",
        f"qemu scsi0: {DISK},size=32768M | {DISK},size=32G",
        f"qemu scsi0: {DISK},backup=1,ro=0,snapshot=0,iops=0,mbps=0 | {DISK},size=32G",
        f"qemu scsi0: {DISK},cache=none,detect_zeroes=1 | {DISK},size=32G",
        f"qemu virtio0: {DISK},iothread=no | {DISK}",
        "qemu scsi0: local:32 | local:100/vm-100-disk-7.raw,size=32G",
        "qemu scsi0: local:0.5,format=qcow2 | local:100/vm-100-disk-7.qcow2,size=512M",
        "qemu ide2: none,media=cdrom | none,media=cdrom",
        "qemu ide2: local:iso/a.iso | local:iso/a.iso,size=4M",
        "qemu ide2: local-lvm:cloudinit | local-lvm:vm-100-cloudinit,media=cdrom,size=4M",
        "qemu efidisk0: local:1,efitype=4m | local:100/vm-100-disk-1.raw,efitype=4m,size=528K",
        "qemu efidisk0: local:1 | local:100/vm-100-disk-1.raw,ms-cert=2023k,size=528K",
        "qemu tpmstate0: local:1 | local:100/vm-100-disk-2.raw,size=4M,version=v1.2",
        "lxc rootfs: local:8 | local:100/vm-100-disk-0.raw,size=8G",
        "lxc mp0: local:8,mp=/a,backup=0,ro=0,quota=0 | local:100/vm-100-disk-1.raw,mp=/a,size=8G",
        "lxc mp0: a:x,mp=/a,mountoptions=noexec;nodev | a:x,mp=/a,mountoptions=nodev;noexec",
        # what is so anyway
        "qemu tablet: 1 | ABSENT",
        "qemu acpi: 1 | ABSENT",
        "qemu kvm: 1 | ABSENT",
        "qemu agent: 0 | ABSENT",
        "qemu agent: enabled=0,type=isa | ABSENT",
        "qemu autostart: 0 | ABSENT",
        "qemu bios: seabios | ABSENT",
        "qemu boot: cdn | ABSENT",
        "qemu cpu: kvm64 | ABSENT",
        "qemu cpulimit: 0 | ABSENT",
        "qemu cpuunits: 100 | ABSENT",
        "qemu hotplug: 1 | ABSENT",
        "qemu hotplug: usb,network,disk | ABSENT",
        "qemu localtime: 0 | ABSENT",
        "qemu machine: pc | ABSENT",
        "qemu memory: 512 | ABSENT",
        "qemu migrate_downtime: 0.10 | ABSENT",
        "qemu numa: 0 | ABSENT",
        "qemu shares: 1000 | ABSENT",
        "qemu sockets: 1 | ABSENT",
        "qemu startdate: now | ABSENT",
        "qemu vmgenid: 0 | ABSENT",
        "qemu citype: nocloud | ABSENT",
        "qemu ciupgrade: 1 | ABSENT",
        "qemu allow-ksm: 1 | ABSENT",
        "qemu spice_enhancements: foldersharing=0 | ABSENT",
        "lxc swap: 0 | ABSENT",
        "lxc memory: 512 | ABSENT",
        "lxc console: 1 | ABSENT",
        "lxc tty: 2 | ABSENT",
        "lxc cmode: tty | ABSENT",
        "lxc cpulimit: 0.0 | ABSENT",
        "lxc cpuunits: 100 | ABSENT",
        "lxc entrypoint: /sbin/init | ABSENT",
        "lxc protection: 0 | ABSENT",
        "lxc features: nesting=0,keyctl=no | ABSENT",
    ],
)
def test_these_are_equal(text: str) -> None:
    assert verdict(text) == Verdict.EQUAL


@pytest.mark.parametrize(
    "text",
    [
        "qemu memory: 2048 | ABSENT",
        "qemu memory: 2048 | banana",
        "qemu startup: order=1 | order=2",
        "qemu startup: order=0 | ABSENT",
        "qemu boot: order=net0;scsi0 | order=scsi0;net0",
        "qemu boot: cdn |  ",
        "qemu hotplug: 0 | ABSENT",
        "qemu cpu: host | HOST",
        "qemu audio0: device=AC97 | ABSENT",
        "qemu keyboard: de | ABSENT",
        "qemu tags: a | ABSENT",
        "qemu tags: a | A;b",
        "qemu cipassword: secret | ABSENT",
        f"qemu sshkeys: ssh-ed25519 {KEY} a | ABSENT",
        f"qemu net0: virtio=BC:24:11:00:00:01 | virtio={MAC}",
        f"qemu net0: virtio | virtio={MAC},firewall=1",
        f"qemu net0: virtio | virtio={MAC},bridge=vmbr0",
        "qemu net0: virtio | ABSENT",
        "qemu ide2: none | local:iso/a.iso,media=cdrom,size=4M",
        "qemu ide2: local:iso/b.iso,media=cdrom | local:iso/a.iso,media=cdrom,size=4M",
        "qemu ide2: local:cloudinit | none,media=cdrom",
        f"qemu scsi0: {DISK},media=cdrom | {DISK}",
        f"qemu scsi0: {DISK} | {DISK},backup=0",
        f"qemu scsi0: {DISK},size=10G,discard=on | {DISK},size=32G",
        "qemu scsi0: local:32,discard=on | local:100/vm-100-disk-7.raw,size=32G",
        "lxc mp0: local:x,mp=/a | local:x,mp=/a,backup=1",
        "lxc mp0: local:x,mp=/a | local:y,mp=/a",
        "lxc net0: name=eth0,bridge=vmbr0 | name=eth1,bridge=vmbr0",
        "lxc features: nesting=1 | ABSENT",
        "lxc cores: 2 | ABSENT",
        "lxc cores: 2 | banana",
        "lxc arch: amd64 | ABSENT",
        "lxc hostname: a | A",
        "lxc description: hello | hello \n",
        "lxc env: A=1 | A=2",
    ],
)
def test_these_have_drifted(text: str) -> None:
    assert verdict(text) == Verdict.DRIFT


@pytest.mark.parametrize(
    "text",
    [
        "qemu nosuchkey: 1 | ABSENT",
        "lxc name: web | ABSENT",
        "qemu net32: virtio | ABSENT",
        "qemu onboot: yes | 1",
        "qemu memory: 15 | 16",
        "qemu cores: 0 | 1",
        "qemu cpulimit: 129 | 1",
        "qemu name: web. | web",
        "lxc hostname: web_1 | web",
        "qemu startup: order=any | order=1",
        "qemu tags: -x | x",
        "qemu agent: 2 | 1",
        "qemu cpu: nosuch | host",
        "qemu net0: bridge=vmbr0 | ABSENT",
        "qemu net0: virtio,tag=0 | ABSENT",
        f"qemu scsi0: {DISK},bps_rd=1 | {DISK}",
        "qemu scsi0: garbage | ABSENT",
        "lxc mp0: local:8 | ABSENT",
        "lxc swap: -1 | 0",
        "qemu cipassword: ********** | ABSENT",
        "qemu sshkeys: rubbish | ABSENT",
        "qemu meta: x | x",
    ],
)
def test_these_declarations_are_refused(text: str) -> None:
    assert verdict(text) == Verdict.REJECT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qemu scsi0: local:16 | local:100/vm-100-disk-0.raw,size=32G", Verdict.UNFIXABLE),
        ("qemu scsi0: local:64 | local:100/vm-100-disk-0.raw,size=32G", Verdict.UNFIXABLE),
        ("lxc mp0: local:4,mp=/a | local:100/vm-100-disk-0.raw,mp=/a,size=8G", Verdict.UNFIXABLE),
        ("qemu scsi0: other:32 | local:100/vm-100-disk-0.raw,size=32G", Verdict.FORBIDDEN),
        ("qemu scsi0: none | local:100/vm-100-disk-0.raw,size=32G", Verdict.FORBIDDEN),
        ("qemu scsi0: local:cloudinit | local:100/vm-100-disk-0.raw,size=3G", Verdict.FORBIDDEN),
        ("qemu scsi0: local:iso/a.iso | local:100/vm-100-disk-0.raw,size=3G", Verdict.FORBIDDEN),
        ("lxc mp0: other:8,mp=/a | local:100/vm-100-disk-0.raw,mp=/a,size=8G", Verdict.FORBIDDEN),
        ("lxc rootfs: other:8 | local:100/vm-100-disk-0.raw,size=8G", Verdict.FORBIDDEN),
        ("lxc rootfs: local:x | local:100/vm-100-disk-0.raw,size=8G", Verdict.FORBIDDEN),
        ("qemu cipassword: secret | **********", Verdict.INCOMPARABLE),
    ],
)
def test_these_differ_but_no_write_may_mend_them(text: str, expected: Verdict) -> None:
    assert verdict(text) == expected


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("qemu cpuunits: 1 | 2", Context(cgroup=1), Verdict.EQUAL),
        ("qemu cpuunits: 1 | 2", Context(cgroup=2), Verdict.DRIFT),
        ("lxc cpuunits: 50000 | 10000", Context(cgroup=2), Verdict.EQUAL),
        ("lxc cpuunits: 50000 | 10000", Context(cgroup=1), Verdict.DRIFT),
        ("lxc cpuunits: 1024 | ABSENT", Context(cgroup=1), Verdict.EQUAL),
        ("lxc cpuunits: 1024 | ABSENT", Context(cgroup=2), Verdict.DRIFT),
        ("qemu tags: A | a", Context(case_sensitive_tags=True), Verdict.DRIFT),
        ("qemu tags: b;A | A;b", Context(case_sensitive_tags=True), Verdict.EQUAL),
        ("qemu citype: nocloud | ABSENT", Context(config={"ostype": "win11"}), Verdict.DRIFT),
        ("qemu localtime: 1 | ABSENT", Context(config={"ostype": "win10"}), Verdict.EQUAL),
        ("qemu localtime: 1 | ABSENT", Context(config={"ostype": "l26"}), Verdict.DRIFT),
        ("qemu vcpus: 4 | ABSENT", Context(config={"sockets": 2, "cores": 2}), Verdict.EQUAL),
        ("qemu vcpus: 2 | ABSENT", Context(config={"sockets": 2, "cores": 2}), Verdict.DRIFT),
        ("qemu vcpus: 1 | ABSENT", Context(), Verdict.DRIFT),
        ("qemu vcpus: 1 | ABSENT", Context(config={"cores": "banana"}), Verdict.DRIFT),
        ("qemu ivshmem: size=4,name=101 | size=4", Context(vmid=101), Verdict.EQUAL),
        ("qemu ivshmem: size=4,name=101 | size=4", Context(vmid=102), Verdict.DRIFT),
        ("qemu boot: order=net0 | ABSENT", Context(devices=frozenset()), Verdict.REJECT),
        ("qemu boot: order=net0 | ABSENT", Context(devices=frozenset({"net0"})), Verdict.DRIFT),
        ("qemu cores: 2 | 2", Context(pending=True), Verdict.PENDING),
        ("qemu cores: 2 | 1", Context(pending=True), Verdict.DRIFT),
    ],
)
def test_these_depend_on_their_circumstances(
    text: str, context: Context, expected: Verdict
) -> None:
    assert verdict(text, context) == expected


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("sshkeys", f"ssh-ed25519 {KEY} a\r\n", f"ssh-ed25519 {KEY} a"),
        ("sshkeys", f"\nssh-ed25519 {KEY} a\n\n", f"ssh-ed25519 {KEY} a\n"),
    ],
)
def test_ssh_keys_are_the_same_whatever_ends_their_lines(key: str, one: str, other: str) -> None:
    encoded = other.replace(" ", "%20").replace("\n", "%0A").replace("+", "%2B")
    assert compare("qemu", key, one, encoded).verdict == Verdict.EQUAL


@pytest.mark.parametrize("value", [True, 1, "1"])
def test_a_boolean_may_be_declared_in_any_of_its_forms(value: DeclaredValue) -> None:
    assert compare("qemu", "onboot", value, 1).verdict == Verdict.EQUAL
    assert compare("qemu", "onboot", value, True).verdict == Verdict.EQUAL
    assert compare("qemu", "onboot", value, 0).verdict == Verdict.DRIFT


def test_where_nothing_was_read_only_the_declaration_is_judged() -> None:
    assert compare("qemu", "cores", 2, None).verdict == Verdict.INCOMPARABLE
    assert compare("qemu", "cores", 0, None).verdict == Verdict.REJECT
    assert compare("qemu", "args", "-S", None).verdict == Verdict.REJECT


def test_what_only_root_may_set_is_still_compared() -> None:
    assert compare("qemu", "args", "-S", "-S").verdict == Verdict.EQUAL


def test_no_reason_tells_a_secret() -> None:
    for present in (ABSENT, "**********", "hunter3"):
        assert "hunter" not in compare("qemu", "cipassword", "hunter2", present).why
