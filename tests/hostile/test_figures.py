"""docs/hostile.md has the limits that the code has, and names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from felhom_agent import regularfile
from felhom_agent.config import tomlscan
from felhom_agent.config.settings import DesiredConfig, HubConfig, NotifyConfig, ProxmoxConfig
from felhom_agent.desired import directory, guestfile
from felhom_agent.desired import hub as desired_hub
from felhom_agent.httpcall import transport, wire
from felhom_agent.hub import client
from felhom_agent.notify import outbox
from felhom_agent.options import bounds
from felhom_agent.proxmox import bodies
from felhom_agent.reconcile import recovery
from felhom_agent.service import logging, manager
from tests.hostile import trial

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "hostile.md").read_text()
UNIT = (ROOT / "packaging" / "systemd" / "felhom-agent.service").read_text()
MIB = 1 << 20
HUB_CALL = HubConfig.connect_timeout + 2 * HubConfig.read_timeout


@pytest.mark.parametrize(
    "words",
    [
        f"up to {regularfile.MAX_BYTES:,} bytes each",
        f"{directory.MAX_FILES:,} files, {directory.MAX_BYTES:,} bytes",
        f"{directory.MAX_ENTRIES:,} names in a directory",
        f"keys of {tomlscan.MAX_PARTS} parts, nesting of {tomlscan.MAX_DEPTH}",
        f"{tomlscan.MAX_ITEMS:,} items, numbers of {tomlscan.MAX_WORD} characters",
        f"texts of {bounds.MAX_TEXT:,} characters ({bounds.MAX_LONG_TEXT:,} for",
        f"lists of {bounds.MAX_ELEMENTS:,}",
        f"{guestfile.MAX_PROBLEMS} problems told of a file, {directory.MAX_PROBLEMS} of all",
        f"after {DesiredConfig.settle:.0f} s of rest",
        f"{HUB_CALL:.0f} s for a whole call; an answer of {wire.MAX_BODY_BYTES:,} bytes",
        f"{client.MAX_DEPTH} levels, {transport.MAX_HEAD_BYTES:,} bytes of headers",
        f"{transport.MAX_INTERIM} interim answers; {HubConfig.max_guests} guests",
        f"at most {desired_hub.MAX_GENERATION_STEP:,} ahead",
        f"{desired_hub.MAX_PROBLEMS} problems told of a generation",
        f"{NotifyConfig.timeout:.0f} s for a whole call (`timeout`), of an answer only the head",
        f"{outbox.MAX_WAITING} messages wait, for an hour",
        f"{ProxmoxConfig.connect_timeout:.0f} s to connect",
        f"{ProxmoxConfig.read_timeout:.0f} s for an answer",
        f"{ProxmoxConfig.write_timeout:.0f} s for one to a change",
        f"a listing of {bodies.LISTING.size // MIB} MiB and {bodies.LISTING.items:,} lists",
        f"a configuration or log of {bodies.LOG.size // MIB} MiB and {bodies.LOG.items:,},",
        f"anything else of {bodies.OTHER.size // MIB} MiB and {bodies.OTHER.items:,};",
        f"{bodies.MAX_DEPTH} levels; an outcome",
        f"`write_timeout` and {recovery._CLOCK_SLACK:.0f} s",
        f"a message of {logging.MAX_MESSAGE:,} characters, a field of {logging.MAX_FIELD:,}",
        f"{logging.MAX_FIELDS} fields, a line of {logging.MAX_LINE:,}",
        f"a `STATUS=` of {manager.MAX_STATUS} bytes",
        f"more than {trial.MAX_SECONDS} s of CPU time",
        f"more than {trial.MAX_MEMORY // 1024} MiB",
    ],
)
def test_a_limit_on_the_page_is_the_codes(words: str) -> None:
    assert words in PAGE


def test_limits_of_the_same_name_are_the_same() -> None:
    assert bodies.CONFIGURATION == bodies.LOG
    assert desired_hub.MAX_GENERATION == 2**53 - 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("MemoryMax=512M", "512 MiB of memory"),
        ("TasksMax=4096", "4,096 threads"),
        ("WatchdogSec=3min", "for 3 minutes"),
        ("LimitFSIZE=512M", f"more than {512 * MIB:,} bytes"),
    ],
)
def test_a_limit_on_the_page_is_the_units(line: str, words: str) -> None:
    assert line in UNIT.splitlines()
    assert words in PAGE


def test_each_test_on_the_page_is_there() -> None:
    names = re.findall(r"`((?:tests/)?[a-z/]*(?:test_\w+\.py|/))`", PAGE)
    assert len(names) > 10
    for name in names:
        base = ROOT if name.startswith("tests/") else Path(__file__).parent
        assert (base / name).exists(), name
