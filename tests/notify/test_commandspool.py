"""A notice is left for the commands of this host, whole, closed to others, and not without end."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from felhom_agent.notify.commandspool import MAX_WAITING, CommandSpool
from felhom_agent.notify.webhook import Undelivered
from tests.notify.receiver import notice


def test_a_notice_is_one_file_that_others_cannot_read(tmp_path: Path) -> None:
    CommandSpool(tmp_path).put(notice())
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text()) == notice().as_json()
    assert path.suffix == ".json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_files_sort_by_when_it_was(tmp_path: Path) -> None:
    spool = CommandSpool(tmp_path)
    for at in (2.0, 1.0, 1.0):
        spool.put(notice(at=at, text=f"at {at}"))
    texts = [json.loads(path.read_text())["text"] for path in sorted(tmp_path.iterdir())]
    assert texts == ["at 1.0", "at 1.0", "at 2.0"]


def test_where_nobody_takes_them_away_nothing_grows(tmp_path: Path) -> None:
    spool = CommandSpool(tmp_path)
    for _ in range(MAX_WAITING):
        spool.put(notice())
    with pytest.raises(Undelivered, match="felhom-agent-notify.path"):
        spool.put(notice())
    assert len(list(tmp_path.iterdir())) == MAX_WAITING


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Undelivered, match="cannot be written: No such file or directory"):
        CommandSpool(tmp_path / "none").put(notice())


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    spool = CommandSpool(tmp_path / "spool")
    (tmp_path / "spool").mkdir()
    spool.put(notice())
    (path,) = (tmp_path / "spool").iterdir()
    following = path.name.replace("000001", "000002")
    (tmp_path / "spool" / f".{following}").symlink_to(target)
    with pytest.raises(Undelivered):
        spool.put(notice())
    assert target.read_text() == "mine"
