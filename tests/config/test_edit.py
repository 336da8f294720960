"""One setting of agent.toml is changed, and nothing else of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from felhom_agent.config.edit import with_setting
from felhom_agent.errors import FelhomError

NEW = ":".join(["AB"] * 32)
OLD = ":".join(["cd"] * 32)
PATH = Path("agent.toml")
TEXT = f"[hub]\nx = '''\n[proxmox]\nfingerprint = \"{OLD}\"\n'''\n"

CASES = {
    "a value": (
        f'# mine\n[proxmox]\nfingerprint = "{OLD}"  # since May\nnode = "a"\n',
        f'# mine\n[proxmox]\nfingerprint = "{NEW}"  # since May\nnode = "a"\n',
    ),
    "an empty value": ('[proxmox]\nfingerprint=""\n', f'[proxmox]\nfingerprint="{NEW}"\n'),
    "other quotes": (
        f"[proxmox]\n  'fingerprint'  =  '{OLD}'\n",
        f"[proxmox]\n  'fingerprint'  =  \"{NEW}\"\n",
    ),
    "three quotes": (
        f'[proxmox]\nfingerprint = """{OLD}"""\n',
        f'[proxmox]\nfingerprint = "{NEW}"\n',
    ),
    "dotted": (f'proxmox.fingerprint = "{OLD}"\n', f'proxmox.fingerprint = "{NEW}"\n'),
    "inline": (
        f'proxmox = {{ node = "a", fingerprint = "{OLD}" }}\n',
        f'proxmox = {{ node = "a", fingerprint = "{NEW}" }}\n',
    ),
    "none yet": (
        '[desired]\n[proxmox] # here\nnode = "a"\n#fingerprint = ""\n',
        f'[desired]\n[proxmox] # here\nfingerprint = "{NEW}"\nnode = "a"\n#fingerprint = ""\n',
    ),
    "none yet, dotted": (
        'proxmox.node = "a"\n[hub]\n',
        f'proxmox.fingerprint = "{NEW}"\nproxmox.node = "a"\n[hub]\n',
    ),
    "no section": ("[hub]\n", f'[hub]\n\n[proxmox]\nfingerprint = "{NEW}"\n'),
    "no line end": ("[proxmox]", f'[proxmox]\nfingerprint = "{NEW}"\n'),
    "Windows": (
        f'\ufeff[proxmox]\r\nnode = "ä"\r\nfingerprint = "{OLD}"\r\n',
        f'\ufeff[proxmox]\r\nnode = "ä"\r\nfingerprint = "{NEW}"\r\n',
    ),
    "none yet, Windows": (
        '[proxmox]\r\nnode = "a"\r\n',
        f'[proxmox]\r\nfingerprint = "{NEW}"\r\nnode = "a"\r\n',
    ),
    "a header in a text": (
        f'{TEXT}[proxmox]\nnode = "a"\n',
        f'{TEXT}[proxmox]\nfingerprint = "{NEW}"\nnode = "a"\n',
    ),
}


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES)
def test_all_else_stays_byte_for_byte(before: str, after: str) -> None:
    made = with_setting(before.encode(), PATH, "proxmox", "fingerprint", NEW)
    assert made == after.encode()
    assert tomli.loads(made.decode("utf-8-sig"))["proxmox"]["fingerprint"] == NEW


def test_what_cannot_be_changed_surely_is_left_to_a_person() -> None:
    with pytest.raises(FelhomError, match=f'write into .proxmox.: fingerprint = "{NEW}"'):
        with_setting(b'proxmox = { node = "a" }\n', PATH, "proxmox", "fingerprint", NEW)
