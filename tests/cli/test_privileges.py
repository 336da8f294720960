"""`check` says of each declared value whether the token may set it, and what would let it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from felhom_agent.cli.main import main
from felhom_agent.devnode.http.request import Request
from felhom_agent.model import EMPTY
from tests.conftest import Site

ROLE = [
    "VM.Audit", "VM.PowerMgmt", "VM.Config.Options", "VM.Config.CPU", "VM.Config.Memory",
    "VM.Config.Network", "VM.Config.HWType", "VM.Config.Disk", "VM.Config.CDROM",
    "VM.Config.Cloudinit", "Sys.Audit",
]  # fmt: skip
Check = Callable[..., tuple[int, str, Site]]
NET = "virtio=BC:24:11:00:00:01,bridge=vmbr0"
ROLE_OF_BOTH = "FelhomAgentGuest-0ce2984a"


@pytest.fixture
def check(make_site: Callable[..., Site], capsys: pytest.CaptureFixture[str]) -> Check:
    """Run a command on a node with a VM 101 and a container 200, by a token with these rights."""

    def run(
        files: str, *words: str, privileges: dict[str, list[str]] | None = None
    ) -> tuple[int, str, Site]:
        site = make_site(privileges={"/": ROLE} if privileges is None else privileges)
        site.world.add(
            "qemu", 101, {"name": "web", "memory": "1024", "net0": NET, "ide2": "none,media=cdrom"}
        )
        site.world.add("lxc", 200, {"hostname": "dns", "memory": 512, "unprivileged": 1})
        site.declare(files)
        code = main(["--config", str(site.write_config()), *(words or ("check",))])
        return code, capsys.readouterr().out, site

    return run


def guest(config: str, vmid: int = 101) -> str:
    return f"[guest.{vmid}.config]\n{config}\n"


def test_check_names_the_very_privilege_path_and_commands(check: Check) -> None:
    code, out, site = check(guest("memory = 1024"), privileges={"/": ["VM.Audit", "Sys.Audit"]})
    assert code == 1
    assert "FAIL  /vms/101: the token lacks VM.Config.Memory; as root:" in out
    lines = [line.strip() for line in out.splitlines() if "pveum" in line]
    assert lines == [
        (
            f"pveum role add {ROLE_OF_BOTH} --privs VM.Audit,VM.Config.Memory || "
            f"pveum role modify {ROLE_OF_BOTH} --append 1 --privs VM.Audit,VM.Config.Memory"
        ),
        f"pveum acl modify /vms/101 --users felhom-agent@pve --roles {ROLE_OF_BOTH}",
        f"pveum acl modify /vms/101 --tokens 'felhom-agent@pve!agent' --roles {ROLE_OF_BOTH}",
    ]
    assert site.devnode.mutations == ()


@pytest.mark.parametrize(
    ("config", "vmid", "lack", "path", "role", "key"),
    [
        (f'net0 = "{NET}"', 101, "SDN.Use", "/sdn/zones/localnetwork/vmbr0", "SDN", "net0"),
        (f'net0 = "{NET},tag=7"', 101, "SDN.Use", "/sdn/zones/localnetwork/vmbr0/7", "SDN", "net0"),
        ('startup = "order=1"', 101, "Sys.Modify", "/", "Host", "startup"),
        ('usb0 = "mapping=stick"', 101, "Mapping.Use", "/mapping/usb/stick", "Mapping", "usb0"),
        ('rng0 = "source=/dev/hwrng"', 101, "Mapping.Use", "/mapping/hwrng", "Mapping", "rng0"),
        (
            'ide2 = "local:iso/a.iso,media=cdrom"',
            101,
            "Datastore.Audit",
            "/storage/local",
            "Storage",
            "ide2",
        ),
        (
            'vmstatestorage = "fast"',
            101,
            "Datastore.AllocateSpace",
            "/storage/fast",
            "Space",
            "vmstatestorage",
        ),
    ],
)
def test_what_is_lacking_elsewhere_is_told_with_its_guest_and_key(
    check: Check, config: str, vmid: int, lack: str, path: str, role: str, key: str
) -> None:
    code, out, _ = check(guest(config, vmid))
    assert code == 1
    assert f"/vms/{vmid}:" not in out, "the guest itself is fine"
    assert f"{lack} on {path}, for {key} of {vmid} web" in out
    name = f"FelhomAgent{role}"
    assert f"pveum role add {name} --privs {lack} || pveum role modify {name}" in out
    for who in ("--users felhom-agent@pve", "--tokens 'felhom-agent@pve!agent'"):
        assert f"pveum acl modify {path} {who} --roles {name}" in out


def test_what_check_asks_for_is_enough(check: Check) -> None:
    files = guest(
        f'net0 = "{NET},firewall=1"\nide2 = "local:iso/a.iso,media=cdrom"\nstartup = "order=1"'
    )
    rights = {
        "/": [*ROLE, "Sys.Modify"],
        "/sdn/zones/localnetwork/vmbr0": ["SDN.Use"],
        "/storage/local": ["Datastore.Audit"],
    }
    code, out, _ = check(files, privileges=rights)
    assert code == 0, out


def test_nesting_gets_a_role_of_its_own_since_it_lets_a_guest_be_destroyed(
    check: Check,
) -> None:
    code, out, _ = check(guest('features = "nesting=1"', 200))
    assert code == 1
    assert "/vms/200: the token lacks VM.Allocate (VM.Allocate is a strong privilege" in out
    (role,) = set(re.findall("pveum role add (FelhomAgentGuest-[0-9a-f]{8}) ", out))
    assert f"pveum acl modify /vms/200 --users felhom-agent@pve --roles {role}\n" in out
    granted = next(line for line in out.splitlines() if "pveum role add" in line)
    assert "VM.Allocate" in granted
    assert "VM.Config.CPU" in granted, "what the guest has from above stays"


def test_a_path_that_a_rule_shuts_is_asked_for_by_itself(check: Check) -> None:
    """PVE's list of all paths leaves out those on which nothing is left."""
    rights = {"/": [*ROLE, "SDN.Use"], "/sdn/zones/localnetwork/vmbr0": []}
    code, out, _ = check(guest(f'net0 = "{NET}"'), privileges=rights)
    assert code == 1
    assert "lacks SDN.Use on /sdn/zones/localnetwork/vmbr0" in out


def test_the_rights_of_many_guests_are_one_question(check: Check) -> None:
    files = guest("memory = 1024") + guest("memory = 512", 200)
    code, out, site = check(files)
    assert code == 0, out
    asked: list[Request] = [r for r in site.devnode.requests if "permissions" in r.path]
    assert [request.params for request in asked] == [EMPTY]


def test_many_vlans_are_told_in_bounded_lines(check: Check) -> None:
    code, out, _ = check(guest(f'net0 = "{NET},trunks=1-4094"'))
    assert code == 1
    assert max(map(len, out.splitlines())) < 500
    assert len(out.splitlines()) < 60


def test_plan_shows_what_the_token_may_not_do_before_it_is_tried(
    check: Check,
) -> None:
    files = '[guest.101]\nstate = "running"\n' + guest(
        f'memory = 2048\ncores = 2\nnet0 = "{NET},firewall=1"'
    )
    rights = {"/": ["VM.Audit", "Sys.Audit", "VM.Config.CPU", "VM.Config.Network"]}
    _, out, site = check(files, "plan", privileges=rights)
    assert "x memory: the token lacks VM.Config.Memory on /vms/101" in out
    assert "x net0: the token lacks SDN.Use on /sdn/zones/localnetwork/vmbr0" in out
    assert "x start: the token lacks VM.PowerMgmt on /vms/101" in out
    assert "cores" in out
    assert "> start" not in out
    assert site.devnode.mutations == ()
