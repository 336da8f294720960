"""The hub's desired state: validated whole, kept before it is used, never gone back."""

from __future__ import annotations

import copy
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.config.settings import HubConfig
from felhom_agent.desired.claims import Claims
from felhom_agent.desired.hub import NAME, OWNER_ONLY_KEYS, HubProvider, HubState, read_state
from felhom_agent.desired.hubfile import HubFile
from felhom_agent.desired.merged import BOTH, MergedProvider
from felhom_agent.desired.provider import StaticProvider
from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.durable.line import encode, encode_file
from felhom_agent.errors import ConfigError, FelhomError
from felhom_agent.model import DesiredGuest, Problem, RestartPolicy, RunState, StopPolicy
from tests.journal.disks import WatchedDisk, failing

NAMED = HubConfig(guests=(range(100, 200),))
STATE: dict[str, Any] = {"guest": {"100": {"state": "running", "config": {"cores": 2}}}}
WRONG: dict[str, Any] = {"guest": {"100": {"state": "running", "config": {"cores": 0}}, "101": {}}}


GOOD: dict[str, Any] = {"generation": 7, "etag": '"7"', "blocked": True, "state": STATE}


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
    with pytest.raises(ConfigError, match=r"generation 2 of the hub: guest 100: cores must .*1"):
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


CHANGES: list[dict[str, Any]] = [
    {"generation": "7"}, {"generation": True}, {"generation": -1}, {"generation": 2**53},
    {"generation": None}, {"etag": 7}, {"etag": "a\nb"}, {"etag": "x" * 201},
    {"blocked": 1}, {"blocked": None}, {"state": []}, {"state": "x"}, {"may_block": 1},
    {"state": {"guest": {"100": {"config": {"description": "\ud800"}}}}},
]  # fmt: skip
SPOILED: dict[str, bytes] = {
    "empty": b"",
    "garbage": b"garbage",
    "a wrong sum": b'{"v":1,"n":1,"crc":"00000000","r":{}}\n',
    "of another time": encode(1, b"{}").replace(b'"v":1', b'"v":9'),
    **{
        repr(change)[:60]: encode_file([{**GOOD, **change}]) for change in CHANGES
    },
    "nothing of ours": encode_file([{}]),
    "NaN": encode(1, b'{"blocked":false,"etag":"","generation":1,"state":{"x":NaN}}'),
    "nested": encode(1, b'{"state":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILED)
def test_a_damaged_file_is_told_set_aside_and_gone_on_without(tmp_path: Path, how: str) -> None:
    (tmp_path / NAME).write_bytes(SPOILED[how])
    looked = HubProvider(tmp_path, NAMED, keeps=False)
    assert "the agent sets it aside" in str(looked.load().problems[0])
    assert (tmp_path / NAME).exists(), "who only looks changes nothing"
    provider = provider_in(tmp_path)
    assert provider.kept == HubState()
    assert provider.load().guests == {}
    problem = only(provider.load().problems)
    assert problem.startswith(f"{tmp_path / NAME}: ")
    assert problem.endswith(f"it is set aside as {NAME}.damaged")
    assert (tmp_path / f"{NAME}.damaged").read_bytes() == SPOILED[how]
    provider.accept(1, STATE)
    assert provider.load().problems == ()
    assert set(provider_in(tmp_path).load().guests) == {100}


def test_a_file_that_cannot_be_read_for_now_is_left_where_it_is(tmp_path: Path) -> None:
    file = HubFile(tmp_path / ("x" * 300))
    found, why = file.read(lambda record: record)
    assert found is None
    assert why.endswith("cannot be read: File name too long")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda p: p.symlink_to("/dev/zero")])
def test_what_is_no_file_costs_what_was_in_it(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / NAME)
    provider = provider_in(tmp_path)
    assert "set aside as" in only(provider.load().problems)
    provider.accept(1, STATE)
    assert set(provider_in(tmp_path).load().guests) == {100}


def test_a_file_that_cannot_even_be_set_aside_is_one_line(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"garbage")
    disk = WatchedDisk(failing("rename", errno.EROFS))
    provider = provider_in(tmp_path, disk)
    assert only(provider.load().problems).endswith(
        "is damaged; it cannot be set aside either: Read-only file system"
    )


def test_a_damaged_file_is_over_once_the_hub_has_answered_that_it_has_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / NAME).write_bytes(b"garbage")
    provider = provider_in(tmp_path)
    provider.answered()
    assert provider.load().problems == ()


def only(problems: tuple[Problem, ...]) -> str:
    assert len(problems) == 1
    return str(problems[0])


def test_a_guest_that_the_owner_did_not_name_is_ignored_and_told_and_the_others_are_not(
    tmp_path: Path,
) -> None:
    wide = {"guest": {str(v): {"state": "running"} for v in (100, 199, *range(200, 230))}}
    provider = provider_in(tmp_path)
    provider.accept(1, wide)
    found = provider.load()
    assert set(found.guests) == {100, 199}
    assert only(found.problems) == (
        "generation 1 of the hub: ignored: [hub] guests in agent.toml does not name "
        f"{', '.join(str(v) for v in range(200, 220))} and 10 more"
    )
    assert set(provider_in(tmp_path, config=HubConfig()).load().guests) == set()


def test_more_guests_than_the_owner_allows_are_refused(tmp_path: Path) -> None:
    many: dict[str, Any] = {"guest": {str(100 + n): {} for n in range(501)}}
    with pytest.raises(ConfigError, match=r"it has 501 guests; \[hub\] max_guests allows 500"):
        provider_in(tmp_path).accept(1, many)
    provider_in(tmp_path, config=HubConfig(max_guests=501)).accept(1, many)


@pytest.mark.parametrize("generation", [True, 1.0, "1", None, -1, 2**53, 1_000_001, 2**53 - 1])
def test_a_generation_is_a_whole_number_within_reach(tmp_path: Path, generation: Any) -> None:
    provider = provider_in(tmp_path)
    with pytest.raises(FelhomError):
        provider.accept(generation, STATE)
    provider.accept(1_000_000, STATE)
    provider.accept(2_000_000, STATE)


def test_the_owner_ends_a_block_allows_none_and_allows_it_again(tmp_path: Path) -> None:
    provider_in(tmp_path).block(blocked=True)
    provider_in(tmp_path).let_block(allowed=False)
    assert provider_in(tmp_path).kept == HubState(may_block=False)
    provider_in(tmp_path).let_block(allowed=True)
    assert provider_in(tmp_path).kept == HubState()


def test_what_was_forgotten_can_begin_anew_and_the_owners_word_stays(tmp_path: Path) -> None:
    provider = provider_in(tmp_path)
    provider.accept(7, STATE)
    provider.let_block(allowed=False)
    provider.forget()
    assert provider.load().guests == {}
    again = provider_in(tmp_path)
    assert again.kept == HubState(may_block=False)
    again.accept(1, STATE)


def test_a_file_of_the_version_before_is_understood(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(encode_file([GOOD]))
    assert provider_in(tmp_path).kept == HubState(7, '"7"', True, STATE)
    assert provider_in(tmp_path).load().problems == ()


def test_what_was_accepted_by_older_rules_is_not_used_if_it_breaks_the_present_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = provider_in(tmp_path)
    provider.accept(1, STATE)
    monkeypatch.setattr("felhom_agent.desired.hub.OWNER_ONLY_KEYS", ("state",))
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


def test_a_bug_of_ours_costs_the_generation_that_found_it_and_not_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    provider = provider_in(tmp_path)
    provider.accept(1, STATE)

    def stumble(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("felhom_agent.desired.hub.guests_of", stumble)
    with pytest.raises(ConfigError, match=r"cannot be validated: internal error \(ZeroDivision"):
        provider.accept(2, STATE)
    assert set(provider.load().guests) == {100}
    assert provider_in(tmp_path).load().guests == {}, "and it begins all the same"
    assert "internal error while validating generation 2 of the hub" in caplog.text


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
def test_whatever_a_hub_declares_it_is_refused_or_within_its_rights(
    state: dict[str, Any],
) -> None:
    guests, problems = read_state(state, "a hub", HubConfig())
    if problems:
        assert all(str(problem).startswith("a hub: ") for problem in problems)
        return
    for guest in guests.values():
        assert (guest.stop, guest.restart) == (StopPolicy.GRACEFUL, RestartPolicy.NEVER)
        assert guest.identity == ""
        body = state["guest"][str(guest.vmid)]
        assert not set(OWNER_ONLY_KEYS) & body.keys()
