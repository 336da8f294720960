"""Plays the Proxmox VE host inside a machine: a devnode on port 8006, and hands for the test.

`python3 /mnt/e2e/node.py DIRECTORY` writes the token and the CA there, and listens on the socket
DIRECTORY/hands for a line of JSON each: [word, arguments...]. A word is one of `World`'s, or
"behave", "asked" (the changes that were asked for), "looks" (how many requests there were), "pveum"
or "pvesh" (what that was given on this host: exit code, stdout and stderr). The answer is a line of
JSON.
"""

from __future__ import annotations

import importlib
import json
import socketserver
import sys
import time
from pathlib import Path

from felhom_agent.devnode import Behaviour, DevNode, World
from felhom_agent.devnode.demo.site import write_site


def main() -> None:
    directory = Path(sys.argv[1])
    world = World(now=time.time)
    world.add("qemu", 100, {"name": "web", "memory": "1024", "cores": 1})
    world.add("lxc", 101, {"hostname": "dns", "memory": 512, "cores": 1})
    # They lie beside this program, and are no part of the package.
    commands, shell = importlib.import_module("pveum"), importlib.import_module("pvesh")
    pveum = commands.Pveum(
        world.token, lambda pool: [v for v, guest in world.guests.items() if guest.pool == pool]
    )
    with DevNode(world, 8006, key_usage="old-ca" not in sys.argv[2:]) as node:
        write_site(node, directory)

        class Hands(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                word, *arguments = json.loads(self.rfile.readline())
                if word == "pveum":
                    found = commands.outcome(pveum, arguments)
                elif word == "pvesh":
                    found = shell.outcome(world, arguments)
                else:
                    found = answer(node, word, arguments)
                self.wfile.write(json.dumps(found).encode() + b"\n")

        with socketserver.ThreadingUnixStreamServer(str(directory / "hands"), Hands) as server:
            server.serve_forever()


def answer(node: DevNode, word: str, arguments: list[object]) -> object:
    if word == "asked":
        return [f"{r.method} {r.path}" for r in node.mutations]
    if word == "looks":
        return len(node.requests)
    if word == "behave":
        vmid, behaviour = arguments
        node.world.behave(int(str(vmid)), Behaviour(**dict(behaviour)))  # type: ignore[call-overload]
        return None
    return getattr(node.world, word)(*arguments)


if __name__ == "__main__":
    main()
