"""Who may sign on this host: root's list of keys, each in one role, and root's list of taken keys.

    /etc/felhom-agent/signers/allowed_signers   one line a key, in OpenSSH's format: its role in the
                                                place of the principal, then the key
    /etc/felhom-agent/signers/revoked_keys      optional: one public key a line
    /etc/felhom-agent/signers/set.toml          optional: `version` (default: 1), and `expires`, for
                                                sets that are rotated by signature (`trust.py`)

    operational namespaces="felhom-op-v1" ssh-ed25519 AAAAC3Nza... anna@desk

ssh-keygen skips a line that it does not understand, takes patterns for names, an empty list of
revoked keys for one that revokes nothing, and keys that are too weak. So the lists are judged here,
whole, each time before they are used: with one problem in them nobody's signature counts until root
has mended it. `load` is the judge, `problems` are what it found, with file and line.

No list at all is the normal first state: what can be undone goes on, all else waits.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from felhom_agent.authz.keymaterial import MalformedKey, PublicKey, from_text
from felhom_agent.authz.refusals import (
    NoSigners,
    RevokedKey,
    SignersUnusable,
    UnknownKey,
)
from felhom_agent.authz.setfile import FIRST_VERSION, SET, SetFile, parse_set
from felhom_agent.authz.signerline import (
    LineRefused,
    Role,
    Signer,
    is_blank,
    parse_signer,
)
from felhom_agent.durable.disk import open_regular
from felhom_agent.model import Place, Problem
from felhom_agent.printable import printable

ALLOWED: Final = "allowed_signers"
REVOKED: Final = "revoked_keys"
MAX_FILE: Final = 131_072
"""How many bytes each list may have."""
MAX_SIGNERS: Final = 100
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class SignerSet:
    """The signers of this host, the keys taken back, and all that is wrong with either list.

    `present` is false where there is no list. `version` numbers the sets that a host has had;
    `expires` is when this one ends (seconds since the epoch; None: never). `made_by` is the SHA-256
    of the signed job that brought it; empty: root wrote it.
    """

    directory: Path
    present: bool = False
    signers: tuple[Signer, ...] = ()
    revoked: tuple[PublicKey, ...] = ()
    problems: tuple[Problem, ...] = ()
    version: int = FIRST_VERSION
    expires: float | None = None
    made_by: str = ""

    @property
    def is_rotated(self) -> bool:
        """Whether a signed rotation brought it, and not root."""
        return bool(self.made_by)

    def is_over(self, now: float) -> bool:
        """Given the time (seconds since the epoch), return whether the set has ended."""
        return self.expires is not None and now >= self.expires

    def keys_of(self, role: Role, *, touched: bool = False) -> frozenset[bytes]:
        """Return the key material of a role that was not taken back, each once; with `touched` of
        security keys alone.
        """
        taken = {key.material for key in self.revoked}
        keys = (each.key for each in self.signers if each.role is role)
        able = (key.material for key in keys if key.is_security_key or not touched)
        return frozenset(key for key in able if key not in taken)

    def signer(self, key: PublicKey) -> Signer:
        """Given the key that signed, return its signer, by the key's bytes.

        Raise NoSigners, SignersUnusable, or UnknownKey if there is none.
        """
        if self.problems:
            raise SignersUnusable(f"no signature counts until this is mended: {self.problems[0]}")
        if not self.present:
            raise NoSigners(
                f"there is no {self.directory / ALLOWED}, so nobody may sign; "
                f"`felhom-agent signers init --key FILE.pub` makes one"
            )
        for each in self.signers:
            if each.key.data == key.data:
                return each
        raise UnknownKey(f"key {key.fingerprint} is not in {self.directory / ALLOWED}")

    def refuse_revoked(self, key: PublicKey) -> None:
        """Raise RevokedKey if a key was taken back."""
        if any(each.material == key.material for each in self.revoked):
            raise RevokedKey(f"key {key.fingerprint} was taken back (felhom-agent signers)")


def owner_by(settings: Path) -> int:
    """Given agent.toml, return the user whose the lists must be: that file's owner, root as a rule.
    Who writes it says where the lists are, too.
    """
    try:
        return settings.stat().st_uid
    except OSError:
        return 0


def load(directory: Path, owner: int = 0) -> SignerSet:
    """Given the directory of signers and the user that it must belong to, return the set, with all
    that is wrong with it. Raises nothing.
    """
    allowed = directory / ALLOWED
    if not _is_there(directory):
        return SignerSet(directory)
    if text := _why_untrusted(directory, owner):
        return SignerSet(directory, present=True, problems=(_problem(directory, 0, text),))
    if not _is_there(allowed):
        orphan = _is_there(directory / REVOKED)
        text = f"there is a list of revoked keys, and no {ALLOWED}"
        problems = (_problem(allowed, 0, text),) if orphan else ()
        return SignerSet(directory, present=orphan, problems=problems)
    return _loaded(directory, owner)


def _is_there(path: Path) -> bool:
    """Return whether something has a name. What the disk does not tell is there: reading it tells
    why not, and a list of revoked keys is not passed over.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _loaded(directory: Path, owner: int) -> SignerSet:
    allowed, revoked = directory / ALLOWED, directory / REVOKED
    problems: list[Problem] = []
    signers = list(_signers(allowed, _read(allowed, owner, problems), problems))
    taken: list[PublicKey] = []
    if _is_there(revoked):
        taken = list(_revoked(revoked, _read(revoked, owner, problems), problems))
    about = SetFile()
    if _is_there(directory / SET):
        about = _about(directory / SET, _read(directory / SET, owner, problems), problems)
    return SignerSet(
        directory,
        present=True,
        signers=tuple(signers),
        revoked=tuple(taken),
        problems=tuple(problems),
        version=about.version,
        expires=about.expires,
    )


def judge(file: str, text: str) -> tuple[tuple[Signer, ...], tuple[Problem, ...]]:
    """Given a list's name and its text, return the signers and all that is wrong with it."""
    problems: list[Problem] = []
    found = tuple(_signers(Path(file), text, problems))
    return found, tuple(problems)


def judge_revoked(file: str, text: str) -> tuple[tuple[PublicKey, ...], tuple[Problem, ...]]:
    """Given the name of a list of keys taken back and its text, return the keys and all that is
    wrong with it.
    """
    problems: list[Problem] = []
    found = tuple(_revoked(Path(file), text, problems))
    return found, tuple(problems)


def _about(file: Path, text: str | None, problems: list[Problem]) -> SetFile:
    if text is None:
        return SetFile()
    about, wrong = parse_set(text, file)
    problems.extend(wrong)
    return about


def _signers(file: Path, text: str | None, problems: list[Problem]) -> Iterator[Signer]:
    if text is None:
        return
    # By what a key is: a security key with another application is the same one.
    known: dict[bytes, int] = {}
    lines = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if not is_blank(line)]
    if not lines:
        problems.append(_problem(file, 0, "it has no key; remove it if nobody shall sign"))
    if len(lines) > MAX_SIGNERS:
        problems.append(_problem(file, 0, f"it has {len(lines)} keys, {MAX_SIGNERS} at most"))
        return
    for number, line in lines:
        try:
            signer = parse_signer(line)
        except LineRefused as error:
            problems.append(_problem(file, number, str(error)))
            continue
        if first := known.get(signer.key.material):
            what = f"the key is in line {first} already; a key has one role, in one line"
            problems.append(_problem(file, number, what))
            continue
        known[signer.key.material] = number
        yield signer


def _revoked(file: Path, text: str | None, problems: list[Problem]) -> Iterator[PublicKey]:
    if text is None:
        return
    found = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if is_blank(line):
            continue
        found += 1
        try:
            kind, key, *_ = line.split(None, 2)
            yield from_text(kind, key)
        except MalformedKey as error:
            problems.append(_problem(file, number, str(error)))
        except ValueError:
            what = "the line is no public key; write one line of a .pub file for each"
            problems.append(_problem(file, number, what))
    if not found:
        what = "it is empty, as a full disk leaves it; remove it if no key was taken back"
        problems.append(_problem(file, 0, what))
    elif not text.endswith("\n"):
        what = "its last line has no end, so keys may be missing behind it; write it again"
        problems.append(_problem(file, 0, what))


def _read(file: Path, owner: int, problems: list[Problem]) -> str | None:
    """Return a list's text; None if it is not to be used, and why is among the problems."""
    try:
        data = _bytes_of(file, owner)
        return data.decode("utf-8")
    except UnicodeDecodeError:
        what = "it is not UTF-8 text; a binary list (KRL) is not read, write one public key a line"
    except OSError as error:
        what = f"it cannot be used: {error.strerror or error}"
    problems.append(_problem(file, 0, what))
    return None


def _bytes_of(file: Path, owner: int) -> bytes:
    """Return what is in a file of root's. Raise OSError, with the reason in words."""
    descriptor = open_regular(file, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if why := _why_not_owned(status, owner):
            raise OSError(0, why)
        data = opened.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise OSError(0, f"it has more than {MAX_FILE} bytes")
    return data


def _why_untrusted(path: Path, owner: int) -> str:
    try:
        status = path.lstat()
    except OSError as error:
        return f"it cannot be used: {error.strerror or error}"
    if not stat.S_ISDIR(status.st_mode):
        return "it is no directory (a link to one does not count)"
    return _why_not_owned(status, owner)


def _why_not_owned(status: os.stat_result, owner: int) -> str:
    if status.st_uid != owner:
        whose = "root" if owner == 0 else f"user {owner}"
        return f"it belongs to user {status.st_uid} and not to {whose}; chown it"
    if status.st_mode & _WRITABLE:
        return "others than its owner can write it; run: chmod go-w on it"
    return ""


def _problem(file: Path, line: int, text: str) -> Problem:
    return Problem(Place(printable(str(file), 300), line), printable(text, 300))
