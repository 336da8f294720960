"""A request is counted under its path, in which nothing names one thing of many."""

from __future__ import annotations

import pytest

from felhom_agent.model import Kind
from felhom_agent.proxmox.endpoints import endpoint_of
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import API, API_SECONDS
from tests.conftest import Site

UPID = "UPID:pve1:0000A1B2:00C3D4E5:65F00000:qmstart:101:felhom-agent@pve!agent:"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (("version",), "/version"),
        (("cluster", "resources"), "/cluster/resources"),
        (("nodes", "pve1", Kind.QEMU), "/nodes/{node}/qemu"),
        (("nodes", "pve1", Kind.QEMU, 101, "config"), "/nodes/{node}/qemu/{vmid}/config"),
        (("nodes", "pve1", "tasks", UPID, "status"), "/nodes/{node}/tasks/{upid}/status"),
        (
            ("nodes", "pve1", "lxc", 200, "snapshot", "before", "rollback"),
            "/nodes/{node}/lxc/{vmid}/snapshot/{snapshot}/rollback",
        ),
        (("nodes", "qemu", "status"), "/nodes/{node}/status"),
        (
            ("nodes", "pve1", "storage", "local", "content"),
            "/nodes/{node}/storage/{storage}/content",
        ),
    ],
)
def test_what_names_a_thing_is_shown_as_what_it_is(path: tuple[str | int, ...], shown: str) -> None:
    assert endpoint_of(path) == shown


def test_each_answer_is_counted_with_its_status_and_its_time(site: Site) -> None:
    counters = Counters()
    client = site.connect().client
    client._counters = counters
    client.get("version")
    client.get("nodes", "pve1", "qemu", 100, "config")
    with pytest.raises(Exception, match="pve9"):
        client.get("nodes", "pve9", "status")
    found = counters.snapshot()
    codes = {labels[1]: labels[2] for labels in found.counters[API]}
    assert codes["/version"] == codes["/nodes/{node}/qemu/{vmid}/config"] == "200"
    assert codes["/nodes/{node}/status"] != "200"
    assert sum(found.distributions[API_SECONDS]["GET", "/version"].counts) == 1


def test_a_request_without_an_answer_is_counted_as_that(site: Site) -> None:
    counters = Counters()
    client = site.connect(endpoint="https://127.0.0.1:1").client
    client._counters = counters
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        client.get("version")
    assert counters.snapshot().counters[API] == {("GET", "/version", "none"): 1}
