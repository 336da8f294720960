"""`felhom-agent sign` shows what will happen, asks, and leaves a job and its signature."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.authz.armor import open_armor
from felhom_agent.authz.operation import parse
from felhom_agent.authz.request import Circumstances, SignedRequest
from felhom_agent.authz.signerline import parse_signer
from felhom_agent.authz.sshkeygen import SshKeygen
from felhom_agent.authz.words import with_words
from tests.authz.desk import needs_ssh_keygen
from tests.cli.agents import OnTerminal
from tests.cli.test_jobfiles import REQUEST
from tests.commands import Felhom, typed

pytestmark = needs_ssh_keygen


@pytest.fixture
def felhom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Felhom:
    return typed(tmp_path / "there is no agent.toml", capsys, "sign")


@pytest.fixture
def key(tmp_path: Path) -> str:
    return made_key(tmp_path / "key")


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    path = tmp_path / "web.request"
    path.write_bytes(REQUEST.encode())
    return path


def made_key(path: Path, kind: str = "ed25519", phrase: str = "", bits: str = "") -> str:
    words = ["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-f", str(path)]
    subprocess.run([*words, *(["-b", bits] if bits else [])], check=True)
    return str(path)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("key"))


def verify(job: Path, key: str) -> None:
    """Raise OperationRefused if the signature beside a job is not the key's."""
    signer = parse_signer(f"operational {Path(f'{key}.pub').read_text().strip()}")
    SshKeygen().verify(job.read_bytes(), Path(f"{job}.sig").read_bytes(), signer)


def test_what_is_shown_is_signed_and_the_next_command_is_told(
    felhom: Felhom, key: str, request_file: Path, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        code, out, err = felhom(str(request_file), "--key", key, "--yes")
    finally:
        os.umask(before)
    assert (code, err) == (0, "")
    for line in REQUEST.lines():
        assert f"{line}\n" in out
    job = tmp_path / "web.job"
    assert job.read_bytes() == REQUEST.operation.encode()
    verify(job, key)
    assert "felhom-agent submit web.job web.job.sig" in out
    told = open_armor(Path(f"{job}.sig").read_bytes())
    assert f"Signed by ssh-ed25519 {told.key.fingerprint}" in out
    assert names(tmp_path) == ["web.job", "web.job.sig", "web.request"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("web.job*")} == {0o644}


def test_with_times_of_its_own_the_words_tell_them_and_the_challenge_is_gone(
    felhom: Felhom, key: str, request_file: Path, tmp_path: Path
) -> None:
    before = int(time.time())
    code, out, _ = felhom(str(request_file), "--key", key, "--yes", "--for", "7")
    assert code == 0
    signed = parse((tmp_path / "web.job").read_bytes())
    assert signed.challenge == ""
    assert signed.times is not None
    assert before <= signed.times.issued == signed.times.not_before <= time.time()
    assert signed.times.expires == signed.times.issued + 420
    assert "Good from " in out
    assert "The request ends" not in out
    verify(tmp_path / "web.job", key)
    for minutes in ("0", "11", "1.5", "x"):
        assert felhom(str(request_file), "--key", key, "--yes", "--for", minutes)[0] == 64


def test_without_a_terminal_and_without_yes_nothing_is_signed(
    felhom: Felhom, key: str, request_file: Path, tmp_path: Path
) -> None:
    code, out, err = felhom(str(request_file), "--key", key)
    assert code == 1
    assert out.startswith("DESTROY VM 101 web")
    assert "there is no terminal; say --yes" in err
    assert names(tmp_path) == ["web.request"]


def test_what_is_there_is_not_replaced_unless_that_is_said(
    felhom: Felhom, key: str, request_file: Path, tmp_path: Path
) -> None:
    for name in ("web.job", "web.job.sig"):
        (tmp_path / name).write_text("mine")
        code, out, err = felhom(str(request_file), "--key", key)
        assert (code, out) == (1, ""), "that is told before anything is asked"
        assert (tmp_path / name).read_text() == "mine"
        assert f"{name} is there already" in err
        assert names(tmp_path) == sorted([name, "web.request"])
        (tmp_path / name).unlink()
    (tmp_path / "web.job").write_text("mine")
    (tmp_path / "web.job.sig").write_text("mine")
    assert felhom(str(request_file), "--key", key, "--yes", "--force")[0] == 0
    verify(tmp_path / "web.job", key)


def test_the_request_itself_is_never_overwritten(
    felhom: Felhom, key: str, request_file: Path, tmp_path: Path
) -> None:
    same = request_file.rename(tmp_path / "web.job")
    for words in ([], ["-o", str(same)], ["-o", str(tmp_path / "." / "web.job")]):
        code, _, err = felhom(str(same), "--key", key, "--yes", "--force", *words)
        assert (code, same.read_bytes()) == (1, REQUEST.encode())
        assert "is the request itself" in err
    assert felhom(str(same), "--key", key, "--yes", "-o", str(tmp_path / "out"))[0] == 0
    assert names(tmp_path) == ["out", "out.sig", "web.job"]


@pytest.mark.parametrize(
    ("kind", "bits", "said"),
    [("rsa", "1024", "too weak"), ("ecdsa", "", ""), ("rsa", "3072", "")],
)
def test_a_key_that_no_host_takes_signs_nothing(
    felhom: Felhom, request_file: Path, tmp_path: Path, kind: str, bits: str, said: str
) -> None:
    key = made_key(tmp_path / "key2", kind, bits=bits)
    code, _, err = felhom(str(request_file), "--key", key, "--yes")
    assert (code, (tmp_path / "web.job").exists()) == ((1, False) if said else (0, True))
    assert said in err


@pytest.mark.parametrize("text", ["", "no key\n", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_what_is_no_key_signs_nothing(
    felhom: Felhom, request_file: Path, tmp_path: Path, text: str
) -> None:
    (tmp_path / "key3").write_text(text)
    (tmp_path / "key3").chmod(0o600)
    code, _, err = felhom(str(request_file), "--key", str(tmp_path / "key3"), "--yes")
    assert code == 1
    assert "nothing was signed: ssh-keygen ended with status" in err
    assert names(tmp_path) == ["web.request"]
    assert felhom(str(request_file), "--key", str(tmp_path), "--yes")[0] == 1
    assert felhom(str(request_file), "--key", "/nonexistent", "--yes")[0] == 1


def test_the_usual_key_is_taken_where_none_is_named(
    felhom: Felhom, request_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "key-home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    code, _, err = felhom(str(request_file), "--yes")
    assert code == 1
    assert f"no key was found in {home}/.ssh; name it with --key KEY" in err
    key = made_key(home / ".ssh" / "id_ecdsa", "ecdsa")
    assert felhom(str(request_file), "--yes")[0] == 0
    verify(tmp_path / "web.job", key)
    first = made_key(home / ".ssh" / "id_ed25519")
    assert felhom(str(request_file), "--yes", "--force")[0] == 0
    verify(tmp_path / "web.job", first)


def test_a_key_that_only_an_agent_holds_is_named_by_its_pub_file(
    felhom: Felhom, request_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key-home" / ".ssh").mkdir(parents=True)
    key = made_key(tmp_path / "key-home" / ".ssh" / "id_ed25519")
    socket = f"{tmp_path}/key-agent"
    words = ["ssh-agent", "-D", "-a", socket]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()  # it listens by now
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        monkeypatch.setenv("HOME", str(tmp_path / "key-home"))
        subprocess.run(["ssh-add", "-q", key], check=True)
        Path(key).unlink()
        try:
            assert felhom(str(request_file), "--key", f"{key}.pub", "--yes")[0] == 0
            verify(tmp_path / "web.job", key)
            assert felhom(str(request_file), "--yes", "--force")[0] == 0
            verify(tmp_path / "web.job", key)
        finally:
            agent.kill()


def test_a_request_that_is_over_is_told_and_the_host_has_the_last_word(
    felhom: Felhom, key: str, tmp_path: Path
) -> None:
    past = SignedRequest(REQUEST.operation, replace(Circumstances(), expires=1_700_000_000))
    (tmp_path / "old.request").write_bytes(past.encode())
    code, _, err = felhom(str(tmp_path / "old.request"), "--key", key, "--yes")
    assert code == 0
    assert "the request ended at 2023-11-14T22:13:20Z" in err


def test_a_place_that_cannot_be_written_is_told_before_anything_is_asked(
    felhom: Felhom, key: str, request_file: Path, tmp_path: Path
) -> None:
    code, _, err = felhom(
        str(request_file), "--key", key, "--yes", "-o", str(tmp_path / "none" / "x")
    )
    assert (code, err.count("\n")) == (1, 1)
    assert "none/x: cannot be written: No such file" in err


class TestOnATerminal:
    def test_a_person_is_asked_and_the_passphrase_is_asked_for_there(
        self, request_file: Path, tmp_path: Path
    ) -> None:
        key = made_key(tmp_path / "key4", phrase="a secret")
        terminal = OnTerminal(tmp_path / "none", "sign", str(request_file), "--key", key)
        try:
            terminal.wait_for(lambda seen: "Do this? [y/N]" in seen)
            terminal.press("y\n")
            terminal.wait_for(lambda seen: "passphrase" in seen)
            terminal.press("a secret\n")
            terminal.wait_for(lambda seen: "felhom-agent submit" in seen)
            assert terminal.end() == 0
        finally:
            terminal.close()
        verify(tmp_path / "web.job", key)

    @pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"])
    def test_whatever_is_no_yes_signs_nothing(
        self, request_file: Path, key: str, tmp_path: Path, answer: str
    ) -> None:
        terminal = OnTerminal(tmp_path / "none", "sign", str(request_file), "--key", key)
        try:
            terminal.wait_for(lambda seen: "Do this? [y/N]" in seen)
            terminal.press(answer)
            terminal.wait_for(lambda seen: "Nothing was signed." in seen)
            assert terminal.end() == 1
        finally:
            terminal.close()
        assert names(tmp_path) == ["web.request"]

    def test_an_interrupt_while_the_key_is_waited_for_leaves_nothing(
        self, request_file: Path, tmp_path: Path
    ) -> None:
        key = made_key(tmp_path / "key5", phrase="a secret")
        terminal = OnTerminal(tmp_path / "none", "sign", str(request_file), "--key", key, "--yes")
        try:
            terminal.wait_for(lambda seen: "passphrase" in seen)
            assert terminal.interrupt() == 130
        finally:
            terminal.close()
        assert names(tmp_path) == ["web.request"]

    def test_a_job_that_is_exchanged_while_a_person_reads_is_not_what_is_signed(
        self, felhom: Felhom, request_file: Path, key: str, tmp_path: Path
    ) -> None:
        felhom(str(request_file), "--key", key, "--yes")
        job, shown = tmp_path / "web.job", (tmp_path / "web.job").read_bytes()
        terminal = OnTerminal(tmp_path / "none", "sign", str(job), "--key", key)
        try:
            terminal.wait_for(lambda seen: "Do this? [y/N]" in seen)
            job.write_bytes(with_words(replace(REQUEST.operation, nonce="f" * 32)).encode())
            terminal.press("y\n")
            terminal.wait_for(lambda seen: "felhom-agent submit" in seen)
            assert terminal.end() == 0
        finally:
            terminal.close()
        signer = parse_signer(f"operational {Path(f'{key}.pub').read_text().strip()}")
        SshKeygen().verify(shown, (tmp_path / "web.job.2.sig").read_bytes(), signer)


class TestSeveralSigners:
    @pytest.fixture
    def other(self, tmp_path: Path) -> str:
        return made_key(tmp_path / "key2")

    def test_a_job_that_one_has_signed_is_signed_by_another_as_it_is(
        self, felhom: Felhom, key: str, other: str, request_file: Path, tmp_path: Path
    ) -> None:
        felhom(str(request_file), "--key", key, "--for", "5", "--yes")
        job = tmp_path / "web.job"
        before = job.read_bytes()
        code, out, err = felhom(str(job), "--key", other, "--yes")
        assert (code, err) == (0, "")
        assert "DESTROY VM 101 web" in out
        assert "felhom-agent submit web.job web.job.sig web.job.2.sig" in out
        assert job.read_bytes() == before
        signer = parse_signer(f"operational {Path(f'{other}.pub').read_text().strip()}")
        SshKeygen().verify(before, (tmp_path / "web.job.2.sig").read_bytes(), signer)

    def test_two_who_sign_one_request_sign_the_same_bytes(
        self, felhom: Felhom, key: str, other: str, request_file: Path, tmp_path: Path
    ) -> None:
        for signer, name in ((key, "a.job"), (other, "b.job")):
            felhom(str(request_file), "--key", signer, "-o", str(tmp_path / name), "--yes")
        assert (tmp_path / "a.job").read_bytes() == (tmp_path / "b.job").read_bytes()

    def test_who_asks_is_named_by_the_key_that_signs(
        self, felhom: Felhom, key: str, request_file: Path, tmp_path: Path
    ) -> None:
        code, out, _ = felhom(str(request_file), "--key", key, "--as-requester", "--yes")
        assert code == 0
        told = open_armor((tmp_path / "web.job.sig").read_bytes()).key.fingerprint
        assert parse((tmp_path / "web.job").read_bytes()).requester == told
        assert f"Asked for by the key {told}" in out

    @pytest.mark.parametrize("word", ["--as-requester", "--force", "-o=x.job", "--for=5"])
    def test_a_job_is_not_changed_by_who_signs_it_too(
        self, felhom: Felhom, key: str, request_file: Path, tmp_path: Path, word: str
    ) -> None:
        felhom(str(request_file), "--key", key, "--yes")
        code, _, err = felhom(str(tmp_path / "web.job"), "--key", key, "--yes", *word.split("="))
        assert (code, "signed as it is" in err) == (64, True)

    def test_a_job_whose_words_are_not_its_own_is_not_signed(
        self, felhom: Felhom, key: str, tmp_path: Path
    ) -> None:
        job = tmp_path / "odd.job"
        job.write_bytes(replace(REQUEST.operation, shown="0" * 64).encode())
        code, _, err = felhom(str(job), "--key", key, "--yes")
        assert (code, "in other words than this program" in err) == (1, True)
        assert names(tmp_path) == ["odd.job"]

    def test_of_eight_signatures_there_is_no_ninth(
        self, felhom: Felhom, key: str, request_file: Path, tmp_path: Path
    ) -> None:
        felhom(str(request_file), "--key", key, "--yes")
        for _ in range(7):
            assert felhom(str(tmp_path / "web.job"), "--key", key, "--yes")[0] == 0
        code, _, err = felhom(str(tmp_path / "web.job"), "--key", key, "--yes")
        assert (code, "has 8 signatures" in err) == (1, True)
