"""What a declaration needs of the token, whether or not anything differs now."""

from __future__ import annotations

from types import MappingProxyType

from felhom_agent.model import (
    Actual,
    ActualGuest,
    DeclaredValue,
    DesiredGuest,
    Kind,
    Mode,
    RunState,
)
from felhom_agent.planning.needs import needs_of

HERE = "/vms/100"


def needed(
    *,
    state: RunState | None = None,
    mode: Mode = Mode.ENFORCE,
    unset: frozenset[str] = frozenset(),
    present: dict[str, object] | None = None,
    pending: dict[str, object] | None = None,
    **config: DeclaredValue,
) -> list[tuple[str, str]]:
    guest = ActualGuest(
        100, Kind.QEMU, "pve1", RunState.STOPPED, config=present or {}, pending=pending or {}
    )
    desired = DesiredGuest(
        100, state=state, mode=mode, unset=unset, config=MappingProxyType(config)
    )
    actual = Actual("pve1", {100: guest})
    return [(key, str(need)) for key, need in needs_of(desired, guest, actual)]


SEEING = ("", f"VM.Audit on {HERE}")


def test_seeing_a_guest_is_needed_by_every_declaration_and_nothing_else_by_one_that_observes() -> (
    None
):
    assert needed() == [SEEING]
    assert needed(state=RunState.RUNNING, cores=2, mode=Mode.OBSERVE) == [SEEING]


def test_a_run_state_needs_power_and_a_value_its_own_privilege() -> None:
    assert needed(state=RunState.STOPPED, cores=2, memory=512) == [
        SEEING,
        ("state", f"VM.PowerMgmt on {HERE}"),
        ("cores", f"VM.Config.CPU on {HERE}"),
        ("memory", f"VM.Config.Memory on {HERE}"),
    ]


def test_a_value_needs_what_it_needs_over_the_present_one_and_over_none() -> None:
    over_none = needed(ide2="local:iso/a.iso,media=cdrom")
    over_a_disk = needed(
        ide2="local:iso/a.iso,media=cdrom",
        present={"ide2": "local:100/vm-100-cloudinit.qcow2,media=cdrom"},
    )
    assert ("ide2", f"VM.Config.CDROM on {HERE}") in over_none
    assert ("ide2", f"VM.Config.Cloudinit on {HERE}") not in over_none
    assert set(over_none) <= set(over_a_disk)
    assert ("ide2", f"VM.Config.Cloudinit on {HERE}") in over_a_disk


def test_what_shall_be_absent_needs_what_its_deletion_needs() -> None:
    found = needed(unset=frozenset({"startup"}), present={"startup": "order=1"})
    assert ("startup", "Sys.Modify on /") in found
    assert needed(unset=frozenset({"cpulimit"})) == [
        SEEING, ("cpulimit", f"VM.Config.CPU on {HERE}")
    ]  # fmt: skip


def test_what_pve_did_not_tell_counts_as_absent() -> None:
    for wish in ({"cores": 2}, {"ide2": "local:iso/a.iso,media=cdrom"}, {"cpu": "host"}):
        nothing = dict.fromkeys(wish)
        assert needed(present=nothing, **wish) == needed(**wish)


def test_a_value_that_is_there_needs_what_setting_it_anew_would_need() -> None:
    found = needed(cpu="custom-fast", present={"cpu": "custom-fast"})
    assert ("cpu", "Mapping.Use on /mapping/cpu/fast") in found


def test_what_no_token_may_write_needs_nothing() -> None:
    assert needed(args="-S") == [SEEING]
    # A new volume is root's to make.
    assert needed(scsi0="local:32") == [SEEING]
