"""Alerts and dashboard: they name what exists, and a real Prometheus takes them and our text."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from felhom_agent.service.families import FAMILIES, series_of
from tests.commands import QUICK, Start
from tests.conftest import Site
from tests.exposition import names_of
from tests.process import SOON, wait_until

ROOT = Path(__file__).parent.parent
RULES = ROOT / "packaging" / "prometheus" / "felhom-agent.rules.yml"
DASHBOARD = ROOT / "packaging" / "grafana" / "felhom-agent.json"
PAGE = ROOT / "docs" / "metrics.md"
SERIES = {name for family in FAMILIES for name in series_of(family)}
LABELS = {label for family in FAMILIES for label in family.labels} | {"instance", "job", "le", "id"}

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not here (Debian's package prometheus)"
)
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="prometheus is not here (Debian's package prometheus)"
)


def alerts() -> dict[str, str]:
    """Return the text of each alert, by its name."""
    _, *pieces = re.split(r"^ +- alert: ", RULES.read_text(), flags=re.MULTILINE)
    return {piece.split("\n", 1)[0]: piece for piece in pieces}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def promtool(*words: str | Path) -> str:
    done = subprocess.run(
        ["promtool", *words], cwd=RULES.parent, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class TestRules:
    def test_they_name_only_what_exists(self) -> None:
        tests = RULES.with_name("felhom-agent.test.yml").read_text()
        assert names_of(RULES.read_text()) | names_of(tests) <= SERIES

    @pytest.mark.parametrize("name", alerts())
    def test_an_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on(self, name: str) -> None:
        text = alerts()[name]
        assert re.fullmatch(r"Felhom[A-Za-z]+", name)
        assert re.search(r"severity: (critical|warning|info)$", text, re.MULTILINE)
        for field in ("summary", "description"):
            assert re.search(rf'^ +{field}: "?(felhom-agent|[A-Z{{])', text, re.MULTILINE), field
        assert f"runbook_url: docs/metrics.md#{name.lower()}\n" in text
        assert f"\n### {name}\n" in PAGE.read_text()

    def test_the_page_has_no_alert_that_does_not_exist(self) -> None:
        assert set(re.findall(r"^### (Felhom\w+)$", PAGE.read_text(), re.MULTILINE)) == set(
            alerts()
        )

    def test_each_alert_is_seen_to_fire(self) -> None:
        tests = RULES.with_name("felhom-agent.test.yml").read_text()
        fired = re.findall(r"alertname: (\w+)\n +exp_alerts:", tests)
        assert set(fired) == set(alerts())

    @needs_promtool
    def test_prometheus_reads_them(self) -> None:
        assert f"{len(alerts())} rules found" in promtool("check", "rules", RULES.name)

    @needs_promtool
    def test_they_fire_when_they_shall_and_only_then(self) -> None:
        assert "SUCCESS" in promtool("test", "rules", "felhom-agent.test.yml")


class TestDashboard:
    def test_its_expressions_name_only_what_exists(self) -> None:
        assert expressions()
        for expression in expressions():
            ours = names_of(expression)
            assert ours, expression
            assert ours <= SERIES, expression

    def test_its_labels_exist(self) -> None:
        for expression in expressions():
            named = re.findall(r"([a-z_]+)(?:=~?|!=)\"", expression)
            for group in re.findall(r"(?:by|on|group_left) ?\(([^)]*)\)", expression):
                named += [label.strip() for label in group.split(",") if label.strip()]
            assert set(named) <= LABELS, expression

    def test_it_is_for_any_data_source_and_keeps_its_address(self) -> None:
        found = dashboard()
        assert found["uid"] == "felhom-agent"
        assert found["templating"]["list"][0]["type"] == "datasource"
        for panel in panels():
            sources = [panel["datasource"], *(t["datasource"] for t in panel["targets"])]
            assert {source["uid"] for source in sources} == {"${datasource}"}

    def test_rates_are_over_what_grafana_finds_right(self) -> None:
        for expression in expressions():
            spans = re.findall(r"(?:rate|increase)\([^\[]*\[([^\]]*)\]", expression)
            assert set(spans) <= {"$__rate_interval"}, expression

    def test_its_rows_are_in_their_order(self) -> None:
        rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
        assert rows == ["Now", "Drift", "Operations", "API", "Gate"]

    def test_no_panel_lies_on_another_and_each_has_words(self) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in dashboard()["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells
        assert all(panel["title"] and panel["description"] for panel in panels())
        ids = [panel["id"] for panel in dashboard()["panels"]]
        assert len(set(ids)) == len(ids)


@contextmanager
def served(directory: Path) -> Iterator[int]:
    """Serve a directory's files as node_exporter would; yield the port."""

    class Quiet(SimpleHTTPRequestHandler):
        extensions_map = {".prom": "text/plain; version=0.0.4"}  # noqa: RUF012

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(SOON)


@contextmanager
def prometheus(directory: Path, target: int) -> Iterator[str]:
    """Run a Prometheus that scrapes a port's felhom-agent.prom; yield its address."""
    config = directory / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{RULES}']\n"
        f"scrape_configs:\n- job_name: node\n  metrics_path: /felhom-agent.prom\n"
        f"  static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    words = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address={address}", "--log.level=error",
    ]  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://{address}/api/v1"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(SOON)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(SOON)


def query(api: str, expression: str) -> Any:
    """Return what an expression comes to; None while nobody answers. Fail if it is wrong."""
    try:
        found = requests.get(f"{api}/query?{urlencode({'query': expression})}", timeout=SOON)
    except requests.ConnectionError:
        return None
    if found.status_code == 503:
        return None  # it begins
    assert found.status_code == 200, (expression, found.text)
    return found.json()["data"]["result"]


@needs_prometheus
def test_a_real_prometheus_scrapes_the_text_and_answers_every_query_of_ours(
    site: Site, start: Start, tmp_path: Path
) -> None:
    site.world.add("qemu", 101, {"name": "db", "cores": 1})
    site.declare(
        '[guest.100]\nstate = "running"\n[guest.101.config]\ncores = 2\n[guest.300]\n[guest.200]\n'
    )
    files = tmp_path / "files"
    files.mkdir()
    agent = start(settings=f'{QUICK}[metrics]\ntextfile = "{files / "felhom-agent.prom"}"\n')
    agent.wait_for("guest 100 web: done: start")
    agent.wait_for("guest 101 db: done: set cores")
    with served(files) as port, prometheus(tmp_path, port) as api:
        starts = 'felhom_operations_total{action="Start", result="succeeded"} == 1'
        wait_until(lambda: bool(query(api, starts)), SOON)
        (up,) = query(api, "up")
        assert up["value"][1] == "1"
        (blocked,) = query(api, 'felhom_guest_outcome{outcome="blocked"} == 1')
        assert blocked["metric"]["vmid"] == "300"
        (web,) = query(api, 'felhom_guest_info{vmid="100"}')
        assert (web["metric"]["name"], web["metric"]["kind"]) == ("web", "qemu")
        for expression in expressions():
            asked = expression.replace("$__rate_interval", "5m").replace("$instance", ".*")
            assert query(api, asked) is not None, expression
        rules = requests.get(f"{api}/rules", timeout=SOON).json()["data"]["groups"]
        found = {rule["name"]: rule["health"] for group in rules for rule in group["rules"]}
        assert found.keys() == alerts().keys()
        assert set(found.values()) <= {"ok", "unknown"}
    assert agent.end() == 0
