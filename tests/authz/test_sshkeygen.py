"""The one process: in time, bounded, at most two at once, and told nothing but what it needs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from felhom_agent.authz.refusals import BadSignature, VerifierFailed
from felhom_agent.authz.signerline import Signer, parse_signer
from felhom_agent.authz.sshkeygen import SshKeygen, sign_command
from tests.authz.desk import at_once, key, needs_ssh_keygen, signer_line

pytestmark = needs_ssh_keygen


def signer() -> Signer:
    return parse_signer(signer_line(key()))


def program(directory: Path, text: str) -> Path:
    path = directory / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_good_signature_is_good_and_another_is_not() -> None:
    armor = key().sign(b"blob", "felhom-op-v1")
    SshKeygen().verify(b"blob", armor, signer())
    with pytest.raises(BadSignature) as told:
        SshKeygen().verify(b"blob2", armor, signer())
    assert not told.value.temporary
    assert key().line.split()[1] not in str(told.value)


def test_a_program_that_hangs_is_ended_with_what_it_began(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hangs = program(tmp_path, f"sleep 1000 & echo $! $$ > {pids}; wait")
    with pytest.raises(VerifierFailed, match="did not end") as told:
        SshKeygen(hangs, seconds=2.0).verify(b"", b"", signer())
    assert told.value.temporary
    # The kernel has been told; that it has done it is waited for.
    until = time.monotonic() + 30
    for pid in map(int, pids.read_text().split()):
        while is_alive(pid):
            assert time.monotonic() < until


def test_a_program_that_closes_its_output_and_hangs_is_ended(tmp_path: Path) -> None:
    hangs = program(tmp_path, "exec >/dev/null 2>&1; exec sleep 1000")
    with pytest.raises(VerifierFailed):
        SshKeygen(hangs, seconds=0.3).verify(b"", b"", signer())


def test_a_program_that_never_stops_talking_is_ended(tmp_path: Path) -> None:
    with pytest.raises(VerifierFailed):
        SshKeygen(program(tmp_path, "exec yes"), seconds=0.3).verify(b"", b"", signer())


def test_what_a_program_says_is_bounded_and_one_line(tmp_path: Path) -> None:
    talks = program(tmp_path, r"""printf 'a\nb\033[31m'; head -c 100000 /dev/zero; exit 3""")
    with pytest.raises(BadSignature) as told:
        SshKeygen(talks).verify(b"", b"", signer())
    assert str(told.value).isprintable()
    assert len(str(told.value)) <= 400


@pytest.mark.parametrize("text", ["exit 0", "echo Good", "kill -9 $$"])
def test_a_program_that_only_says_yes_is_not_believed(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadSignature):
        SshKeygen(program(tmp_path, text)).verify(b"", b"", signer())


def test_a_host_without_ssh_keygen_is_told_so(tmp_path: Path) -> None:
    absent = SshKeygen(tmp_path / "none")
    assert "openssh-client" in absent.missing
    with pytest.raises(VerifierFailed):
        absent.verify(b"", b"", signer())
    assert SshKeygen().missing == ""


def test_a_program_gets_no_environment_and_files_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FELHOM_SECRET", "1234")
    seen = tmp_path / "seen"
    looks = program(
        tmp_path,
        f'{{ /usr/bin/env; /bin/pwd; echo "$@"; /bin/cat; echo; '
        f'/usr/bin/stat -c "%a %n" . signers signature; }} > {seen}; exit 1',
    )
    with pytest.raises(BadSignature):
        SshKeygen(looks).verify(b"the blob", b"the armor", signer(), (), 1_800_000_000.0)
    text = seen.read_text()
    assert "FELHOM" not in text
    assert "PATH=/root" not in text
    assert "the blob" in text
    assert "600 signers\n600 signature" in text
    assert "700 ." in text
    assert "verify-time=20270115080000Z" in text
    assert "-I operational" in text


def test_at_most_two_run_at_once(tmp_path: Path) -> None:
    # Each counts twice how many run beside it.
    marks = tmp_path / "marks"
    marks.mkdir()
    counts = program(
        tmp_path,
        f"touch {marks}/run.$$; ls {marks} | grep -c run > {tmp_path}/count.$$; "
        f"sleep 0.05; ls {marks} | grep -c run >> {tmp_path}/count.$$; rm {marks}/run.$$; exit 1",
    )
    verifier = SshKeygen(counts)
    found = at_once(*[lambda: verifier.verify(b"", b"", signer())] * 8)
    assert all(isinstance(each, BadSignature) for each in found)
    numbers = [int(n) for f in tmp_path.glob("count.*") for n in f.read_text().split()]
    assert len(numbers) == 16
    assert max(numbers) <= 2


def test_no_text_of_a_job_is_an_argument(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    looks = program(tmp_path, f'echo "$@" > {seen}; exit 1')
    with pytest.raises(BadSignature):
        SshKeygen(looks).verify(b"--help", b"-f /etc/passwd", signer())
    assert "--help" not in seen.read_text()
    assert "passwd" not in seen.read_text()


def test_the_command_of_the_desk_makes_a_signature_that_is_good(tmp_path: Path) -> None:
    words = sign_command("/home/anna/.ssh/id.pub", "job")
    assert words[0] == "/usr/bin/ssh-keygen"
    assert words[-1] == "job"
    assert os.access(words[0], os.X_OK)
