"""`felhom-agent sign`: at the desk, show what will happen, ask, and sign it with the person's key.

It needs the request's file and ssh-keygen, and nothing of a host: no agent, no agent.toml. The key
stays where it is; ssh-keygen, its agent or the hardware key sign, and may ask at the terminal. What
was shown is what is signed: the words are made here, of the operation itself. Job and signature
appear as a whole or not at all. A job that another signer has signed is signed, too, as it is; the
signature goes beside the others.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from felhom_agent.authz.armor import SshSignature, open_armor
from felhom_agent.authz.form import FINGERPRINT
from felhom_agent.authz.refusals import OperationRefused
from felhom_agent.authz.request import SignedRequest, asked_for_by, with_times
from felhom_agent.authz.sshkeygen import SSH_KEYGEN, sign_command
from felhom_agent.cli import jobfiles
from felhom_agent.cli.codes import ERROR, OK
from felhom_agent.cli.command import Commands, add_command, file_path, whole
from felhom_agent.cli.confirm import agreed
from felhom_agent.cli.out import complain, say
from felhom_agent.errors import FelhomError
from felhom_agent.printable import moment_text

MAX_MINUTES: Final = 10
"""For how long a signer's own times are good at the most; the host caps them, too."""
SUFFIX: Final = ".job"
_USUAL_KEYS: Final = ("id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_ecdsa_sk", "id_rsa")


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "sign",
        run,
        summary="At your own machine: show what a request would do, ask, and sign it with your SSH "
        "key. Needs ssh-keygen, and neither an agent nor agent.toml. Exit code 1: nothing was "
        "signed.",
        example="sign web.request --key ~/.ssh/id_ed25519",
    )
    parser.add_argument(
        "file", type=file_path, metavar="FILE",
        help="the request, from the host; or a job that another signer has made of it",
    )  # fmt: skip
    parser.add_argument(
        "--key", type=file_path, metavar="KEY",
        help="the private key; of a key in ssh-agent, its .pub file (default: ~/.ssh/id_ed25519, "
        "or the like)",
    )  # fmt: skip
    parser.add_argument(
        "-o", dest="out", type=file_path, metavar="JOB",
        help="where to write what is signed; the signature goes beside it, as JOB.sig (default: "
        "FILE with the ending .job)",
    )  # fmt: skip
    parser.add_argument(
        "--for", dest="minutes", type=whole(1, MAX_MINUTES), metavar="MINUTES",
        help=f"good for so many minutes from now (1 to {MAX_MINUTES}), by this machine's clock, "
        "instead of for a day by the host's",
    )  # fmt: skip
    parser.add_argument(
        "--as-requester",
        action="store_true",
        help="name this key as who asks for it; the host may want that another person approves",
    )
    parser.add_argument("--force", action="store_true", help="replace the files if they are there")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    signed = jobfiles.read_job_to_sign(arguments.file)
    key = _key_of(arguments.key)
    if not os.access(SSH_KEYGEN, os.X_OK):
        raise FelhomError(
            f"{SSH_KEYGEN} is missing, and it makes the signature; install openssh-client"
        )
    if signed is not None:
        return _sign_too(arguments, signed, key)
    request = _as_asked(arguments, jobfiles.read_request(arguments.file), key)
    job = _job_of(arguments)
    if not arguments.force:
        jobfiles.refuse_existing([job, jobfiles.signature_of(job)])
    if not _is_agreed(request, asks=not arguments.yes):
        return ERROR
    made = _signed(request.operation.encode(), key, job, jobfiles.signature_of(job), arguments)
    _say_next(job, [jobfiles.signature_of(job)], made, request)
    return OK


def _sign_too(arguments: argparse.Namespace, request: SignedRequest, key: Path) -> int:
    """Sign a job that somebody has signed; it stays byte for byte what it is."""
    if arguments.minutes or arguments.as_requester or arguments.out or arguments.force:
        arguments.usage_error(
            "a job is signed as it is: no --for, --as-requester, -o or --force; of a request they "
            "are taken"
        )
    job = arguments.file
    taken = [path for path in jobfiles.signatures_of(job) if path.exists()]
    free = next((path for path in jobfiles.signatures_of(job) if path not in taken), None)
    if free is None:
        raise FelhomError(f"{jobfiles.shown(job)} has {len(taken)} signatures, and no more count")
    if not _is_agreed(request, asks=not arguments.yes):
        return ERROR
    # Not read anew: meanwhile another may have been put in its place.
    made = _signed(request.operation.encode(), key, None, free, arguments)
    _say_next(job, [*taken, free], made, request)
    return OK


def _is_agreed(request: SignedRequest, *, asks: bool) -> bool:
    """Show what would be signed; return whether the person agrees."""
    jobfiles.show_request(request)
    _warn_if_over(request)
    if not asks or agreed("", "sign"):
        return True
    say("Nothing was signed.")
    return False


def _as_asked(arguments: argparse.Namespace, request: SignedRequest, key: Path) -> SignedRequest:
    """Return a request with the times, and as who asks, that the person wants."""
    if arguments.minutes:
        request = _timed(request, int(time.time()), arguments.minutes * 60)
    if arguments.as_requester:
        operation = asked_for_by(request.operation, _fingerprint(key))
        request = replace(request, operation=operation)
    return request


def _fingerprint(key: Path) -> str:
    """Return what ssh-keygen calls a key, without its passphrase. Raise FelhomError if it cannot
    be told.
    """
    words = [str(SSH_KEYGEN), "-l", "-f", str(key.absolute())]
    done = subprocess.run(words, capture_output=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603  # words of ours
    found = FINGERPRINT.search(done.stdout.decode("utf-8", "replace"))
    if done.returncode != 0 or found is None:
        raise FelhomError(f"{jobfiles.shown(key)}: ssh-keygen does not tell its fingerprint")
    return found[0]


def _timed(request: SignedRequest, now: int, seconds: int) -> SignedRequest:
    """Return a request with times of the signer's own; until when the host's is good is nothing
    then.
    """
    circumstances = replace(request.circumstances, expires=0)
    return SignedRequest(with_times(request.operation, now, seconds), circumstances)


def _job_of(arguments: argparse.Namespace) -> Path:
    given: Path | None = arguments.out
    job = given if given is not None else arguments.file.with_suffix(SUFFIX)
    if not job.name:
        raise FelhomError(f"{jobfiles.shown(job)}: is no file's name; -o names the job's file")
    if arguments.file.resolve() in (job.resolve(), jobfiles.signature_of(job).resolve()):
        raise FelhomError(f"{jobfiles.shown(job)} is the request itself; -o names another file")
    return job


def _key_of(given: Path | None) -> Path:
    """Return the key that signs. Raise FelhomError if there is none."""
    if given is not None:
        key = _expanded(given)
        if not key.is_file():
            raise FelhomError(f"{jobfiles.shown(key)}: no such key's file; --key names it")
        return key
    home = _expanded(Path("~/.ssh"))
    for name in _USUAL_KEYS:
        if (home / name).is_file():
            return home / name
    for name in _USUAL_KEYS:  # its private half may be in an agent
        if (home / f"{name}.pub").is_file() and os.environ.get("SSH_AUTH_SOCK"):
            return home / f"{name}.pub"
    raise FelhomError(
        f"no key was found in {jobfiles.shown(home)}; name it with --key KEY (of a key in "
        "ssh-agent: its .pub file)"
    )


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise FelhomError(f"{jobfiles.shown(path)}: whose home that is cannot be told") from None


def _warn_if_over(request: SignedRequest) -> None:
    expires = request.circumstances.expires
    if expires and expires < time.time():
        complain(
            f"by this machine's clock the request ended at {moment_text(expires)}; the host will "
            "refuse it then: make a new one there"
        )


def _signed(
    blob: bytes, key: Path, job: Path | None, signature: Path, arguments: argparse.Namespace
) -> SshSignature:
    """Given what is to be signed, leave the job (None: it is there) and the signature in their
    places; return what the latter says of itself. Raise FelhomError if nothing was signed.
    """
    where, force = signature.parent.resolve(), bool(arguments.force)
    try:
        # Beside the job, so that both only need another name in the end.
        with tempfile.TemporaryDirectory(prefix=".felhom-sign-", dir=where) as name:
            made = Path(name, "job")
            made.write_bytes(blob)
            _run([str(word) for word in sign_command(str(key.absolute()), str(made))])
            told = _told(jobfiles.signature_of(made))
            for file in (made, jobfiles.signature_of(made)):
                jobfiles.make_public(file)
            jobfiles.give_name(jobfiles.signature_of(made), signature, force=force)
            try:
                if job is not None:
                    jobfiles.give_name(made, job, force=force)
            except BaseException:
                signature.unlink(missing_ok=True)
                raise
            return told
    except OSError as error:
        raise jobfiles.cannot_write(job or signature, error) from None


def _run(words: list[str]) -> None:
    # -q: it would name files that are not there any more when a person looks for them.
    command = [words[0], "-q", *words[1:]]
    sys.stdout.flush()
    # It may ask for a passphrase, a PIN or a touch: its stdin and stderr are the person's, and it
    # has all the time that he takes. Ctrl-C reaches it, too.
    status = subprocess.run(command, check=False).returncode  # noqa: S603  # words of ours
    if status != 0:
        raise FelhomError(
            f"nothing was signed: ssh-keygen ended with status {status}, and has told why; --key "
            "names another key"
        )


def _told(signature: Path) -> SshSignature:
    """Return what a signature says of itself. Raise FelhomError if no host would take it."""
    try:
        told = open_armor(jobfiles.read_file(signature))
    except OperationRefused as error:
        raise FelhomError(f"nothing was signed: with this key {error}") from None
    if told.key.weak:
        raise FelhomError(f"nothing was signed: {told.key.weak}")
    return told


def _say_next(
    job: Path, signatures: list[Path], signature: SshSignature, request: SignedRequest
) -> None:
    files = job, *signatures
    say(f"Signed by {signature.key.type} {signature.key.fingerprint}")
    *first, last = map(jobfiles.shown, files)
    say(f"Take {'both' if len(files) == 2 else 'all'} to the host: {', '.join(first)} and {last}")
    say(f"  Where another signer is needed: felhom-agent sign {shlex.quote(job.name)}")
    say(f"  felhom-agent submit {shlex.join(file.name for file in files)}")
    times = request.operation.times
    until = times.expires if times else request.circumstances.expires
    if until:
        say(f"The host takes them until {moment_text(until)}, once.")
