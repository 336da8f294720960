"""The demo's signed part believes the node alone, and is left out where nobody can sign."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from felhom_agent.cli import demosign
from felhom_agent.cli.demostage import agent
from felhom_agent.config.agentfile import load
from felhom_agent.errors import FelhomError
from tests.authz.desk import needs_ssh_keygen
from tests.commands import QUICK
from tests.conftest import Site

BEFORE: demosign.Guests = {
    101: {"name": "web", "status": "running"},
    104: {"name": "old-shop", "status": "stopped"},
}
AFTER: demosign.Guests = {101: {"name": "web", "status": "running"}}


def test_the_signed_guest_gone_and_all_others_as_before_is_what_was_signed() -> None:
    assert demosign.judged(BEFORE, AFTER, held=True)


@pytest.mark.parametrize(
    ("after", "held"),
    [
        (BEFORE, True),
        (AFTER, False),
        ({}, True),
        ({101: {"name": "web", "status": "stopped"}}, True),
        ({**AFTER, 105: {"name": "new", "status": "stopped"}}, True),
    ],
    ids=["still-there", "done-unsigned", "another-gone", "another-stopped", "one-more"],
)
def test_whatever_else_the_node_answers_is_not(after: demosign.Guests, held: bool) -> None:
    assert not demosign.judged(BEFORE, after, held=held)


def test_without_ssh_keygen_it_is_left_out_with_one_line(
    make_site: Callable[..., Site], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site()
    config = load(site.write_config(demosign.SETTINGS))
    before = len(site.devnode.mutations)
    assert demosign.show(site.devnode, config, site.connect().client, tmp_path / "none")
    said = capsys.readouterr().out.splitlines()
    missing = f"== What only a signature does is left out: {tmp_path}/none is missing"
    assert said == ["", f"{missing} (openssh-client)"]
    assert len(site.devnode.mutations) == before
    assert demosign.VMID not in site.world.guests


@needs_ssh_keygen
def test_a_command_that_ends_otherwise_than_it_must_ends_the_demo(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    config = load(site.write_config(QUICK + demosign.SETTINGS))
    key = site.directory / "key"
    key.write_text("a file in the key's way\n")
    key.chmod(0o600)
    with agent(config), pytest.raises(FelhomError, match="ssh-keygen makes no key"):
        demosign.show(site.devnode, config, site.connect().client)
    assert site.world.here("qemu", demosign.VMID) is not None
