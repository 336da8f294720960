"""What a stolen hub can still do: each wish is pushed by a real hub to a real agent on a real node.

docs/hub.md has the rows; each names its test here.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import felhom_agent
from felhom_agent.config.huboptions import DEFAULTS, OWNERS, Grant, granted
from felhom_agent.config.settings import HubConfig, JournalConfig
from felhom_agent.daemon.run import run
from felhom_agent.devhub import DevHub
from felhom_agent.devnode import World
from tests.conftest import Clock, Site
from tests.hub.conftest import NAMED, Begin
from tests.hub.test_daemon_with_hub import configure
from tests.process import Process

DISK = "local-lvm:vm-100-disk-0"
VM = {
    "name": "web", "memory": "1024", "cores": 1, "scsi0": f"{DISK},size=8G", "protection": 1,
    "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0", "boot": "order=scsi0", "tags": "felhom-watch",
}  # fmt: skip
CONTAINER = {
    "hostname": "dns", "memory": 512, "cores": 1, "unprivileged": 1,
    "rootfs": "local-lvm:vm-200-disk-0,size=4G",
    "mp0": "local-lvm:vm-200-disk-1,mp=/data,backup=1,size=4G",
}  # fmt: skip
ALL = tuple(Grant(name) for name in (*(g.option for g in DEFAULTS), *OWNERS))


@pytest.fixture
def site(make_site: Callable[..., Site], clock: Clock) -> Site:
    """A node with a VM (100) and two containers (200 and 201), which run."""
    world = World(node="pve1", now=clock)
    world.add("qemu", 100, VM)
    world.add("qemu", 101, {"name": "db", "scsi0": "local-lvm:vm-101-disk-0,size=8G"})
    world.add("lxc", 200, CONTAINER)
    world.add("lxc", 201, {"hostname": "mail", "rootfs": "local-lvm:vm-201-disk-0,size=4G"})
    for vmid in (100, 200):
        world.start(vmid)
    return make_site(world)


Push = Callable[..., bool]


@pytest.fixture
def push(site: Site, hub: DevHub, begin: Begin, tmp_path: Path) -> Push:
    """Put a desired state into the hub; the agent fetches it and makes one pass. Tells whether the
    generation came into force. The owner's `[hub]` may be given.
    """
    key = hub.store.enroll("pve1")

    def pushed(state: dict[str, Any], **owner: Any) -> bool:
        round_ = begin(hub.url, key, **owner)
        generation = hub.store.desire("pve1", state)
        round_.loop.round()
        settings = HubConfig(url=hub.url, host_id="pve1", guests=NAMED, **owner)
        config = site.config()
        run(replace(config, journal=JournalConfig(tmp_path / "state"), hub=settings), once=True)
        return round_.provider.kept.generation == generation

    return pushed


def options(**table: object) -> tuple[Grant, ...]:
    grants, wrong = granted(table)
    assert wrong == []
    return grants


def wish(vmid: int, **body: Any) -> dict[str, Any]:
    return {"guest": {str(vmid): body}}


def of(vmid: int, **config: Any) -> dict[str, Any]:
    return wish(vmid, config=config)


ATTACKS: dict[str, dict[str, Any]] = {
    "to forget all that is written": of(100, scsi0=f"{DISK},snapshot=1"),
    "to lose what is written": of(100, scsi0=f"{DISK},cache=unsafe"),
    "to hide errors of writing": of(100, scsi0=f"{DISK},werror=ignore"),
    "to hide errors of reading": of(100, scsi0=f"{DISK},rerror=ignore"),
    "to leave a disk out of backups": of(100, scsi0=f"{DISK},backup=0"),
    "to leave a mount point out of backups": of(200, mp0="local-lvm:vm-200-disk-1,mp=/data"),
    "to take another guest's disk": of(100, scsi1="local-lvm:vm-101-disk-0"),
    "to take another guest's volume": of(200, mp1="local-lvm:vm-101-disk-0,mp=/other,backup=1"),
    "to copy another guest's disk": of(
        100, scsi1="local-lvm:0,import-from=local-lvm:vm-101-disk-0"
    ),
    "to make a template": of(100, template=1),
    "to take the protection away": of(100, protection=0),
    "to unset the protection": wish(100, unset=["protection"]),
    "to have the watchdog stop it": of(100, watchdog="model=i6300esb,action=poweroff"),
    "to make another guest of it": of(100, smbios1="uuid=5ecc1e17-0000-4000-8000-00000badcafe"),
    "to start it frozen": of(100, freeze=1),
    "to run a script of the host": of(100, hookscript="local:snippets/x.sh"),
    "to give QEMU arguments": of(100, args="-s"),
    "to write lines of LXC itself": of(200, **{"lxc.cap.drop": ""}),
    "to pass a device of the host": of(200, dev0="/dev/sda"),
    "to pause the agent": of(100, tags=["felhom-watch"]),
    "to pull the plug": wish(100, state="stopped", stop="power-off"),
    "to restart it": wish(100, state="running", restart="allowed"),
    "to confirm another guest": wish(100, identity="uuid=x"),
    "to say a danger twice": wish(
        100, dangerous=["scsi0.snapshot"], config={"scsi0": f"{DISK},snapshot=1"}
    ),
}
BY_OWNERS_WORD: dict[str, dict[str, Any]] = {
    "to stop it": wish(100, state="stopped"),
    "to become root by the entry point": of(200, entrypoint="/bin/sh -c id"),
    "to become root by the environment": of(200, env="LD_PRELOAD=/tmp/x.so"),
    "to nest containers": of(200, features="nesting=1"),
    "to set cloud-init's keys": of(100, sshkeys="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="),
    "to set cloud-init's user": of(100, ciuser="root", cipassword="x"),
    "to give it a script of cloud-init": of(100, cicustom="user=local:snippets/x.yaml"),
    "to boot from its own network": of(100, boot="order=net0"),
    "to move it to another network": of(100, net0="virtio=BC:24:11:00:00:01,bridge=vmbr9"),
    "to send its names elsewhere": of(200, nameserver="203.0.113.1"),
    "to rename it": of(100, name="evil"),
    "to start it with the host": of(100, onboot=1),
    "to change when it starts": of(100, startup="order=1,up=9999"),
    "to change its tags": of(100, tags=["prod"]),
    "to change its firmware": of(100, bios="ovmf"),
    "to change its processor": of(100, cpu="host"),
    "to slow its disk down": of(100, scsi0=f"{DISK},iops=1"),
    "to take what is set away": wish(100, unset=["description"]),
    "to pass a mapped device": of(100, hostpci0="mapping=gpu"),
    "to share a directory": of(100, virtiofs0="dirid=share"),
    "to starve a container": of(200, memory=16),
    "to starve a VM": of(100, memory=16, balloon=16),
    "to take the host's memory": of(100, memory=10_000_000),
    "to take the host's processors": of(100, cores=1024),
    "to let it crawl": of(100, cpulimit=0.01),
    "to put it behind all others": of(100, cpuunits=1),
}


def untouched(site: Site) -> bool:
    return site.devnode.mutations == () and site.world.running(100) and site.world.running(200)


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_never_a_hubs_does_not_happen_though_the_owner_allows_everything(
    site: Site, push: Push, attack: str
) -> None:
    assert not push(ATTACKS[attack], options=ALL, may_stop=True)
    assert untouched(site)


@pytest.mark.parametrize("attack", BY_OWNERS_WORD)
def test_what_the_owner_did_not_allow_does_not_happen(site: Site, push: Push, attack: str) -> None:
    assert not push(BY_OWNERS_WORD[attack])
    assert untouched(site)


def test_all_of_them_at_once_are_refused_whole_by_an_agent_that_runs(
    site: Site, hub: DevHub
) -> None:
    """And with them a wish that alone would have been followed."""
    config = configure(site, hub.url, hub.store.enroll("pve1"))
    config.write_text(config.read_text().replace("guests = [100]", 'guests = ["100-299"]'))
    state: dict[str, Any] = {"guest": {"201": {"state": "running"}}}
    for attack in (*ATTACKS.values(), *BY_OWNERS_WORD.values()):
        for vmid, body in attack["guest"].items():
            mine = state["guest"].setdefault(vmid, {"config": {}})
            mine |= {**body, "config": {**mine["config"], **body.get("config", {})}}
    hub.store.desire("pve1", state)
    agent = Process(config)
    agent.wait_for("generation 1 of the hub is refused whole")
    site.declare('[guest.101]\nstate = "running"\n')
    agent.wait_for("guest 101 db: done: start")
    assert agent.end() == 0
    assert agent.count("generation 1 of the hub: ") <= 21
    assert not agent.count("internal error")
    assert not site.world.running(201)
    assert all("/101/" in str(mutation) for mutation in site.devnode.mutations)


@pytest.mark.parametrize("wished", BY_OWNERS_WORD)
def test_it_is_the_owners_word_alone_that_was_missing(site: Site, push: Push, wished: str) -> None:
    """The rows above were refused for nothing else."""
    site.world.stop(200)
    assert push(BY_OWNERS_WORD[wished], options=ALL, may_stop=True)


def test_a_hub_starts_a_guest_that_was_stopped_by_hand(site: Site, push: Push) -> None:
    site.world.stop(100)
    assert push(wish(100, state="running"))
    assert site.world.running(100)


def test_a_hub_sets_numbers_within_the_bounds_and_the_description(site: Site, push: Push) -> None:
    assert push(of(100, cores=16, cpulimit=1, cpuunits=10, description="stolen"))
    found = site.world.config(100)
    told = [str(found[key]) for key in ("cores", "cpulimit", "cpuunits", "description")]
    assert told == ["16", "1", "10", "stolen"]


def test_a_hub_gives_a_running_container_more_memory_and_takes_none_away(
    site: Site, push: Push
) -> None:
    assert push(of(200, memory=1024))
    assert site.world.config(200)["memory"] == 1024
    assert push(of(200, memory=512, description="less"))
    assert site.world.config(200)["memory"] == 1024
    assert str(site.world.config(200)["description"]).strip() == "less"


def test_a_hub_takes_memory_from_a_container_that_is_stopped(site: Site, push: Push) -> None:
    site.world.edit(200, {"memory": 1024})
    site.world.stop(200)
    assert push(of(200, memory=512))
    assert site.world.config(200)["memory"] == 512


def test_a_file_of_the_owners_lowers_it_while_the_container_runs(site: Site) -> None:
    site.declare("[guest.200.config]\nmemory = 256\n")
    run(site.config(), once=True)
    assert site.world.config(200)["memory"] == 256


def test_by_the_owners_word_a_hub_shuts_a_guest_down_gracefully(site: Site, push: Push) -> None:
    assert push(wish(100, state="stopped"), may_stop=True)
    assert not site.world.running(100)
    (stop,) = site.devnode.mutations
    assert "shutdown" in str(stop)


@pytest.mark.parametrize(
    ("name", "value", "then"), [("onboot", 1, 1), ("tags", ["prod"], "felhom-watch;prod")]
)
def test_by_the_owners_word_a_hub_sets_another_option(
    site: Site, push: Push, name: str, value: object, then: object
) -> None:
    assert push(of(100, **{name: value}), options=options(**{name: True}))
    found = site.world.config(100)[name]
    assert (";".join(sorted(str(found).split(";"))) if name == "tags" else found) == then


def test_by_the_owners_word_a_hub_turns_protection_on(site: Site, push: Push) -> None:
    assert push(of(101, protection=1), options=options(protection=True))
    assert site.world.config(101)["protection"] == 1


def test_a_reload_takes_an_option_back_from_the_hub(site: Site, hub: DevHub) -> None:
    """What it declared with it is in force no more, as a whole."""
    config = configure(site, hub.url, hub.store.enroll("pve1"))
    before = config.read_text()
    config.write_text(f"{before}[hub.options]\nonboot = true\n")
    hub.store.desire("pve1", of(100, onboot=1, cores=2))
    agent = Process(config)
    agent.wait_for("guest 100 web: done: set")
    config.write_text(before)
    agent.send(signal.SIGHUP)
    agent.wait_for("onboot: not the hub's")
    site.world.edit(100, {"cores": 1})
    site.declare('[guest.101]\nstate = "running"\n')
    agent.wait_for("guest 101 db: done: start")
    assert agent.end() == 0
    assert site.world.config(100)["cores"] == 1


def test_a_tag_that_a_person_set_for_the_agent_stays_when_a_hub_sets_others(
    site: Site, push: Push
) -> None:
    assert push(of(100, tags=[]), options=options(tags=True))
    assert site.world.config(100)["tags"] == "felhom-watch"
    assert site.devnode.mutations == ()


def test_every_row_of_what_a_stolen_hub_can_still_do_names_tests_that_there_are() -> None:
    page = (Path(felhom_agent.__file__).parent.parent / "docs" / "hub.md").read_text()
    table = page.split("## What a stolen hub can still do")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    here = Path(__file__).parent
    texts = [path.read_text() for path in (*here.glob("*.py"), *here.parent.glob("desired/*.py"))]
    known = {name for text in texts for name in re.findall(r"def (test_\w+)", text)}
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert set(named) <= known, row
