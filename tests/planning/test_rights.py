"""What no token may set, and the line with which root does it."""

from __future__ import annotations

import pytest

from felhom_agent.options import lookup
from felhom_agent.planning.compare import Context
from felhom_agent.planning.rights import (
    features_wire,
    root_command,
    root_remedy,
    roots_alone,
    roots_alone_to_unset,
)

HERE, NOWHERE = Context(vmid=105), Context()
UNPRIVILEGED = Context(vmid=105, config={"unprivileged": 1})
PRIVILEGED = Context(vmid=105, config={"hostname": "web"})


def why(kind: str, key: str, wire: str, actual: str = "", context: Context = HERE) -> str:
    option = lookup(kind, key)
    assert option is not None
    return roots_alone(option, key, wire, actual, context)


@pytest.mark.parametrize(
    ("volume", "roots"),
    [
        ("local:iso/a.iso", True),
        ("local:vztmpl/a.tar.gz", True),
        ("local:snippets/a{0}.raw", True),
        ("local:import/a.qcow2", True),
        ("local:backup/vzdump-lxc-101-a.tar", True),
        ("local:101/vm-101-disk-1.raw", False),
        ("local:8", False),
    ],
)
@pytest.mark.parametrize("key", ["mp0", "rootfs"])
def test_root_alone_mounts_what_is_no_root_directory(key: str, volume: str, *, roots: bool) -> None:
    """PVE: pve-storage Storage.pm check_volume_access asks others for a 'rootdir'."""
    path = ",mp=/a" if key == "mp0" else ""
    words = "only root can mount a volume whose content type is not 'rootdir'"
    assert why("lxc", key, f"{volume}{path}") == (words if roots else "")


@pytest.mark.parametrize(
    ("key", "wire", "actual", "roots"),
    [
        # The device that goes counts as well as the one that comes.
        ("usb0", "mapping=stick", "host=1234:5678", True),
        ("usb0", "mapping=stick", "mapping=other", False),
        ("usb0", "mapping=stick", "", False),
        ("usb0", "mapping=stick", " ", False),
        ("usb0", "host=1234:5678", "", True),
        ("hostpci0", "mapping=card", "0000:01:00", True),
        ("serial0", "socket", "/dev/ttyS0", True),
        ("serial0", "socket", "socket", False),
        # Of other options only what comes.
        ("args", "-S", "", True),
        ("scsi0", "local:100/a.raw", "/dev/sdb", False),
        ("memory", "512", "1024", False),
    ],
)
def test_what_of_a_vm_only_root_may_set(key: str, wire: str, actual: str, roots: bool) -> None:
    assert bool(why("qemu", key, wire, actual)) is roots


@pytest.mark.parametrize(
    ("wire", "actual", "context", "roots"),
    [
        ("nesting=1", "", UNPRIVILEGED, False),
        ("nesting=1", "nesting=0", UNPRIVILEGED, False),
        ("nesting=1,fuse=1", "fuse=1", UNPRIVILEGED, False),
        ("nesting=1,fuse=1", "", UNPRIVILEGED, True),
        ("nesting=1", "fuse=1", UNPRIVILEGED, True),
        ("fuse=0", "", UNPRIVILEGED, True),
        ("nesting=1", "", PRIVILEGED, True),
        ("nesting=1", "", HERE, False),  # what it is, is not known
    ],
)
def test_of_a_containers_features_nesting_alone_is_not_roots(
    wire: str, actual: str, context: Context, roots: bool
) -> None:
    assert bool(why("lxc", "features", wire, actual, context)) is roots


@pytest.mark.parametrize(
    ("wire", "actual", "sent"),
    [
        ("nesting=1", "", "nesting=1"),
        ("nesting=1,fuse=0", "", "nesting=1"),
        ("nesting=1,fuse=0", "fuse=0", "fuse=0,nesting=1"),
        ("nesting=1", "fuse=0", "fuse=0,nesting=1"),
        ("nesting=1", "nesting=0,fuse=1", "nesting=1"),
        ("nesting=0", "nesting=1", "nesting=0"),
        ("fuse=1", "fuse=1", "fuse=1"),
    ],
)
def test_features_are_sent_as_they_are_written_there_where_they_mean_the_same(
    wire: str, actual: str, sent: str
) -> None:
    option = lookup("lxc", "features")
    assert option is not None
    found = features_wire(option, wire, actual)
    assert sorted(found.split(",")) == sorted(sent.split(","))


@pytest.mark.parametrize(
    ("kind", "key", "wire", "context", "line"),
    [
        ("qemu", "args", "-S -s", HERE, "as root: qm set 105 --args '-S -s'"),
        ("qemu", "args", "-S", NOWHERE, "as root: qm set <vmid> --args -S"),
        ("qemu", "args", None, HERE, "as root: qm set 105 --delete args"),
        ("qemu", "args", None, NOWHERE, "as root: qm set <vmid> --delete args"),
        ("lxc", "features", "fuse=1", HERE, "as root: pct set 105 --features fuse=1"),
        ("lxc", "lxc.cap.drop", "a\nb", HERE,
         "as root: write lxc.cap.drop = a and b in /etc/pve/lxc/105.conf"),
        ("lxc", "lxc.cap.drop", None, NOWHERE,
         "as root: remove lxc.cap.drop in /etc/pve/lxc/<vmid>.conf"),
        ("lxc", "unprivileged", "1", HERE,
         "it was fixed when the lxc guest was made; a restore of a backup can change it"),
    ],
)  # fmt: skip
def test_the_line_for_root(
    kind: str, key: str, wire: str | None, context: Context, line: str
) -> None:
    option = lookup(kind, key)
    assert option is not None
    assert root_remedy(option, kind, key, wire, context) == line


def test_a_long_text_is_cut_in_the_line_for_root() -> None:
    assert root_command("qemu", "args", 300 * "x", HERE) == f"qm set 105 --args {300 * 'x'}"
    assert root_command("qemu", "args", 301 * "x", HERE) == f"qm set 105 --args {300 * 'x'}..."


def test_what_was_fixed_when_the_guest_was_made_is_neither_set_nor_taken_away() -> None:
    option = lookup("lxc", "unprivileged")
    assert option is not None
    assert "read-only" in why("lxc", "unprivileged", "1")
    assert "read-only" in roots_alone_to_unset(option, "unprivileged", "1", HERE)
    features = lookup("lxc", "features")
    assert features is not None
    assert roots_alone_to_unset(features, "features", "nesting=1", PRIVILEGED)
    assert not roots_alone_to_unset(features, "features", "nesting=1", UNPRIVILEGED)
