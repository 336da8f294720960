"""QEMU's word for a guest that PVE calls running."""

from __future__ import annotations

import pytest

from felhom_agent.proxmox.qmp import hung, is_paused


@pytest.mark.parametrize(
    "word",
    ["io-error", "internal-error", "guest-panicked", "prelaunch", "watchdog", "debug", "shutdown"],
)
def test_a_guest_that_does_not_run_hangs(word: str) -> None:
    assert hung(word).startswith(f"{word}: ")
    assert not is_paused(word)


@pytest.mark.parametrize(
    "word", ["running", "stopped", "paused", "suspended", "", None, "inmigrate"]
)
def test_a_guest_that_runs_or_that_somebody_holds_does_not_hang(word: object) -> None:
    assert hung(word) == ""


@pytest.mark.parametrize("word", ["paused", "suspended"])
def test_a_guest_that_somebody_paused_says_so(word: str) -> None:
    assert is_paused(word)
