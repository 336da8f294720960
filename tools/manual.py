"""Makes what a host's administrator gets of the code: manual pages, completions, a commented
agent.toml, and the catalog of events.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from felhom_agent import __version__
from felhom_agent.cli.codes import MEANINGS
from felhom_agent.cli.commands import COMMANDS, PACKAGES
from felhom_agent.cli.main import parsers
from felhom_agent.config import settings as config
from felhom_agent.service.events import EVENTS, catalog
from tools import completion
from tools.settings import default_of, texts_of

PACKAGING = Path(__file__).parent.parent / "packaging"

_FILES = {
    "/etc/felhom-agent/agent.toml": "how the agent reaches its node, see felhom-agent.toml(5)",
    "/etc/felhom-agent/token": "the API token's secret; for root only (0600)",
    "/etc/felhom-agent/notify-token": "the token for a receiver of notifications; for root only",
    "/etc/felhom-agent/notify.d/": "commands that are started with each notification",
    "/etc/felhom-agent/guests.d/*.toml": "what is declared, see felhom-agent.toml(5)",
    "/etc/felhom-agent/signers/allowed_signers": "who may sign what cannot be undone; root's alone",
    "/etc/felhom-agent/signers/revoked_keys": "optional: public keys that were taken back, one a "
    "line; root's alone",
    "/var/lib/felhom-agent/journal/": "the agent's memory; its owner is the user felhom-agent",
    "/var/lib/felhom-agent/journal/audit.jsonl": "every decision on signed operations",
    "/var/lib/felhom-agent/journal/guest-files/": "the last good version of each guest file, for "
    "the service alone: it stays in force while the file is wrong, over a restart too",
}
_NOTES = """\
What writes the journal (apply without a running agent, run --once, journal repair, hub forget,
selftest task) runs as the journal's owner by itself, where root has typed it.

/etc/felhom-agent/guests.d belongs to root and the group felhom-agent, and is setgid: what root
writes there has that group, whatever root's own is. With a umask of 077 the group must not read it;
then, and for what was moved there (mv keeps the group):
  chgrp felhom-agent FILE; chmod g+r FILE

A file that is wrong, empty, cut off or unreadable leaves its last good version in force, over a
restart too; `felhom-agent status`, `plan` and `check` name the file, what is wrong, and of when
that version is. A file that is removed takes it along.

While the node starts or stops all its guests by itself (its tasks startall, stopall, suspendall and
migrateall, as when it boots) the agent changes nothing. It needs Sys.Audit on the node to see that.

systemd tries again 10 s after the agent has failed, without end, but for the exit codes 65 and 78.
Ten starts in a minute are the most it does; then: systemctl reset-failed felhom-agent

`apt purge` leaves /etc/felhom-agent/guests.d where there is anything in it.
"""
_ACTIVE = {
    ("proxmox", "token_id"): '"felhom-agent@pve!agent"',
    ("desired", "directory"): '"guests.d"',
}
_JOURNALD = """\
In journald each line names its kind (FELHOM_EVENT=), and where it belongs to one, its guest
(VMID=), action (ACTION=), operation (OP_ID=), task (UPID=), pass (PASS=) and outcome (OUTCOME=).
CODE_FILE=, CODE_LINE= and CODE_FUNC= name the place in the agent's code. Control characters are
shown as escapes, secrets as (secret), and what is too long ends in three dots.
Elsewhere a line is the sentence alone; `felhom-agent run --verbose` puts the fields behind it.
`journalctl -x` shows what follows here, for a start that failed, too.
"""
_SETTINGS = """\
/etc/felhom-agent/agent.toml is checked whole, and every problem is told with its line. Relative
paths are taken from the file's own directory. Under systemd the token and the CA come as
credentials unless token_file and ca_file are set here.
"""
_GUEST_FILE = """\
[guest.101]
kind = "lxc"            # optional; a guest of another kind is not touched
state = "running"       # or "stopped"; without it the run state is left alone
mode = "observe"        # report only; "enforce" is the default
stop = "power-off"      # pull the plug of a guest that ignores a shutdown
restart = "allowed"     # restart it for a change that waits for one
identity = "uuid=..."   # confirm which guest is meant under a recycled number
unset = ["cpulimit"]    # options that shall be absent
dangerous = []          # what can lose data is taken only if said twice: ["scsi0.snapshot"] here,
                        # and snapshot=1, cache=unsafe, rerror=ignore or werror=ignore below
[guest.101.config]      # PVE's own option names, as in `qm set` and `pct set`
cores = 2
tags = ["dns", "prod"]
"""


def files() -> dict[Path, str]:
    """Return each file that is made of the code, with its text."""
    return {
        PACKAGING / "agent.toml": "\n".join(_sample()) + "\n",
        PACKAGING / "man" / "felhom-agent.1": "\n".join(_page_1()) + "\n",
        PACKAGING / "man" / "felhom-agent.toml.5": "\n".join(_page_5()) + "\n",
        PACKAGING / "completion" / "felhom-agent": completion.bash(),
        PACKAGING / "completion" / "_felhom-agent": completion.zsh(),
        PACKAGING / "systemd" / "felhom-agent.catalog": catalog(),
    }


def _sample() -> Iterator[str]:
    yield "# felhom-agent: how it reaches its node, and how it goes about its work."
    yield "# Every setting is here with its default; felhom-agent.toml(5) has the same."
    yield "# After a change: systemctl reload felhom-agent."
    yield "# [proxmox], [journal] and [notify]: systemctl restart felhom-agent."
    for section, cls in config.SECTIONS.items():
        yield f"\n[{section}]"
        for setting in dataclasses.fields(cls):
            for line in textwrap.wrap(texts_of(cls)[setting.name], 96):
                yield f"# {line}"
            active = _ACTIVE.get((section, setting.name))
            value = active or default_of(setting)
            yield f"{setting.name} = {value}" if active else f"#{setting.name} = {value}"


def _page_1() -> Iterator[str]:
    top, commands = parsers()
    yield _head("felhom-agent", 1)
    yield from _section("NAME", "felhom-agent \\- keep the guests of a Proxmox VE host as declared")
    yield from _section(
        "SYNOPSIS", "\\fBfelhom-agent\\fR [\\fB--config\\fR FILE] [\\fB--debug\\fR] COMMAND ..."
    )
    yield from _section("DESCRIPTION", _roff(str(top.description)))
    yield _roff("It does only what can be undone: start, graceful shutdown, set configuration. "
                "Whatever was not declared is left alone.")  # fmt: skip
    yield ".PP"
    yield _roff("Options of every command, before and after its name:")
    yield from _options(top, "felhom-agent")
    yield ".SH COMMANDS"
    for name, command in commands.items():
        usage = " ".join(command.format_usage().removeprefix("usage: ").split())
        yield f".SS {_roff(usage)}"
        yield _roff(str(command.description))
        if package := PACKAGES.get(COMMANDS[name][0]):
            yield _roff(f"It is in the package {package}.")
        yield from _options(command, name)
        yield ".PP"
        yield _roff(str(command.epilog))
    yield ".SH EXIT STATUS"
    for code, text in MEANINGS.items():
        yield from _item(str(code), text)
    yield ".SH FILES"
    for path, text in _FILES.items():
        yield from _item(path, text)
    yield ".SH NOTES"
    yield from _verbatim(_NOTES.splitlines())
    yield ".SH EVENTS"
    yield _roff(_JOURNALD)
    for event in EVENTS:
        yield from _item(f"{event.name}: {event.subject}", event.advice)
    yield from _section("SEE ALSO", "\\fBfelhom-agent.toml\\fR(5), \\fBjournalctl\\fR(1)")


def _page_5() -> Iterator[str]:
    yield _head("felhom-agent.toml", 5)
    yield from _section("NAME", "felhom-agent.toml \\- settings of felhom-agent, and guest files")
    yield from _section("DESCRIPTION", _roff(_SETTINGS))
    for section, cls in config.SECTIONS.items():
        yield f".SH [{section}]"
        # Python 3.13 takes the indent away by itself.
        yield _roff(inspect.cleandoc(str(cls.__doc__)))
        for setting in dataclasses.fields(cls):
            text = f"{texts_of(cls)[setting.name]} Default: {default_of(setting)}"
            yield from _item(setting.name, text)
    yield ".SH GUEST FILES"
    yield _roff("Each *.toml file in the directory of [desired] declares guests:")
    yield from _verbatim(_GUEST_FILE.splitlines())
    yield _roff(
        "What is wrong in a guest's table leaves that guest as it was last declared rightly; a "
        "file with a syntax error leaves its last good version in force."
    )
    yield from _section("SEE ALSO", "\\fBfelhom-agent\\fR(1)")


def _options(command: argparse.ArgumentParser, name: str) -> Iterator[str]:
    for action in command._actions:  # noqa: SLF001  # argparse has no public name for it
        if action.help not in (None, argparse.SUPPRESS) and action.dest not in ("help", "command"):
            words = ", ".join(action.option_strings) or action.dest
            yield from _item(words, str(action.help) % {"default": action.default, "prog": name})


def _head(name: str, section: int) -> str:
    return f'.TH "{name.upper()}" "{section}" "" "felhom-agent {__version__}" ""\n.nh'


def _section(title: str, text: str) -> Iterator[str]:
    yield f".SH {title}"
    yield text


def _item(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield f"\\fB{_roff(term)}\\fR"
    yield _roff(text)


def _verbatim(lines: list[str]) -> Iterator[str]:
    yield ".nf"
    yield from (_roff(line) for line in lines)
    yield ".fi"


def _roff(text: str) -> str:
    """Given plain text, return it so that roff shows it as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    lines = (re.sub(r"^(?=[.'])", r"\\&", line.rstrip()) for line in escaped.splitlines())
    return "\n".join(lines)
