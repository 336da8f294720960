"""A reload takes each setting that was changed, or says that it waits for a restart."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from felhom_agent.config.settings import SECTIONS, Config, HubConfig, ProxmoxConfig
from felhom_agent.daemon.reloadable import need_restart, reloadable

OLD = Config(
    proxmox=ProxmoxConfig(endpoint="https://pve1:8006", node="pve1", token_id="a@pve!b"),
    hub=HubConfig(url="https://hub"),
)
SETTINGS = [(name, each.name) for name in SECTIONS for each in fields(getattr(OLD, name))]


@pytest.mark.parametrize(("section", "setting"), SETTINGS)
def test_a_changed_setting_is_taken_or_told_to_wait_and_never_both(
    section: str, setting: str
) -> None:
    changed = object()
    fresh = replace(OLD, **{section: replace(getattr(OLD, section), **{setting: changed})})
    taken = getattr(getattr(reloadable(OLD, fresh), section), setting) is changed
    assert need_restart(OLD, fresh) == ([] if taken else [f"[{section}] {setting}"])


def test_what_did_not_change_is_as_before_and_told_to_nobody() -> None:
    assert reloadable(OLD, OLD) == OLD
    assert need_restart(OLD, OLD) == []


def test_a_hub_that_comes_or_goes_waits_for_a_restart() -> None:
    without = replace(OLD, hub=HubConfig())
    assert need_restart(OLD, without) == ["[hub] url"]
    assert need_restart(without, OLD) == ["[hub] url"]
    assert reloadable(OLD, without).hub.url == "https://hub"
