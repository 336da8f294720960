"""What may be a secret is told by its name, also where that is mistyped."""

from __future__ import annotations

from pathlib import Path

import pytest

from felhom_agent.config import tomlfile
from felhom_agent.config.secretwords import may_be_secret
from felhom_agent.errors import ConfigError

NAMES = ("cipassword", "password", "token", "token_secret", "secret", "credential")
VALUE = "Zq7hunterX9"


def mistyped(name: str) -> set[str]:
    """Return a name with one letter missing, wrong, too many or misplaced, or a sign within."""
    found = {name, name.upper(), name.capitalize()}
    for at in range(len(name)):
        head, letter, tail = name[:at], name[at], name[at + 1 :]
        found |= {head + tail, f"{head}q{tail}", f"{head}{letter}{letter}{tail}"}
        found |= {f"{head}{sign}{letter}{tail}" for sign in "-_ =:'\"." if head}
        if tail:
            found.add(f"{head}{tail[0]}{letter}{tail[1:]}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_mistyped_is_taken_for_a_secrets_all_the_same(name: str) -> None:
    assert [each for each in sorted(mistyped(name)) if not may_be_secret(each)] == []


@pytest.mark.parametrize(
    "form",
    ["{name} = {value}", "{name}: {value}", "{name} {value}", '{name} = "{value}',
     '{name} = "x" {value}', "config = {{ cores = 2, {name} = {value} }}",
     'config = {{ cores = 2 {name} = "{value}" }}'],
)  # fmt: skip
def test_no_message_quotes_what_stands_behind_a_name_that_is_mistyped(form: str) -> None:
    for name in sorted(each for known in NAMES for each in mistyped(known)):
        with pytest.raises(ConfigError) as caught:
            tomlfile.parse(f"[guest.101]\n{form.format(name=name, value=VALUE)}\n", Path("g.toml"))
        assert VALUE not in str(caught.value), name


@pytest.mark.parametrize(
    "text",
    ["pass = hunter2", "pw hunter2", "ci-pw: hunter2", "s s h: rsa", "ke y = x",
     "environment = [POSTGRES_PW=hunter2]", "felhom@pve!agent=x"],
)  # fmt: skip
def test_other_words_for_it_are_known_too(text: str) -> None:
    assert may_be_secret(text)


@pytest.mark.parametrize(
    "text",
    ["state = running", "mode: observe", "keyboard = de", "cores = 2", "tags = [web, db]",
     "net0 = virtio,bridge=vmbr0,firewall=1", "hostname = pass-through", "[guest.101.config]",
     "scsi0 = local-lvm:vm-101-disk-0,discard=on", "memory = 2048", "onboot = yes",
     "boot = order=scsi0", "description = the mail server of the house", "kind = qemu",
     'endpoint = "https://localhost:8006"', "nameserver = 192.0.2.1", "startup = order=2,up=30"],
)  # fmt: skip
def test_what_is_commonly_written_is_none(text: str) -> None:
    assert not may_be_secret(text)


@pytest.mark.parametrize(
    "text",
    [f'cipassword = "a"\ncipassword = """x\n{VALUE} = """\n',
     f'cipassword = "a"\ncipassword = """x\n[{VALUE} y"""\n',
     f'[a = ["{VALUE}"]\n', f'[a]\n[a]]= "{VALUE}"\n'],
)  # fmt: skip
def test_what_stands_twice_is_not_named_where_it_may_be_a_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tomlfile.parse(text, Path("g.toml"))
    assert VALUE not in str(caught.value)
