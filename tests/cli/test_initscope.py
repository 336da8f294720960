"""On which paths a token lacks the right to look, for the guests that `init` was given."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from felhom_agent.cli.adoptguests import Range
from felhom_agent.cli.initscope import Scope, scope_of

LOOK = {"VM.Audit": 1, "Sys.Audit": 1}
HERE = {"VM.Audit": 0, "Sys.Audit": 0}
NODE = {"/nodes/pve1": LOOK}
Permissions = Mapping[str, Mapping[str, int]]


@pytest.mark.parametrize(
    ("scope", "held", "lacking"),
    [
        (Scope("pve1"), {}, ("/",)),
        (Scope("pve1"), {"/": LOOK, "/vms": LOOK, "/nodes": LOOK}, ()),
        (Scope("pve1"), {"/vms/100": LOOK}, ("/nodes/pve1",)),
        (Scope("pve1"), {"/vms/100": LOOK, **NODE}, ()),
        (Scope("pve1"), {"/nodes": LOOK}, ("/",)),
        (Scope("pve1", (100, 101)), {}, ("/vms/100", "/vms/101", "/nodes/pve1")),
        (Scope("pve1", (100, 101)), {"/vms/100": LOOK, **NODE}, ("/vms/101",)),
        (Scope("pve1", (100, 101)), {"/vms/100": LOOK, "/vms/101": HERE, **NODE}, ()),
        (Scope("pve1", (100,)), {"/vms": HERE, **NODE}, ("/vms/100",)),
        (Scope("pve1", (100,)), {"/vms": LOOK, "/nodes": HERE}, ("/nodes/pve1",)),
        (Scope("pve1", (100,), "shop"), {}, ("/pool/shop", "/nodes/pve1")),
        (Scope("pve1", (100,), "shop"), {"/vms/100": LOOK, **NODE}, ()),
        (Scope("pve1", (), "shop"), {"/pool/shop": LOOK, **NODE}, ()),
        (Scope("pve1", (), "shop"), NODE, ("/pool/shop",)),
    ],
)
def test_what_is_lacking_is_given_where_it_is_lacking(
    scope: Scope, held: Permissions, lacking: tuple[str, ...]
) -> None:
    assert scope.paths_to_look(held) == lacking


def test_on_a_host_that_is_none_of_pves_the_numbers_that_were_named_are_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert scope_of([Range(100, 100), Range(200, 210)], "", "pve1") == Scope("pve1", (100,))
    assert scope_of([], "shop", "pve1") == Scope("pve1", (), "shop")
    assert scope_of([], "", "pve1") == Scope("pve1")
