"""Networks whose zone the token may not see: the right path is told, or that nobody knows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from felhom_agent.cli.main import main
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES
from tests.conftest import TOKEN_ID, Site

BARE = "virtio=BC:24:11:00:00:01"
CARD = f"{BARE},bridge="
LOCAL = {"/sdn/zones/localnetwork": ["SDN.Use"]}
Rights = dict[str, list[str]]


@pytest.fixture
def host(make_site: Callable[..., Site]) -> Site:
    """A node with a virtual network `lab` of the zone z1, and a VM that shall have a card on it."""
    site = make_site(privileges={"/": list(AGENT_PRIVILEGES), **LOCAL})
    site.world.zones["lab"] = "z1"
    site.world.bridges |= {"lab", "br0"}
    site.world.add("qemu", 101, {"name": "web", "memory": "1024", "net0": BARE})
    return site


def run(site: Site, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    main(["--config", str(site.write_config()), *words])
    return capsys.readouterr().out


def grant(site: Site, rights: Rights) -> None:
    site.world.tokens.grant(TOKEN_ID, {"/": AGENT_PRIVILEGES, **rights})


def declare(site: Site, bridge: str, more: str = "") -> None:
    site.declare(f'[guest.101.config]\nnet0 = "{CARD}{bridge}{more}"\nmemory = 2048\n')


@pytest.mark.parametrize(
    ("bridge", "rights", "path"),
    [
        ("lab", LOCAL, "/sdn/zones/<zone of lab>/lab"),
        ("lab", {}, "/sdn/zones/<zone of lab>/lab"),
        ("lab", {"/sdn/zones/localnetwork/lab": ["SDN.Use"]}, "/sdn/zones/<zone of lab>/lab"),
        ("lab,tag=7", LOCAL, "/sdn/zones/<zone of lab>/lab/7"),
        ("lab", {**LOCAL, "/sdn/zones/z2": ["SDN.Use"]}, "/sdn/zones/<zone of lab>/lab"),
        ("lab", {"/sdn": ["SDN.Use"], "/sdn/zones/z1": []}, "/sdn/zones/<zone of lab>/lab"),
        # Who may see the network is told its zone.
        ("lab", {**LOCAL, "/sdn/zones/z1": ["SDN.Audit"]}, "/sdn/zones/z1/lab"),
        ("lab,tag=7", {**LOCAL, "/sdn/zones/z1/lab/8": ["SDN.Use"]}, "/sdn/zones/z1/lab/7"),
        # A bridge of the host by its name, or as it is seen.
        ("vmbr0", {}, "/sdn/zones/localnetwork/vmbr0"),
        ("br0,tag=7", {"/sdn/zones/localnetwork/br0/8": ["SDN.Use"]},
         "/sdn/zones/localnetwork/br0/7"),
    ],
)  # fmt: skip
def test_what_pve_denies_is_told_beforehand_with_the_path_that_is_known(
    host: Site, capsys: pytest.CaptureFixture[str], bridge: str, rights: Rights, path: str
) -> None:
    grant(host, rights)
    declare(host, bridge)
    checked = run(host, capsys, "check")
    assert f"SDN.Use on {path}" in checked
    assert "every privilege" not in checked
    assert ("zone of lab is not known" in checked) is ("<" in path)
    assert f"SDN.Use on {path}" in run(host, capsys, "plan")
    run(host, capsys, "apply", "101", "--yes")
    conf = host.world.guests[101].conf.values
    assert (conf["memory"], conf["net0"]) == ("2048", BARE)


def test_what_is_given_on_a_bridge_alone_is_not_given_on_its_vlans(
    host: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of check give a bridge with `--propagate 0`."""
    bridge = "/sdn/zones/localnetwork/vmbr0"
    rights = {"/": AGENT_PRIVILEGES, bridge: ["SDN.Use"]}
    host.world.tokens.grant(TOKEN_ID, rights, alone=[bridge])
    declare(host, "vmbr0")
    assert "every privilege" in run(host, capsys, "check")
    run(host, capsys, "apply", "101", "--yes")
    card = host.world.guests[101].conf.values["net0"]
    assert card == f"{CARD}vmbr0"
    declare(host, "vmbr0,tag=7")
    assert f"SDN.Use on {bridge}/7" in run(host, capsys, "check")
    run(host, capsys, "apply", "101", "--yes")
    assert host.world.guests[101].conf.values["net0"] == card


@pytest.mark.parametrize(
    ("bridge", "rights"),
    [
        ("lab", {**LOCAL, "/sdn/zones/z1": ["SDN.Use"]}),
        ("lab,tag=7", {**LOCAL, "/sdn/zones/z2": ["SDN.Use"], "/sdn/zones/z1/lab": ["SDN.Use"]}),
        ("lab", {**LOCAL, "/sdn/zones/z1/lab": ["SDN.Use"]}),
        ("lab,tag=7", {**LOCAL, "/sdn/zones/z1/lab/7": ["SDN.Use"]}),
        ("lab", {"/sdn": ["SDN.Use"]}),
        ("lab", {**LOCAL, "/sdn/zones/z1": ["SDN.Audit"], "/sdn/zones/z1/lab": ["SDN.Use"]}),
        ("br0", LOCAL),
    ],
)
def test_what_pve_allows_is_done(
    host: Site, capsys: pytest.CaptureFixture[str], bridge: str, rights: Rights
) -> None:
    grant(host, rights)
    declare(host, bridge)
    assert "every privilege" in run(host, capsys, "check")
    run(host, capsys, "apply", "101", "--yes")
    assert host.world.guests[101].conf.values["net0"] == f"{CARD}{bridge}"
