"""The key of challenges that nobody remembers, and what such a challenge is bound to."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.authz.challenge import KEY_NAME, challenge_key, is_remembered
from felhom_agent.errors import FelhomError
from felhom_agent.journal.suspensions import Moment

HOST = "0" * 32
NOW = Moment(1_800_000_000.9, 1000.9, "a" * 32)


def test_the_key_is_made_once_of_32_bytes_and_for_its_owner_alone(tmp_path: Path) -> None:
    first = challenge_key(tmp_path, HOST)
    path = tmp_path / KEY_NAME
    assert len(path.read_bytes()) == len(first.secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert challenge_key(tmp_path, HOST) == first
    assert first.secret.hex() not in repr(first)
    assert str(first.secret) not in repr(first)


@pytest.mark.parametrize("left", [b"", b"x" * 31, b"x" * 33])
def test_a_key_that_was_cut_off_or_changed_in_length_is_made_anew(
    tmp_path: Path, left: bytes
) -> None:
    (tmp_path / KEY_NAME).write_bytes(left)
    made = challenge_key(tmp_path, HOST)
    assert len(made.secret) == 32
    assert (tmp_path / KEY_NAME).read_bytes() == made.secret != left


def test_a_key_that_cannot_be_used_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / KEY_NAME).mkdir()
    with pytest.raises(FelhomError, match=f"{KEY_NAME}: cannot be used"):
        challenge_key(tmp_path, HOST)


def test_a_token_tells_when_it_was_given_out_and_is_never_taken_for_younger(
    tmp_path: Path,
) -> None:
    key = challenge_key(tmp_path, HOST)
    token = key.token(NOW, "force_stop", 101)
    found = key.opened(token, "force_stop", 101)
    assert found is not None
    assert found.at == Moment(1_800_000_000.0, 1000.0, NOW.boot)
    assert not is_remembered(token)
    unknown = key.opened(key.token(replace(NOW, boot=""), "host"), "host", 0)
    assert unknown is not None
    assert unknown.at.boot == ""


def test_it_is_bound_to_the_host_the_class_and_the_guest_and_to_this_key(tmp_path: Path) -> None:
    key = challenge_key(tmp_path, HOST)
    token = key.token(NOW, "force_stop", 101)
    assert key.opened(token, "guest_destroy", 101) is None
    assert key.opened(token, "force_stop", 102) is None
    assert replace(key, host="f" * 32).opened(token, "force_stop", 101) is None
    assert replace(key, secret=b"x" * 32).opened(token, "force_stop", 101) is None
    assert key.opened("c" * 32, "force_stop", 101) is None
