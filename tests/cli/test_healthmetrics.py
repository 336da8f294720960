"""`check` tells whether metrics can be made, and written where they are wanted."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.cli.health import Finding, Level
from felhom_agent.cli.healthmetrics import of_metrics
from felhom_agent.cli.serviceuser import Service, User
from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import MetricsConfig
from felhom_agent.errors import ConfigError
from tests.cli.hosts import NOBODY, needs_root
from tests.conftest import Site

OURS = Service(None)
NOBODYS = User("nobody", NOBODY.pw_uid, frozenset({NOBODY.pw_gid}), "nogroup")


def found(site: Site, path: Path | None, service: Service = OURS) -> list[Finding]:
    config = replace(site.config(), metrics=MetricsConfig(path))
    return list(of_metrics(config, service))


def test_metrics_that_nobody_wants_are_not_looked_at(site: Site) -> None:
    assert found(site, None) == []


def test_a_file_that_can_be_written_is_fine(site: Site) -> None:
    (finding,) = found(site, site.directory / "a.prom")
    assert (finding.level, finding.text) == (
        Level.GOOD,
        f"metrics are written to {site.directory / 'a.prom'}",
    )


def test_a_missing_library_is_a_note_that_names_the_package(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    (finding,) = found(site, site.directory / "a.prom")
    assert (finding.level, finding.remedy) == (
        Level.NOTE,
        ("apt install python3-prometheus-client",),
    )
    assert "all else works" in finding.text


def test_a_directory_that_is_not_there_is_a_fault(site: Site) -> None:
    (finding,) = found(site, site.directory / "none" / "a.prom")
    assert finding.level is Level.BAD
    assert "is no directory" in finding.text


@needs_root
def test_a_directory_that_the_services_user_may_not_write_is_a_fault_with_the_command(
    site: Site,
) -> None:
    site.directory.chmod(0o755)
    for parent in site.directory.parents:
        if parent.is_relative_to("/tmp/pytest-of-root"):  # noqa: S108  # pytest's own
            parent.chmod(0o755)
    (finding,) = found(site, site.directory / "a.prom", Service(NOBODYS))
    assert finding.level is Level.BAD
    assert "user nobody may not write" in finding.text
    assert finding.remedy == (f"setfacl -m u:nobody:rwx {site.directory}",)
    inner = site.directory / "inner"
    inner.mkdir()
    inner.chmod(0o777)
    site.directory.chmod(0o700)
    (finding,) = found(site, inner / "a.prom", Service(NOBODYS))
    assert finding.remedy == (f"setfacl -m u:nobody:x {site.directory}",)


def test_a_directory_that_the_unit_keeps_closed_is_a_fault(site: Site) -> None:
    unit = {"ProtectSystem": "strict", "ReadWritePaths": "-/var/lib/prometheus/node-exporter"}
    (finding,) = found(site, site.directory / "a.prom", Service(None, unit))
    assert finding.level is Level.BAD
    assert "ReadWritePaths=" in finding.text


@pytest.mark.parametrize(
    ("value", "words"),
    [('"a.txt"', "must end in .prom"), ("1", "must be a string"), ('"a\\nb.prom"', "one line")],
)
def test_a_wrong_path_is_told_with_its_line(site: Site, value: str, words: str) -> None:
    path = site.write_config()
    path.write_text(path.read_text() + f"[metrics]\ntextfile = {value}\n")
    with pytest.raises(ConfigError, match=words) as caught:
        load(path)
    assert caught.value.problems[0].place.line == len(path.read_text().splitlines())


def test_an_empty_path_is_none(site: Site) -> None:
    path = site.write_config('[metrics]\ntextfile = ""\n')
    assert load(path).metrics.textfile is None
