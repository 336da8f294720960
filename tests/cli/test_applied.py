"""An apply is done when nothing of what was shown is left to do, whatever the agent says."""

from __future__ import annotations

import signal

import pytest

from felhom_agent.cli.applied import compared
from felhom_agent.cli.outlook import Outlook
from felhom_agent.cli.progress import Followed
from felhom_agent.config.edit import with_setting
from felhom_agent.errors import FelhomError
from tests.commands import typed, validated
from tests.conftest import Site
from tests.process import Process, wait_until

IN_FORCE = "[guest.100.config]\ncores = 1\n"
EDITED = "[guest.100.config]\ncores = 3\n"
QUIET = '[reconcile]\nmode = "observe"\ninterval = 3600\njitter = 0\n'


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_apply_is_not_done_where_the_agent_has_another_declaration_in_force(
    site: Site, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    site.declare(IN_FORCE)
    path = site.write_config(QUIET)
    agent = Process(path)
    try:
        wait_until((site.directory / "control.sock").exists)
        other = site.directory / "other.d"
        other.mkdir()
        (other / "guests.toml").write_text(EDITED)
        text = with_setting(path.read_bytes(), path, "desired", "directory", "other.d")
        path.write_bytes(text)
        felhom = typed(path, capsys)
        code, out, _ = felhom("apply", "--yes", *(["--json"] if form == "json" else []))
        assert code == 3
        if form == "json":
            (guest,) = validated("apply", out)["guests"]
            assert guest["outcome"] == "blocked"
            assert guest["why"].startswith("not done: the agent ")
        else:
            assert "not done: the agent " in " ".join(out.split())
        assert site.world.config(100)["cores"] == 1
    finally:
        agent.end(signal.SIGKILL)


def test_what_cannot_be_looked_at_again_is_done_where_something_was_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def look(_vmids: object) -> Outlook:
        raise FelhomError("the node does not answer")

    told = Followed(
        [
            {"vmid": 100, "outcome": "converged", "why": "", "steps": [{"what": "start"}]},
            {"vmid": 200, "outcome": "converged", "why": "", "steps": []},
            {"vmid": 300, "outcome": "retry", "why": "no such bridge", "steps": []},
        ]
    )
    found = compared(told, {}, look)
    assert [guest["outcome"] for guest in found.guests] == ["converged", "blocked", "retry"]
    assert found.guests[2]["why"] == "no such bridge"
    assert "the node does not answer" in capsys.readouterr().err
