"""In what the versions of PVE differ that this node answers as."""

from __future__ import annotations

from felhom_agent.options.since import numbers

BUILDS = {"9.1.7": "0307225d4bc8b3ed", "9.2.11": "14a22df3"}
"""The versions whose answers were recorded, with the build that each told."""

OLDEST, NEWEST = min(BUILDS), max(BUILDS)

CLEANUP_GAP = 0.6
"""Seconds within which a VM that is started after its stop has its configuration locked.

recorded: calls-9.2/208b-lock-after-restart-tries
"""


def exact(version: str) -> str:
    """Given a version as "9.2" or "9.2.11", return the recorded one that it means, or itself."""
    found = [known for known in BUILDS if f"{known}.".startswith(f"{version}.")]
    return found[0] if found else version


def build(version: str) -> str:
    """Return the build that a version tells."""
    return BUILDS.get(version, BUILDS[OLDEST])


def forks_first(version: str) -> bool:
    """Return whether the task of a change begins before it takes the lock, and looks at what it
    finds in there once more. recorded: calls-9.2/200-post-worker.
    """
    return numbers(version) >= (9, 2)


def says_paused(version: str) -> bool:
    """Return whether /cluster/resources says of a paused VM that it is `paused`, once pvestatd has
    told. recorded: calls-9.2/204-resources/058-059
    """
    return numbers(version) >= (9, 2)


def checks_start(version: str) -> bool:
    """Return whether a rollback of a VM that is to start it needs VM.PowerMgmt.

    recorded: calls-9.2/209-small-changes/014
    """
    return numbers(version) >= (9, 2)


def cleanup_gap(version: str) -> float:
    """Return within how many seconds of its stop a started VM is locked by the clean-up."""
    return CLEANUP_GAP if numbers(version) >= (9, 2) else 0.0
