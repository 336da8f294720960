"""The files that go between host and desk: a request, a job, its signature.

They are carried on whatever is at hand, a stick with FAT on it, say: nothing here needs more of a
file system than names and renaming. A file is there as a whole or not at all, and none takes the
place of another unless that is asked for. Nothing in them is secret, and who carries them need not
be root: so everybody may read them, whatever the umask is.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from felhom_agent import regularfile
from felhom_agent.authz.armor import refuse_beyond_armor
from felhom_agent.authz.canonical import refuse_beyond_bounds
from felhom_agent.authz.operation import parse
from felhom_agent.authz.refusals import NotCanonical
from felhom_agent.authz.request import (
    REQUEST_SCHEMA,
    SignedRequest,
    parse_request,
    refuse_misdescribed,
)
from felhom_agent.cli.terminal import Part, Style, put
from felhom_agent.config.settings import MAX_SIGNATURES
from felhom_agent.errors import FelhomError
from felhom_agent.printable import printable

MODE: Final = 0o644
_MAX_READ: Final = 1_000_000


def shown(path: Path) -> str:
    """Given a path, return it as it may be printed."""
    return printable(str(path), 300)


def read_file(path: Path) -> bytes:
    """Given a path that a person named, return what is in the file. Raise FelhomError if there is
    none, or it cannot be one of ours.
    """
    try:
        return regularfile.read(path, _MAX_READ).data
    except regularfile.FileUnreadable as error:
        # What follows is advice for files that nobody has named.
        raise FelhomError(f"{shown(path)}: {str(error).partition(';')[0]}") from None


def read_request(path: Path) -> SignedRequest:
    """Given a path, return the request in it. Raise FelhomError if there is none."""
    # What an editor or a mail program puts at the end of a file is no part of the request.
    data = read_file(path).rstrip(b"\r\n")
    try:
        return parse_request(data)
    except FelhomError as error:
        raise FelhomError(f"{shown(path)}: {error}") from None


def read_job_to_sign(path: Path) -> SignedRequest | None:
    """Given a path, return the job in it, which somebody has signed already, as what it asks for;
    None if the file is no job. Raise FelhomError if it is one that no host would do.
    """
    try:
        operation = parse(read_file(path))
    except NotCanonical:
        return None
    try:
        refuse_misdescribed(operation)
    except FelhomError as error:
        raise FelhomError(f"{shown(path)}: {error}") from None
    return SignedRequest(operation)


def show_request(request: SignedRequest) -> None:
    """Given a request, print what would happen: its first line as what it is."""
    for number, line in enumerate(request.lines()):
        put([Part(line, None if number else Style.STRONG)], hang=2)


def signature_of(job: Path) -> Path:
    """Given a job's path, return where its signature is: where ssh-keygen puts it."""
    return job.with_name(job.name + ".sig")


def signatures_of(job: Path) -> list[Path]:
    """Given a job's path, return where the signatures of several signers are: JOB.sig, JOB.2.sig
    and so on.
    """
    more = (job.with_name(f"{job.name}.{n}.sig") for n in range(2, MAX_SIGNATURES + 1))
    return [signature_of(job), *more]


def read_job(job: Path, signatures: Sequence[Path]) -> tuple[bytes, tuple[bytes, ...]]:
    """Given the paths of a job and of its signatures, return what is in them.

    Raise FelhomError if they cannot be that; whether they are good the agent alone says.
    """
    blob = read_file(job)
    armors = tuple(read_file(each) for each in signatures)
    for each in signatures:
        _refuse_exchanged(job, blob, each)
    try:
        refuse_beyond_bounds(blob)
    except FelhomError as error:
        raise FelhomError(f"{shown(job)}: {error}") from None
    for path, armor in zip(signatures, armors, strict=True):
        try:
            refuse_beyond_armor(armor)
        except FelhomError as error:
            raise FelhomError(f"{shown(path)}: {error}") from None
    return blob, armors


def in_base64(data: bytes) -> str:
    """Given bytes, return them as they go through JSON."""
    return base64.b64encode(data).decode("ascii")


def _refuse_exchanged(job: Path, blob: bytes, signature: Path) -> None:
    """Raise FelhomError if it is another file than the job: a slip that a person makes."""
    if blob.startswith(b"-----BEGIN SSH SIGNATURE"):
        raise FelhomError(f"{shown(job)} is a signature; the job goes first, its signature second")
    if REQUEST_SCHEMA.encode() in blob:
        raise FelhomError(
            f"{shown(job)} is a request, which nobody has signed yet; `felhom-agent sign` makes "
            f"the job and its signature of it"
        )
    if job.resolve() == signature.resolve():
        raise FelhomError(f"{shown(job)} is given twice; the job's signature is the second file")


def refuse_existing(paths: Iterable[Path]) -> None:
    """Raise FelhomError if one of these paths is taken."""
    for path in paths:
        if os.path.lexists(path):
            raise _exists(path)


def write_new(path: Path, data: bytes, *, force: bool = False) -> None:
    """Given a path and bytes, make that file; with `force` in the place of another. Raise
    FelhomError if it cannot be made, or is there already.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        try:
            _write(new, data)
            give_name(new, path, force=force)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None


def give_name(new: Path, path: Path, *, force: bool) -> None:
    """Given a file, give it another name; with `force` in the place of what has it. Raise
    FelhomError if something has it, OSError if that cannot be done.
    """
    if not force:
        try:
            os.link(new, path)
        except FileExistsError:
            raise _exists(path) from None
        except OSError:  # FAT knows no links
            refuse_existing([path])
        else:
            new.unlink()
            return
    new.replace(path)


def cannot_write(path: Path, error: OSError) -> FelhomError:
    """Given why a file cannot be made, return the error that says so."""
    why = error.strerror or str(error)
    return FelhomError(f"{shown(path)}: cannot be written: {why}; -o names another file")


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, MODE), "wb") as file:
        file.write(data)
        file.flush()
        make_public(file.fileno())
        os.fsync(file.fileno())


def make_public(file: int | Path) -> None:
    """Let everybody read a file, where the file system knows who may."""
    with suppress(OSError):
        os.chmod(file, MODE)  # noqa: PTH101  # a descriptor, too


def _exists(path: Path) -> FelhomError:
    return FelhomError(
        f"{shown(path)} is there already; remove it, name another file with -o, or say --force"
    )
