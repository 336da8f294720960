"""A desk with keys made by the real ssh-keygen, and a host that examines what is signed there."""

from __future__ import annotations

import atexit
import base64
import hashlib
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from felhom_agent.authz.blob import SignedOperation, SignedSnapshot, SignedVolume
from felhom_agent.authz.challenge import HOST_CLASS, challenge_key, issue
from felhom_agent.authz.check import Dependencies, SignedJob
from felhom_agent.authz.clock import SignedClock
from felhom_agent.authz.examiner import Authorization, Examiner
from felhom_agent.authz.form import NAMESPACE
from felhom_agent.authz.hostblob import REVOCATION, ROTATION, THAW, HostOperation, HostParam
from felhom_agent.authz.keptsets import KeptSets
from felhom_agent.authz.keymaterial import from_text
from felhom_agent.authz.observed import ObservedGuest
from felhom_agent.authz.operation import Operation
from felhom_agent.authz.rate import Rate
from felhom_agent.authz.refusals import OperationRefused
from felhom_agent.authz.request import compose, compose_for_host, with_times
from felhom_agent.authz.setfile import SET
from felhom_agent.authz.signerline import Role
from felhom_agent.authz.signers import ALLOWED, REVOKED, SignerSet, load
from felhom_agent.authz.sshkeygen import SSH_KEYGEN, SshKeygen
from felhom_agent.authz.trust import Trust
from felhom_agent.config.settings import AuthzConfig
from felhom_agent.journal.audit import AuditLog
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.retention import Limits, retain
from felhom_agent.journal.signed import SignedFacts
from felhom_agent.model import Kind
from tests.conftest import Clock

needs_ssh_keygen = pytest.mark.skipif(
    not SSH_KEYGEN.exists(), reason=f"{SSH_KEYGEN} is missing; install openssh-client"
)
HOST = "0123456789abcdef0123456789abcdef"
GUEST = ObservedGuest(
    vmid=101,
    kind=Kind.QEMU,
    name="web",
    identity="uuid=11111111-2222-3333-4444-555555555555;ctime=1700000000",
    born=1_700_000_000,
    digest="a" * 40,
    running=False,
    volumes=(
        SignedVolume("scsi0", "local-lvm:vm-101-disk-0", "32G"),
        SignedVolume("scsi1", "local-lvm:vm-101-disk-1", "8G"),
    ),
    snapshots=(SignedSnapshot("before", 1_790_000_000), SignedSnapshot("weekly", 1_795_000_000)),
)
CONTAINER = replace(
    GUEST,
    vmid=201,
    kind=Kind.LXC,
    name="db",
    identity="rootfs=local-lvm:vm-201-disk-0;mac=bc:24:11:00:00:01",
    volumes=(SignedVolume("rootfs", "local-lvm:vm-201-disk-0", "8G"),),
)


@dataclass(frozen=True)
class Key:
    """A key pair: its public line, and what signs with it."""

    public: str
    sign: Callable[[bytes, str], bytes]

    @property
    def line(self) -> str:
        return " ".join(self.public.split()[:2])


def key(kind: str = "ed25519", number: int = 0, bits: int = 0) -> Key:
    """Make a key pair of a kind that ssh-keygen makes; the same one for the same words."""
    return _key(kind, number, bits)


@cache
def _key(kind: str, number: int, bits: int) -> Key:
    directory = _desk() / f"{kind}-{number}-{bits}"
    directory.mkdir()
    path = directory / "key"
    words = [str(SSH_KEYGEN), "-q", "-t", kind, "-N", "", "-C", f"{kind} of the desk"]
    words += ["-f", str(path)]
    subprocess.run([*words, *(["-b", str(bits)] if bits else [])], check=True)
    return Key(path.with_suffix(".pub").read_text(), lambda b, n: _signed(path, b, n))


@cache
def _desk() -> Path:
    directory = tempfile.mkdtemp(prefix="felhom-desk-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


def _signed(path: Path, blob: bytes, namespace: str) -> bytes:
    words = [str(SSH_KEYGEN), "-q", "-Y", "sign", "-n", namespace, "-f", str(path)]
    done = subprocess.run(words, input=blob, capture_output=True, check=True)
    return done.stdout


def pack(*parts: bytes) -> bytes:
    """Pack texts as SSH does."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def armored(data: bytes, width: int = 70) -> bytes:
    """Put a signature's bytes into their armor."""
    text = base64.b64encode(data)
    lines = [text[i : i + width] for i in range(0, len(text), width)]
    body = b"\n".join(lines)
    return b"-----BEGIN SSH SIGNATURE-----\n" + body + b"\n-----END SSH SIGNATURE-----\n"


@cache
def security_key(kind: str, *, touch: bool = True) -> Key:
    """A security key in software: what a hardware key signs (PROTOCOL.u2f), with or without its
    being touched.
    """
    name = f"sk-{kind}@openssh.com".encode()
    application = b"ssh:"
    if kind == "ssh-ed25519":
        private: Any = ed25519.Ed25519PrivateKey.generate()
        raw = private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        data = pack(name, raw, application)
    else:
        private = ec.generate_private_key(ec.SECP256R1())
        point = private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        data = pack(name, b"nistp256", point, application)

    def sign(blob: bytes, namespace: str) -> bytes:
        message = b"SSHSIG" + pack(
            namespace.encode(), b"", b"sha512", hashlib.sha512(blob).digest()
        )
        tail = struct.pack(">BI", 1 if touch else 0, 7)
        told = hashlib.sha256(application).digest() + tail + hashlib.sha256(message).digest()
        if kind == "ssh-ed25519":
            signature = private.sign(told)
        else:
            r, s = decode_dss_signature(private.sign(told, ec.ECDSA(hashes.SHA256())))
            signature = pack(_mpint(r), _mpint(s))
        body = pack(data, namespace.encode(), b"", b"sha512", pack(name, signature) + tail)
        return armored(b"SSHSIG" + struct.pack(">I", 1) + body)

    public = f"{name.decode()} {base64.b64encode(data).decode()} a security key\n"
    return Key(public, sign)


def _mpint(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


@dataclass
class SignerFiles:
    """The directory of signers, written as root would."""

    directory: Path

    def allow(self, *lines: str) -> None:
        self.directory.mkdir(mode=0o755, exist_ok=True)
        self._write(ALLOWED, "".join(f"{line}\n" for line in lines))

    def revoke(self, text: str) -> None:
        self._write(REVOKED, text)

    def load(self) -> SignerSet:
        return load(self.directory, owner=self.directory.parent.stat().st_uid)

    def about(self, text: str) -> None:
        """Write what the set says of itself."""
        self._write(SET, text)

    def _write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o644)


@dataclass
class Host:
    """A host with a journal, whose clocks, guest and signers a test changes."""

    directory: Path
    wall: Clock = field(default_factory=Clock)
    boottime: Clock = field(default_factory=lambda: Clock(1000.0))
    boot: str = "a" * 32
    guest: ObservedGuest | None = GUEST
    synchronised: bool = True
    looks: int = 0
    policy: AuthzConfig = field(default_factory=AuthzConfig)

    def __post_init__(self) -> None:
        self.signers = SignerFiles(self.directory / "signers")
        self.verifier = SshKeygen()
        self.begin()

    def begin(self) -> None:
        """Start the agent; opening its journal is compaction, too."""
        journal = self.directory / "journal"
        self.log, records = JournalLog.open(
            journal, lambda found: retain(found, self.wall(), Limits())
        )
        self.audit = AuditLog.open(journal, self.wall())
        self.facts = SignedFacts(self.log, records)
        key = challenge_key(journal, HOST)
        self.clock = SignedClock(
            self.facts, self.wall, lambda: self.synchronised, self.boottime, self.boot, key
        )
        self.kept = KeptSets(self.directory / "kept")
        self.trust = Trust(
            self.signers.load, self.kept, self.facts, self.verifier, self.policy, self.wall,
            lambda blob: any(each.blob == blob for each in self.facts.burnt()),
        )  # fmt: skip
        self.examiner = self.examiner_with(Rate(Clock()))

    def examiner_with(self, rate: Rate) -> Examiner:
        means = Dependencies(
            HOST, self.trust.current, self.verifier, self.clock, self.facts, self.policy
        )
        return Examiner(means, self.audit, self.wall, rate)

    def end(self) -> None:
        self.log.close()
        self.audit.close()

    def restart(self) -> None:
        self.end()
        self.begin()

    def reboot(self, off: float = 0.0) -> None:
        self.wall.pass_by(off)
        self.boottime.now = 5.0
        self.boot = f"{int(self.boot, 16) + 1:032x}"
        self.restart()

    def observe(self, operation: SignedOperation) -> ObservedGuest | None:
        self.looks += 1
        return self.guest

    def pass_by(self, seconds: float) -> None:
        self.wall.pass_by(seconds)
        self.boottime.pass_by(seconds)

    def request(self, act: str = "guest_destroy", **given: Any) -> SignedOperation:
        """Return what this host wants to have signed, with its own challenge."""
        assert self.guest is not None
        params = given.pop("params", {"purge": True} if act == "guest_destroy" else {})
        challenge = issue(self.facts, self.clock.moment(), self.guest.vmid, act)
        return compose(act, self.guest, HOST, challenge.id, params=params, **given)

    def for_host(self, act: str, **params: HostParam) -> HostOperation:
        """Return what this host wants to have signed for itself, with its own challenge."""
        return compose_for_host(act, params, HOST, self.clock.token(HOST_CLASS))

    def thaw(self) -> HostOperation:
        return self.for_host(THAW)

    def revocation(self, *keys: Key) -> HostOperation:
        return self.for_host(REVOCATION, keys=tuple(each.line for each in keys))

    def rotation(
        self, *lines: str, version: int = 2, revoked: str = "", expires: str = ""
    ) -> HostOperation:
        return self.for_host(
            ROTATION, version=version, allowed_signers="".join(f"{line}\n" for line in lines),
            revoked_keys=revoked, expires=expires,
        )  # fmt: skip

    def timed(self, seconds: int = 600, **given: Any) -> SignedOperation:
        """Return an operation whose times the desk has chosen."""
        return with_times(self.request(**given), int(self.wall()), seconds)

    def authorize(self, job: SignedJob) -> Authorization:
        return self.examiner.authorize(job, self.observe)


@contextmanager
def a_host(directory: Path, *lines: str, policy: AuthzConfig | None = None) -> Iterator[Host]:
    """Hold a host for the length of a block; without lines one ed25519 key may sign."""
    host = Host(directory, policy=policy or AuthzConfig())
    host.signers.allow(*(lines or [signer_line(key())]))
    try:
        yield host
    finally:
        host.end()


def signer_line(signer: Key, role: Role = Role.OPERATIONAL) -> str:
    return f'{role} namespaces="{NAMESPACE}" {signer.line}'


def signed(operation: Operation, *signers: Key) -> SignedJob:
    """Sign an operation at the desk, with each of some keys, or with the usual one."""
    return raw(operation.encode(), *signers)


def raw(blob: bytes, *signers: Key, namespace: str = NAMESPACE) -> SignedJob:
    """Sign bytes, whatever they are."""
    signatures = (each.sign(blob, namespace) for each in signers or (key(),))
    return SignedJob(blob, tuple(signatures), "socket")


def refused(host: Host, job: SignedJob, kind: type[OperationRefused]) -> OperationRefused:
    """See that a job is refused in that way, on arrival and before the act, and burns nothing."""
    before = host.facts.burnt()
    with pytest.raises(OperationRefused) as on_arrival:
        host.examiner.examine(job, host.observe)
    with pytest.raises(OperationRefused) as before_the_act:
        host.authorize(job)
    assert type(on_arrival.value) is type(before_the_act.value) is kind
    assert host.facts.burnt() == before
    text = str(on_arrival.value)
    assert text
    assert text.isprintable()
    assert len(text) <= 400
    return on_arrival.value


def fingerprint(signer: Key) -> str:
    """Return what ssh-keygen calls a key."""
    return from_text(*signer.line.split()).fingerprint


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Do all at the same time; return what each gave, or raised."""
    gate = threading.Barrier(len(calls))
    found: list[object] = [None] * len(calls)

    def run(number: int, call: Callable[[], object]) -> None:
        gate.wait(30)
        try:
            found[number] = call()
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return found
