"""A host's id is random, stays, and does not go along to another machine."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from felhom_agent.authz.hostid import HOST_ID, Machine, host_id, this_machine
from felhom_agent.errors import FelhomError

HERE = Machine("m1", frozenset({"a", "b"}))


def test_an_id_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    first = host_id(tmp_path, HERE)
    assert len(first.id) == 32
    assert not first.renewed
    assert host_id(tmp_path, HERE) == first
    assert stat.S_IMODE((tmp_path / HOST_ID).stat().st_mode) == 0o600
    other = tmp_path / "other"
    other.mkdir()
    assert host_id(other, HERE).id != first.id


@pytest.mark.parametrize(
    "copy", [Machine("m2", HERE.cards), Machine("m1", frozenset({"c"})), Machine("m2")]
)
def test_a_copy_on_another_machine_gets_another_id(tmp_path: Path, copy: Machine) -> None:
    first = host_id(tmp_path, HERE)
    second = host_id(tmp_path, copy)
    assert second.renewed
    assert second.id != first.id
    assert host_id(tmp_path, copy).id == second.id


@pytest.mark.parametrize(
    "same", [Machine("m1", frozenset({"b", "z"})), Machine("m1"), Machine("", frozenset({"a"}))]
)
def test_a_card_more_or_less_makes_no_other_host(tmp_path: Path, same: Machine) -> None:
    first = host_id(tmp_path, HERE)
    assert host_id(tmp_path, same).id == first.id


@pytest.mark.parametrize(
    "text", ["x", "{}", "[]", '{"host":"short","machine":"","cards":[]}', "[" * 100_000]
)
def test_a_file_that_is_damaged_is_told_and_not_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / HOST_ID).write_text(text)
    with pytest.raises(FelhomError, match="host-id"):
        host_id(tmp_path, HERE)
    assert (tmp_path / HOST_ID).read_text() == text


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FelhomError, match="cannot be used"):
        host_id(tmp_path / "none", HERE)


def test_a_machine_is_told_by_its_id_and_its_own_cards(tmp_path: Path) -> None:
    cards = tmp_path / "net"
    for name, kind, device in (("eth0", "0", True), ("vmbr0", "0", False), ("tap0", "1", True)):
        card = cards / name
        card.mkdir(parents=True)
        (card / "addr_assign_type").write_text(kind)
        (card / "address").write_text(f"bc:24:11:00:00:0{len(name)}\n")
        if device:
            (card / "device").mkdir()
    (tmp_path / "id").write_text("0123\n")
    found = this_machine(tmp_path / "id", cards)
    assert len(found.cards) == 1
    assert found.id
    assert "0123" not in found.id
    assert this_machine(tmp_path / "none", tmp_path / "none") == Machine("")
    assert this_machine() == this_machine()
