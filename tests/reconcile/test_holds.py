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
from felhom_agent.model import Blocked, Converged
from felhom_agent.reconcile.holds import Holds
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
    found.parts.holds.register("freeze", lambda _: "the agent is frozen", absolute=True)


def withdraw(found: Stage) -> None:
    found.parts.engine.desired = replace(found.parts.engine.desired, guests={})


def dry_run(found: Stage) -> None:
    engine = found.parts.engine
    engine.adopt(replace(engine.settings, dry_run=True))


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
    [(block, False), (dry_run, True)],
    ids=["block at each call", "dry run at each sync"],
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
    [(freeze, True), (withdraw, False), (withdraw, True)],
    ids=["freeze at each sync", "withdrawal at each call", "withdrawal at each sync"],
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
                    "it was stopped by us for a restart and is still down" in caplog.text
                    or ("guest 100: blocked: was stopped by us for a restart and is still down")
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
