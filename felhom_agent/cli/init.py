"""`felhom-agent init`: from the installed package to a watched host, step by step.

Each step is shown, asked for and done, and is left out where it is done already; what is lacking
is asked of PVE and of the files at each run, so that a second one goes on wherever the first one
ended, and grants and adopts what is named now and was not before. Every step can be done by hand
instead (README, "By hand"). The agent only observes in the end: it changes nothing until a person
says so.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from felhom_agent.cli import adoptfile, check, initplan, initservice, pveum
from felhom_agent.cli.adopt import adopt_into, undeclared
from felhom_agent.cli.adoptguests import Asked, guests, select
from felhom_agent.cli.codes import ERROR, OK
from felhom_agent.cli.command import Commands, add_command, some_text
from felhom_agent.cli.confirm import answered, is_terminal
from felhom_agent.cli.initscope import scope_of
from felhom_agent.cli.initsecret import has_content, keep_secret
from felhom_agent.cli.out import say
from felhom_agent.cli.privileges import lacking_commands
from felhom_agent.cli.terminal import Part, Style, put
from felhom_agent.config import tomlfile
from felhom_agent.config.agentfile import load
from felhom_agent.config.edit import with_setting
from felhom_agent.config.settings import Config, ProxmoxConfig
from felhom_agent.desired.adoption import Wish
from felhom_agent.durable.replacement import replace_whole
from felhom_agent.errors import FelhomError
from felhom_agent.model import Mode
from felhom_agent.proxmox.node import Node

Step = Callable[[argparse.Namespace, Config], bool]
"""Given the words of the command and the settings, does a step; returns whether it was done."""
_NEW_FILE = """\
# felhom-agent: how it reaches its node, and how it goes about its work; felhom-agent.toml(5)

[proxmox]
token_id = "felhom-agent@pve!agent"

[desired]
directory = "guests.d"

[reconcile]
mode = "observe"
"""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "init",
        run,
        summary="Set up this Proxmox VE host, as root: a token with the least rights, agent.toml, "
        "the existing guests as guest files, the service. It shows each step and asks; a step that "
        "is done already is left out, so that it can be run again at any time, for more guests. "
        "Where no agent ran before, nothing is changed on any guest, then or later, until you take "
        'mode = "observe" out of agent.toml; where one ran, its mode stays.',
        example="init --pool homelab",
    )
    parser.add_argument(
        "guests", nargs="*", type=guests, metavar="VMID", help="only these guests; 200-210: a range"
    )
    parser.add_argument("--pool", type=some_text, help="only the guests of this pool")
    parser.add_argument("--state", action="store_true", help="write whether each runs, too")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    if arguments.guests and arguments.pool:
        arguments.usage_error("name guests, or a pool, not both")
    if os.geteuid() != 0:
        raise FelhomError("init sets up the host, and needs root")
    if not arguments.yes and not is_terminal(sys.stdin):
        arguments.usage_error("asks at each step, and here is no terminal; --yes does it all")
    path: Path = arguments.config
    node = load(path).proxmox.node if path.exists() else ProxmoxConfig().node
    arguments.scope = scope_of(arguments.guests, arguments.pool or "", node)
    config = _configured(path)
    for number, step in enumerate(_STEPS, start=1):
        put((Part(f"{number} of {len(_STEPS)}: ", Style.STRONG), str(step.__doc__)))
        if not _done(step, arguments, config):
            return ERROR
        config = load(config.path)
    return _ended(config)


def _done(step: Step, arguments: argparse.Namespace, config: Config) -> bool:
    """Do a step, and return whether it was; where it was not, say how to go on."""
    done = False
    try:
        done = step(arguments, config)
    finally:
        if not done:
            again = shlex.join(["felhom-agent", *arguments.words])
            say(f"Stopped here. `{again}` goes on from here; nothing done is undone.")
    return done


def _configured(path: Path) -> Config:
    """Return the settings; the file is made if there is none."""
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_NEW_FILE)
        except OSError as error:
            raise FelhomError(f"{path}: cannot be written: {error.strerror}") from None
        say(f"{path} was not there, and was made.")
    return load(path)


def _token(arguments: argparse.Namespace, config: Config) -> bool:
    """A user and a token, which may do nothing yet."""
    file = config.proxmox.token_file
    if has_content(file):
        _raise_if_unknown(config)
        say(f"  {file} holds a secret already; left as it is.")
        return True
    if not pveum.is_here():
        raise FelhomError(
            "pveum is not on this host, so it is no Proxmox VE host; make the token there, put its "
            f"secret into {file} (README, By hand), and run init again"
        )
    access = initplan.Existing(
        pveum.names("role", "list", key="roleid"),
        pveum.names("user", "list", key="userid"),
        _tokens(initplan.USER),
    )
    name = initplan.token_name(access, config.proxmox.node)
    if not name:
        raise FelhomError(
            f"{initplan.USER} has tokens for this host already, and PVE tells a secret only once: "
            f"`pveum user token remove {initplan.USER} {initplan.TOKEN}-{config.proxmox.node}`"
        )
    new = initplan.new_token(access, name)
    also = f"The token's secret goes into {file} (0600)."
    if not _agreed(arguments, (*new.before, new.line), also):
        return False
    for line in new.before:
        pveum.run(line)
    # Before the token is there: whatever stops us now, secret and name belong together.
    if new.token_id != config.proxmox.token_id:
        _set(config.path, "proxmox", "token_id", new.token_id)
    keep_secret(file, pveum.new_token(new.line))
    return True


def _raise_if_unknown(config: Config) -> None:
    """Raise FelhomError if PVE has no such token any more."""
    user, _, name = config.proxmox.token_id.partition("!")
    if pveum.is_here() and name not in _tokens(user):
        raise FelhomError(
            f"{config.proxmox.token_file} holds a secret, and PVE has no token "
            f"{config.proxmox.token_id}: remove that file, or set token_id in {config.path}"
        )


def _look(arguments: argparse.Namespace, config: Config) -> bool:
    """The right to look, and nothing else."""
    with closing(Node.connect(config.proxmox).client) as client:
        held = client.get("access", "permissions")
    if not isinstance(held, Mapping):
        raise FelhomError("PVE does not tell what the token may do")
    paths = arguments.scope.paths_to_look(held)
    if not paths:
        say("  the token has it already.")
        return True
    roles = pveum.names("role", "list", key="roleid") if pveum.is_here() else ()
    lines = initplan.look_lines(roles, paths, config.proxmox.token_id)
    if not pveum.is_here():
        _by_hand(lines)
        return False
    if not _agreed(arguments, lines, ""):
        return False
    for line in lines:
        pveum.run(line)
    return True


def _observe(_arguments: argparse.Namespace, config: Config) -> bool:
    """The agent only observes, until a person says otherwise."""
    if _has_run(config):
        say(f'  it ran here before: its mode ("{config.reconcile.mode}") is left as it is.')
    elif config.reconcile.mode is Mode.OBSERVE:
        say(f'  mode = "observe" in {config.path}, already.')
    else:
        _set(config.path, "reconcile", "mode", "observe")
        say(f'  mode = "observe" written into {config.path}.')
    return True


def _adopt(arguments: argparse.Namespace, config: Config) -> bool:
    """The guests as they are, as guest files."""
    directory = config.desired.directory
    if directory is None:
        raise FelhomError(f"{config.path}: [desired] directory is needed, as in guests.d")
    first, target = directory / adoptfile.NAME, adoptfile.new_in(directory)
    if target != first and not arguments.scope.is_named:
        say(f"  {first} is there already; left as it is.")
        return True
    asked = Asked(tuple(arguments.guests), pool=arguments.pool or "")
    node = Node.connect(config.proxmox)
    with closing(node.client):
        if target != first and not undeclared(config, select(node, asked)):
            say("  all of them are declared already.")
            return True
        if not _agreed(arguments, (), f"This writes {target}, and changes no guest."):
            return False
        return (
            adopt_into(target, config, node, asked, Wish(state=arguments.state), named_must=False)
            == OK
        )


def _rights(arguments: argparse.Namespace, config: Config) -> bool:
    """The rights to keep them so: just those that the guest files need."""
    lines = lacking_commands(config)
    if not lines:
        say("  the token has all of them.")
        return True
    if not pveum.is_here():
        _by_hand(lines)
        return True
    if _agreed(arguments, lines, "They can wait: `felhom-agent check` shows them again."):
        for line in lines:
            pveum.run(line)
    return True


def _service(arguments: argparse.Namespace, config: Config) -> bool:
    """The service, now and at each boot."""
    if not initservice.is_here():
        say(f"  systemd is not here; to run the agent: felhom-agent --config {config.path} run")
        return True
    if initservice.is_set():
        say("  it runs, and is started at each boot, already.")
        return True
    if not _agreed(arguments, (initservice.LINE,), ""):
        return False
    initservice.enable()
    return True


_STEPS: tuple[Step, ...] = (_token, _look, _observe, _adopt, _rights, _service)


def _ended(config: Config) -> int:
    put((Part("How it is now:", Style.STRONG),))
    code = check.show(check.examine(config))
    put((Part("What next:", Style.STRONG),))
    say("  felhom-agent status        how the agent and its guests are")
    say("  felhom-agent plan          what it would do; felhom-agent apply VMID does it")
    say(f"  edit {config.desired.directory}/*.toml, one guest a file if you like; plan shows it")
    if config.reconcile.mode is Mode.OBSERVE:
        say(f'  take mode = "observe" out of {config.path} once you trust it with that')
    else:
        say(f"  the agent keeps the guests as declared: {config.path} lets it")
    return code


def _by_hand(lines: Iterable[str]) -> None:
    say("  to be run on the Proxmox VE host:")
    for line in lines:
        say(f"    {line}")


def _tokens(user: str) -> frozenset[str]:
    """Return a user's tokens; none if there is no such user."""
    try:
        return pveum.names("user", "token", "list", user, key="tokenid")
    except FelhomError:
        return frozenset()


def _agreed(arguments: argparse.Namespace, lines: Iterable[str], also: str) -> bool:
    """Show what would be done, and return whether a person agrees."""
    for line in lines:
        put(("    ", Part(line, Style.STRONG)), hang=8)
    if also:
        say(f"  {also}")
    return arguments.yes or answered("")


def _has_run(config: Config) -> bool:
    try:
        return any(config.journal.directory.iterdir())
    except OSError:
        return False


def _set(path: Path, section: str, key: str, value: str) -> None:
    before = tomlfile.read_bytes(path)
    replace_whole(path, before, with_setting(before, path, section, key, value))
