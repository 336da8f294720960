"""`plan` beside an agent that runs: what of it the agent does, when, and what it holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from felhom_agent.devnode import Behaviour
from tests.cli.agents import answering
from tests.commands import Felhom, Start, validated
from tests.conftest import Site
from tests.process import wait_until

DRIFTED = "[guest.100.config]\ncores = 2\n"
BOTH = f"{DRIFTED}[guest.200.config]\ncores = 2\n"
THEN, PASS, LATER = "2026-11-24T10:00:00Z", "2026-11-24T10:00:10Z", "2026-11-24T10:05:00Z"
NEXT = "2026-11-24T10:00:40Z"


def clock(moment: str) -> str:
    """Return a moment as this host's clock shows it."""
    return f"{datetime.fromisoformat(moment).astimezone():%H:%M:%S}"


def of_guest(vmid: int = 100, **members: object) -> dict[str, Any]:
    """Return how an agent tells a guest that differs and that it has not tried yet."""
    return {
        "vmid": vmid, "outcome": "converged", "why": "", "since": THEN, "activity": "idle",
        "next": None, "plan": ["set cores: 1 -> 2"], **members,
    }  # fmt: skip


def status(*guests: dict[str, Any], **members: object) -> dict[str, Any]:
    return {
        "version": "1", "holds": [], "suspensions": [], "last_pass": {"at": PASS},
        "next_pass": NEXT, "guests": list(guests), "held": None, **members,
    }  # fmt: skip


Planned = Callable[..., tuple[int, str, dict[str, Any]]]
"""Given what an agent tells, returns the exit code, the text and the data of `plan`."""


@pytest.fixture
def planned(site: Site, felhom: Felhom) -> Planned:
    site.declare(DRIFTED)

    def run(*guests: dict[str, Any], **members: object) -> tuple[int, str, dict[str, Any]]:
        with answering(site.directory / "control.sock", status=status(*guests, **members)):
            code, out, _ = felhom("plan")
            again, text, _ = felhom("plan", "--json")
        assert code == again
        return code, out, validated("plan", text)

    return run


def test_what_the_agent_has_not_tried_yet_it_does_at_its_next_pass(planned: Planned) -> None:
    code, out, found = planned(of_guest())
    assert code == 2
    last = f"Nothing was changed. The agent does this itself at {clock(NEXT)}; at once: "
    assert out.splitlines()[-1] == f"{last}felhom-agent apply 100"
    agent = found["guests"][0]["agent"]
    assert agent == {"acts": True, "begun": False, "why": None, "next": NEXT}


def test_a_guest_that_backs_off_has_its_reason_and_its_own_time(planned: Planned) -> None:
    code, out, found = planned(of_guest(outcome="retry", why="start failed: no", next=LATER))
    assert code == 2
    assert f"  again start failed: no; next try at {clock(LATER)}" in out
    assert f"The agent does this itself at {clock(LATER)}; at once" in out
    agent = found["guests"][0]["agent"]
    assert agent == {"acts": True, "begun": False, "why": "start failed: no", "next": LATER}
    assert found["guests"][0]["held"] is None


@pytest.mark.parametrize("outcome", ["blocked", "refused"])
def test_what_a_person_must_mend_is_held_with_the_reason_that_status_has(
    planned: Planned, outcome: str
) -> None:
    code, out, found = planned(of_guest(outcome=outcome, why="it did not shut down", next=LATER))
    assert code == 3
    assert f"  held  it did not shut down; tried again at {clock(LATER)}" in out
    assert "itself" not in out
    assert out.splitlines()[-1] == "Nothing was changed. To do it: felhom-agent apply 100"
    assert found["counts"] == {"held": 1}
    assert found["guests"][0]["held"] == "it did not shut down"
    assert found["guests"][0]["agent"]["acts"] is False


def test_what_was_held_under_another_plan_is_done_at_the_next_pass(planned: Planned) -> None:
    code, out, _ = planned(of_guest(outcome="refused", why="no", plan=["set cores: 1 -> 9"]))
    assert (code, "  held  " in out) == (2, False)
    assert f"itself at {clock(NEXT)}" in out


def test_what_came_of_a_guest_after_the_latest_pass_counts_whatever_that_pass_saw(
    planned: Planned,
) -> None:
    later = of_guest(outcome="blocked", why="no", since=LATER, plan=["set cores: 1 -> 9"])
    assert planned(later)[0] == 3


@pytest.mark.parametrize(
    ("activity", "why"),
    [("running", "the agent is at work on it"), ("queued", "it waits for its place")],
)
def test_what_the_agent_is_at_is_not_told_as_still_to_come(
    planned: Planned, activity: str, why: str
) -> None:
    code, out, found = planned(of_guest(activity=activity))
    assert code == 2
    assert f"  now   {why}" in out
    assert out.splitlines()[-1] == "Nothing was changed. The agent is at work on this"
    assert found["guests"][0]["agent"]["begun"] is True


def test_a_paused_guest_is_left_out_of_what_is_done_and_of_apply(
    planned: Planned, site: Site
) -> None:
    site.declare(BOTH)
    hold = {"name": "pause", "vmid": 200, "why": "paused by root", "since": THEN, "by": "root"}
    pause = {"vmid": 200, "freeze": False, "since": THEN, "left": 60, "why": "", "by": "root"}
    code, out, found = planned(
        of_guest(), of_guest(200, outcome="blocked", why="x"), holds=[hold], suspensions=[pause]
    )
    assert code == 2
    assert "  held  paused by root\n" in out
    last = f"The agent does this itself at {clock(NEXT)}, but for what is held; at once: "
    assert out.splitlines()[-1] == f"Nothing was changed. {last}felhom-agent apply 100"
    assert found["counts"] == {"held": 1, "to change": 1}
    assert found["guests"][1]["agent"]["next"] is not None


def test_where_all_are_paused_nothing_is_offered(planned: Planned) -> None:
    hold = {"name": "pause", "vmid": 100, "why": "paused by root", "since": THEN, "by": "root"}
    code, out, _ = planned(of_guest(), holds=[hold])
    assert (code, out.splitlines()[-1]) == (3, "Nothing was changed.")


def test_what_the_brake_holds_is_not_said_to_be_done(planned: Planned) -> None:
    code, out, found = planned(of_guest(), held={"plan": "p1", "vmids": [100]})
    assert (code, "itself" in out) == (3, False)
    assert "felhom-agent approve p1" in found["guests"][0]["held"]


def test_guests_that_are_tried_at_several_times_are_told_from_the_first_on(
    planned: Planned, site: Site
) -> None:
    site.declare(BOTH)
    _, out, _ = planned(of_guest(outcome="retry", why="no", next=LATER), of_guest(200))
    assert f"The agent does this itself from {clock(NEXT)} on; at once: " in out


def test_where_the_agent_only_observes_apply_is_the_hand(planned: Planned) -> None:
    mode = {"name": "mode", "vmid": 0, "why": "observe mode", "since": THEN, "by": "root"}
    code, out, found = planned(of_guest(outcome="blocked", why="observe mode"), holds=[mode])
    assert code == 2
    assert "the agent only observes. To do it: felhom-agent apply 100" in out
    assert found["guests"][0]["agent"]["acts"] is False


def test_under_a_freeze_plan_and_apply_end_with_the_same_code_and_say_why(
    planned: Planned, site: Site, felhom: Felhom
) -> None:
    freeze = {"name": "freeze", "vmid": 0, "why": "frozen by root", "since": THEN, "by": "root"}
    code, out, found = planned(of_guest(), holds=[freeze])
    assert (code, found["counts"]) == (3, {"held": 1})
    assert out.splitlines()[-1] == "Nothing was changed, and nothing will be while that holds."
    with answering(site.directory / "control.sock", status=status(holds=[freeze])):
        code, out, err = felhom("apply", "--yes", "--json")
        assert code == 3
        (guest,) = validated("apply", out)["guests"]
        assert (guest["outcome"], guest["why"]) == ("blocked", "frozen by root")
        assert err == "felhom-agent: nothing can be done now: frozen by root\n"
        site.declare("[guest.100.config]\ncores = 1\n")
        assert felhom("plan")[0] == felhom("apply", "--yes")[0] == 0


def test_a_shutdown_that_was_ignored_is_told_as_status_tells_it(
    site: Site, felhom: Felhom, start: Start
) -> None:
    site.world.add("qemu", 300, {"cores": 1}, running=True)
    # PVE: QemuServer.pm _do_vm_stop
    timeout = "VM quit/powerdown failed - got timeout"
    site.world.behave(300, Behaviour(stop_error=timeout))
    site.declare('[guest.300]\nstate = "stopped"\n')
    agent = start()
    wait_until(lambda: "did not shut down" in felhom("status")[1])
    # The pass after it has seen that it runs on.
    wait_until(lambda: felhom("plan")[0] == 3)
    _, out, _ = felhom("plan")
    (told,) = json.loads(felhom("status", "--json", "300")[1])["guests"]
    assert f"  held  {told['why']}; tried again at {clock(told['next'])}" in out
    assert agent.end() == 0
