"""What an operator may declare, and what is refused when the file is loaded."""

from __future__ import annotations

import pytest

from felhom_agent.model import DeclaredValue
from felhom_agent.options import Invalid, declared


def refusal(kind: str, key: str, value: DeclaredValue) -> str:
    with pytest.raises(Invalid) as error:
        declared(kind, key, value)
    return str(error.value)


@pytest.mark.parametrize(
    ("kind", "key", "value", "wire"),
    [
        ("qemu", "onboot", True, "1"),
        ("qemu", "memory", 2048, "2048"),
        ("qemu", "serial0", "socket", "socket"),
        ("qemu", "usb0", "spice", "spice"),
        ("qemu", "usb0", "mapping=stick", "mapping=stick"),
        ("qemu", "hostpci0", "mapping=gpu,pcie=1", "mapping=gpu,pcie=1"),
        ("qemu", "scsi0", "local:32", "local:32"),
        ("qemu", "ide2", "none,media=cdrom", "none,media=cdrom"),
        ("qemu", "cipassword", "secret", "secret"),
        ("lxc", "features", "nesting=1", "nesting=1"),
        ("lxc", "mp0", "local:4,mp=/data", "local:4,mp=/data"),
    ],
)
def test_what_a_token_can_set_may_be_declared(
    kind: str, key: str, value: DeclaredValue, wire: str
) -> None:
    assert declared(kind, key, value) == wire


@pytest.mark.parametrize(
    "key",
    ["affinity", "arch", "args", "hookscript", "hugepages", "ivshmem", "keephugepages", "vmgenid",
     "amd-sev", "intel-tdx", "parallel0", "spice_enhancements"],
)  # fmt: skip
def test_what_only_root_may_set_is_refused_in_pves_words(key: str) -> None:
    value = {
        "affinity": "0", "arch": "x86_64", "hookscript": "local:snippets/x", "hugepages": "any",
        "ivshmem": "size=1", "keephugepages": "1", "vmgenid": "1", "amd-sev": "std",
        "intel-tdx": "tdx,attestation=1", "parallel0": "/dev/parport0",
        "spice_enhancements": "foldersharing=1",
    }.get(key, "x")  # fmt: skip
    assert refusal("qemu", key, value) == f"only root can set '{key}' config"


@pytest.mark.parametrize(
    ("kind", "key", "value", "words"),
    [
        ("qemu", "serial1", "/dev/ttyS0", "only root can modify 'serial1' config for real devices"),
        ("qemu", "usb2", "host=1234:5678", "only root can set 'usb2' config for real devices"),
        ("qemu", "usb2", "usb3=1", "either 'host' or 'mapping' must be set."),
        ("qemu", "hostpci1", "01:00", "only root can set 'hostpci1' config for non-mapped devices"),
        ("qemu", "hostpci1", "mapping=gpu,romfile=x", "only root@pam can set 'romfile' option"),
        ("qemu", "hostpci1", "pcie=1", "either 'host' or 'mapping' must be set."),
        ("qemu", "scsi0", "/dev/sdb", "Only root can pass arbitrary filesystem paths."),
        ("qemu", "ide2", "cdrom", "the host's CD drive needs Sys.Console on /"),
        ("lxc", "mp0", "/srv,mp=/mnt", "mount point type bind is only allowed for root@pam"),
        ("lxc", "mp0", "/dev/sdb,mp=/mnt", "mount point type device is only allowed for root@pam"),
        ("lxc", "dev0", "/dev/null", "configuring device passthrough is only allowed for root@pam"),
        ("lxc", "hookscript", "a1:x", "changing the hookscript is only allowed for root@pam"),
        (
            "lxc",
            "features",
            "nesting=1,keyctl=0",
            "changing feature flags (except nesting) is only allowed for root@pam",
        ),
    ],
)
def test_a_value_that_only_root_may_set_is_refused_in_pves_words(
    kind: str, key: str, value: str, words: str
) -> None:
    assert refusal(kind, key, value) == words


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
@pytest.mark.parametrize("key", ["digest", "lock", "parent", "snaptime", "unused0"])
def test_what_pve_keeps_itself_is_refused(kind: str, key: str) -> None:
    assert refusal(kind, key, "local:x") == f"PVE itself keeps {key!r}; it cannot be declared"


@pytest.mark.parametrize(
    "key", ["delete", "revert", "force", "skiplock", "vmid", "node", "background_delay"]
)
def test_a_parameter_of_the_call_is_not_an_option(key: str) -> None:
    assert "is a parameter of PVE's calls" in refusal("qemu", key, "1")


def test_an_option_of_the_other_kind_is_refused() -> None:
    assert "not defined in schema" in refusal("lxc", "sockets", 2)
    assert "not defined in schema" in refusal("qemu", "hostname", "web")


def test_the_mask_of_a_password_is_no_password() -> None:
    assert "mask" in refusal("qemu", "cipassword", "**********")
    assert "mask" in refusal("qemu", "cipassword", "********** ")


@pytest.mark.parametrize("key", ["bps", "bps_rd", "bps_wr"])
def test_a_limit_that_pve_would_turn_into_none_is_refused(key: str) -> None:
    assert f"declare m{key}" in refusal("qemu", "scsi0", f"local:x,{key}=1000")


def test_what_is_fixed_since_a_container_was_made_is_refused() -> None:
    words = "unable to modify read-only option: 'unprivileged'"
    assert refusal("lxc", "unprivileged", True) == words


def test_the_old_name_of_a_drive_names_the_new_one() -> None:
    assert "ide2" in refusal("qemu", "cdrom", "none")


def test_an_invalid_value_is_refused_in_pves_words() -> None:
    assert refusal("qemu", "memory", 8) == (
        "invalid format - format error\nmemory.current: value must have a minimum value of 16\n"
    )
