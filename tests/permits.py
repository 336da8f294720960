"""Asks a node directly, as the gate would let an executor do it."""

from __future__ import annotations

from collections.abc import Mapping

from felhom_agent.model import Action, Kind, SetConfig, Start, Stop
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.node import Node
from felhom_agent.proxmox.permit import Permit

CONFIG = ("nodes", "pve1", "qemu", 100, "config")


def ask(node: Node, action: Action, timeout: float = 30.0) -> str:
    """Given an action, have it asked for; return its UPID, if there is one."""
    match action:
        case Start():
            return node.guests.start(action, Permit(action))
        case Stop():
            return node.guests.stop(action, timeout, Permit(action))
        case SetConfig():
            return node.guests.set_config(action, Permit(action))


def write(
    client: Client,
    method: str,
    *path: str | int,
    data: Mapping[str, str | int | bool] | None = None,
) -> object:
    """Given a call that changes a guest, make it."""
    return client.write(method, *path, data=data, permit=Permit(_of(path)))


def _of(path: tuple[str | int, ...]) -> Action:
    """Given a path, return an action whose permit is good for it."""
    kind, vmid = Kind(str(path[2])), int(path[3])
    match path[4:]:
        case ("config",):
            return SetConfig(vmid, kind, ())
        case ("status", "start"):
            return Start(vmid, kind)
        case ("status", "shutdown"):
            return Stop(vmid, kind)
    raise ValueError(f"no action has the path {path}")
