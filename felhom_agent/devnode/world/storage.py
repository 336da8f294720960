"""The storages of the node: of what kind each is, and so whether its volumes can be snapshotted.

A storage that nobody described is guessed by the names of its volumes and by the names that PVE's
installer gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from felhom_agent.devnode.world.refusal import Died

_INSTALLED = {"local-zfs": "zfspool", "local-lvm": "lvmthin"}
_ANY_FORMAT = frozenset({"btrfs", "lvmthin", "zfspool", "rbd"})


def kind_of(volume: str, storages: Mapping[str, str]) -> str:
    """Given a volume and the storages that somebody described, return PVE's word for the kind."""
    storage, _, name = volume.partition(":")
    guess = "dir" if "/" in name else _INSTALLED.get(storage, "lvmthin")
    return storages.get(storage, guess)


def has_snapshots(volume: str, storages: Mapping[str, str]) -> bool:
    """Return whether a volume can be snapshotted. recorded: 100-snapshots-qemu/222, 255-260,
    101-snapshots-lxc/004-007, 014. PVE: pve-storage Storage/*Plugin.pm volume_has_feature
    """
    kind = kind_of(volume, storages)
    return kind in _ANY_FORMAT or (kind != "lvm" and volume.endswith(".qcow2"))


def refuse_rollback(
    volume: str, name: str, later: Iterable[str], storages: Mapping[str, str]
) -> None:
    """Raise `Died` if a volume cannot be rolled back; `later` are its snapshots since then.

    PVE: pve-storage Storage/ZFSPoolPlugin.pm volume_rollback_is_possible
    """
    if kind_of(volume, storages) == "zfspool" and any(later):
        raise Died(f"can't rollback, '{name}' is not most recent snapshot on '{volume}'")


def path_of(volume: str) -> str:
    """Given a volume of a directory, return the path of its file."""
    storage, _, name = volume.partition(":")
    root = "/var/lib/vz" if storage == "local" else f"/mnt/pve/{storage}"
    return f"{root}/images/{name}"
