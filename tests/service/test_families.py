"""The families keep to Prometheus' conventions, and to the one on what may have a vmid."""

from __future__ import annotations

import re

import pytest

from felhom_agent.service.families import FAMILIES, Family, FamilyType, series_of

EACH = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: str(family.name))


def test_no_two_families_have_a_name_in_common() -> None:
    names = [name for family in FAMILIES for name in series_of(family)]
    assert len(set(names)) == len(names) > 50


@EACH
def test_a_family_has_the_prefix_and_the_ending_of_its_type(family: Family) -> None:
    assert re.fullmatch(r"felhom(_[a-z]+)+", family.name)
    assert family.name.endswith("_total") == (family.type is FamilyType.COUNTER)
    if family.type is FamilyType.HISTOGRAM:
        assert family.name.endswith("_seconds")


@EACH
def test_only_gauges_name_a_guest(family: Family) -> None:
    assert family.type is FamilyType.GAUGE or "vmid" not in family.labels
    assert "name" not in family.labels or family.name.endswith("_info")


@EACH
def test_a_family_has_a_sentence_of_help_in_one_line(family: Family) -> None:
    assert family.help.isprintable()
    assert family.help.endswith(".")


@EACH
def test_what_is_there_from_the_start_has_all_labels(family: Family) -> None:
    assert all(len(values) == len(family.labels) for values in family.always)


@EACH
def test_the_bounds_of_a_histogram_grow(family: Family) -> None:
    assert bool(family.buckets) == (family.type is FamilyType.HISTOGRAM)
    assert list(family.buckets) == sorted(set(family.buckets))
