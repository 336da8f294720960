"""`felhom-agent signers`: who may sign on this host; and `init`, which makes the list from a key.

The set in force is shown as the agent sees it: root's lists, or what came by signature since; with
one fault in it nobody's signature counts. `init` is root's (as agent.toml and the lists are); it
writes what the agent's own judge finds nothing wrong with, durably, or nothing at all. In the place
of a list it provisions the next version, which wins over all that came by signature.
Only [authz] and [journal] of agent.toml are needed; no agent, no node.
"""

from __future__ import annotations

import argparse
import os
import shlex
import stat
import time
from pathlib import Path
from typing import Final

from felhom_agent import regularfile
from felhom_agent.authz.setfile import FIRST_VERSION, SET, end_of, set_text
from felhom_agent.authz.signers import ALLOWED, MAX_FILE, load, owner_by
from felhom_agent.authz.signerset import KeyFile, made_of
from felhom_agent.cli import jobfiles, signerlist
from felhom_agent.cli.codes import ERROR, OK
from felhom_agent.cli.command import Commands, add_command, file_path, some_text
from felhom_agent.cli.out import complain, say
from felhom_agent.cli.terminal import put, put_table
from felhom_agent.cli.trustlook import TrustLook, look
from felhom_agent.config.agentfile import load_authz, load_journal
from felhom_agent.durable.disk import DISK
from felhom_agent.durable.file import write_if_absent, write_over
from felhom_agent.errors import FelhomError
from felhom_agent.printable import printable

_DIRECTORY_MODE: Final = 0o755
# The agent's own user reads it, and it is public.
_FILE_MODE: Final = 0o644


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "signers",
        run,
        summary="Show whose signatures count on this host, and each fault in the lists; with a "
        "fault nobody's does. `init`, as root, makes the list from public keys; `make` writes one "
        "into a file, for a rotation. Exit code 1: there are faults.",
        example="signers init --key anna.pub",
    )
    parser.add_argument(
        "what", nargs="?", choices=("init", "make"),
        help="init: make this host's list; make: write a list that is to come by rotation",
    )  # fmt: skip
    parser.add_argument(
        "--key", action="append", default=[], type=file_path, metavar="FILE.pub",
        help="the public key that signs what is done; repeatable, one of each signer",
    )  # fmt: skip
    parser.add_argument(
        "--recovery", action="append", default=[], type=file_path, metavar="FILE.pub",
        help="another key, for changes of the list; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--until", type=some_text, metavar="DATE",
        help="when the keys end: YYYYMMDD or YYYYMMDDHHMMSSZ (default: never)",
    )  # fmt: skip
    parser.add_argument(
        "--expires", type=some_text, metavar="DATE",
        help="when the set of signers ends, in UTC: YYYYMMDD or YYYYMMDDHHMMSS (default: never)",
    )  # fmt: skip
    parser.add_argument(
        "-o", dest="out", type=file_path, metavar="FILE", help="of make: where to write the list"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace a list that is there, as the next version: it counts over all that came by "
        "signature",
    )
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    given = [arguments.key, arguments.recovery, arguments.until, arguments.force, arguments.expires]
    if arguments.what is None and any([*given, arguments.out]):
        arguments.usage_error(
            "--key, --recovery, --until, --expires, --force and -o are of `signers init` or `make`"
        )
    if arguments.what is not None and not arguments.key:
        arguments.usage_error(f"{arguments.what} needs --key FILE.pub, the public key of who signs")
    if arguments.what == "make":
        return _make(arguments)
    if arguments.out:
        arguments.usage_error("-o is of `signers make`; init writes this host's own list")
    try:
        end_of(arguments.expires or "")
    except ValueError as error:
        arguments.usage_error(f"--expires {error}")
    seen = _looked(arguments)
    return _show(seen) if arguments.what is None else _init(arguments, seen)


def _looked(arguments: argparse.Namespace) -> TrustLook:
    settings = arguments.config
    return look(settings, load_authz(settings), load_journal(settings).directory)


def _show(seen: TrustLook) -> int:
    """Print the signers and what is wrong; return the exit code."""
    found = seen.signers
    if seen.unseen and found.present:
        put(f"Root's lists alone: {seen.unseen}.")
    for problem in found.problems:
        complain(problem)
    if found.problems:
        complain("no signature counts until that is mended")
    if not found.present:
        put(f"{signerlist.none_yet(found)}.")
        put("To let a key sign, as root: felhom-agent signers init --key FILE.pub")
    elif found.signers:
        put_table(signerlist.HEAD, list(signerlist.rows(found, time.time())), indent=0)
        put(signerlist.about(found, time.time()))
    if found.revoked:
        put("Taken back:")
        for key in dict.fromkeys(found.revoked):
            put(f"  {key.type} {key.fingerprint}")
    return ERROR if found.problems else OK


def _make(arguments: argparse.Namespace) -> int:
    """Write a list into a file; neither an agent nor agent.toml is needed."""
    if arguments.out is None:
        arguments.usage_error("make needs -o FILE, where the list is written")
    if arguments.expires:
        arguments.usage_error("when the set ends is said with the request: rotate-signers --until")
    text = _text_of(arguments)
    if not text:
        return ERROR
    jobfiles.write_new(arguments.out, text.encode(), force=arguments.force)
    say(f"Wrote {jobfiles.shown(arguments.out)}; nothing counts by that.")
    name = shlex.quote(arguments.out.name)
    say(f"  On the host: felhom-agent request rotate-signers --signers {name} -o next.request")
    return OK


def _text_of(arguments: argparse.Namespace) -> str:
    """Return the list that the command's keys make; empty if there is a fault, which was told."""
    keys, recovery = map(_key_file, arguments.key), map(_key_file, arguments.recovery)
    text, _, problems = made_of(keys, recovery, arguments.until or "")
    for problem in problems:
        complain(problem)
    return text


def _init(arguments: argparse.Namespace, seen: TrustLook) -> int:
    directory = load_authz(arguments.config).signers
    owner = owner_by(arguments.config)
    if os.geteuid() != owner:
        who = "root" if owner == 0 else f"user {owner}, whose {arguments.config} is"
        raise FelhomError(f"signers init writes what only {who} may write; run it as that user")
    path = directory / ALLOWED
    text = _text_of(arguments)
    if not text:
        return ERROR
    _refuse_present(path, force=arguments.force)
    if seen.unseen and path.exists():
        raise FelhomError(f"which version comes next cannot be told: {seen.unseen}")
    again = seen.next_version > FIRST_VERSION + 1 or path.exists()
    files = {path: text.encode()}
    if again or arguments.expires:
        version = seen.next_version if again else FIRST_VERSION
        files[directory / SET] = set_text(version, arguments.expires or "").encode()
    # The version comes last where there is a list: the old one under it would count again. Until
    # then, under a rotated set, nobody's signature counts.
    for file in files if path.exists() else reversed(files):
        _write(file, files[file], owner, force=arguments.force or file != path)
    say(f"Wrote {path}:")
    code = _show(_looked(arguments))
    if code == OK:
        _say_next(recovery=bool(arguments.recovery))
    return code


def _refuse_present(path: Path, *, force: bool) -> None:
    if path.exists() and not force:
        raise FelhomError(f"{path} is there already; add a line to it, or replace it with --force")


def _key_file(path: Path) -> KeyFile:
    """Given a path, return its name and the text in it. Raise FelhomError if there is none."""
    name = printable(str(path), 300)
    try:
        return name, regularfile.read(path, MAX_FILE).data.decode("utf-8")
    except regularfile.FileUnreadable as error:
        # What follows is advice for files that nobody has named.
        raise FelhomError(f"{name}: {str(error).partition(';')[0]}") from None
    except UnicodeDecodeError:
        text = "is no text in UTF-8; a .pub file is one line as ssh-keygen writes it"
        raise FelhomError(f"{name}: {text}") from None


def _write(path: Path, data: bytes, owner: int, *, force: bool) -> None:
    """Write the list, in a directory of its owner's. Raise FelhomError if that cannot be."""
    try:
        _prepare(path.parent, owner)
        if force:
            write_over(DISK, path, data, _FILE_MODE)
        else:
            write_if_absent(DISK, path, data, _FILE_MODE)
    except FileExistsError:
        raise FelhomError(
            f"{path} is there already; add a line to it, or replace it with --force"
        ) from None
    except OSError as error:
        raise FelhomError(f"{path}: cannot be written: {error.strerror or error}") from None


def _prepare(directory: Path, owner: int) -> None:
    """Make the directory, if it is not there. Raise FelhomError if others may write it."""
    try:
        directory.mkdir()
    except FileExistsError:
        _refuse_untrusted(directory, owner)
    else:
        directory.chmod(_DIRECTORY_MODE)  # whatever the umask is
        DISK.sync_directory(directory.parent)


def _refuse_untrusted(directory: Path, owner: int) -> None:
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise FelhomError(f"{directory}: it is no directory (a link to one does not count)")
    problems = [p for p in load(directory, owner).problems if p.place.file == str(directory)]
    if problems:
        raise FelhomError(str(problems[0]))


def _say_next(*, recovery: bool) -> None:
    if not recovery:
        put("No recovery key: who loses this one makes the list anew, as root on this host.")
    say("It counts from now on. What next:")
    say("  felhom-agent check                               may the token do what is signed?")
    say("  felhom-agent request destroy 101 -o web.request  on this host; or rollback, ...")
    say("  felhom-agent sign web.request                    where the private key is")
    say("  felhom-agent submit web.job web.job.sig          on this host again")
