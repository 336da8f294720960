"""The hub's desired state: validated whole, kept before it is used, never gone back."""

from __future__ import annotations

import copy
import errno
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.config import HubConfig
from felhom_agent.desired.claims import Claims
from felhom_agent.desired.fromhub import NAME, OWNERS_WORDS, HubProvider, read_state
from felhom_agent.desired.merged import BOTH, MergedProvider
from felhom_agent.desired.provider import StaticProvider
from felhom_agent.errors import ConfigError, FelhomError
from felhom_agent.journal.disk import DISK, Disk
from felhom_agent.model import DesiredGuest, RestartPolicy, RunState, StopPolicy
from tests.journal.disks import WatchedDisk, failing

NAMED = HubConfig(guests=(range(100, 200),))
STATE: dict[str, Any] = {"guest": {"100": {"state": "running", "config": {"cores": 2}}}}
WRONG: dict[str, Any] = {"guest": {"100": {"state": "running", "config": {"cores": 0}}, "101": {}}}


def provider_in(directory: Path, disk: Disk = DISK, config: HubConfig = NAMED) -> HubProvider:
    return HubProvider(directory, config, disk)


def test_a_generation_is_desired_once_it_is_kept(tmp_path: Path) -> None:
    provider = provider_in(tmp_path)
    assert provider.load().guests == {}
    provider.accept(7, STATE, '"7"')
    assert provider.load().guests[100].state is RunState.RUNNING
    again = provider_in(tmp_path)
    assert again.load() == provider.load(), "it survives a restart"
    assert (again.kept.generation, again.kept.etag) == (7, '"7"')


def test_it_may_hold_passwords_and_is_for_its_owner_only(tmp_path: Path) -> None:
    provider_in(tmp_path).accept(1, STATE)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_one_wrong_guest_refuses_the_whole_generation(tmp_path: Path) -> None:
    provider = provider_in(tmp_path)
    provider.accept(1, STATE)
    with pytest.raises(ConfigError, match=r"generation 2 of the hub: guest 100: cores: .*1"):
        provider.accept(2, WRONG)
    assert provider.kept.generation == 1
    assert set(provider.load().guests) == {100}
    assert provider_in(tmp_path).kept.generation == 1


@pytest.mark.parametrize("state", [None, [], "x", 7, {"guests": {}}, {"guest": []}])
def test_what_is_no_desired_state_is_refused(tmp_path: Path, state: object) -> None:
    provider = provider_in(tmp_path)
    with pytest.raises(FelhomError):
        provider.accept(1, state)
    assert provider.kept.generation == 0


def test_a_generation_that_is_not_newer_is_refused(tmp_path: Path) -> None:
    provider = provider_in(tmp_path)
    provider.accept(5, STATE)
    for generation in (4, 5):
        with pytest.raises(FelhomError, match=f"generation {generation} is not newer than 5"):
            provider.accept(generation, {"guest": {}})
    assert set(provider.load().guests) == {100}


@pytest.mark.parametrize(
    ("word", "value"),
    [("stop", "power-off"), ("stop", "graceful"), ("restart", "allowed"), ("identity", "uuid=x")],
)
def test_what_only_the_hosts_owner_may_say_is_refused(
    tmp_path: Path, word: str, value: str
) -> None:
    state = copy.deepcopy(STATE)
    state["guest"]["100"][word] = value
    with pytest.raises(ConfigError, match=f"guest 100: {word} is for a file on the host"):
        provider_in(tmp_path).accept(1, state)


def test_a_state_that_cannot_be_kept_is_not_used(tmp_path: Path) -> None:
    disk = WatchedDisk()
    provider = provider_in(tmp_path, disk)
    provider.accept(1, STATE)
    for call in ("create", "write", "sync", "rename"):
        disk.before = failing(call, errno.ENOSPC)
        with pytest.raises(FelhomError, match="No space left"):
            provider.accept(2, {"guest": {}})
        assert provider.kept.generation == 1
        assert set(provider.load().guests) == {100}


def test_a_block_survives_a_restart(tmp_path: Path) -> None:
    provider_in(tmp_path).block(blocked=True)
    assert provider_in(tmp_path).kept.blocked


def test_what_was_accepted_by_older_rules_is_not_used_if_it_breaks_the_present_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = provider_in(tmp_path)
    provider.accept(1, STATE)
    monkeypatch.setattr("felhom_agent.desired.fromhub.OWNERS_WORDS", ("state",))
    again = provider_in(tmp_path).load()
    assert again.guests == {}
    assert "state is for a file on the host" in str(again.problems[0])


def test_of_a_guest_that_both_declare_the_file_counts_and_it_is_said(tmp_path: Path) -> None:
    hub = provider_in(tmp_path)
    hub.accept(1, {"guest": {"100": {"state": "running"}, "101": {"state": "running"}}})
    local = StaticProvider([DesiredGuest(100, state=RunState.STOPPED)])
    both = MergedProvider(local, hub, Claims(tmp_path)).load()
    assert both.guests[100].state is RunState.STOPPED
    assert both.guests[101].state is RunState.RUNNING
    assert both.remarks == {100: BOTH}


WORDS = st.sampled_from(["kind", "state", "mode", "stop", "restart", "identity", "config", "unset",
                         "nonsense"])  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(
        ["running", "stopped", "qemu", "lxc", "observe", "power-off", "allowed", "x"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["cores", "memory", "tags", "scsi0", "args"]), inner),
    max_leaves=6,
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(["guest", "guests", ""]),
        st.dictionaries(
            st.sampled_from(["100", "101", "1", "x"]), st.dictionaries(WORDS, VALUES) | VALUES
        )
        | VALUES,
    )
)
def test_whatever_a_hub_wishes_it_is_refused_or_what_a_hub_may_wish(state: dict[str, Any]) -> None:
    guests, problems = read_state(state, "a hub", 500)
    if problems:
        assert all(str(problem).startswith("a hub: ") for problem in problems)
        return
    for guest in guests.values():
        assert (guest.stop, guest.restart) == (StopPolicy.GRACEFUL, RestartPolicy.NEVER)
        assert guest.identity == ""
        body = state["guest"][str(guest.vmid)]
        assert not set(OWNERS_WORDS) & body.keys()
