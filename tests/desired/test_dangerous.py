"""Values that can lose data are taken from a local file only if they are said twice."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from felhom_agent.config import tomlfile
from felhom_agent.desired.guestfile import guests_of
from felhom_agent.model import DesiredGuest

DISK = "local-lvm:vm-101-disk-0"


def read(config: str, guest: str = "") -> tuple[dict[int, DesiredGuest], list[str]]:
    text = f"[guest.101]\n{guest}\n[guest.101.config]\n{config}\n"
    guests, problems = guests_of(tomlfile.parse(text, Path("g.toml")))
    return copy.copy(guests), [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("snapshot=1", "snapshot"), ("snapshot=on", "snapshot"), ("snapshot=yes", "snapshot"),
        ("snapshot=TRUE", "snapshot"), ("cache=unsafe", "cache"), ("werror=ignore", "werror"),
        ("rerror=ignore", "rerror"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("drive", ["scsi0", "virtio1", "sata2", "ide3"])
def test_said_once_it_is_refused_with_its_line_and_the_remedy(
    drive: str, part: str, name: str
) -> None:
    config = f'{drive} = "{DISK},{part}"'
    guests, (problem,) = read(config)
    assert guests == {}
    assert problem == (
        f"g.toml:4: guest 101: {drive}.{name} as declared can lose data; if it is meant, say"
        f' dangerous = ["{drive}.{name}"], too'
    )
    guests, problems = read(config, f'dangerous = ["{drive}.{name}"]')
    assert problems == []
    assert set(guests) == {101}


@pytest.mark.parametrize(
    "parts", ["", ",snapshot=0", ",snapshot=off", ",cache=none", ",werror=stop,rerror=report"]
)
def test_what_is_harmless_needs_no_second_word(parts: str) -> None:
    assert read(f'scsi0 = "{DISK}{parts}"')[1] == []


def test_each_part_is_confirmed_for_itself() -> None:
    config = f'scsi0 = "{DISK},snapshot=1,cache=unsafe"'
    _, (problem,) = read(config, 'dangerous = ["scsi0.snapshot"]')
    assert "scsi0.cache as declared can lose data" in problem


@pytest.mark.parametrize("name", ["scsi0.snapshot", "scsi0", "snapshot", "", "*", "\u202e" * 500])
def test_a_confirmation_of_what_is_not_declared_is_refused(name: str) -> None:
    _, (problem,) = read(f'scsi0 = "{DISK}"', f'dangerous = ["{name}"]')
    assert problem.startswith("g.toml:2: guest 101: dangerous: ")
    assert problem.isprintable()
    assert len(problem) < 200


@pytest.mark.parametrize("said", ["true", '"scsi0.snapshot"', "[1]", "[[]]", "{}", "[true]"])
def test_what_is_no_list_of_names_is_refused(said: str) -> None:
    _, (problem,) = read(f'scsi0 = "{DISK}"', f"dangerous = {said}")
    assert 'dangerous must be a list like ["scsi0.snapshot"]' in problem


def test_a_list_without_end_is_refused() -> None:
    names = ", ".join(f'"scsi0.x{n}"' for n in range(1001))
    _, (problem,) = read(f'scsi0 = "{DISK}"', f"dangerous = [{names}]")
    assert "a list of more than 1000 names" in problem


def test_the_others_of_the_file_are_not_touched_by_it() -> None:
    text = f'[guest.101.config]\nscsi0 = "{DISK},snapshot=1"\n[guest.102]\nstate = "running"\n'
    guests, problems = guests_of(tomlfile.parse(text, Path("g.toml")))
    assert set(guests) == {102}
    assert len(problems) == 1
