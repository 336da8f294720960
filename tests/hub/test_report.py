"""The report, field for field as the contract has it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from felhom_agent import __version__
from felhom_agent.devnode import Fault
from felhom_agent.errors import Unanswered
from felhom_agent.hub.jobs import (
    ComposedRequest,
    JobsReport,
    SignedStatus,
    SignersInForce,
    TakenJob,
)
from felhom_agent.hub.report import AgentFacts, RefusedState, report_of
from felhom_agent.model import Blocked, Converged, GuestStatus, Retry
from felhom_agent.proxmox.node import Node
from felhom_agent.proxmox.nodereport import NodeReport
from felhom_agent.redaction import remember
from tests.conftest import Site
from tests.hub.conftest import observed

GOLDEN = Path(__file__).parent / "report.json"
KEYS = {
    "": {"schema", "host_id", "at", "agent", "host", "guests", "storage_targets", "backups",
         "restore_tests"},
    "agent": {"version", "started_at", "mode", "generation", "last_pass", "outcomes", "journal",
              "jobs", "refused", "frozen", "pending", "challenge", "audit_head", "signers"},
    "host": {"node", "pve_version", "uptime_seconds", "cpu_count", "cpu_usage", "load_avg",
             "memory_total_bytes", "memory_used_bytes", "rootfs_total_bytes", "rootfs_used_bytes"},
    "guest": {"vmid", "kind", "name", "status", "spec", "managed", "outcome"},
    "spec": {"cores", "memory_bytes", "description", "tags", "onboot"},
}  # fmt: skip


def facts(now: float) -> AgentFacts:
    return AgentFacts(
        node="pve1",
        started=now - 3600,
        enforces=True,
        generation=7,
        passed=now - 10,
        pass_seconds=0.25,
        pass_good=True,
        in_flight=1,
        unknown=2,
        statuses={
            100: GuestStatus(Blocked("locked (backup)"), now - 60),
            200: GuestStatus(Converged(), now - 120),
        },
        managed=frozenset({100, 200}),
        frozen=True,
        jobs=JobsReport(
            (("job-1", TakenJob("done", final=True)), ("job-2", TakenJob("pending", "its turn"))),
            (("job-3", ComposedRequest('{"schema":"felhom-request-v1"}', int(now) + 600)),),
            SignedStatus(
                last_nonce="0f" * 16,
                accepted=2,
                challenge="c4" * 16,
                audit_head="a0" * 32,
                signers=SignersInForce(3, "rotation", now - 86400, now + 86400, 2, 1),
            ),
        ),
    )


def left_by(node: Node) -> NodeReport:
    """Return what the latest snapshot left behind."""
    assert node.observer.reporter is not None
    found = node.observer.reporter.latest()
    assert found is not None
    return found


def collected(site: Site) -> dict[str, Any]:
    return report_of("pve1", left_by(observed(site)), facts(site.clock.now))


def test_the_report_is_the_golden_one(site: Site) -> None:
    """`UPDATE=1 pytest` rewrites it, and the difference is what a reviewer reads."""
    site.world.edit(100, {"description": "Shop", "tags": "a;b", "onboot": "1"})
    site.world.add("qemu", 300, {"memory": "2048"})
    report = collected(site)
    text = json.dumps(report, indent=1).replace(f'"{__version__}"', '"VERSION"') + "\n"
    if os.environ.get("UPDATE"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_its_keys_are_the_contracts_and_no_others(site: Site) -> None:
    report = json.loads(json.dumps(collected(site)))
    assert report.keys() == KEYS[""]
    for part in ("agent", "host"):
        assert report[part].keys() == KEYS[part]
    for guest in report["guests"]:
        assert guest.keys() == KEYS["guest"]
        assert guest["spec"].keys() == KEYS["spec"]
    assert (report["storage_targets"], report["backups"], report["restore_tests"]) == ([], [], [])


def test_a_guest_whose_configuration_cannot_be_read_loses_only_its_spec(site: Site) -> None:
    site.devnode.faults.add(Fault("GET", "qemu/100/pending", "status:595"))
    broken, whole = collected(site)["guests"]
    assert (broken["vmid"], broken["status"], broken["spec"]) == (100, "stopped", None)
    assert whole["spec"]["memory_bytes"] == 512 * 1024 * 1024


def test_without_the_nodes_status_there_is_no_report(site: Site) -> None:
    site.devnode.faults.add(Fault("GET", "nodes/pve1/status", "status:595"))
    with pytest.raises(Unanswered, match="nodes/pve1/status"):
        collected(site)


@pytest.mark.parametrize(
    ("told", "usage"), [(0.25, 0.25), ("0.5", 0.5), (-1, 0.0), (7, 1.0), (None, 0.0), ("nan", 0.0)]
)
def test_the_load_of_the_processors_is_from_0_to_1(site: Site, told: object, usage: float) -> None:
    found = left_by(observed(site))
    report = report_of("pve1", replace(found, status={**found.status, "cpu": told}), facts(0.0))
    assert report["host"]["cpu_usage"] == usage


def test_an_agent_that_has_not_looked_yet_says_so(site: Site) -> None:
    found = left_by(observed(site))
    bare = report_of("pve1", found, AgentFacts("pve1", 0.0, enforces=False))
    assert bare["agent"]["last_pass"] is None
    assert bare["agent"]["mode"] == "observe"
    assert [guest["outcome"] for guest in bare["guests"]] == [None, None]
    assert [guest["managed"] for guest in bare["guests"]] == [False, False]


def test_every_outcome_is_counted_and_told_with_its_reason(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    site.world.add("lxc", 101, {"hostname": "x"})
    found = left_by(observed(site))
    statuses = {101: GuestStatus(Retry(5.0, "busy"), 0.0)}
    report = report_of("h", found, AgentFacts("pve1", 0.0, True, statuses=statuses))
    assert report["agent"]["outcomes"] == {"converged": 0, "retry": 1, "blocked": 0, "refused": 0}
    assert report["guests"][0]["outcome"] == {
        "state": "retry",
        "why": "busy",
        "since": "1970-01-01T00:00:00Z",
    }


def test_of_a_guest_that_the_hub_may_not_see_it_learns_that_it_is_there(site: Site) -> None:
    before = len(site.devnode.requests)
    found = left_by(observed(site, lambda vmid: vmid == 200))
    hidden, seen = report_of("pve1", found, facts(0.0))["guests"]
    assert hidden == {"vmid": 100, "kind": "qemu", "status": "stopped"}
    assert seen.keys() == KEYS["guest"]
    assert not [
        r for r in site.devnode.requests[before:] if r.path.endswith(("100/config", "100/pending"))
    ]


def test_a_refused_generation_is_told_with_its_problems(site: Site) -> None:
    found = left_by(observed(site))
    refusal = RefusedState(8, tuple(f"problem {n}\x1b" for n in range(30)))
    agent = report_of("h", found, replace(facts(0.0), refused=refusal))["agent"]
    assert agent["refused"]["generation"] == 8
    assert agent["refused"]["problems"] == [f"problem {n}?" for n in range(20)]


def test_what_a_host_without_signed_operations_cannot_tell_is_null(site: Site) -> None:
    bare = report_of("pve1", left_by(observed(site)), AgentFacts("pve1", 0.0, enforces=False))
    agent = bare["agent"]
    nothing = ("challenge", "audit_head", "signers")
    assert [agent[key] for key in nothing] == [None] * 3
    assert agent["frozen"] is False
    assert agent["jobs"] == {"last_nonce": None, "accepted": 0, "recent": []}
    assert agent["pending"] == []


def test_signers_of_unknown_age_and_without_an_end_have_null_there(site: Site) -> None:
    status = SignedStatus(signers=SignersInForce(1, "root", operational=1))
    told = replace(facts(0.0), jobs=JobsReport(status=status))
    agent = report_of("h", left_by(observed(site)), told)["agent"]
    assert agent["signers"] == {
        "version": 1, "by": "root", "since": None, "expires": None, "operational": 1, "recovery": 0,
    }  # fmt: skip


def test_what_is_told_of_jobs_is_printable_bounded_and_without_secrets(site: Site) -> None:
    remember("the-hubs-secret-key")
    odd = "\x1b[2J\n" + "the-hubs-secret-key" + "x" * 5000
    jobs = JobsReport(
        tuple((f"{n}{odd}", TakenJob("refused", odd)) for n in range(60)),
        tuple((f"{n}{odd}", ComposedRequest(odd + "x" * 100_000, 5)) for n in range(30)),
        SignedStatus(last_nonce=odd, challenge=odd, audit_head=odd),
    )
    agent = report_of("h", left_by(observed(site)), replace(facts(0.0), jobs=jobs))["agent"]
    recent, pending = agent["jobs"]["recent"], agent["pending"]
    assert (len(recent), len(pending)) == (50, 20)
    assert recent[-1]["job_id"].startswith("59?[2J?(secret)xx"), "the newest are told"
    long = [each["request"] for each in pending]
    assert {len(text) for text in long} == {65_536}
    texts = [*long, *(text for each in recent for text in each.values()), agent["challenge"]]
    assert all(text.isprintable() and "the-hubs" not in text for text in texts)
    assert all(len(text) <= 1024 for text in texts[len(long) :])


@pytest.mark.parametrize("now", [-1e18, -1e10, 0.0, 1e12, 1e18])
def test_a_clock_that_is_far_off_makes_a_report_all_the_same(site: Site, now: float) -> None:
    found = left_by(observed(site))
    report = report_of("h", replace(found, at=now), facts(now))
    assert str(report["at"]).endswith("Z")


ODD_ROWS: list[Any] = [
    {}, {"vmid": None}, {"vmid": "x"}, {"vmid": [100]}, {"vmid": -5}, {"vmid": 1.5}, 7, None, "x",
    [], {"vmid": "9" * 5000}, {"vmid": True},
]  # fmt: skip


@pytest.mark.parametrize("row", ODD_ROWS, ids=lambda row: str(row)[:20])
def test_an_odd_row_of_pves_costs_that_row(
    site: Site, row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = observed(site)
    ask = node.client.get

    def get(*path: str | int, **params: str | int) -> Any:
        found = ask(*path, **params)
        return [row, *found, row] if path[-1] in ("qemu", "lxc") else found

    monkeypatch.setattr(node.client, "get", get)
    node.observer.snapshot(())
    found = report_of("pve1", left_by(node), facts(0.0))["guests"]
    assert [guest["vmid"] for guest in found] == [100, 200]
    assert all(guest["spec"] for guest in found)
