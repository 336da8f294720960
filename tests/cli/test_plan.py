"""`plan`: what would be done, what that leads to, and what is withheld, with its exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.controls import Controls
from felhom_agent.daemon.loop import Daemon
from felhom_agent.service.control import ControlServer
from tests.commands import DRIFTED, QUICK, Felhom, Start, validated
from tests.conftest import Site
from tests.process import wait_until


def plan_json(felhom: Felhom, *words: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the answer, which is as its schema says."""
    code, out, _ = felhom("plan", "--json", *words)
    return code, validated("plan", out)


def body(out: str) -> list[str]:
    """Return what is printed below the first line, which has the time."""
    first, *rest = out.splitlines()
    assert first.startswith("Node pve1   observed at ")
    return rest


def test_each_guest_has_its_changes_and_the_sum_comes_last(site: Site, felhom: Felhom) -> None:
    site.declare(DRIFTED)
    code, out, err = felhom("plan")
    assert (code, err) == (2, "")
    assert body(out) == [
        "",
        "100 qemu web      guests.toml:2",
        "  ~ cores        1 -> 2",
        r"  + description  'The web\nserver'",
        "  > start",
        "",
        "300 ?      WAITS  guests.toml:9",
        "  ! waits: there is no such guest; create it, or take it out of its file",
        "",
        "Plan: 1 to change, 1 to start; 1 waits, 1 as declared.",
        "Nothing was changed. To do it: felhom-agent apply 100",
    ]
    assert site.devnode.mutations == ()


def test_where_all_is_as_declared_it_exits_with_0(site: Site, felhom: Felhom) -> None:
    site.declare("[guest.200.config]\ncores = 1\n")
    code, out, _ = felhom("plan")
    assert (code, body(out)) == (
        0,
        ["", "Plan: 1 as declared, 1 not declared.", "Nothing was changed."],
    )


@pytest.mark.parametrize(
    "declared",
    [
        '[guest.100]\nmode = "observe"\n[guest.100.config]\ncores = 2\n',
        "[guest.300]\n",
        '[guest.100.config]\nscsi0 = "local:7"\n',
    ],
    ids=["observed", "not there", "refused or left as it is"],
)
def test_what_differs_and_is_not_changed_exits_with_3(
    site: Site, felhom: Felhom, declared: str
) -> None:
    site.declare(declared)
    assert felhom("plan")[0] == 3


def test_a_restart_is_named_before_anything_is_written(site: Site, felhom: Felhom) -> None:
    site.world.start(100)
    site.declare(
        '[guest.100]\nstate = "running"\nrestart = "allowed"\nstop = "power-off"\n'
        "[guest.100.config]\ncores = 2\n"
    )
    code, out, _ = felhom("plan")
    assert code == 2
    head, change, *power = body(out)[1:5]
    assert head.split() == ["100", "qemu", "web", "RESTART", "guests.toml:1"]
    assert "cores  1 -> 2   needs a restart" in change
    assert power == [
        "  > shut down, then start",
        '  ! power-off if it ignores the shutdown for 180 s (stop = "power-off")',
    ]
    assert "Plan: 1 to change, 1 to restart" in out
    _, answer = plan_json(felhom)
    assert answer["guests"][0]["restarts"] is True
    assert answer["guests"][0]["changes"][0]["effect"] == "restart"


def test_a_change_that_stays_without_effect_says_what_would_let_it_take_effect(
    site: Site, felhom: Felhom
) -> None:
    site.world.start(100)
    site.declare("[guest.100.config]\ncores = 2\n")
    _, out, _ = felhom("plan")
    assert "RESTART" not in out
    assert '  ! stays without effect until a restart: restart = "allowed" is not declared' in out


def test_a_wait_tells_its_reason_and_what_comes_after(site: Site, felhom: Felhom) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    site.world.edit(100, {"lock": "backup"})
    code, out, _ = felhom("plan")
    assert code == 3
    assert "  ! waits: locked (backup); then cores 1 -> 2" in body(out)


def test_an_observed_guest_shows_what_would_be_done(site: Site, felhom: Felhom) -> None:
    site.declare('[guest.100]\nmode = "observe"\n[guest.100.config]\ncores = 2\n')
    _, out, _ = felhom("plan")
    assert body(out)[1].split() == ["100", "qemu", "web", "OBSERVED", "guests.toml:1"]
    assert body(out)[2] == "  ~ cores  1 -> 2"
    assert "1 observed" in out
    _, answer = plan_json(felhom)
    (guest,) = answer["guests"]
    assert (guest["observed"], guest["actions"]) == (True, [])
    assert guest["would"][0]["action"] == "SetConfig"


def test_a_secret_value_is_hidden_in_text_and_json(site: Site, felhom: Felhom) -> None:
    site.declare('[guest.100.config]\ncipassword = "a-guests-password"\ncores = 2\n')
    _, text, _ = felhom("plan")
    _, answer = plan_json(felhom)
    assert "a-guests-password" not in text + json.dumps(answer)


def test_plan_of_some_guests_leaves_the_others_out(site: Site, felhom: Felhom) -> None:
    site.declare(DRIFTED)
    code, out, _ = felhom("plan", "200")
    assert (code, "100 qemu" in out) == (0, False)
    code, _, err = felhom("plan", "999")
    assert (code, err) == (
        1,
        (
            "felhom-agent: not declared in any guest file: 999; "
            "`felhom-agent adopt 999` declares what the node has\n"
        ),
    )


def test_a_guest_whose_file_has_an_error_is_not_just_called_undeclared(
    site: Site, felhom: Felhom
) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    site.declare("[guest.200\n", name="bad.toml")
    code, _, err = felhom("plan", "200")
    assert code == 1
    assert "bad.toml:1" in err


def test_json_is_made_for_programs(site: Site, felhom: Felhom) -> None:
    site.declare(DRIFTED)
    code, answer = plan_json(felhom, "100", "300")
    assert code == 2
    web, nobody = answer["guests"]
    assert (answer["schema"], answer["node"], answer["not_declared"]) == (1, "pve1", 0)
    assert (web["file"].rpartition("/")[2], web["line"]) == ("guests.toml", 2)
    assert web["actions"] == [
        {
            "action": "SetConfig",
            "changes": [
                {"key": "cores", "before": "1", "after": "2"},
                {"key": "description", "before": None, "after": "The web\nserver"},
            ],
        },
        {"action": "Start"},
    ]
    assert nobody["withheld"].startswith("there is no such guest")
    assert answer["counts"] == {"to change": 1, "to start": 1, "waits": 1}
    assert answer["agent"]["running"] is False


def test_it_tells_why_nothing_of_it_is_done_now(site: Site, felhom: Felhom) -> None:
    site.declare(DRIFTED)
    with assembled(site.config(), site.clock) as parts:
        parts.suspensions.pause(100, None, "disk swap", "root")
        parts.suspensions.freeze(None, "move of the rack", "root")
    code, out, _ = felhom("plan", "100")
    assert code == 3
    assert body(out)[-3] == "Plan: 1 held."
    paused = next(line for line in body(out) if line.startswith("  held  paused"))
    assert "disk swap" in paused
    frozen, last = body(out)[-2:]
    assert frozen.startswith("Held: frozen by root")
    assert "move of the rack" in frozen
    assert last == "Nothing was changed, and nothing will be while that holds."
    _, answer = plan_json(felhom, "100")
    assert answer["agent"]["held"] == [frozen.removeprefix("Held: ")]
    assert "disk swap" in answer["guests"][0]["held"]


def test_it_says_that_the_host_is_only_observed(site: Site, felhom: Felhom) -> None:
    site.declare(DRIFTED)
    site.write_config('[reconcile]\nmode = "observe"\n')
    _, out, _ = felhom("plan", "100")
    last = "Nothing was changed; the agent only observes. To do it: felhom-agent apply 100"
    assert body(out)[-1] == last


def test_beside_an_agent_that_enforces_it_says_when_the_agent_does_it(
    site: Site, felhom: Felhom
) -> None:
    site.declare(DRIFTED)
    config = site.config(interval=3600.0)
    with assembled(config) as parts:
        controls = Controls()
        server = ControlServer(site.directory / "control.sock", controls.routes())
        server.start()
        try:
            with controls.attached(Daemon(config, parts).access()):
                _, out, _ = felhom("plan", "100")
        finally:
            server.close()
    assert body(out)[-1].startswith("Nothing was changed. The agent does this itself at ")
    assert body(out)[-1].endswith("; at once: felhom-agent apply 100")


def test_a_guest_that_the_brake_holds_is_shown_with_what_lets_it_pass(
    site: Site, felhom: Felhom, start: Start
) -> None:
    for vmid in (300, 301, 302):
        site.world.add("qemu", vmid, {"cores": 1}, running=True)
    site.declare("".join(f'[guest.{v}]\nstate = "stopped"\n' for v in (300, 301, 302)))
    agent = start(settings=f"{QUICK}[limits]\nstopped = 1\n")
    agent.wait_for("felhom-agent approve ")
    wait_until(lambda: felhom("plan")[1].count("  held  ") == 2)
    plan = felhom("plan")[1].partition("felhom-agent approve ")[2].partition("`")[0]
    assert agent.count(f"felhom-agent approve {plan}")
    assert felhom("approve", plan)[0] == 0
    wait_until(lambda: felhom("plan")[0] == 0)
    assert agent.end() == 0


def test_a_bad_guest_file_is_an_error_and_the_rest_is_still_planned(
    site: Site, felhom: Felhom
) -> None:
    site.declare(DRIFTED)
    site.declare("[guest.100\n", name="bad.toml")
    code, out, err = felhom("plan")
    assert code == 1
    assert "~ cores" in out
    assert "bad.toml:1" in err


def test_a_restart_for_what_was_written_before_has_its_reason(site: Site, felhom: Felhom) -> None:
    site.world.start(100)
    site.world.guests[100].conf.stage("cores", "2")
    site.declare(
        '[guest.100]\nstate = "running"\nrestart = "allowed"\n[guest.100.config]\ncores = 2\n'
    )
    _, out, _ = felhom("plan")
    assert body(out)[2] == "  > shut down, then start   cores 1 -> 2 waits for it"
    _, answer = plan_json(felhom)
    assert answer["guests"][0]["waiting"] == "cores 1 -> 2"


def test_what_cannot_be_done_of_a_guest_that_changes_is_counted_too(
    site: Site, felhom: Felhom
) -> None:
    site.world.edit(100, {"scsi0": "local:100/vm-100-disk-0.raw,size=1G"})
    site.declare('[guest.100.config]\ncores = 2\nscsi0 = "local:7"\n')
    _, out, _ = felhom("plan")
    assert "Plan: 1 to change; 1 left in part, 1 not declared." in body(out)


def test_a_guest_whose_declaration_cannot_be_followed_has_its_kind_and_name(
    site: Site, felhom: Felhom
) -> None:
    site.declare("[guest.100.config]\ncores = 0\n")
    _, out, _ = felhom("plan")
    assert body(out)[1].split()[:4] == ["100", "qemu", "web", "WAITS"]
