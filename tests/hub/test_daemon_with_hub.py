"""The real daemon with a hub: desired state from afar heals a guest; a block stops that."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from felhom_agent.cli.main import main
from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.devhub import DevHub
from felhom_agent.devnode import Fault
from tests.conftest import Site
from tests.hub.conftest import STATE, scripted_hub
from tests.process import SOON, Process, wait_until

SETTINGS = "[reconcile]\ninterval = 1\njitter = 0\nbackoff_first = 0.1\n"


@pytest.fixture
def configured(site: Site, hub: DevHub) -> Path:
    return configure(site, hub.url, hub.store.enroll("pve1"))


def configure(site: Site, url: str, key: str) -> Path:
    key_file = site.directory / "hub-key"
    key_file.touch(mode=0o600)
    key_file.write_text(key)
    return site.write_config(
        f'{SETTINGS}[hub]\nurl = "{url}"\nhost_id = "pve1"\nkey_file = "hub-key"\nguests = [100]\n'
    )


def test_what_the_hub_desires_is_brought_about_and_reported(
    site: Site, hub: DevHub, configured: Path
) -> None:
    hub.store.desire("pve1", STATE)
    agent = Process(configured)
    agent.wait_for("generation 1 of the hub is in force")
    agent.wait_for("guest 100 web: done: start")
    assert agent.end() == 0
    assert site.world.config(100)["cores"] == 2
    again = Process(configured)
    wait_until(lambda: hub.store.hosts()[0].report["agent"]["generation"] == 1)
    site.world.stop(100)
    again.wait_for("guest 100 web: done: start")
    assert again.end() == 0


def test_with_the_hub_away_the_last_good_generation_stays_in_force(
    site: Site, hub: DevHub, configured: Path
) -> None:
    hub.store.desire("pve1", STATE)
    agent = Process(configured)
    agent.wait_for("guest 100 web: done: start")
    assert agent.end() == 0
    with scripted_hub() as gone:
        path = configure(site, gone.url, "any")
    site.world.stop(100)
    again = Process(path)
    again.wait_for("no report reached the hub")
    again.wait_for("guest 100 web: done: start")
    assert again.end() == 0


def test_a_blocked_host_is_observed_and_never_changed(
    site: Site, hub: DevHub, configured: Path
) -> None:
    hub.store.desire("pve1", STATE)
    hub.store.block("pve1", blocked=True)
    agent = Process(configured)
    agent.wait_for("nothing is changed while the hub blocks this host; would set cores: 1 -> 2")
    assert agent.end() == 0
    again = Process(configured)
    again.wait_for("blocks this host; would")
    assert again.end() == 0
    assert site.devnode.mutations == ()


def test_the_plan_says_where_a_file_goes_before_the_hub(
    site: Site, hub: DevHub, configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.store.desire("pve1", STATE)
    site.declare("[guest.100.config]\ncores = 1\n")
    agent = Process(configured)
    agent.wait_for("generation 1 of the hub is in force")
    assert agent.end() == 0
    assert main(["--config", str(configured), "plan"]) == 0
    assert "100: a file on this host declares it, and so does the hub; the file counts" in (
        capsys.readouterr().out
    )
    assert site.devnode.mutations == ()


@pytest.mark.minute
def test_why_an_agent_that_runs_refused_a_generation_comes_to_the_hubs_page_without_secrets(
    site: Site, hub: DevHub, configured: Path
) -> None:
    """It takes a minute: no hub is asked more often."""
    config = {"cipassword": "hunter2-hunter2\u0001", "tags": "a b\u0001"}
    hub.store.desire("pve1", {"guest": {"100": {"config": config}}})
    agent = Process(configured)
    agent.wait_for("generation 1 of the hub is refused whole")
    wait_until(lambda: hub.store.hosts()[0].refused is not None, 100.0)
    assert agent.end() == 0
    you = ("operator", hub.operator_key)
    page = requests.get(f"{hub.url}/hosts/pve1", auth=you, timeout=SOON).text
    told = page[page.index('id="refused"') : page.index("</ul>")]
    assert "The host refused generation 1 as a whole; nothing that this hub" in told
    assert "tags must be one line of text" in told
    assert "cipassword" in told
    assert "hunter2" not in told
    assert "generation 1 was refused</a>" in requests.get(hub.url, auth=you, timeout=SOON).text


def test_a_damaged_memory_of_the_hub_stops_nobody_and_is_one_line(
    site: Site, hub: DevHub, configured: Path
) -> None:
    site.declare('[guest.200]\nstate = "running"\n')
    hub.store.desire("pve1", STATE)
    (site.directory / "journal").mkdir(mode=0o700)
    (site.directory / "journal" / "hub.json").write_bytes(b"garbage")
    agent = Process(configured)
    agent.wait_for("hub.json: is damaged; it is set aside as hub.json.damaged")
    agent.wait_for("guest 200 dns: done: start")
    agent.wait_for("generation 1 of the hub is in force")
    agent.wait_for("guest 100 web: done: start")
    assert agent.end() == 0
    assert agent.count("is damaged") == 1


def test_a_guest_that_was_not_named_for_the_hub_is_left_alone_and_told_once(
    site: Site, hub: DevHub, configured: Path
) -> None:
    hub.store.desire("pve1", {"guest": {"100": {"state": "running"}, "200": {"state": "running"}}})
    agent = Process(configured)
    agent.wait_for("guest 100 web: done: start")
    assert agent.end() == 0
    assert agent.count("[hub] guests in agent.toml does not name 200") == 1
    assert not site.world.running(200)


def test_without_the_nodes_figures_passes_go_on_and_the_report_follows_once_they_come(
    site: Site, hub: DevHub, configured: Path
) -> None:
    """It is sent with the next pass, not an interval of the hub's later."""
    site.declare('[guest.200]\nstate = "running"\n')
    site.devnode.faults.add(Fault("GET", "nodes/pve1/status$", "status:595", times=10_000))
    agent = Process(configured)
    agent.wait_for("no report to the hub")
    agent.wait_for("guest 200 dns: done: start")
    assert hub.store.hosts()[0].seen == 0
    site.devnode.faults.clear()
    wait_until(lambda: bool(hub.store.hosts()[0].seen))
    agent.wait_for("the hub has the report again")
    assert agent.end() == 0
    assert agent.count("no report to the hub") == 1


def test_a_hub_is_told_what_the_pass_saw_of_guests_that_it_may_see_and_nobody_declares(
    site: Site, hub: DevHub, configured: Path
) -> None:
    agent = Process(configured)
    wait_until(lambda: bool(hub.store.hosts()[0].seen))
    assert agent.end() == 0
    named, other = hub.store.hosts()[0].report["guests"]
    assert (named["vmid"], named["spec"]["cores"], named["managed"]) == (100, 1, False)
    assert other == {"vmid": 200, "kind": "lxc", "status": "stopped"}
    asked = [r.path for r in site.devnode.requests]
    assert asked.count("/nodes/pve1/status") == asked.count("/nodes/pve1/qemu/100/pending")
    assert "/nodes/pve1/lxc/200/config" not in asked


@pytest.mark.parametrize(("interval", "seconds"), [(1.0, 180.0), (60.0, 180.0), (900.0, 2700.0)])
def test_a_snapshot_is_reported_for_three_intervals_and_three_minutes_at_least(
    site: Site, interval: float, seconds: float
) -> None:
    config = site.config(interval=interval)
    with assembled(config) as parts:
        assert Daemon(config, parts)._max_report_age() == seconds


def test_a_single_pass_reports_to_no_hub_and_asks_nothing_for_one(
    site: Site, hub: DevHub, configured: Path
) -> None:
    site.declare("[guest.200.config]\ncores = 1\n")
    assert Process(configured, "--once").end(None) == 0
    assert hub.store.hosts()[0].seen == 0
    asked = [r.path for r in site.devnode.requests]
    assert "/nodes/pve1/lxc/200/config" in asked
    assert not {"/nodes/pve1/status", "/nodes/pve1/qemu/100/pending"}.intersection(asked)


def test_looking_at_what_would_be_done_writes_nothing(
    site: Site, configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare("[guest.100.config]\ncores = 1\n")
    directory = site.directory / "journal"
    directory.mkdir(mode=0o700)
    (directory / "hub.json").write_bytes(b"garbage")
    assert main(["--config", str(configured), "plan"]) == 1
    assert "hub.json: is damaged; the agent sets it aside" in capsys.readouterr().err
    assert [p.name for p in directory.iterdir()] == ["hub.json"]


@pytest.mark.parametrize(
    ("hub_settings", "words"),
    [
        ('url = "http://hub.example"', "must be like https://hub.example; http only towards"),
        ('url = "ftp://127.0.0.1"', "must be like https://"),
        ('url = "https://u:p@hub.example"', "must be like https://"),
        ('host_id = "../x"', "must be letters, digits"),
        ('key = "secret"', "a secret does not belong in this file"),
        ('url = "https://hub.example"', "the hub key's file cannot be read"),
    ],
)
def test_a_wrong_hub_is_refused_at_the_start_in_words(
    make_site: Callable[..., Site], hub_settings: str, words: str
) -> None:
    site = make_site()
    path = site.write_config()
    path.write_text(path.read_text() + f'[hub]\n{hub_settings}\nkey_file = "none"\n')
    agent = Process(path)
    assert agent.end(None) == 78
    assert agent.count(words) == 1, agent.lines
    assert not agent.count('secret"')


def test_a_file_that_is_removed_just_before_a_reload_leaves_its_guest_to_the_hub(
    site: Site, hub: DevHub, configured: Path
) -> None:
    """The removal is believed only some seconds after the reload that is about it, and that is not
    put off until the next interval is over.
    """
    settings = configured.read_text().replace("settle = 0", "settle = 1")
    configured.write_text(settings.replace("interval = 1\n", "interval = 3600\n"))
    site.declare("[guest.100.config]\ncores = 3\n")
    hub.store.desire("pve1", STATE)
    agent = Process(configured)
    agent.wait_for("generation 1 of the hub is in force")
    agent.wait_for("guest 100 web: done: set cores")
    (site.guests_directory / "guests.toml").unlink()
    agent.send(signal.SIGHUP)
    agent.wait_for("guest 100 web: done: start")
    assert agent.end() == 0
    assert site.world.config(100)["cores"] == 2
