"""Files that go between host and desk are whole or absent, and replace nothing unasked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from felhom_agent.authz.request import Circumstances, SignedRequest, compose
from felhom_agent.cli.jobfiles import read_request, write_new
from felhom_agent.errors import FelhomError
from tests.authz.desk import GUEST, HOST

REQUEST = SignedRequest(
    compose("guest_destroy", GUEST, HOST, "c" * 32, params={"purge": True}), Circumstances("pve1")
)


def test_a_file_is_for_everybody_to_read_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_new(tmp_path / "x", b"data")
    finally:
        os.umask(before)
    assert (tmp_path / "x").read_bytes() == b"data"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_is_there_is_replaced_by_force_alone(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("mine")
    with pytest.raises(FelhomError, match="is there already; .* --force"):
        write_new(path, b"data")
    assert path.read_text() == "mine"
    write_new(path, b"data", force=True)
    assert path.read_bytes() == b"data"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_place_that_takes_no_file_is_told_in_a_line_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    for force in (False, True):
        with pytest.raises(FelhomError, match=r"dir.*(is there already|cannot be written)"):
            write_new(tmp_path / "dir", b"data", force=force)
        with pytest.raises(FelhomError, match="cannot be written: No such file"):
            write_new(tmp_path / "none" / "x", b"data", force=force)
    assert [entry.name for entry in tmp_path.iterdir()] == ["dir"]


def test_a_request_is_read_with_the_line_end_that_an_editor_puts_behind_it(tmp_path: Path) -> None:
    for end in (b"", b"\n", b"\r\n", b"\n\n"):
        (tmp_path / "r").write_bytes(REQUEST.encode() + end)
        assert read_request(tmp_path / "r") == REQUEST


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b"{}", "it has not schema, operation and circumstances"),
        (b"[" * 100, "nested more than 6 deep"),
        (b"\xff" * 10, "not UTF-8"),
        (b" " + REQUEST.encode(), "not canonical"),
        (REQUEST.encode()[:-10], "no JSON"),
        (REQUEST.encode().replace(b'"vmid":101', b'"vmid":102'), "in other words than this"),
        (REQUEST.encode().replace(b'"web"', b'"w\\u001b[31m"'), "not as it must be"),
        (b"x" * 70_000, "70000 bytes"),
        (b"x" * 10_000_000, "10,000,000 bytes"),
    ],
)
def test_what_is_no_request_is_told_in_a_line_with_its_file(
    tmp_path: Path, data: bytes, said: str
) -> None:
    (tmp_path / "r").write_bytes(data)
    with pytest.raises(FelhomError) as caught:
        read_request(tmp_path / "r")
    assert str(caught.value).startswith(str(tmp_path / "r"))
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: None])
def test_what_is_no_file_is_refused_without_waiting(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "r")
    with pytest.raises(FelhomError, match="r: (is not read|cannot be read)"):
        read_request(tmp_path / "r")
