"""Which settings of agent.toml count from a reload on, and which wait for a restart.

What holds a file or a socket is had once, when the agent is put together, and so is how the node is
reached; a reload takes the rest, and by which fingerprint the node is trusted. Who may sign is no
matter of a reload either: the lists themselves are read anew each time. Of the hub's settings those
count that say what it may wish for. Pure.
"""

from __future__ import annotations

import dataclasses

from felhom_agent.config.settings import Config

_AT_ONCE = (("hints", "settle"), ("proxmox", "fingerprint"))
_HUB_POLICY = ("guests", "max_guests", "options", "may_stop", "stops_per_hour")


def reloadable(old: Config, fresh: Config) -> Config:
    """Given the configuration in force and the one that was read, return what counts from now."""
    policy = {name: getattr(fresh.hub, name) for name in _HUB_POLICY}
    hub = dataclasses.replace(old.hub, **policy)
    return dataclasses.replace(
        fresh,
        proxmox=dataclasses.replace(old.proxmox, fingerprint=_fingerprint(old, fresh)),
        journal=old.journal,
        hub=hub,
        control=old.control,
        authz=old.authz,
        notify=old.notify,
        metrics=old.metrics,
        hints=dataclasses.replace(old.hints, settle=fresh.hints.settle),
    )


def _fingerprint(old: Config, fresh: Config) -> str:
    """Return whom the node is known by from now on; with `insecure`, which waits for a restart,
    nobody is asked who he is.
    """
    return old.proxmox.fingerprint if old.proxmox.insecure else fresh.proxmox.fingerprint


def need_restart(old: Config, fresh: Config) -> list[str]:
    """Given the same, return the settings that were changed and wait for a restart."""
    return [
        f"[{section}] {setting.name}"
        for section in (
            "proxmox",
            "journal",
            "control",
            "authz",
            "hints",
            "notify",
            "metrics",
            *(["hub"] if old.hub.url or fresh.hub.url else []),
        )
        for setting in dataclasses.fields(getattr(old, section))
        if setting.name not in _HUB_POLICY
        and not _is_taken(old, section, setting.name)
        and getattr(getattr(old, section), setting.name)
        != getattr(getattr(fresh, section), setting.name)
    ]


def _is_taken(old: Config, section: str, name: str) -> bool:
    """Return whether a reload takes a setting of these sections."""
    return (section, name) in _AT_ONCE and not (section == "proxmox" and old.proxmox.insecure)
