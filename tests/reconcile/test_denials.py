"""What PVE denies is left out and told; all else of the guest is done. Over real HTTPS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from felhom_agent.daemon.assembly import Parts, assembled
from felhom_agent.devnode import Fault
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.operation import State, replay
from felhom_agent.model import Blocked, Converged, Outcome, RestartPolicy, RunState
from tests.conftest import Site
from tests.reconcile.test_reconciliation import turn, wanted

SEEING = ["VM.Audit", "Sys.Audit"]


@contextmanager
def opened(site: Site, *, looked: bool) -> Iterator[Parts]:
    """Open an agent; one that has `looked` has read what its token may do."""
    with assembled(site.config(), site.clock, monotonic=site.clock) as parts:
        if looked:
            parts.node.observer.snapshot(())
        yield parts


def ends(site: Site) -> list[tuple[str, State]]:
    found = replay(read(site.config().journal.directory / NAME))
    return [(operation.action, operation.state) for operation in found]


def why(outcome: Outcome) -> str:
    assert isinstance(outcome, Blocked), outcome
    return outcome.why


@pytest.mark.parametrize("version", ["9.1.7", "9.2.11"])
@pytest.mark.parametrize("vmid", [100, 200])
def test_a_key_that_the_token_may_not_write_holds_up_no_other(
    make_site: Callable[..., Site], vmid: int, version: str
) -> None:
    """PVE takes all keys of a change or none, and says which privilege it misses."""
    site = make_site(privileges={"/": [*SEEING, "VM.Config.Options", "VM.Config.CPU"]})
    site.world.add("qemu", 100, {"memory": "1024", "cores": 1})
    site.world.add("lxc", 200, {"memory": 1024, "cores": 1})
    site.world.version = version
    guest = wanted(vmid, memory=2048, cores=2, description="mine")
    with opened(site, looked=False) as parts:
        told = why(turn(parts, guest))
    found = site.world.config(vmid)
    assert (str(found["memory"]), found["cores"]) == ("1024", 2)
    assert str(found["description"]).strip() == "mine"
    assert f"memory: the token lacks VM.Config.Memory on /vms/{vmid}" in told
    assert "pveum role add FelhomAgentGuest-" in told
    assert "--privs VM.Config.Memory" in told
    assert f"pveum acl modify /vms/{vmid} --tokens 'felhom-agent@pve!agent' --roles" in told
    assert "cores" not in told
    assert ends(site) == [("SetConfig", State.FAILED), ("SetConfig", State.SUCCEEDED)]


def test_a_denial_in_pves_worker_is_the_same(make_site: Callable[..., Site]) -> None:
    """PVE 9.2 answers 500 for it (recorded: 9.2 200b/001-067)."""
    site = make_site(privileges={"/": [*SEEING, "VM.Config.Options", "VM.Config.Network"]})
    site.world.version = "9.2.11"
    site.world.add("qemu", 100, {"cores": 1})
    site.world.user_allow = "none"
    guest = wanted(100, tags="new", description="mine")
    with opened(site, looked=False) as parts:
        # The other key was written before PVE came to the tags (recorded: 9.2 200b/065).
        told = why(turn(parts, guest))
    assert "tags: the token lacks Sys.Modify on /" in told
    assert "description" not in told
    assert site.world.config(100)["description"] == "mine"


@pytest.mark.parametrize("restart", RestartPolicy)
def test_what_a_denied_change_left_behind_takes_effect_without_a_restart(
    make_site: Callable[..., Site], restart: RestartPolicy
) -> None:
    """PVE's worker dies before it plugs what it has written (qemu-server update_vm_api)."""
    site = make_site()
    site.world.version = "9.2.11"
    site.world.add("qemu", 100, {"cores": 1, "onboot": 1}, running=True)
    site.world.user_allow = "none"
    guest = wanted(100, RunState.RUNNING, tags="new", description="mine", cpulimit=1)
    guest = replace(guest, restart=restart, unset=frozenset({"onboot"}))
    with opened(site, looked=False) as parts:
        told = why(turn(parts, guest))
    assert "tags: the token lacks Sys.Modify on /" in told
    assert "restart" not in told
    first, *others = ends(site)
    assert first == ("SetConfig", State.FAILED)
    assert others
    conf = site.world.guests[100].conf
    assert (conf.pending, conf.unset) == ({}, set())
    assert (conf.values["description"], conf.values["cpulimit"]) == ("mine", "1")
    assert "onboot" not in conf.values
    assert {action for action, _ in ends(site)} == {"SetConfig"}


def test_what_the_token_is_known_to_lack_is_not_even_tried(make_site: Callable[..., Site]) -> None:
    site = make_site(privileges={"/": [*SEEING, "VM.Config.CPU"]})
    site.world.add("qemu", 100, {"memory": "1024", "cores": 1})
    with opened(site, looked=True) as parts:
        told = why(turn(parts, wanted(100, memory=2048, cores=2, state=RunState.RUNNING)))
        assert why(turn(parts, wanted(100, memory=2048, cores=2, state=RunState.RUNNING))) == told
    assert "memory: the token lacks VM.Config.Memory on /vms/100" in told
    assert "start: the token lacks VM.PowerMgmt on /vms/100" in told
    assert [m.params.get("cores") for m in site.devnode.mutations] == ["2"]
    assert ends(site) == [("SetConfig", State.SUCCEEDED)]


def test_keys_that_several_paths_shut_are_told_each_with_its_own(
    make_site: Callable[..., Site],
) -> None:
    rights = [*SEEING, "VM.Config.Options", "VM.Config.Network", "VM.Config.CPU"]
    site = make_site(privileges={"/": rights})
    site.world.add("qemu", 100, {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0", "cores": 1})
    net = "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1"
    guest = wanted(100, net0=net, startup="order=1", memory=2048, cores=2)
    with opened(site, looked=False) as parts:
        told = why(turn(parts, guest))
    assert "net0: the token lacks SDN.Use on /sdn/zones/localnetwork/vmbr0" in told
    assert "startup: the token lacks Sys.Modify on /" in told
    assert "memory: the token lacks VM.Config.Memory on /vms/100" in told
    assert "pveum role add FelhomAgentSDN --privs SDN.Use" in told
    assert site.world.config(100)["cores"] == 2


def test_a_denial_that_nothing_explains_has_each_key_tried_once_by_itself(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    site.world.add("qemu", 100, {"memory": "1024", "cores": 1})
    words = "refuse:failed to update VM 100: 403 Permission check failed (/nowhere, Sys.Odd)"
    site.devnode.faults.add(Fault("POST", "qemu/100/config$", words, times=2))
    with opened(site, looked=False) as parts:
        told = why(turn(parts, wanted(100, cores=2, memory=2048, description="mine")))
    changed = site.world.config(100)
    done = [changed["cores"] == 2, changed["memory"] == "2048", "description" in changed]
    assert done.count(True) == 2
    assert "the token lacks Sys.Odd on /nowhere" in told
    tried = [state for _, state in ends(site)]
    assert (tried.count(State.FAILED), tried.count(State.SUCCEEDED)) == (2, 2)


def test_a_guest_of_which_everything_is_denied_is_left_after_one_try_of_each(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(privileges={"/": SEEING})
    site.world.add("qemu", 100, {"memory": "1024", "cores": 1})
    guest = wanted(100, memory=2048, cores=2, state=RunState.RUNNING)
    with opened(site, looked=False) as parts:
        told = why(turn(parts, guest))
    assert "VM.Config.Memory" in told
    assert "VM.Config.CPU" in told
    assert "start: the token lacks VM.PowerMgmt on /vms/100" in told
    assert site.world.config(100)["cores"] == 1
    assert len(ends(site)) <= 4


def test_a_restart_is_done_for_what_may_be_written(make_site: Callable[..., Site]) -> None:
    site = make_site(privileges={"/": [*SEEING, "VM.Config.CPU", "VM.PowerMgmt"]})
    site.world.add("qemu", 100, {"memory": "1024", "cores": 1}, running=True)
    guest = wanted(100, memory=2048, cores=2, state=RunState.RUNNING)
    guest = replace(guest, restart=RestartPolicy.ALLOWED)
    with opened(site, looked=False) as parts:
        told = why(turn(parts, guest))
    assert "memory: the token lacks VM.Config.Memory" in told
    assert site.world.config(100)["cores"] == 2
    assert site.world.running(100)
    assert [action for action, _ in ends(site)] == ["SetConfig", "SetConfig", "Stop", "Start"]


def test_a_denial_has_the_rights_read_again_and_a_grant_is_used(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(privileges={"/": [*SEEING, "VM.Config.CPU"]})
    site.world.add("qemu", 100, {"memory": "1024", "cores": 1})
    guest = wanted(100, memory=2048)
    with opened(site, looked=False) as parts:
        assert isinstance(turn(parts, guest), Blocked)
        parts.node.observer.snapshot(())
        assert isinstance(turn(parts, guest), Blocked)
        assert len(ends(site)) == 1  # known by now, and not tried
        site.world.token(
            "felhom-agent@pve!agent", {"/": [*SEEING, "VM.Config.Memory"]}, site.secret
        )
        parts.node.observer.refresh()
        parts.node.observer.snapshot(())
        assert turn(parts, guest) == Converged()


def test_a_bad_token_is_no_matter_of_one_key(make_site: Callable[..., Site]) -> None:
    site = make_site()
    site.world.add("qemu", 100, {"cores": 1})
    site.devnode.faults.add(Fault("POST", "qemu/100/config$", "status:401"))
    with opened(site, looked=False) as parts:
        assert "the API token was not accepted" in why(turn(parts, wanted(100, cores=2)))
    assert ends(site) == [("SetConfig", State.FAILED)]
