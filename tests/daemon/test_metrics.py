"""What the metrics tell of an agent: right, bounded and readable whatever guests are called."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from felhom_agent.daemon.controls import Controls
from felhom_agent.daemon.controlview import Access
from felhom_agent.daemon.guestmetrics import OUTCOMES, of_guests
from felhom_agent.daemon.metrics import text_of
from felhom_agent.daemon.passes import Pass
from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.hub.report import AgentFacts
from felhom_agent.model import (
    ActualGuest,
    Blocked,
    Change,
    Converged,
    Desired,
    DesiredGuest,
    GuestPlan,
    GuestStatus,
    Kind,
    Retry,
    RunState,
    SetConfig,
    Start,
)
from felhom_agent.redaction import remember
from felhom_agent.service.control import METRICS_TYPE, ControlServer
from felhom_agent.service.families import FAMILIES, INTERNAL_ERRORS, FamilyType, series_of
from tests.authz.desk import needs_ssh_keygen
from tests.conftest import Site
from tests.control import connect, received
from tests.daemon.running import Begin, Running
from tests.daemon.running import asked as asked_of
from tests.daemon.signing import DESTROY, SigningHost
from tests.exposition import Samples, samples_of
from tests.process import wait_until

RUNNING = '[guest.100]\nstate = "running"\n[guest.100.config]\ncores = 2\n'
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not here (Debian's package prometheus)"
)


def of(running: Running) -> Samples:
    return samples_of(text_of(running.daemon.access()))


def status(*outcomes: object) -> dict[int, GuestStatus]:
    return {v: GuestStatus(each, 50.0) for v, each in enumerate(outcomes, start=100)}  # type: ignore[arg-type]


def guests(facts: AgentFacts, passed: Pass) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family, labels, value in of_guests(facts, passed, {}):
        found.setdefault(family.name, {})[labels] = value
    return found


def facts(statuses: dict[int, GuestStatus]) -> AgentFacts:
    return AgentFacts("pve1", 0.0, enforces=True, statuses=statuses)


class TestText:
    def test_each_family_is_one_of_the_table_with_its_help_and_type(self, begin: Begin) -> None:
        known = {family.name.removesuffix("_total"): family for family in FAMILIES}
        running = begin()
        running.look()
        found = list(text_string_to_metric_families(text_of(running.daemon.access())))
        for metric in found:
            family = known[metric.name]
            assert (metric.type, metric.documentation) == (family.type, family.help)
            assert {s.name for s in metric.samples} <= set(series_of(family))
            for sample in metric.samples:
                assert set(sample.labels) - {"le"} == set(family.labels)
        assert len(found) > 35

    @needs_promtool
    def test_promtool_finds_nothing_wrong_with_it(self, site: Site, begin: Begin) -> None:
        site.declare(RUNNING)
        running = begin()
        running.look()
        text = text_of(running.daemon.access())
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    @pytest.mark.parametrize(
        "name",
        [
            'a"b',
            "a\\b",
            "a\\",
            "a\nb",
            'x"} 1\nfelhom_frozen 1\n#',
            "caf\udce9",
            "\u202egnp",
            "{}",
            "\x00\x1b[2J",
            "",
            "ü" * 10_000,
        ],
    )
    def test_whatever_a_guest_is_called_the_text_says_one_thing(
        self, begin: Begin, name: str
    ) -> None:
        access = begin().daemon.access()
        guest = ActualGuest(100, Kind.QEMU, "pve1", RunState.RUNNING, name)
        passed = Pass(begun=1.0, good=True, declared=frozenset({100}), here={100: guest})
        text = text_of(replace(access, latest=lambda: passed))
        found = samples_of(text)
        ((kind, shown, vmid),) = found["felhom_guest_info"]
        assert (kind, vmid) == ("qemu", "100")
        assert shown.isprintable()
        assert len(shown) <= 255
        assert found["felhom_frozen"] == {(): 0}
        text.encode("utf-8")

    def test_no_secret_leaves_through_a_name(self, begin: Begin) -> None:
        remember("a-secret-of-this-host")
        access = begin().daemon.access()
        guest = ActualGuest(100, Kind.QEMU, "pve1", None, "x-a-secret-of-this-host")
        passed = Pass(declared=frozenset({100}), here={100: guest})
        text = text_of(replace(access, latest=lambda: passed))
        assert "a-secret-of-this-host" not in text
        assert "(secret)" in text

    def test_a_thousand_guests_cost_less_than_a_megabyte(self, begin: Begin) -> None:
        access = begin().daemon.access()
        few, many = (len(text_of(crowded(access, n))) for n in (1, 1001))
        assert many - few < 1_000_000


def crowded(access: Access, count: int) -> Access:
    """Return an agent with so many guests, each of which differs and has a long name."""
    vmids = range(100_000_000, 100_000_000 + count)
    here = {
        v: ActualGuest(v, Kind.QEMU, "pve1", RunState.RUNNING, f"{v}-{'n' * 50}", config={})
        for v in vmids
    }
    plans = {v: GuestPlan(v, Kind.QEMU, f"{v}-{'n' * 50}") for v in vmids}
    desired = Desired({v: DesiredGuest(v) for v in vmids})
    passed = Pass(1.0, 1.0, True, frozenset(vmids), 0.0, plans, here, desired)
    told = replace(access.facts(), statuses={v: GuestStatus(Converged(), 0.5) for v in vmids})
    return replace(access, latest=lambda: passed, facts=lambda: told)


class TestGuests:
    def test_a_guest_has_one_of_all_outcomes_and_each_is_counted(self) -> None:
        found = guests(
            facts(
                status(Converged(), Blocked("locked"), Blocked("x", observed=True), Retry(0, "x"))
            ),
            Pass(declared=frozenset(range(100, 105))),
        )
        outcomes = found["felhom_guest_outcome"]
        assert [word for word in OUTCOMES for v in ("101",) if outcomes[v, word]] == ["blocked"]
        assert outcomes["102", "observed"] == 1
        assert found["felhom_guests"] == {
            ("converged",): 1, ("retry",): 1, ("blocked",): 1, ("refused",): 0, ("observed",): 1,
            ("none",): 1,
        }  # fmt: skip

    def test_what_differs_is_counted_until_a_lane_has_found_it_as_declared(self) -> None:
        changes = (Change("cores", "1", "2"), Change("memory", "512", "1024"))
        plan = GuestPlan(100, actions=(SetConfig(100, Kind.QEMU, changes), Start(100, Kind.QEMU)))
        passed = Pass(begun=60.0, declared=frozenset({100}), plans={100: plan})
        for since, keys in ((50.0, 2), (61.0, 0)):
            told = facts({100: GuestStatus(Converged(), since)})
            assert guests(told, passed)["felhom_guest_drift_keys"] == {("100",): keys}

    def test_of_a_guest_that_is_only_observed_no_number_is_made_up(self) -> None:
        plan = GuestPlan(100, notes=("observed only; would set cores: 1 -> 2",), observed=True)
        passed = Pass(begun=60.0, declared=frozenset({100}), plans={100: plan})
        assert "felhom_guest_drift_keys" not in guests(facts({}), passed)

    @pytest.mark.parametrize(
        ("declared", "state", "waits"),
        [
            ({"cores": 2}, RunState.RUNNING, True),
            ({"memory": 512}, RunState.RUNNING, False),
            ({"cores": 2}, RunState.STOPPED, False),
        ],
    )
    def test_a_restart_is_required_where_a_declared_option_of_a_running_guest_waits_for_it(
        self, declared: dict[str, int], state: RunState, waits: bool
    ) -> None:
        guest = ActualGuest(100, Kind.QEMU, "pve1", state, config={}, pending={"cores": 1})
        desired = Desired({100: DesiredGuest(100, config=declared)})
        passed = Pass(declared=frozenset({100}), here={100: guest}, desired=desired)
        assert guests(facts({}), passed)["felhom_guest_restart_required"] == {("100",): waits}

    def test_only_guests_that_are_declared_have_samples_of_their_own(
        self, site: Site, begin: Begin
    ) -> None:
        site.declare(RUNNING)
        running = begin()
        running.look()
        found = of(running)
        assert found["felhom_guest_info"] == {("qemu", "web", "100"): 1}
        assert found["felhom_undeclared_guests"] == {(): 1}


class TestCounting:
    def test_a_healed_guest_is_told_by_every_part_that_had_to_do_with_it(
        self, site: Site, begin: Begin
    ) -> None:
        site.declare(RUNNING)
        running = begin()
        assert running.look()
        found = of(running)
        assert found["felhom_pass_total"] == {("failed",): 0, ("good",): 1}
        assert found["felhom_pass_duration_seconds_count"] == {(): 1}
        assert found["felhom_reconcile_total"]["converged",] == 1
        assert found["felhom_queue_adds_total"] == {(): 1}
        assert found["felhom_queue_wait_duration_seconds_count"] == {(): 1}
        assert found["felhom_operations_total"]["Start", "succeeded"] == 1
        assert found["felhom_operation_duration_seconds_count"] == {
            ("Start",): 1, ("SetConfig",): 1
        }  # fmt: skip
        assert found["felhom_gate_decisions_total"] == {
            ("SetConfig", "permitted"): 2, ("Start", "permitted"): 2
        }  # fmt: skip
        assert found["felhom_journal_appends_total"][()] >= 4
        assert found["felhom_journal_fsync_duration_seconds_count"][()] >= 1
        assert found["felhom_journal_size_bytes"][()] > 100
        assert found["felhom_guest_outcome"]["converged", "100"] == 1
        assert found["felhom_guest_changed_timestamp_seconds"]["100",] > 0
        started = ("200", "/nodes/{node}/qemu/{vmid}/status/start", "POST")
        assert found["felhom_api_requests_total"][started] == 1

    def test_an_act_whose_answer_is_lost_is_in_flight_and_its_guest_is_tried_again(
        self, site: Site, begin: Begin
    ) -> None:
        site.declare(RUNNING)
        site.devnode.faults.add(Fault("POST", "status/start", "status:500"))
        running = begin()
        running.look()
        found = of(running)
        assert found["felhom_operations_in_flight"]["Start",] == 1
        assert found["felhom_reconcile_total"]["retry",] == 1
        assert found["felhom_queue_retries_total"] == {(): 1}
        assert found["felhom_guests"]["retry",] == 1

    def test_an_act_that_pve_refuses_is_a_failed_operation(self, site: Site, begin: Begin) -> None:
        site.declare(RUNNING)
        site.devnode.faults.add(Fault("POST", "status/start", "status:403"))
        running = begin()
        running.look()
        found = of(running)
        assert found["felhom_operations_total"]["Start", "failed"] == 1
        assert found["felhom_operations_in_flight"]["Start",] == 0
        assert found["felhom_guest_outcome"]["blocked", "100"] == 1

    def test_a_pass_that_fails_leaves_the_time_of_the_one_that_went_well(
        self, site: Site, begin: Begin
    ) -> None:
        site.declare(RUNNING)
        running = begin()
        running.look()
        good = of(running)["felhom_pass_last_success_timestamp_seconds"][()]
        assert good > 0
        site.clock.pass_by(1000.0)
        site.devnode.close()
        running.look()
        found = of(running)
        assert found["felhom_pass_total"] == {("failed",): 1, ("good",): 1}
        assert found["felhom_pass_last_success_timestamp_seconds"] == {(): good}
        assert found["felhom_api_requests_total"]["none", "/cluster/resources", "GET"] >= 1

    def test_a_hold_is_a_decision_of_the_gate_and_a_state_of_the_host(
        self, site: Site, begin: Begin
    ) -> None:
        site.declare(RUNNING + "[guest.200]\n[guest.201]\n")
        running = begin()
        suspensions = running.daemon._parts.suspensions
        suspensions.pause(100, None, "", "root")
        assert of(running)["felhom_paused_guests"] == {(): 1}
        suspensions.freeze(None, "moving", "root")
        running.look()
        found = of(running)
        assert (found["felhom_frozen"], found["felhom_enforcing"]) == ({(): 1}, {(): 0})
        suspensions.thaw("root")
        suspensions.pause(0, None, "", "root")
        assert of(running)["felhom_paused_guests"] == {(): 3}

    def test_a_lane_that_is_at_work_tells_since_when(self, site: Site, begin: Begin) -> None:
        site.declare(RUNNING)
        site.world.behave(100, Behaviour(start_seconds=1e6))
        running = begin()
        running.run_pass()
        wait_until(lambda: asked_of(site, "start") == [100])
        running.scheduler.publish()
        site.clock.pass_by(40.0)
        found = of(running)
        assert found["felhom_active_lanes"] == {(): 1}
        assert found["felhom_operations_in_flight"]["Start",] == 1
        assert found["felhom_queue_longest_running_seconds"][()] == pytest.approx(40.0)
        site.clock.pass_by(2e6)
        running.hear(lambda: running.scheduler.idle)
        assert of(running)["felhom_queue_longest_running_seconds"] == {(): 0}

    def test_a_lane_that_meets_a_defect_of_ours_is_counted(
        self, site: Site, begin: Begin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.declare(RUNNING)
        running = begin()
        monkeypatch.setattr(running.daemon._parts.engine._executor, "begin", lambda *_, **__: 1 / 0)
        running.look()
        counted = running.daemon._parts.counters.snapshot().counters
        assert counted[INTERNAL_ERRORS][()] >= 1

    def test_errors_in_files_are_counted_and_what_follows_from_them_is_not(
        self, site: Site, begin: Begin
    ) -> None:
        site.declare("[guest.100]\nstate = 1\nmode = 2\n")
        running = begin()
        running.look()
        assert of(running)["felhom_file_errors"] == {(): 2}

    def test_without_a_hub_or_hints_nothing_is_told_of_them(self, site: Site, begin: Begin) -> None:
        names = of(begin()).keys()
        assert not [name for name in names if name.startswith("felhom_hub")]
        assert "felhom_desired_generation" not in names

    @needs_ssh_keygen
    def test_signed_jobs_are_told_by_how_they_stand(self, host: SigningHost) -> None:
        with host.agent() as agent:
            assert of(agent.running)["felhom_signed_jobs"]["done",] == 0
            agent.done(agent.job(DESTROY, 100))
            assert of(agent.running)["felhom_signed_jobs"]["done",] == 1


class TestRoute:
    @pytest.fixture
    def path(self, site: Site, begin: Begin) -> Iterator[Path]:
        path, controls = site.directory / "control.sock", Controls()
        server = ControlServer(path, controls.routes())
        server.start()
        try:
            with controls.attached(begin().daemon.access()):
                yield path
        finally:
            server.close()

    def test_it_answers_in_the_text_format(self, path: Path) -> None:
        with connect(path) as connection:
            connection.sendall(b"GET /v1/metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            head, _, body = received(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert f"Content-Type: {METRICS_TYPE}\r\n".encode() in head
        assert samples_of(body.decode())["felhom_frozen"] == {(): 0}

    def test_it_takes_no_parameters(self, path: Path) -> None:
        with connect(path) as connection:
            connection.sendall(b"GET /v1/metrics?vmid=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            head, _, body = received(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert json.loads(body)["error"] == "nothing may follow the path here"


def test_every_gauge_counter_and_histogram_of_the_table_is_made_somewhere() -> None:
    root = Path(__file__).parents[2] / "felhom_agent"
    code = "".join(path.read_text() for path in root.rglob("*.py") if path.name != "families.py")
    families = __import__("felhom_agent.service.families", fromlist=["*"])
    names = {name: v for name, v in vars(families).items() if v in FAMILIES}
    assert len(names) == len(FAMILIES)
    assert [name for name in names if f"{name}," not in code and f"{name})" not in code] == []
    assert {family.type for family in FAMILIES} == set(FamilyType)
