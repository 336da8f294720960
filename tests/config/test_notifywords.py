"""The events that may be told are those that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from felhom_agent.config.agentfile import load
from felhom_agent.config.notifywords import DEFAULT_EVENTS, EVENT_NAMES, Preset
from felhom_agent.config.secret import read_notify_token
from felhom_agent.config.settings import NotifyConfig
from felhom_agent.errors import ConfigError
from felhom_agent.service.events import EVENTS
from tests.config.test_agentfile import GOOD, refusals, written


def test_every_event_may_be_told_but_those_of_a_process_that_ends_and_of_telling_itself() -> None:
    assert {event.name for event in EVENTS} - set(EVENT_NAMES) == {
        "config-unusable", "journal-damaged", "command-failed", "agent-broken",
        "notify-failed", "notify-back", "notify-test",
    }  # fmt: skip
    assert len(set(EVENT_NAMES)) == len(EVENT_NAMES)
    assert set(EVENT_NAMES) <= {event.name for event in EVENTS}


def test_without_a_word_nobody_is_told(tmp_path: Path) -> None:
    found = load(written(tmp_path, GOOD)).notify
    assert not found.is_on
    assert found.events == DEFAULT_EVENTS


def test_all_of_it_can_be_set(tmp_path: Path) -> None:
    text = (
        '[notify]\nurl = "https://push.example/topic"\npreset = "ntfy"\ntoken_file = "t"\n'
        'events = ["node-away"]\nper_hour = 5\ncommand = true\n'
    )
    found = load(written(tmp_path, GOOD + text)).notify
    assert (found.preset, found.events, found.per_hour) == (Preset.NTFY, ("node-away",), 5)
    assert found.token_file == tmp_path / "t"
    assert found.is_on


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('url = "http://push.example"', "must be like https://push.example/topic"),
        ('url = "https://u:p@push.example"', "without user, password or query"),
        ('url = "https://push.example/?token=x"', "a token belongs into token_file"),
        ('preset = "slack"', 'must be "json" or "gotify" or "ntfy" or "pve"'),
        ('events = ["guest-blockt"]', "did you mean 'guest-blocked'?"),
        ('events = ["agent-broken"]', "is no event that can be told"),
        ('events = "all"', "must be a list of events"),
        ("events = [1]", "must be names of events in quotes"),
        ("per_hour = 0", "must be a whole number from 1 to 1000"),
        ('token = "x"', "a secret does not belong in this file"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    (refusal,) = refusals(tmp_path, f"{GOOD}[notify]\n{line}\n")
    assert refusal.startswith("agent.toml:5: [notify] ")
    assert words in refusal


def test_http_is_for_this_host_alone(tmp_path: Path) -> None:
    text = f'{GOOD}[notify]\nurl = "http://127.0.0.1:8080/x"\n'
    assert load(written(tmp_path, text)).notify.is_on


def test_the_services_credential_is_the_token_unless_a_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    credential = tmp_path / "notify-token"
    credential.write_text("\n")
    assert load(written(tmp_path, GOOD)).notify.token_file is None
    credential.write_text("tk-0123456789")
    credential.chmod(0o600)
    found = load(written(tmp_path, GOOD)).notify
    assert found.token_file == credential
    token = read_notify_token(found)
    assert token is not None
    assert token.reveal() == "tk-0123456789"
    named = load(written(tmp_path, f'{GOOD}[notify]\ntoken_file = "mine"\n')).notify
    assert named.token_file == tmp_path / "mine"


def test_a_token_that_every_user_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("tk-0123456789")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="every user can read the receiver's token"):
        read_notify_token(NotifyConfig(token_file=path))
    assert read_notify_token(NotifyConfig()) is None
