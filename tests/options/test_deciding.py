"""Which rules made the difference of one pair of texts vanish."""

from __future__ import annotations

import pytest

from felhom_agent.options import lookup
from felhom_agent.options.deciding import SAME, deciding


def told(kind: str, key: str, declared: str, actual: str) -> list[str]:
    option = lookup(kind, key)
    assert option is not None
    return [rule.text for rule in deciding(kind, option, declared, actual)]


def test_the_same_text_needs_no_other_rule() -> None:
    assert told("qemu", "net0", "virtio,bridge=vmbr0", "virtio,bridge=vmbr0") == [SAME.text]


def test_each_rule_that_was_needed_is_named_once() -> None:
    rules = told("qemu", "agent", "1,fstrim_cloned_disks=0", "enabled=on,newpart=7")
    assert rules == list(dict.fromkeys(rules))
    assert {rule.split()[0] for rule in rules} == {
        "a",
        "enabled:",
        "fstrim_cloned_disks=0",
        "parts",
    }


@pytest.mark.parametrize(
    ("tags", "actual", "rules"),
    [
        ("a;b", "b;a", 1),  # order
        ("A", "a", 1),  # case
        ("a", "a;felhom-pause", 1),  # reserved
        ("B;A", "a;b;felhom-pause", 3),
    ],
)
def test_of_tags_order_case_and_reserved_ones_are_told_apart(
    tags: str, actual: str, rules: int
) -> None:
    assert len(told("qemu", "tags", tags, actual)) == rules
