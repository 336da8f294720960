"""Metrics in Prometheus' text format, as tests look at them."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[str, dict[tuple[str, ...], float]]
"""By name of the sample: by the values of its labels, in the order of the labels' names."""


def samples_of(text: str) -> Samples:
    """Return the samples of a text, each of which is there once."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = tuple(value for _, value in sorted(sample.labels.items()))
            table = found.setdefault(sample.name, {})
            assert key not in table, (sample.name, key)
            table[key] = sample.value
    return found


def names_of(text: str) -> set[str]:
    """Return the names that look like ours in a text of queries."""
    return set(re.findall(r"\bfelhom_[a-z_]+\b", text))
