"""What a hub may wish for: the owner's word option by option, and what no word of his can allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.config.huboptions import DEFAULTS, OWNERS, Class, Grant, class_of, granted
from felhom_agent.config.settings import HubConfig
from felhom_agent.desired.hub import HubProvider, read_state
from felhom_agent.errors import ConfigError
from felhom_agent.model import Kind, RunState, Source
from felhom_agent.options import keys, lookup

ALL = tuple(Grant(name) for name in (*(g.option for g in DEFAULTS), *OWNERS))
GENEROUS = HubConfig(guests=(range(100, 300),), options=ALL, may_stop=True)
"""An owner who allows all that can be allowed."""
BY_DEFAULT = HubConfig(guests=(range(100, 300),))


def config_of(**table: object) -> HubConfig:
    """Return the settings with a table `[hub.options]`."""
    grants, wrong = granted(table)
    assert wrong == []
    return HubConfig(guests=(range(100, 300),), options=grants)


def refused(owner: HubConfig, /, vmid: int = 100, **body: Any) -> list[str]:
    """Given a guest's table as a hub sends it, return what is wrong with the generation."""
    guests, problems = read_state({"guest": {str(vmid): body}}, "a hub", owner)
    if not problems:
        assert guests[vmid].source is Source.HUB
    return [problem.text for problem in problems]


def setting(config: HubConfig, key: str, value: Any, **body: Any) -> str:
    """Return why an option cannot be set to a value; empty if it can."""
    return "; ".join(refused(config, config={key: value}, **body))


@pytest.mark.parametrize(
    ("key", "value"),
    [("description", "x"), ("cores", 2), ("cores", "2"), ("memory", 512), ("memory", 16384),
     ("memory", "current=2048"), ("balloon", 512), ("cpulimit", 1.5), ("cpuunits", 100)],
)  # fmt: skip
def test_by_default_a_hub_sets_these_within_bounds(key: str, value: Any) -> None:
    assert setting(BY_DEFAULT, key, value) == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [("cores", 17), ("memory", 511), ("memory", 16), ("memory", 16385), ("memory", "current=16"),
     ("memory", "16"), ("memory", "016"), ("balloon", 0), ("balloon", 16), ("cpulimit", 0),
     ("cpulimit", 0.01), ("cpulimit", "1e-2"), ("cpulimit", 100), ("cpuunits", 1),
     ("cpuunits", 9999), ("memory", 2**62), ("cores", "9" * 18)],
)  # fmt: skip
def test_a_number_outside_of_the_bounds_is_refused_with_them(key: str, value: Any) -> None:
    assert f"is outside of what [hub.options] {key} = " in setting(BY_DEFAULT, key, value)


@pytest.mark.parametrize(
    "value",
    [True, False, None, [], [1], {}, {"a": {"b": [{"c": 1}]}}, "", " ", "many", 1.5, "1..2",
     float("inf"), 10**400, "9" * 5000, "0x10", "٢", "current=512,current=512", "-1"],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
@pytest.mark.parametrize("key", ["cores", "memory"])
def test_what_is_no_number_is_refused_in_one_bounded_line(key: str, value: Any) -> None:
    (problem,) = refused(BY_DEFAULT, config={key: value})
    assert problem.isprintable()
    assert len(problem) <= 400


def test_a_bound_counts_for_each_kind_that_the_guest_may_be() -> None:
    owner = config_of(swap="0..512")
    for kind in ({}, {"kind": "lxc"}):
        assert setting(owner, "swap", 512, **kind) == ""
        assert "outside" in setting(owner, "swap", 513, **kind)


def test_the_owner_takes_back_what_a_hub_has_by_default() -> None:
    owner = config_of(cores=False, state=False)
    assert "[hub.options] cores = true in agent.toml would allow it" in setting(owner, "cores", 2)
    assert "[hub.options] state = true" in refused(owner, state="running")[0]
    assert setting(owner, "memory", 1024) == ""


def test_true_is_any_number_that_pve_takes() -> None:
    assert setting(config_of(memory=True), "memory", 16) == ""
    assert "must be a whole number from 16, not 15" in setting(config_of(memory=True), "memory", 15)


# One value of each option that the owner can allow.
VALUES: dict[str, Any] = {
    "autostart": True, "onboot": True, "startup": "order=1", "tags": ["a"], "protection": True,
    "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0", "nameserver": "192.0.2.1",
    "searchdomain": "example.org", "hostname": "x", "name": "x", "boot": "order=net0",
    "bootdisk": "scsi0", "acpi": False, "agent": True, "allow-ksm": False,
    "audio0": "device=AC97", "bios": "ovmf", "cpu": "host", "hotplug": "1", "keyboard": "de",
    "kvm": False, "localtime": True, "machine": "q35", "migrate_downtime": 1, "migrate_speed": 1,
    "numa": True, "numa0": "cpus=0", "ostype": "l26", "reboot": False, "rng0": "source=/dev/random",
    "scsihw": "virtio-scsi-pci", "serial0": "socket", "shares": 1, "sockets": 2,
    "startdate": "now", "tablet": False, "tdf": True, "vcpus": 1, "vga": "std",
    "vmstatestorage": "local", "cicustom": "user=local:snippets/a.yaml", "cipassword": "x",
    "citype": "nocloud", "ciupgrade": False, "ciuser": "root", "ipconfig0": "ip=dhcp",
    "sshkeys": "", "cmode": "shell", "console": False, "debug": True, "entrypoint": "/bin/sh",
    "env": "A=b", "features": "nesting=1", "swap": 0, "timezone": "host", "tty": 1,
    "efidisk0": "local-lvm:vm-100-disk-1", "ide0": "local-lvm:vm-100-disk-2",
    "mp0": "local-lvm:vm-100-disk-3,mp=/data,backup=1", "rootfs": "local-lvm:vm-100-disk-0",
    "sata0": "local-lvm:vm-100-disk-4", "scsi0": "local-lvm:vm-100-disk-5",
    "tpmstate0": "local-lvm:vm-100-disk-6", "virtio0": "local-lvm:vm-100-disk-7",
    "hostpci0": "mapping=gpu", "usb0": "mapping=stick", "virtiofs0": "dirid=share",
}  # fmt: skip


def test_there_is_a_value_of_each_option_that_the_owner_can_allow() -> None:
    families = {name.rstrip("0") if name not in OWNERS else name for name in VALUES}
    # PVE never stores smp, so that nobody can declare it.
    assert families == OWNERS.keys() - {"unset", "smp"}


@pytest.mark.parametrize("key", VALUES)
def test_what_is_the_owners_is_refused_until_he_allows_it(key: str) -> None:
    value = VALUES[key]
    family = key if key in OWNERS else key.rstrip("0")
    assert f"[hub.options] {key} = true in agent.toml would allow it" in setting(
        BY_DEFAULT, key, value
    )
    assert setting(config_of(**{family: True}), key, value) == ""
    assert setting(config_of(**{key: True}), key, value) == ""
    assert "would allow it" in setting(config_of(**{family: True, key: False}), key, value)


@pytest.mark.parametrize("kind", Kind)
def test_what_is_never_a_hubs_is_refused_whatever_the_owner_says(kind: Kind) -> None:
    for name in keys(kind):
        key = name.replace("[n]", "0")
        option = lookup(kind, key)
        if class_of(name.removesuffix("[n]")) is not Class.NEVER or option is None:
            continue
        for value in (0, 1, "x", "1", "local:snippets/x", "mapping=x", "model=i6300esb"):
            assert setting(GENEROUS, key, value, kind=kind.value), (key, value)
        assert refused(GENEROUS, unset=[key], kind=kind.value), key


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("template", 0), ("template", 1), ("smbios1", "uuid=5ecc1e17-0000-4000-8000-00000badcafe"),
        ("watchdog", "model=i6300esb,action=poweroff"), ("hookscript", "local:snippets/x.sh"),
        ("args", "-s"), ("vmgenid", "1"), ("freeze", 1), ("affinity", "0"), ("arch", "x86_64"),
        ("dev0", "/dev/sda"), ("lxc.cap.drop", ""), ("lxc", {"cap": {"drop": "x"}}),
        ("hugepages", "any"), ("spice_enhancements", "foldersharing=1"),
    ],
)  # fmt: skip
def test_well_formed_it_is_refused_for_the_class_alone(key: str, value: Any) -> None:
    assert "never" in setting(GENEROUS, key, value)


OWN = "local-lvm:vm-100-disk-0"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("scsi0", f"{OWN},snapshot=1", "never set snapshot so"),
        ("scsi0", f"{OWN},snapshot=on", "never set snapshot so"),
        ("virtio0", f"{OWN},cache=unsafe", "never set cache so"),
        ("sata0", f"{OWN},werror=ignore", "never set werror so"),
        ("ide0", f"{OWN},rerror=ignore", "never set rerror so"),
        ("scsi0", f"{OWN},backup=0", "never leave a volume out of backups"),
        ("scsi0", f"{OWN},backup=off", "never leave a volume out of backups"),
        ("mp0", f"{OWN},mp=/data,backup=0", "never leave a volume out of backups"),
        ("mp0", f"{OWN},mp=/data", "never leave a volume out of backups"),
        ("mp0", f"{OWN},mp=/data,backup=1,idmap=passthrough", "never set idmap"),
        ("scsi1", "local:0,import-from=local-lvm:vm-101-disk-0", "never import"),
        ("protection", 0, "never take a guest's protection away"),
        ("protection", False, "never take a guest's protection away"),
        ("protection", "0", "never take a guest's protection away"),
        ("tags", ["felhom-pause"], "begins with felhom- is not declared"),
        ("tags", "a;Felhom-x", "begins with felhom- is not declared"),
    ],
)  # fmt: skip
def test_these_values_are_refused_whatever_the_owner_says(key: str, value: Any, words: str) -> None:
    assert words in setting(GENEROUS, key, value)


@pytest.mark.parametrize(
    "volume",
    [
        "local-lvm:vm-101-disk-0", "local:101/vm-101-disk-0.qcow2", "local:101/vm-100-disk-0.qcow2",
        "local:101/x.qcow2", "zfs:subvol-101-disk-0", "zfs:base-100-disk-0/vm-101-disk-0",
        "zfs:vm-101-disk-0/vm-100-disk-0", "local-lvm:base-101-disk-0", "iscsi:0.0.0.lun",
        "local:100/vm-1000-disk-0.raw", "local-lvm:vm-1001-disk-0", "/dev/sda", "/etc/shadow",
        "cdrom", "local:images/x", "local-lvm:vm-100x-disk-0", "local-lvm:xvm-100-disk-0",
    ],
)  # fmt: skip
def test_a_volume_that_is_not_known_to_be_the_guests_own_is_refused(volume: str) -> None:
    for key in ("scsi1", "sata1", "efidisk0"):
        # PVE refuses a CD as an EFI disk, and a container's folder as any drive, whoever asks
        words = "no CD drive" if (key, volume) == ("efidisk0", "cdrom") else "a hub may never name"
        words = "not a QEMU image format" if ":subvol-" in volume else words
        assert words in setting(GENEROUS, key, volume)
    if volume != "cdrom":
        value = f"{volume},mp=/data,backup=1"
        assert "a hub may never name" in setting(GENEROUS, "mp1", value, kind="lxc")


@pytest.mark.parametrize(
    "volume",
    [
        OWN, "local:100/vm-100-disk-0.qcow2", "zfs:vm-100-disk-0",
        "zfs:base-9000-disk-0/vm-100-disk-0", "local:9000/base-9000-disk-0.raw/100/vm-100-x.qcow2",
        "local-lvm:32", "local-lvm:cloudinit", "none,media=cdrom",
        "local:iso/debian.iso,media=cdrom", "local-lvm:vm-100-cloudinit,media=cdrom",
    ],
)  # fmt: skip
def test_its_own_volumes_and_an_image_are_named_freely(volume: str) -> None:
    assert setting(GENEROUS, "ide2", volume) == ""


@pytest.mark.parametrize("volume", ["zfs:subvol-100-disk-0", "local:100/subvol-100-disk-0.subvol"])
def test_a_containers_own_folder_is_named_freely(volume: str) -> None:
    assert setting(GENEROUS, "mp1", f"{volume},mp=/data,backup=1", kind="lxc") == ""


def test_a_stop_is_the_owners_to_allow() -> None:
    assert refused(BY_DEFAULT, state="running") == []
    (problem,) = refused(BY_DEFAULT, state="stopped")
    assert problem == (
        'guest 100: state = "stopped" is not the hub\'s: [hub] may_stop = true would allow it'
    )
    assert refused(GENEROUS, state="stopped") == []


def test_unset_needs_the_owners_word_for_the_list_and_for_each_option() -> None:
    assert "[hub.options] unset = true" in refused(BY_DEFAULT, unset=["description"])[0]
    owner = config_of(unset=True)
    assert refused(owner, unset=["description"]) == []
    assert "[hub.options] onboot = true" in refused(owner, unset=["onboot"])[0]
    assert refused(config_of(unset=True, onboot=True), unset=["onboot"]) == []


def test_unsetting_does_not_lead_out_of_the_bounds() -> None:
    owner = config_of(unset=True)
    assert "without it PVE's default counts" in refused(owner, unset=["cpulimit"])[0]
    assert "without it there is no bound" in refused(owner, unset=["cores"], kind="lxc")[0]
    assert "without it there is no bound" in refused(owner, unset=["cores"])[0]
    assert refused(owner, unset=["cores"], kind="qemu") == []
    assert refused(owner, unset=["memory"], kind="qemu") == []
    assert "PVE's default" in refused(config_of(unset=True, memory="1024..2048"),
                                      unset=["memory"], kind="qemu")[0]  # fmt: skip


def test_protection_is_never_unset() -> None:
    assert "never take a guest's protection away" in refused(GENEROUS, unset=["protection"])[0]


def test_words_of_the_owners_files_are_refused() -> None:
    words: dict[str, Any] = {"dangerous": ["scsi0.snapshot"], "identity": "uuid=x"}
    for word, value in words.items():
        assert f"{word} is for a file on the host" in refused(GENEROUS, **{word: value})[0]
    told = refused(GENEROUS, config={"scsi0": f"{OWN},snapshot=1"}, dangerous=["scsi0.snapshot"])
    assert len(told) == 2, "saying it twice is of no use to a hub"


def test_of_a_generation_full_of_them_twenty_are_told_and_their_number() -> None:
    state = {"guest": {str(vmid): {"state": "stopped", "config": {"onboot": 1}}
                       for vmid in range(100, 300)}}  # fmt: skip
    guests, problems = read_state(state, "a hub", BY_DEFAULT)
    assert len(problems) == 21
    assert problems[-1].text == "and 380 more"
    assert all(p.text.isprintable() and len(p.text) < 310 for p in problems)
    del guests


def test_one_refused_wish_refuses_the_whole_generation(tmp_path: Path) -> None:
    provider = HubProvider(tmp_path, BY_DEFAULT)
    provider.accept(1, {"guest": {"100": {"state": "running"}}})
    wishes = {"100": {"config": {"cores": 2}}, "101": {"config": {"onboot": True}}}
    with pytest.raises(ConfigError, match="guest 101: onboot: not the hub's"):
        provider.accept(2, {"guest": wishes})
    assert provider.load().guests[100].state is RunState.RUNNING
    assert set(provider.load().guests) == {100}


def test_what_the_owner_takes_back_is_in_force_no_more_and_comes_back_with_his_word(
    tmp_path: Path,
) -> None:
    owner = config_of(onboot=True)
    provider = HubProvider(tmp_path, owner)
    provider.accept(1, {"guest": {"100": {"config": {"onboot": True}}}})
    assert set(provider.load().guests) == {100}
    provider.adopt(BY_DEFAULT)
    assert provider.load().guests == {}
    assert "onboot: not the hub's" in str(provider.load().problems[0])
    assert HubProvider(tmp_path, BY_DEFAULT).load().guests == {}, "nor after a restart"
    provider.adopt(owner)
    assert set(provider.load().guests) == {100}
    assert provider.load().problems == ()


def test_a_password_is_never_in_the_words(tmp_path: Path) -> None:
    del tmp_path
    assert "hunter2" not in setting(BY_DEFAULT, "cipassword", "hunter2")


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | (
    st.sampled_from([OWN, f"{OWN},snapshot=1", "local-lvm:vm-101-disk-0", "0", "16", "order=net0"])
)  # fmt: skip
NAMES = sorted({n.replace("[n]", "0") for kind in Kind for n in keys(kind)})


@given(
    st.dictionaries(st.sampled_from(NAMES), LEAVES | st.lists(LEAVES, max_size=2), max_size=4),
    st.lists(st.sampled_from(NAMES), max_size=2),
    st.sampled_from(["running", "stopped", None]),
)
def test_whatever_it_says_by_default_it_gets_no_more_than_the_defaults(
    config: dict[str, Any], unset: list[str], state: str | None
) -> None:
    body = {"config": config, "unset": unset} | ({"state": state} if state else {})
    guests, problems = read_state({"guest": {"100": body}}, "a hub", BY_DEFAULT)
    if problems:
        return
    guest = guests[100]
    assert set(guest.config) <= {grant.option for grant in DEFAULTS}
    assert not guest.unset
    assert guest.state is not RunState.STOPPED


def test_what_no_grant_would_allow_is_not_said_to_want_one() -> None:
    text = setting(BY_DEFAULT, "protection", False)
    assert "never take a guest's protection away" in text
    assert "would allow it" not in text
