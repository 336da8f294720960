"""`felhom-agent notify test`: does a notification arrive?

Where an agent runs, it sends the message itself, as it sends all others: out of its unit's sandbox,
with the settings and the token that it began with. Where none does, this command sends it.

The exit code is 0 where all took it, 75 where it may be taken later (nobody answers, or says so),
78 where agent.toml or the token's file is wrong, and 1 for every other reason, no [notify] among
them.
"""

from __future__ import annotations

import argparse
import time

from felhom_agent.cli.codes import ERROR, OK
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.out import complain, say
from felhom_agent.config.agentfile import load
from felhom_agent.config.secret import read_notify_token
from felhom_agent.config.settings import Config
from felhom_agent.notify.commandspool import CommandSpool
from felhom_agent.notify.notifier import deliver, test_notice
from felhom_agent.notify.webhook import Webhook
from felhom_agent.service.controlclient import NoAgent, call

TIMEOUT = 140.0
"""Seconds to wait for a running agent, which gives up sooner."""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "notify",
        run,
        summary="Send one message to whom [notify] of agent.toml names, and tell what came of it "
        "(`test`; exit code 75: it may be taken later).",
        example="notify test",
    )
    parser.add_argument("what", choices=("test",))


def run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    if config.control.socket is not None:
        try:
            answer = call(config.control.socket, "POST", "/v1/notify-test", {}, TIMEOUT)
            say(answer.get("text", ""))
            return OK
        except NoAgent as error:
            if error.runs is not False:
                raise
    return _by_itself(config)


def _by_itself(config: Config) -> int:
    """Send the message from here, since no agent runs."""
    notify = config.notify
    if not notify.is_on:
        complain(f"{config.path}: [notify] names nobody: set its url, or command = true")
        return ERROR
    webhook = Webhook(notify, read_notify_token(notify)) if notify.url else None
    spool = CommandSpool(notify.spool) if notify.command else None
    notice = test_notice(config.proxmox.node, time.time(), "this command; no agent runs here")
    say(f"Delivered: {deliver(webhook, spool, notice)}.")
    return OK
