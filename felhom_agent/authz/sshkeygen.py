"""OpenSSH's own check of a signature: the only process that this room starts.

`/usr/bin/ssh-keygen -Y verify`, by its absolute path, with an empty environment, in a directory of
this process alone. The signed bytes come by its stdin; the signature, the one line of the signer
and the keys taken back are files for their owner alone (0600). No text of a job becomes an
argument. It has 5 seconds and may say 4 KiB; then it is killed. At most two run at once, so that a
flood of jobs does not become a flood of processes. Nothing secret is handed over: all of it is
public but to whom it is shown.

Threads: a semaphore counts the processes; who finds both at work waits for at most `_LONGEST_WAIT`
seconds, and is told to come again. Nothing else is shared.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from felhom_agent.authz.form import NAMESPACE
from felhom_agent.authz.keymaterial import PublicKey
from felhom_agent.authz.refusals import BadSignature, VerifierFailed
from felhom_agent.authz.signerline import Signer
from felhom_agent.printable import one_line

SSH_KEYGEN: Final = Path("/usr/bin/ssh-keygen")
AT_ONCE: Final = 2
SECONDS: Final = 5.0
"""How many seconds a check may take."""
_LONGEST_WAIT: Final = 15.0
_LATEST: Final = 253_370_764_800


class SshKeygen:
    """Checks signatures; `program` and `seconds` are others in a test alone."""

    def __init__(self, program: Path = SSH_KEYGEN, seconds: float = SECONDS) -> None:
        self._program = program
        self._seconds = seconds
        self._free = threading.BoundedSemaphore(AT_ONCE)

    @property
    def missing(self) -> str:
        """Why no signature can be checked on this host; empty if they can be."""
        if os.access(self._program, os.X_OK):
            return ""
        return f"{self._program} is missing; install openssh-client"

    def verify(
        self,
        blob: bytes,
        armor: bytes,
        signer: Signer,
        revoked: Iterable[PublicKey] = (),
        now: float | None = None,
    ) -> None:
        """Given the signed bytes, the signature and whose it must be, return if it is good at the
        time `now` (seconds since the epoch; None: the system's).

        Raise BadSignature if it is not, VerifierFailed if that could not be found out.
        """
        if not self._free.acquire(timeout=_LONGEST_WAIT):
            raise VerifierFailed("other signatures are being checked; try again in a minute")
        try:
            with tempfile.TemporaryDirectory(prefix="felhom-agent-") as name:
                directory = Path(name)
                words = _words(self._program, signer, list(revoked), now)
                _fill(directory, blob, armor, signer, revoked)
                self._run(words, directory, signer)
        except OSError as error:
            why = error.strerror or str(error)
            raise VerifierFailed(f"{self._program} could not be run: {why}") from None
        finally:
            self._free.release()

    def _run(self, words: list[str], directory: Path, signer: Signer) -> None:
        # Not at the top: it is large, and most agents check no signature.
        from felhom_agent.authz.childprocess import run_bounded

        try:
            status, said = run_bounded(words, directory / "blob", directory, self._seconds)
        except TimeoutError:
            raise VerifierFailed(
                f"{self._program} did not end within {self._seconds:g} s; try again"
            ) from None
        if status < 0:
            raise VerifierFailed(f"{self._program} was ended by signal {-status}")
        if status != 0:
            named = signer.key.fingerprint
            raise BadSignature(f"ssh-keygen does not find it good for {named}: {_text(said)}")
        # Its exit status is its word; that it speaks of this key is a second one.
        if signer.key.fingerprint.encode("ascii") not in said:
            raise BadSignature("ssh-keygen found it good, and names another key")


def sign_command(key: str, job: str) -> list[str]:
    """Given a key's file (of an agent's key: the .pub file) and a job's, return the command that
    signs it at the desk; the signature is written beside the job, as JOB.sig.
    """
    return [str(SSH_KEYGEN), "-Y", "sign", "-n", NAMESPACE, "-f", key, job]


def _words(program: Path, signer: Signer, revoked: list[PublicKey], now: float | None) -> list[str]:
    words = [str(program), "-Y", "verify", "-n", NAMESPACE, "-I", str(signer.role)]
    words += ["-f", "signers", "-s", "signature"]
    words += ["-r", "revoked"] if revoked else []
    if now is not None:
        moment = datetime.fromtimestamp(max(0.0, min(now, _LATEST)), UTC)
        words += ["-O", f"verify-time={moment:%Y%m%d%H%M%S}Z"]
    return words


def _fill(
    directory: Path, blob: bytes, armor: bytes, signer: Signer, revoked: Iterable[PublicKey]
) -> None:
    files = {
        "blob": blob,
        "signature": armor,
        "signers": f"{signer.line}\n".encode("ascii"),
        "revoked": "".join(f"{key.text}\n" for key in revoked).encode("ascii"),
    }
    for name, data in files.items():
        descriptor = os.open(directory / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)


def _text(said: bytes) -> str:
    return one_line(said.decode("utf-8", "replace")) or "it says nothing"
