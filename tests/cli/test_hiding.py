"""What a unit hides from its service is known, whatever the rights there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from felhom_agent.cli.hiding import hidden


@pytest.mark.parametrize(
    ("path", "unit", "words"),
    [
        ("/root/guests.d", {"ProtectHome": "yes"}, "ProtectHome=yes"),
        ("/home/me/token", {"ProtectHome": "tmpfs"}, "ProtectHome=tmpfs"),
        ("/home/me/token", {"ProtectHome": "read-only"}, ""),
        ("/var/tmp/guests.d", {"PrivateTmp": "yes"}, "PrivateTmp=yes"),  # noqa: S108
        ("/etc/felhom-agent/guests.d", {"ProtectHome": "yes", "PrivateTmp": "yes"}, ""),
        ("/rooted/guests.d", {"ProtectHome": "yes"}, ""),
        ("/home/me/g", {"ProtectHome": "yes", "BindPaths": "/home/me:/home/me:rbind"}, ""),
        ("/home/me/g/x", {"ProtectHome": "yes", "BindReadOnlyPaths": "/home/me/g"}, ""),
    ],
)  # fmt: skip
def test_what_the_unit_hides_from_the_service_is_known(
    path: str, unit: dict[str, str], words: str
) -> None:
    found = hidden(Path(path), unit)
    assert words in found
    assert bool(words) is bool(found)
