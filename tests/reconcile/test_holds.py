"""Whether a guest may be changed is asked right before every act, wherever a lane has waited."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from felhom_agent.config.settings import Config, HubConfig
from felhom_agent.daemon.assembly import Parts, assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.desired.hub import HubProvider
from felhom_agent.devnode import Fault, World
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.devnode.world.schema import Raw
from felhom_agent.durable.disk import Disk
from felhom_agent.journal.suspensions import ALL
from felhom_agent.model import Blocked, Converged, Mode
from felhom_agent.planning.pausetag import PAUSED_BY_TAG
from felhom_agent.reconcile.holds import Holds, InForce
from tests.conftest import Clock, Site, TickingClock, opened_site

# One guest each, so that what is asked after a moment was begun after it.
RESTARTED = """
[guest.100]
state = "running"
restart = "allowed"
[guest.100.config]
memory = 2048
cores = 2
"""
SHUT_DOWN = """
[guest.200]
state = "stopped"
[guest.200.config]
onboot = true
"""


@dataclass
class Stage:
    """An agent on a node; `happen` is called at the moment that a test chose."""

    site: Site
    daemon: Daemon
    parts: Parts
    happen: Callable[[], object] = lambda: None
    at: int = -1
    seen: int = 0
    mutations_before: int = field(default=-1)

    def moment(self) -> None:
        """Let something happen if this is the chosen moment."""
        if self.seen == self.at:
            # What is on its way to PVE at this moment has been sent before.
            self.mutations_before = len(self.site.devnode.mutations)
            self.happen()
        self.seen += 1

    @property
    def later(self) -> list[str]:
        """What PVE was asked to change after that moment."""
        if self.mutations_before < 0:
            return []
        return [m.path for m in self.site.devnode.mutations[self.mutations_before :]]

    @property
    def earlier(self) -> list[str]:
        return [m.path for m in self.site.devnode.mutations[: self.mutations_before]]


class SlowDisk(Disk):
    """Calls back while a record is made durable."""

    def __init__(self) -> None:
        self.heard: Callable[[], None] = lambda: None

    def sync(self, descriptor: int) -> None:
        self.heard()
        os.fsync(descriptor)


@contextmanager
def stage(declared: str, *, on_disk: bool = False) -> Iterator[Stage]:
    """Hold a stage whose moments are the calls to the node, or the syncs of the journal."""
    clock, disk = TickingClock(), SlowDisk()
    world = World(node="pve1", now=clock)
    world.add("qemu", 100, {"memory": "1024", "cores": 1}, running=True)
    world.add("lxc", 200, {"cores": 1}, running=True)
    with (
        tempfile.TemporaryDirectory(prefix="holds-") as directory,
        opened_site(Path(directory), world, clock) as site,
    ):
        site.declare(declared)
        config = with_hub(site.config())
        with assembled(config, clock, disk) as parts:
            found = Stage(site, Daemon(config, parts), parts)
            real = site.devnode.answer

            def answer(heard: Request, raw: Mapping[str, Raw], authorization: str) -> Answer:
                answered = real(heard, raw, authorization)
                found.moment()
                return answered

            if on_disk:
                disk.heard = found.moment
            else:
                site.devnode.answer = answer  # type: ignore[method-assign]
            yield found


def with_hub(config: Config) -> Config:
    return replace(config, hub=HubConfig(url="http://127.0.0.1:1", host_id="pve1"))


def block(found: Stage) -> None:
    assert found.daemon._hub_provider is not None
    found.daemon._hub_provider.block(blocked=True)


def freeze(found: Stage) -> None:
    found.parts.suspensions.freeze(3600.0, "a test", "root")


def hold_all(found: Stage) -> None:
    """As a freeze does; but the journal cannot be written in the middle of its own sync."""
    found.parts.holds.register("test", lambda _: "held by a test", absolute=True)


def pause(found: Stage) -> None:
    for vmid in (100, 200):
        found.parts.suspensions.pause(vmid, None, "a test", "root")


def pause_all(found: Stage) -> None:
    found.parts.suspensions.pause(ALL, 3600.0, "", "root")


def tag(found: Stage) -> None:
    """As a person does it in PVE's web page."""
    for vmid in (100, 200):
        found.site.world.edit(vmid, {"tags": "felhom-pause;web"})


def withdraw(found: Stage) -> None:
    found.parts.engine.desired = replace(found.parts.engine.desired, guests={})


def observe(found: Stage) -> None:
    engine = found.parts.engine
    engine.adopt(replace(engine.settings, mode=Mode.OBSERVE))


def count_moments(declared: str, *, on_disk: bool) -> int:
    with stage(declared, on_disk=on_disk) as found:
        assert found.daemon.run_pass()
        return found.seen


def half_done_restart(found: Stage) -> bool:
    """Return whether we had sent the shutdown of guest 100, and not its start."""
    return any(p.endswith("100/status/shutdown") for p in found.earlier) and not any(
        p.endswith("100/status/start") for p in found.earlier
    )


@pytest.mark.parametrize("declared", [RESTARTED, SHUT_DOWN], ids=["restarted", "shut down"])
@pytest.mark.parametrize(
    ("hold", "on_disk"),
    [(block, False), (observe, True), (pause, False), (pause_all, False)],
    ids=[
        "block at each call",
        "observe mode at each sync",
        "pause at each call",
        "pause of all at each call",
    ],
)
def test_after_a_hold_nothing_is_begun_but_the_start_that_ends_our_own_restart(
    hold: Callable[[Stage], None], on_disk: bool, declared: str
) -> None:
    total = count_moments(declared, on_disk=on_disk)
    assert total >= 5
    for moment in range(total):
        with stage(declared, on_disk=on_disk) as found:
            found.happen, found.at = lambda f=found: hold(f), moment  # type: ignore[misc]
            found.daemon.run_pass()
            expected = ["/nodes/pve1/qemu/100/status/start"] if half_done_restart(found) else []
            assert found.later == expected, moment
            assert found.site.world.running(100), moment  # it was running, and is again


@pytest.mark.parametrize("declared", [RESTARTED, SHUT_DOWN], ids=["restarted", "shut down"])
@pytest.mark.parametrize(
    ("hold", "on_disk"),
    [(freeze, False), (hold_all, True), (withdraw, False), (withdraw, True)],
    ids=[
        "freeze at each call",
        "absolute hold at each sync",
        "withdrawal at each call",
        "withdrawal at each sync",
    ],
)
def test_after_a_freeze_or_a_withdrawal_nothing_is_begun_at_all(
    hold: Callable[[Stage], None], on_disk: bool, declared: str, caplog: pytest.LogCaptureFixture
) -> None:
    for moment in range(count_moments(declared, on_disk=on_disk)):
        caplog.clear()
        with stage(declared, on_disk=on_disk) as found:
            found.happen, found.at = lambda f=found: hold(f), moment  # type: ignore[misc]
            found.daemon.run_pass()
            assert found.later == [], moment
            if half_done_restart(found):
                assert (
                    ": was stopped by us for a restart and is still down" in caplog.text
                    or ("guest 100 web: waits: was stopped by us for a restart and is still down")
                    in caplog.text
                ), moment
                assert not found.site.world.running(100)


def test_a_block_that_was_there_before_the_start_holds_guests_with_something_in_flight(
    site: Site, clock: Clock
) -> None:
    config = with_hub(site.config())
    site.declare('[guest.100]\nstate = "running"\n[guest.100.config]\ncores = 2\n')
    site.devnode.faults.add(Fault("POST", "config$", "reset-after"))
    with assembled(config, clock) as parts:
        Daemon(config, parts).run_pass()
        assert parts.operations.in_flight()
    HubProvider(config.journal.directory, config.hub).block(blocked=True)
    before = len(site.devnode.mutations)
    clock.pass_by(60)
    with assembled(config, clock) as parts:
        daemon = Daemon(config, parts)
        daemon.begin()
        assert not daemon.run_pass()
        assert parts.operations.in_flight() == ()
        (status,) = daemon._scheduler.statuses.values()
        assert status.outcome == Blocked(
            "nothing is changed while the hub blocks this host; would start"
        )
        HubProvider(config.journal.directory, config.hub).block(blocked=False)
    assert len(site.devnode.mutations) == before
    with assembled(config, clock) as parts:
        assert Daemon(config, parts).run_pass()
    assert site.world.running(100)


def test_a_restart_that_a_crash_cut_in_half_is_ended_under_a_block(
    site: Site, clock: Clock
) -> None:
    config = with_hub(site.config())
    site.world.start(100)
    site.declare(
        '[guest.100]\nstate = "running"\nrestart = "allowed"\n[guest.100.config]\ncores = 2\n'
    )
    site.devnode.faults.add(
        Fault("POST", "100/status/start", "refuse:got no worker upid - no memory")
    )
    with assembled(config, clock) as parts:
        daemon = Daemon(config, parts)
        assert not daemon.run_pass()
        outcome = str(daemon._scheduler.statuses[100].outcome)
        assert "was stopped by us for a restart and is still down; got no worker upid" in outcome
    assert not site.world.running(100)
    HubProvider(config.journal.directory, config.hub).block(blocked=True)
    site.world.add("lxc", 205, {"cores": 1})
    site.declare("[guest.205.config]\ncores = 2\n", "other.toml")
    with assembled(config, clock) as parts:
        daemon = Daemon(config, parts)
        assert not daemon.run_pass()
        assert daemon._scheduler.statuses[100].outcome == Converged()
    assert site.world.running(100)
    assert site.world.config(205)["cores"] == 1


def test_a_guest_that_a_person_started_is_no_restart_of_ours_any_more(
    site: Site, clock: Clock
) -> None:
    site.world.start(100)
    site.declare(
        '[guest.100]\nstate = "running"\nrestart = "allowed"\n[guest.100.config]\ncores = 2\n'
    )
    site.devnode.faults.add(
        Fault("POST", "100/status/start", "refuse:got no worker upid - no memory")
    )
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        assert not daemon.run_pass()
        site.world.start(100)
        assert daemon.run_pass()
        site.world.stop(100)
        parts.holds.register("test", lambda _: "held by a test")
        assert not daemon.run_pass()
        assert daemon._scheduler.statuses[100].outcome == Blocked("held by a test; would start")
    assert not site.world.running(100)


def test_every_reason_is_told_and_a_later_question_replaces_one_of_the_same_name() -> None:
    holds = Holds()
    assert holds.may_change(100) == ""
    holds.register("hub", lambda _: "the hub says no")
    holds.register("freeze", lambda vmid: "frozen" if vmid == 100 else "", absolute=True)
    assert holds.may_change(100) == "the hub says no; frozen"
    assert holds.may_change(100, ends_restart=True) == "frozen"
    assert holds.may_change(200, ends_restart=True) == ""
    holds.register("hub", lambda _: "")
    assert holds.may_change(200) == ""
    holds.close()
    assert holds.may_change(200) == "the agent is stopping"
    assert holds.may_change(200, ends_restart=True) == ""


def test_what_a_person_has_signed_is_held_by_all_that_does_not_yield_to_it() -> None:
    holds = Holds()
    assert holds.may_do_signed(100) == ""
    holds.register("pause", lambda _: "paused", yields=True)
    assert holds.may_do_signed(100) == ""
    holds.register("hub", lambda vmid: "the hub says no" if vmid == 100 else "")
    assert (holds.may_do_signed(100), holds.may_do_signed(101)) == ("the hub says no", "")
    holds.close()
    assert holds.may_do_signed(100) == "the hub says no; the agent is stopping"
    assert holds.may_do_signed(101) == "the agent is stopping"


def test_a_guest_is_only_observed_if_nothing_else_holds_it() -> None:
    holds = Holds()
    assert not holds.only_observes(100)
    holds.register("mode", lambda vmid: "observe" if vmid != 102 else "", observes=True)
    assert holds.only_observes(100)
    assert not holds.only_observes(102)
    holds.register("hub", lambda vmid: "the hub says no" if vmid == 101 else "")
    assert holds.only_observes(100)
    assert not holds.only_observes(101)
    holds.close()
    assert not holds.only_observes(100)


def test_what_holds_one_guest_alone_is_not_listed_for_the_host() -> None:
    clock = Clock()
    holds = Holds(clock)
    holds.register("one", lambda vmid: "one" if vmid == 1 else "")
    holds.register("all", lambda vmid: "all" if vmid != 1 else "")
    began = clock.now
    holds.review()
    clock.pass_by(60)
    assert holds.listed() == (InForce("all", "all", began, "the agent"),)


def test_what_holds_is_listed_with_since_when_and_by_whom() -> None:
    clock, hub = Clock(), [""]
    holds = Holds(clock)
    holds.register("pause", lambda vmid: "mine" if vmid == 101 else "", each=lambda: [OF_101])
    holds.register("hub", lambda _: hub[0], by="the hub")
    holds.review()
    assert holds.listed() == (OF_101,)
    hub[0] = "blocked"
    assert holds.listed()[1] == InForce("hub", "blocked", clock.now, "the hub")
    clock.pass_by(60)
    holds.review()
    began = clock.now
    clock.pass_by(60)
    holds.review()
    assert holds.listed() == (OF_101, InForce("hub", "blocked", began, "the hub"))
    hub[0] = ""
    holds.review()
    hub[0] = "blocked"
    clock.pass_by(60)
    holds.review()
    assert holds.listed()[1].since == clock.now
    holds.close()
    closed = clock.now
    clock.pass_by(60)
    holds.close()
    holds.review()
    assert holds.listed()[2] == InForce("closing", "the agent is stopping", closed, "the agent")


OF_101 = InForce("pause", "mine", 1.0, "root", 101)


def test_an_agent_lists_its_freeze_its_pauses_and_its_mode(site: Site, clock: Clock) -> None:
    config = with_hub(site.config(mode=Mode.OBSERVE))
    with assembled(config, clock) as parts:
        daemon = Daemon(config, parts)
        parts.suspensions.pause(200, None, "mine", "a member of felhom-admin")
        parts.suspensions.freeze(None, "storage", "root")
        said = clock.now
        clock.pass_by(10)
        assert daemon.run_pass()  # nothing is declared
        assert parts.holds.listed() == (
            InForce("freeze", parts.suspensions.frozen(), said, "root"),
            InForce("pause", parts.suspensions.reason(200), said, "a member of felhom-admin", 200),
            InForce("mode", "nothing is changed in observe mode", clock.now, "agent.toml"),
        )
        told = daemon._sentence()
        assert told.startswith("frozen by root: storage; `felhom-agent thaw` ends it; ")
        assert "paused by hand: 200 (1)" in told


def test_a_frozen_agent_stays_frozen_over_a_restart_and_says_so_first(
    site: Site, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    site.declare('[guest.100]\nstate = "running"\n')
    with assembled(site.config(), clock) as parts:
        parts.suspensions.freeze(None, "storage", "root")
    caplog.clear()
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        daemon.begin()
        assert "frozen by root: storage; `felhom-agent thaw` ends it" in caplog.text
        assert not daemon.run_pass()
        outcome = daemon._scheduler.statuses[100].outcome
        assert outcome == Blocked(
            "frozen by root: storage; `felhom-agent thaw` ends it; would start"
        )
        assert site.devnode.mutations == ()
        assert parts.suspensions.thaw("root")
        assert daemon.run_pass()
    assert site.world.running(100)


def test_a_pause_outlives_that_its_guest_is_not_declared_for_a_while(
    site: Site, clock: Clock
) -> None:
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        site.declare('[guest.100]\nstate = "running"\n')
        parts.suspensions.pause(100, None, "", "root")
        assert not daemon.run_pass()
        (site.guests_directory / "guests.toml").unlink()
        assert daemon.run_pass()
        site.declare('[guest.100]\nstate = "running"\n')
        assert not daemon.run_pass()
        assert not site.world.running(100)
        clock.pass_by(1)
        assert parts.suspensions.resume(100, "root")
        assert daemon.run_pass()
    assert site.world.running(100)


def test_a_pause_ends_by_time_at_the_next_pass(site: Site, clock: Clock) -> None:
    site.declare('[guest.100]\nstate = "running"\n')
    boottime = Clock(50.0)
    with assembled(site.config(), clock, boottime=boottime) as parts:
        daemon = Daemon(site.config(), parts)
        parts.suspensions.pause(100, 600.0, "", "root")
        assert not daemon.run_pass()
        clock.pass_by(6000.0)  # the wall clock says nothing here
        assert not daemon.run_pass()
        boottime.pass_by(600.0)
        assert daemon.run_pass()
        assert parts.holds.listed() == ()
    assert site.world.running(100)


@pytest.mark.parametrize("declared", [RESTARTED, SHUT_DOWN], ids=["restarted", "shut down"])
def test_the_tag_of_a_person_holds_at_the_next_look_and_lets_our_own_restart_end(
    declared: str,
) -> None:
    """A power action that was decided before the tag was set may still be done; a configuration
    write carries the digest of what was seen, so PVE refuses it.
    """
    for moment in range(count_moments(declared, on_disk=False)):
        with stage(declared) as found:
            configs: list[Mapping[int, object]] = []

            def happen(f: Stage = found, to: list[Mapping[int, object]] = configs) -> None:
                tag(f)
                to.append(configs_of(f))

            found.happen, found.at = happen, moment
            found.daemon.run_pass()
            acts = [path for path in found.later if not path.endswith("/config")]
            assert len(acts) <= 2, moment
            assert found.site.world.running(100), moment
            begun = len(found.later)
            found.daemon.run_pass()
            assert len(found.later) == begun, moment
            assert configs == [configs_of(found)], moment
            (status,) = found.daemon._scheduler.statuses.values()
            assert status.outcome == Blocked(PAUSED_BY_TAG), moment


def configs_of(found: Stage) -> Mapping[int, object]:
    configs = {vmid: dict(found.site.world.config(vmid)) for vmid in (100, 200)}
    # What waits for a restart becomes what is in effect, and the digest another.
    return {vmid: {k: v for k, v in c.items() if k != "digest"} for vmid, c in configs.items()}


def test_a_guest_with_the_tag_is_left_alone_whatever_its_file_says_of_tags(
    site: Site, clock: Clock
) -> None:
    site.world.edit(100, {"tags": "Felhom-Pause"})
    site.declare('[guest.100]\nstate = "running"\n[guest.100.config]\ntags = ["web"]\n')
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        assert not daemon.run_pass()
        assert site.devnode.mutations == ()
        site.world.edit(100, {"tags": ""})
        assert daemon.run_pass()
    assert site.world.running(100)
