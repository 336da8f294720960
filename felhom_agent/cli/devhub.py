"""`felhom-agent devhub`: a hub on this machine, for trying what a provider would run."""

from __future__ import annotations

import argparse
import signal
import sqlite3

from felhom_agent.cli.command import PORT, Commands, add_command, file_path, some_text
from felhom_agent.cli.out import say
from felhom_agent.errors import FelhomError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "devhub",
        run,
        summary="Serve a hub on the loopback, with a page for a person, until Ctrl-C.",
        example="devhub --port 8080 --db /tmp/hub.sqlite --host pve1",
    )
    parser.add_argument("--port", type=PORT, default=0, help="default: any free one")
    parser.add_argument(
        "--db", type=file_path, default=":memory:", help="sqlite file (default: in memory)"
    )
    parser.add_argument(
        "--host",
        action="append",
        type=some_text,
        default=[],
        help="enroll a host and print its key; repeatable",
    )


def run(arguments: argparse.Namespace) -> int:
    # Not at the top: the daemon must start without the hub's own needs.
    from felhom_agent.devhub import DevHub, Store

    signals = {signal.SIGINT, signal.SIGTERM}
    # Blocked before the first thread starts, so that all inherit it and only `sigwait` hears.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        hub = DevHub(Store(str(arguments.db)), arguments.port)
    except (OSError, OverflowError, sqlite3.Error) as error:
        raise FelhomError(f"the hub cannot begin: {error}") from None
    with hub:
        for host in arguments.host:
            try:
                say(f"The key of host {host}: {hub.store.enroll(host)}")
            except ValueError as error:
                say(f"{error}; it keeps its key")
        say(f"A hub listens on {hub.url}; Ctrl-C ends it.")
        say(f"Its page wants the user operator and the password {hub.operator_key}")
        signal.sigwait(signals)
    return 0
