"""Options whose very meaning depends on the host: weights by cgroup, tags by the datacenter."""

from __future__ import annotations

import pytest

from felhom_agent.model import ABSENT
from felhom_agent.planning.compare import Context, Verdict, compare

EQUAL, DRIFT = Verdict.EQUAL, Verdict.DRIFT


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
@pytest.mark.parametrize(
    ("cgroup", "declared", "actual", "verdict"),
    [
        # PVE brings a weight between two bounds when it is in effect.
        (2, 10000, 20000, EQUAL),
        (2, 10001, 262144, EQUAL),
        (2, 9999, 10000, DRIFT),
        (2, 1, 2, DRIFT),
        (1, 10000, 20000, DRIFT),
        (1, 262143, 262144, DRIFT),
        (1, 1, 2, EQUAL),
        (1, 2, 3, DRIFT),
        # What it is where it is absent.
        (2, 100, ABSENT, EQUAL),
        (2, 1024, ABSENT, DRIFT),
        (1, 1024, ABSENT, EQUAL),
        (1, 100, ABSENT, DRIFT),
    ],
)
def test_a_weight_is_by_the_hosts_cgroup(
    kind: str, cgroup: int, declared: int, actual: object, verdict: Verdict
) -> None:
    found = compare(kind, "cpuunits", declared, actual, Context(cgroup=cgroup))
    assert found.verdict is verdict, found.why


@pytest.mark.parametrize(("sensitive", "verdict"), [(False, EQUAL), (True, DRIFT)])
def test_tags_have_their_case_where_the_datacenter_says_so(
    sensitive: bool, verdict: Verdict
) -> None:
    context = Context(case_sensitive_tags=sensitive)
    assert compare("qemu", "tags", ("Web",), "web", context).verdict is verdict


@pytest.mark.parametrize(
    ("cgroup", "declared", "actual", "verdict"),
    [
        (2, 0, 1, DRIFT),
        (2, 0, 0, EQUAL),
        (1, 500_000, 600_000, EQUAL),
        (1, 499_999, 600_000, DRIFT),
    ],
)
def test_a_containers_weight_goes_to_the_very_bounds(
    cgroup: int, declared: int, actual: int, verdict: Verdict
) -> None:
    found = compare("lxc", "cpuunits", declared, actual, Context(cgroup=cgroup))
    assert found.verdict is verdict, found.why
