"""The file of metrics: whole, readable by all, and never the agent's trouble."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from felhom_agent.daemon.metricsfile import MetricsFile, NoMetrics, metrics_of, replace_file
from felhom_agent.service.events import METRICS_BACK, METRICS_LOST
from tests.commands import QUICK, Start
from tests.conftest import Site
from tests.daemon.running import Begin
from tests.process import SOON, wait_until

SETTINGS = QUICK + '[metrics]\ntextfile = "felhom-agent.prom"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "felhom-agent.prom"


@pytest.fixture
def without_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be on a host where prometheus-client is not installed."""
    for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "felhom_agent.daemon.metrics", raising=False)
    package = importlib.import_module("felhom_agent.daemon")
    monkeypatch.delattr(package, "metrics", raising=False)


class TestFile:
    def test_it_is_readable_by_all_whatever_the_umask(self, path: Path) -> None:
        before = os.umask(0o077)
        try:
            replace_file(path, b"felhom_frozen 0\n")
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert path.read_bytes() == b"felhom_frozen 0\n"
        assert list(path.parent.iterdir()) == [path]

    def test_a_reader_never_finds_a_part_of_it(self, path: Path) -> None:
        texts = [bytes([letter]) * 300_000 for letter in b"ab"]
        replace_file(path, texts[0])
        found: set[bytes] = set()
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                found.add(path.read_bytes())

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(100):
            replace_file(path, texts[number % 2])
        done.set()
        reader.join(SOON)
        assert found <= set(texts)

    def test_what_a_crash_left_aside_is_no_obstacle_and_not_followed(self, path: Path) -> None:
        victim = path.with_name("victim")
        victim.write_text("mine")
        path.with_name(f".{path.name}.new").symlink_to(victim)
        replace_file(path, b"x")
        assert (path.read_bytes(), victim.read_text()) == (b"x", "mine")

    @pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda p: p.symlink_to("/dev/null")])
    def test_only_a_regular_file_is_replaced(
        self, path: Path, make: Callable[[Path], None]
    ) -> None:
        make(path)
        mode = path.lstat().st_mode
        with pytest.raises(NoMetrics, match="is there, and is no regular file"):
            replace_file(path, b"x")
        assert path.lstat().st_mode == mode

    def test_a_directory_that_is_not_there_is_told_in_a_line(self, tmp_path: Path) -> None:
        with pytest.raises(NoMetrics) as caught:
            replace_file(tmp_path / "no\nne" / "a.prom", b"x")
        assert str(caught.value).isprintable()
        assert "No such file or directory" in str(caught.value)


class TestWriter:
    def test_a_failure_is_one_warning_until_it_works_again(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        path.mkdir()
        file = MetricsFile(path, lambda: "x 1\n")
        for _ in range(3):
            file.write()
        path.rmdir()
        for _ in range(3):
            file.write()
        events = [getattr(record, "event", None) for record in caplog.records]
        assert events == [METRICS_LOST, METRICS_BACK]
        assert path.read_text() == "x 1\n"

    def test_a_defect_in_what_makes_them_ends_nothing(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        texts: Iterator[str | Exception] = iter([ZeroDivisionError("division"), "x 1\n"])

        def make() -> str:
            found = next(texts)
            if isinstance(found, Exception):
                raise found
            return found

        file = MetricsFile(path, make)
        file.write()
        assert "internal error, please report it" in caplog.text
        file.write()
        assert path.read_text() == "x 1\n"

    def test_it_is_written_when_there_are_news_and_when_its_time_is_over(self, path: Path) -> None:
        woken = MetricsFile(path, lambda: "woken 1\n", interval=3600.0)
        woken.start()
        try:
            assert not path.exists()
            woken.wake()
            wait_until(path.exists)
        finally:
            woken.close(SOON)
        path.unlink()
        timed = MetricsFile(path, lambda: "timed 1\n", interval=0.01)
        timed.start()
        try:
            wait_until(path.exists)
        finally:
            timed.close(SOON)
        assert not timed._thread.is_alive()

    def test_a_thread_that_cannot_be_had_is_a_warning(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = MetricsFile(path, lambda: "x 1\n")
        file.start()
        file.start()  # the system refuses this one
        file.close(SOON)
        assert "metrics are not written: threads can only be started once" in caplog.text

    def test_one_that_was_never_started_can_be_closed(self, path: Path) -> None:
        MetricsFile(path, lambda: "").close()


class TestWithoutTheLibrary:
    @pytest.mark.usefixtures("without_client")
    def test_one_line_names_the_package(self, begin: Begin) -> None:
        with pytest.raises(NoMetrics, match="apt install python3-prometheus-client") as caught:
            metrics_of(begin().daemon.access())
        assert "\n" not in str(caught.value)

    def test_the_agent_goes_on_and_says_so_once(
        self, site: Site, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shadow = site.directory / "shadow"
        shadow.mkdir()
        (shadow / "prometheus_client.py").write_text(
            "raise ModuleNotFoundError('No module', name='prometheus_client')\n"
        )
        monkeypatch.setenv("PYTHONPATH", f"{shadow}:{Path.cwd()}")
        site.declare('[guest.100]\nstate = "running"\n')
        agent = start(settings=SETTINGS)
        agent.wait_for("guest 100 web: done: start")
        agent.wait_for("apt install python3-prometheus-client")
        site.world.stop(100)
        agent.wait_for("guest 100 web: done: start", times=2)
        assert agent.end() == 0
        assert agent.count("prometheus-client") == 1
        assert not (site.directory / "felhom-agent.prom").exists()

    def test_a_daemon_that_is_not_asked_for_metrics_does_not_load_it(self) -> None:
        words = "import felhom_agent.daemon.run, sys; print('prometheus_client' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
        assert done.stdout == "False\n"


class TestAgent:
    def test_a_running_agent_writes_what_it_counts_and_leaves_the_file_when_it_ends(
        self, site: Site, start: Start
    ) -> None:
        site.declare('[guest.100]\nstate = "running"\n')
        path = site.directory / "felhom-agent.prom"
        # No second pass comes: that the lane has ended is news enough.
        agent = start(settings=SETTINGS.replace("interval = 1\n", "interval = 3600\n"))
        agent.wait_for("guest 100 web: done: start")
        wait_until(lambda: path.exists() and started(path) == 1)
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert agent.end() == 0
        assert path.exists()
        assert not path.with_name(f".{path.name}.new").exists()

    def test_a_file_that_cannot_be_written_does_not_hold_the_agent(
        self, site: Site, start: Start
    ) -> None:
        (site.directory / "felhom-agent.prom").mkdir()
        site.declare('[guest.100]\nstate = "running"\n')
        agent = start(settings=SETTINGS)
        agent.wait_for("guest 100 web: done: start")
        agent.wait_for("metrics are not written")
        site.world.stop(100)
        agent.wait_for("guest 100 web: done: start", times=2)
        assert agent.end() == 0
        assert agent.count("metrics are not written") == 1

    def test_without_the_setting_nothing_is_written(self, site: Site, start: Start) -> None:
        site.declare('[guest.100]\nstate = "running"\n')
        agent = start()
        agent.wait_for("guest 100 web: done: start")
        assert agent.end(signal.SIGTERM) == 0
        assert list(site.directory.glob("**/*.prom")) == []


def started(path: Path) -> float:
    """Return how many starts a file of metrics tells of."""
    families = text_string_to_metric_families(path.read_text())
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "felhom_operations_total"
        and (sample.labels["action"], sample.labels["result"]) == ("Start", "succeeded")
    )
