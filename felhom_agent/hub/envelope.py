"""The hub's answer to a report: a few requests, each of its own type, or nothing at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIN_INTERVAL, MAX_INTERVAL, DEFAULT = 60.0, 3600.0, 900.0
"""Seconds from one report to the next."""


class InvalidEnvelope(Exception):
    """An answer is not what the contract says; the text says in what."""


@dataclass(frozen=True)
class Envelope:
    """What a hub asks for; None where it says nothing, and the present behaviour stays.

    `interval` is in seconds, within the bounds; `generation` is that of the desired state.
    """

    interval: float | None = None
    blocked: bool | None = None
    generation: int | None = None
    has_jobs: bool | None = None


def parse(body: object) -> Envelope:
    """Given an answer's JSON, return the envelope.

    Raise InvalidEnvelope if any part is of a wrong type.
    Unknown keys are ignored.
    """
    if not isinstance(body, dict):
        raise InvalidEnvelope("it is no object")
    interval = _whole(body, "poll_interval_seconds")
    return Envelope(
        interval=None if interval is None else clamped(float(interval)),
        blocked=_flag(body, "blocked"),
        generation=_whole(body, "desired_generation"),
        has_jobs=_flag(body, "has_signed_ops"),
    )


def clamped(seconds: float) -> float:
    """Given an interval, return it within the bounds."""
    return max(MIN_INTERVAL, min(seconds, MAX_INTERVAL))


def _flag(body: Mapping[str, Any], key: str) -> bool | None:
    value = body.get(key)
    if value is None and key not in body:
        return None
    if not isinstance(value, bool):
        raise InvalidEnvelope(f"{key} is not true or false")
    return value


def _whole(body: Mapping[str, Any], key: str) -> int | None:
    value = body.get(key)
    if value is None and key not in body:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidEnvelope(f"{key} is not a whole number")
    if not 0 <= value < 2**53:
        raise InvalidEnvelope(f"{key} is out of all bounds")
    return value
