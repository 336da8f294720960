"""`signers init` makes a list that the judge finds nothing wrong with, from .pub files."""

from __future__ import annotations

import pytest

from felhom_agent.authz.signers import judge
from felhom_agent.authz.signerset import made_of
from tests.authz.desk import key, needs_ssh_keygen, security_key

pytestmark = needs_ssh_keygen


def test_one_key_makes_a_valid_set() -> None:
    text, signers, problems = made_of([("id.pub", key().public)])
    assert problems == ()
    assert [str(s.role) for s in signers] == ["operational"]
    assert "valid-before" not in text
    assert "recovery" not in text
    assert judge("x", text) == (signers, ())


def test_a_recovery_key_and_an_end_are_written_where_they_are_asked_for() -> None:
    text, signers, problems = made_of(
        [("a.pub", key().public)], [("b.pub", security_key("ssh-ed25519").public)], "20271231Z"
    )
    assert problems == ()
    assert [str(s.role) for s in signers] == ["operational", "recovery"]
    assert text.count('valid-before="20271231Z"') == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 lines"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n", "private key"),
        ("two\nlines\n", "2 lines"),
        ("ssh-ed25519 AAAA\n", "cut short"),
        ("cert-authority {key}", "certificate authority"),
        ("* {key}", ""),
    ],
)
def test_a_file_that_is_no_public_key_is_told(text: str, said: str) -> None:
    made, signers, problems = made_of([("id.pub", text.replace("{key}", key().line))])
    assert (made, signers) == ("", ())
    assert said in str(problems[0])
    assert str(problems[0]).startswith("id.pub")
    assert "secret" not in str(problems[0])


def test_a_weak_key_a_key_twice_or_a_bad_end_is_told() -> None:
    assert "2048" in str(made_of([("a", key("rsa", bits=2048).public)])[2][0])
    assert "twice" in str(made_of([("a", key().public)], [("b", key().public)])[2][0])
    assert "no time" in str(made_of([("a", key().public)], valid_before="soon")[2][0])
    assert made_of([])[2]
