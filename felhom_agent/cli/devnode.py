"""`felhom-agent devnode`: the embedded node, for trying things without a Proxmox host."""

from __future__ import annotations

import argparse
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from felhom_agent.cli.codes import OK
from felhom_agent.cli.command import PORT, Commands, add_command, any_path, whole
from felhom_agent.cli.out import say
from felhom_agent.errors import FelhomError

if TYPE_CHECKING:
    from felhom_agent.devnode import DevNode

VERSIONS = ("9.1", "9.2")
"""The versions of PVE whose answers were recorded."""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "devnode",
        run,
        summary="Serve a PVE node that lives in memory, with guests to play with, until Ctrl-C.",
        example="devnode --dir /tmp/site   (then: felhom-agent --config /tmp/site/agent.toml plan)",
    )
    parser.add_argument("--port", type=PORT, default=0, help="default: any free one")
    parser.add_argument(
        "--guests", type=whole(1, 100_000), default=8, help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--pve",
        choices=VERSIONS,
        default=VERSIONS[0],
        help="the version of PVE that it answers as (default: %(default)s)",
    )
    parser.add_argument(
        "--dir",
        type=any_path,
        help="where to write CA, token, guest files and agent.toml: a new directory, or one of an "
        "earlier devnode, of which edited files stay; default: one that is removed at the end",
    )


def run(arguments: argparse.Namespace) -> int:
    # Not at the top: the daemon must start without the devnode's own needs.
    from felhom_agent.cli.demo import write_demo
    from felhom_agent.cli.demostage import serving
    from felhom_agent.devnode import DevNode
    from felhom_agent.devnode.demo.keeper import Keeper
    from felhom_agent.devnode.demo.world import demo_world

    signals = {signal.SIGINT, signal.SIGTERM}
    # Blocked before the first thread starts, so that all inherit it and only `sigwait` hears.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    world = demo_world(guests=arguments.guests, version=arguments.pve)
    with (
        _directory(arguments.dir) as directory,
        serving(lambda: DevNode(world, arguments.port)) as node,
    ):
        try:
            keeper = Keeper(directory)
        except OSError as error:
            text = f"{directory}: {error.strerror}; --dir names a new directory, or an empty one"
            raise FelhomError(text) from None
        config = write_demo(node, directory, keeper.write)
        for path in keeper.kept:
            say(f"{path} was edited, and stays as it is")
        say(f"A PVE node listens on {node.endpoint}; Ctrl-C ends it. Try:")
        say(f"  felhom-agent --config {config} plan")
        say(f"  felhom-agent --config {config} run")
        say("A running agent puts back what drifts. From a further terminal, to cause drift:")
        for line in _drift(node, directory):
            say(f"  {line}")
        if arguments.dir is None:
            say(f"{directory} is removed at the end; --dir names one that stays.")
        signal.sigwait(signals)
    return OK


@contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    """Hold the directory that is written into: the given one, or one for as long as we run."""
    if given is not None:
        yield given
        return
    # An agent may run in it to the last, and make files while others are removed.
    with tempfile.TemporaryDirectory(
        prefix="felhom-devnode-", ignore_cleanup_errors=True
    ) as directory:
        yield Path(directory)


def _drift(node: DevNode, directory: Path) -> list[str]:
    from felhom_agent.cli.demodrift import drift_lines

    # 101 and 200 are declared to run, and do at the start; 100's run state is not declared.
    value_of = 101 if 101 in node.world.guests else 100
    stop = next((vmid for vmid in (200, 101) if vmid in node.world.guests), None)
    return drift_lines(node, directory, value_of, stop)
