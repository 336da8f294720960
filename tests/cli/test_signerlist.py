"""Which keys of a list count now."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from felhom_agent.authz.signerline import parse_signer
from felhom_agent.authz.signers import SignerSet
from felhom_agent.cli.signerlist import counted, rows, usable, validity
from tests.authz.desk import key, needs_ssh_keygen

pytestmark = needs_ssh_keygen
NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()


def signers(*options: str, role: str = "operational") -> SignerSet:
    lines = [f"{role} {o} {key(number=n).line}".replace("  ", " ") for n, o in enumerate(options)]
    return SignerSet(Path("/x"), present=True, signers=tuple(map(parse_signer, lines)))


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ("", True),
        ('valid-before="20260601000000Z"', False),
        ('valid-before="20260601000001Z"', True),
        ('valid-after="20260601000001Z"', False),
        ('valid-after="20260601000000Z"', True),
        ('valid-after="20200101",valid-before="20250101"', False),
        ('valid-after="202001010000",valid-before="209901010000Z"', True),
    ],
)
def test_a_key_counts_from_its_first_moment_to_the_one_before_its_last(
    options: str, counts: bool
) -> None:
    found = signers(options)
    assert (validity(found.signers[0], NOW).style is None) == counts
    assert usable(found, NOW).total() == counts
    assert counted(found, NOW) == ("1 operational key" if counts else "no key that counts now")


def test_keys_are_counted_by_role_and_revoked_ones_are_not() -> None:
    found = signers("", "", "")
    assert counted(found, NOW) == "3 operational keys"
    taken = SignerSet(found.directory, True, found.signers, (found.signers[0].key,))
    assert counted(taken, NOW) == "2 operational keys"
    assert [getattr(row[-1], "text", "") for row in rows(taken, NOW)][:2] == ["REVOKED", "always"]
    assert counted(signers("", role="recovery"), NOW) == "1 recovery key"
