"""Whose CAs a file has, and when they are good."""

from __future__ import annotations

from pathlib import Path

import pytest

from felhom_agent.devnode.http.certificate import make as as_pve_made_it
from felhom_agent.proxmox import cafile
from tests.proxmox import authority


def test_pves_own_ca_is_known_by_whom_it_is_of_wherever_it_was_copied(tmp_path: Path) -> None:
    assert cafile.is_of_pve(as_pve_made_it(tmp_path, "192.0.2.1", key_usage=False).ca_file)
    assert cafile.is_of_pve(authority.make(tmp_path).ca_file)


def test_a_nodes_own_file_is_pves_whosever_ca_a_person_put_there(tmp_path: Path) -> None:
    made = authority.make(tmp_path, organization="A company").ca_file
    assert not cafile.is_of_pve(made)
    assert cafile.is_of_pve(made.rename(tmp_path / "pve-root-ca.pem"))


def test_a_file_with_anybody_elses_ca_is_not_pves(tmp_path: Path) -> None:
    own = authority.make(tmp_path).ca_file.read_bytes()
    other = authority.make(tmp_path, organization="A company").ca_file.read_bytes()
    both = tmp_path / "both.pem"
    both.write_bytes(own + other)
    assert len(cafile.authorities(both)) == 2
    assert not cafile.is_of_pve(both)


@pytest.mark.parametrize("content", ["", "junk", None])
def test_a_file_without_a_ca_is_nobodys(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(authority.make(tmp_path).shown if content is None else content)
    assert cafile.authorities(path) == []
    assert not cafile.is_of_pve(path)
    assert cafile.out_of_time(path) == ([], [], 0)


def test_the_cas_of_a_host_are_no_pves_by_whatever_name_they_are_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_system = authority.make(tmp_path).ca_file
    other = tmp_path / "pve-root-ca.pem"
    other.symlink_to(of_system)
    monkeypatch.setattr(cafile, "OF_SYSTEM", (of_system,))
    for path in (of_system, other):
        assert cafile.is_of_system(path)
        assert not cafile.is_of_pve(path)


def test_which_cas_are_out_of_their_time_is_told(tmp_path: Path) -> None:
    made = [
        authority.make(tmp_path, ca_begins=begins, ca_ends=ends).ca_file.read_bytes()
        for begins, ends in ((-30, -1), (5, 9), (-30, 9))
    ]
    all_of_them = tmp_path / "all.pem"
    all_of_them.write_bytes(b"".join(made))
    ended, later, number = cafile.out_of_time(all_of_them)
    assert (len(ended), len(later), number) == (1, 1, 3)
