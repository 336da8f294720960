"""`felhom-agent request`: writes what is to be signed, for one act on one guest as it is now, or
on the host itself.

The agent looks at the guest and says how far the act reaches; nothing is done. The file is carried
to where the key is. It is read here as the desk will read it, and what is written was shown.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from felhom_agent.authz.blob import is_snapshot_name
from felhom_agent.authz.hostblob import HOST_ACTS, REVOCATION, ROTATION, THAW, HostOperation
from felhom_agent.authz.request import SignedRequest, parse_request
from felhom_agent.cli import answers, jobfiles, requesthost, sign
from felhom_agent.cli.ask import socket_of
from felhom_agent.cli.codes import OK
from felhom_agent.cli.command import Commands, add_command, file_path, some_text, vmid
from felhom_agent.cli.out import say
from felhom_agent.errors import FelhomError
from felhom_agent.printable import moment_text
from felhom_agent.service.controlclient import call

ACTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "destroy": "guest_destroy",
        "rollback": "snapshot_rollback",
        "delete-snapshot": "snapshot_delete",
        "force-stop": "force_stop",
        "detach-disk": "disk_detach",
        "rotate-signers": ROTATION,
        "revoke-key": REVOCATION,
        "thaw": THAW,
    }
)
"""The acts as a person calls them, and their classes, which are taken, too."""
_WHAT: Final = {
    "snapshot_rollback": ("snapshot", "the snapshot's name"),
    "snapshot_delete": ("snapshot", "the snapshot's name"),
    "disk_detach": ("key", "the disk's key, as scsi1 or mp0"),
}


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "request",
        run,
        summary="Write what is to be signed for one act on one guest as it is now, or on the host; "
        "nothing is done. Where your key is, `felhom-agent sign` shows it and signs it.",
        example="request rollback 101 before-upgrade -o web.request",
    )
    parser.add_argument(
        "act",
        choices=list(dict.fromkeys((*ACTS, *ACTS.values()))),
        metavar="ACT",
        help=", ".join(ACTS),
    )
    parser.add_argument(
        "vmid", nargs="?", type=vmid,
        help="the guest; rotate-signers, revoke-key and thaw are done to the host, and have none",
    )  # fmt: skip
    parser.add_argument(
        "what",
        nargs="?",
        type=some_text,
        metavar="WHAT",
        help="the snapshot's name, or the disk's key (scsi1)",
    )
    requesthost.add_options(parser)
    parser.add_argument(
        "-o", dest="out", type=file_path, required=True, metavar="FILE",
        help="where to write it",
    )  # fmt: skip
    parser.add_argument(
        "--purge", action="store_true",
        help="of destroy: take it out of backup jobs, replication and HA, too",
    )  # fmt: skip
    parser.add_argument("--stop", action="store_true", help="of destroy: if it runs, stop it first")
    parser.add_argument(
        "--resume", action="store_true",
        help="afterwards go on with the guest as it is declared, instead of leaving it alone",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    given = _given(arguments)
    if not arguments.force:
        # Before the agent is asked: each request that it gives out stays open for a day.
        jobfiles.refuse_existing([arguments.out])
    answer = call(socket_of(arguments.config), "POST", "/v1/request", given)
    data = answers.text(answer, "request").encode("utf-8", "surrogatepass")
    request = _read(data, given)
    jobfiles.write_new(arguments.out, data, force=arguments.force)
    jobfiles.show_request(request)
    _say_next(arguments.out, request)
    return OK


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what is asked of the agent. Raise SystemExit if the words do not fit the act."""
    act: str = ACTS.get(arguments.act, arguments.act)
    if act in HOST_ACTS:
        return {"act": act, "params": requesthost.params_of(act, arguments)}
    if arguments.vmid is None:
        arguments.usage_error(f"{arguments.act} needs the guest's VMID")
    if arguments.signers or arguments.revoked or arguments.until or arguments.key:
        arguments.usage_error(
            "--signers, --revoked, --until and --key are for what is done to the "
            "host: rotate-signers, revoke-key"
        )
    destroys = act == "guest_destroy"
    if not destroys and (arguments.purge or arguments.stop):
        arguments.usage_error("--purge and --stop are of destroy alone")
    if destroys and arguments.resume:
        arguments.usage_error("after a destroy there is nothing to go on with; leave out --resume")
    if act not in _WHAT and arguments.what is not None:
        arguments.usage_error(f"{arguments.act} takes nothing behind the VMID")
    params = _params(act, arguments) if act in _WHAT else {}
    return {
        "act": act,
        "vmid": arguments.vmid,
        "params": {"purge": arguments.purge} if destroys else params,
        "stop": arguments.stop,
        "resume": arguments.resume,
    }


def _params(act: str, arguments: argparse.Namespace) -> dict[str, str]:
    name, words = _WHAT[act]
    if arguments.what is None:
        arguments.usage_error(f"{arguments.act} needs {words} behind the VMID")
    if name == "snapshot" and not is_snapshot_name(arguments.what):
        arguments.usage_error(f"{arguments.what!r} cannot be a snapshot's name")
    return {name: arguments.what}


def _read(data: bytes, given: Mapping[str, Any]) -> SignedRequest:
    """Return the request that the agent made. Raise FelhomError if it is not what was asked for."""
    try:
        request = parse_request(data)
    except FelhomError as error:
        raise FelhomError(
            f"the agent's request cannot be signed: {error}; if it was upgraded, restart it: "
            "systemctl restart felhom-agent"
        ) from None
    operation = request.operation
    if isinstance(operation, HostOperation):
        # A rotation is told its version by the host.
        params = {k: list(v) if isinstance(v, tuple) else v for k, v in operation.params.items()}
        params.pop("version", None)
        same = (operation.act, params) == (given["act"], given["params"])
    else:
        made = (operation.vmid, dict(operation.params), operation.stop, operation.resume)
        wanted = tuple(given.get(key) for key in ("vmid", "params", "stop", "resume"))
        same = operation.act == given["act"] and made == wanted
    if not same:
        raise FelhomError("the agent's request is for something else than was asked for")
    return request


def _say_next(path: Path, request: SignedRequest) -> None:
    job = path.with_suffix(sign.SUFFIX)
    until = request.circumstances.expires
    say()
    say(f"Wrote {jobfiles.shown(path)}; nothing was done.")
    files = shlex.join([job.name, jobfiles.signature_of(job).name])
    say(f"  Where your key is:       felhom-agent sign {shlex.quote(path.name)}")
    say(f"  Then on this host again: felhom-agent submit {files}")
    if until:
        say(f"  It is good until {moment_text(until)}, for one job.")
