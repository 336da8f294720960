"""`felhom-agent init`: from the installed package to a watched host, step by step.

Each step is shown, asked for and done, and is left out where it is done already; so a second run
goes on where the first one ended. Every step can be done by hand instead (README, "By hand"). The
agent only observes in the end: it changes nothing until a person says so.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from felhom_agent.cli import check, initplan, programs, pveum
from felhom_agent.cli.adopt import adopt_into
from felhom_agent.cli.adoptguests import Asked, Range, guests
from felhom_agent.cli.codes import ERROR, OK
from felhom_agent.cli.command import Commands, add_command, some_text
from felhom_agent.cli.confirm import answered, is_terminal
from felhom_agent.cli.out import complain, say
from felhom_agent.cli.privileges import lacking_commands
from felhom_agent.cli.terminal import Part, Style, put
from felhom_agent.config import tomlfile
from felhom_agent.config.agentfile import load
from felhom_agent.config.edit import with_setting
from felhom_agent.config.settings import Config
from felhom_agent.desired.adoption import Wish
from felhom_agent.durable.replacement import replace_whole
from felhom_agent.errors import FelhomError
from felhom_agent.model import Mode
from felhom_agent.proxmox.node import Node

UNIT = "felhom-agent.service"
MAX_GUESTS = 200
"""How many guests may be named by number: each has two lines in PVE's access list."""
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
        "is done already is left out. Nothing is changed on any guest, then or later, until you "
        'take mode = "observe" out of agent.toml.',
        example="init --pool homelab",
    )
    parser.add_argument(
        "guests", nargs="*", type=guests, metavar="VMID", help="only these guests; 200-210: a range"
    )
    parser.add_argument("--pool", type=some_text, default="", help="only the guests of this pool")
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
    config = _configured(arguments.config)
    steps = (_token, _observe, _adopt, _rights, _service)
    for number, step in enumerate(steps, start=1):
        put((Part(f"{number} of {len(steps)}: ", Style.STRONG), str(step.__doc__)))
        if not step(arguments, config):
            say("Stopped here. `felhom-agent init` goes on from here; nothing done is undone.")
            return ERROR
        config = load(config.path)
    return _ended(arguments, config)


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
    """A user and a token that may look, and nothing else."""
    file = config.proxmox.token_file
    if _has_content(file):
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
        _tokens(),
    )
    name = initplan.token_name(access, config.proxmox.node)
    if not name:
        raise FelhomError(
            f"{initplan.USER} has tokens for this host already, and PVE tells a secret only once: "
            f"`pveum user token remove {initplan.USER} {initplan.TOKEN}-{config.proxmox.node}`"
        )
    steps = initplan.steps(access, name, _paths(arguments), config.proxmox.node)
    if not _agreed(arguments, steps.lines, f"The token's secret goes into {file} (0600)."):
        return False
    for line in steps.before:
        pveum.run(line)
    secret = pveum.new_token(steps.token_line)
    _keep_secret(file, secret)
    for line in steps.after:
        pveum.run(line)
    if steps.token_id != config.proxmox.token_id:
        _set(config.path, "proxmox", "token_id", steps.token_id)
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
    target = directory / "adopted.toml"
    if target.exists():
        say(f"  {target} is there already; left as it is.")
        return True
    if not _agreed(arguments, (), f"This writes {target}, and changes no guest."):
        return False
    node = Node.connect(config.proxmox)
    try:
        asked = Asked(tuple(arguments.guests), pool=arguments.pool)
        return adopt_into(target, config, node, asked, Wish(state=arguments.state)) == OK
    finally:
        node.client.close()


def _rights(arguments: argparse.Namespace, config: Config) -> bool:
    """The rights to keep them so: just those that the guest files need."""
    lines = lacking_commands(config)
    if not lines:
        say("  the token has all of them.")
        return True
    if not pveum.is_here():
        say("  to be run on the Proxmox VE host:")
        for line in lines:
            say(f"    {line}")
        return True
    if _agreed(arguments, lines, "They can wait: `felhom-agent check` shows them again."):
        for line in lines:
            pveum.run(line)
    return True


def _service(arguments: argparse.Namespace, config: Config) -> bool:
    """The service, now and at each boot."""
    if not programs.is_here("systemctl"):
        say(f"  systemd is not here; to run the agent: felhom-agent --config {config.path} run")
        return True
    line = f"systemctl enable --now {UNIT}"
    if not _agreed(arguments, (line,), ""):
        return False
    done = subprocess.run(  # noqa: S603  # a line of ours, word by word
        line.split(), capture_output=True, text=True, check=False, timeout=pveum.TIMEOUT,
        executable=programs.path_of("systemctl"),
    )  # fmt: skip
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:300]
        raise FelhomError(f"`{line}` failed: {said}; `systemctl status {UNIT}` tells more")
    return True


def _ended(_arguments: argparse.Namespace, config: Config) -> int:
    put((Part("How it is now:", Style.STRONG),))
    code = check.show(check.examine(config))
    put((Part("What next:", Style.STRONG),))
    say("  felhom-agent status        how the agent and its guests are")
    say("  felhom-agent plan          what it would do; felhom-agent apply VMID does it")
    say(f"  edit {config.desired.directory}/*.toml, one guest a file if you like; plan shows it")
    say(f'  take mode = "observe" out of {config.path} once you trust it with that')
    return code


def _paths(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return where in PVE's tree the guests are that the token shall see."""
    if arguments.pool:
        return (f"/pool/{arguments.pool}",)
    asked: list[Range] = arguments.guests
    if sum(each.high - each.low + 1 for each in asked) > MAX_GUESTS:
        raise FelhomError(f"more than {MAX_GUESTS} guests by number: put them into a pool, or all")
    vmids = [vmid for each in asked for vmid in range(each.low, each.high + 1)]
    return tuple(f"/vms/{vmid}" for vmid in vmids) or ("/",)


def _tokens() -> frozenset[str]:
    """Return our user's tokens; none if there is no such user."""
    try:
        return pveum.names("user", "token", "list", initplan.USER, key="tokenid")
    except FelhomError:
        return frozenset()


def _agreed(arguments: argparse.Namespace, lines: Iterable[str], also: str) -> bool:
    """Show what would be done, and return whether a person agrees."""
    for line in lines:
        put(("    ", Part(line, Style.STRONG)), hang=8)
    if also:
        say(f"  {also}")
    return arguments.yes or answered("")


def _has_content(path: Path) -> bool:
    try:
        return bool(path.read_bytes().strip())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FelhomError(f"{path}: cannot be read: {error.strerror}") from None


def _has_run(config: Config) -> bool:
    try:
        return any(config.journal.directory.iterdir())
    except OSError:
        return False


def _keep_secret(path: Path, secret: str) -> None:
    """Write the token's secret for root alone; from the first byte on nobody else can read it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        complain("the token was made, and its secret cannot be kept: remove the token again")
        raise FelhomError(f"{path}: cannot be written: {error.strerror}") from None


def _set(path: Path, section: str, key: str, value: str) -> None:
    before = tomlfile.read_bytes(path)
    replace_whole(path, before, with_setting(before, path, section, key, value))
