"""What `felhom-agent request` asks for where the host itself is meant: its lists, its keys."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from felhom_agent.authz.hostblob import REVOCATION, ROTATION
from felhom_agent.cli import jobfiles
from felhom_agent.cli.command import file_path, some_text
from felhom_agent.errors import FelhomError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let the command take what acts on the host are told."""
    parser.add_argument(
        "--signers", type=file_path, metavar="FILE",
        help="of rotate-signers: the new list, as allowed_signers has it",
    )  # fmt: skip
    parser.add_argument(
        "--revoked", type=file_path, metavar="FILE",
        help="of rotate-signers: the new list of keys taken back (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--until", type=some_text, metavar="DATE",
        help="of rotate-signers: when the set ends, in UTC: YYYYMMDD or YYYYMMDDHHMMSS",
    )  # fmt: skip
    parser.add_argument(
        "--key", action="append", default=[], type=file_path, metavar="FILE.pub",
        help="of revoke-key: the public key that is taken back; repeatable",
    )  # fmt: skip


def params_of(act: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Given an act on the host and the words of the command, return the act's parameters. Raise
    SystemExit if the words do not fit it, FelhomError if a file cannot be read.
    """
    if arguments.vmid is not None or arguments.what is not None:
        arguments.usage_error(f"{arguments.act} is done to the host; leave out the VMID")
    if arguments.purge or arguments.stop or arguments.resume:
        arguments.usage_error("--purge, --stop and --resume are for what is done to a guest")
    rotates, revokes = act == ROTATION, act == REVOCATION
    if not rotates and (arguments.signers or arguments.revoked or arguments.until):
        arguments.usage_error("--signers, --revoked and --until are of rotate-signers")
    if not revokes and arguments.key:
        arguments.usage_error("--key is of revoke-key")
    if rotates:
        if arguments.signers is None:
            arguments.usage_error("rotate-signers needs --signers FILE, the new list")
        return {
            "allowed_signers": _text(arguments.signers),
            "revoked_keys": _text(arguments.revoked) if arguments.revoked else "",
            "expires": arguments.until or "",
        }
    if not revokes:
        return {}
    if not arguments.key:
        arguments.usage_error("revoke-key needs --key FILE.pub, the key that is taken back")
    return {"keys": [line for path in arguments.key for line in _keys(path)]}


def _keys(path: Path) -> list[str]:
    """Return the keys of a .pub file, each without its comment."""
    lines = [line.split() for line in _text(path).splitlines()]
    found = [" ".join(words[:2]) for words in lines if words and not words[0].startswith("#")]
    if not found:
        raise FelhomError(f"{jobfiles.shown(path)}: there is no key in it")
    return found


def _text(path: Path) -> str:
    try:
        return jobfiles.read_file(path).decode("utf-8")
    except UnicodeDecodeError:
        raise FelhomError(f"{jobfiles.shown(path)}: it is not UTF-8 text") from None
