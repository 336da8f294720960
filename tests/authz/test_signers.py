"""The lists of signers and of revoked keys are judged whole, with file and line."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.authz.keymaterial import from_text
from felhom_agent.authz.refusals import NoSigners, RevokedKey, SignersUnusable, UnknownKey
from felhom_agent.authz.setfile import SET
from felhom_agent.authz.signers import ALLOWED, MAX_SIGNERS, REVOKED, judge, load
from tests.authz.desk import SignerFiles, key, needs_ssh_keygen, security_key, signer_line

pytestmark = needs_ssh_keygen


@pytest.fixture
def files(tmp_path: Path) -> SignerFiles:
    return SignerFiles(tmp_path / "signers")


def problems(files: SignerFiles) -> list[str]:
    return [str(problem) for problem in files.load().problems]


def test_no_directory_and_no_list_is_the_normal_first_state(files: SignerFiles) -> None:
    for _ in range(2):
        found = files.load()
        assert not found.present
        assert found.problems == ()
        with pytest.raises(NoSigners, match="signers init"):
            found.signer(from_text(*key().line.split()))
        files.directory.mkdir(exist_ok=True)


def test_the_set_of_one_key_has_no_problem(files: SignerFiles) -> None:
    files.allow(
        "# a comment", "", signer_line(key()) + " anna@desk", f"recovery {key(number=1).line}"
    )
    found = files.load()
    assert found.problems == ()
    assert [str(each.role) for each in found.signers] == ["operational", "recovery"]
    assert found.signers[0].comment == "anna@desk"
    assert "SHA256:" in str(found.signers[0])


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
def test_security_keys_may_sign(files: SignerFiles, kind: str) -> None:
    files.allow(signer_line(security_key(kind)))
    assert problems(files) == []


def test_a_key_in_two_lines_or_two_roles_is_a_problem(files: SignerFiles) -> None:
    files.allow(signer_line(key()), f"recovery {key().line}")
    what = "the key is in line 1 already; a key has one role, in one line"
    assert problems(files) == [f"{files.directory / ALLOWED}:2: {what}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no key"),
        ("# nobody\n", "no key"),
        ("\0", "zero byte"),
        ("operational\n", "no line like"),
        ("{key}\n", "role is missing"),
        ("root {key}\n", "no role"),
        ('"operational" {key}\n', "no line like"),
        ("OPERATIONAL {key}\n", "no role"),
        ("operational {key} a comment\r\n", "Windows"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "private key"),
        ('operational valid-before="soon" {key}\n', "no time"),
        ('operational valid-before="20271399Z" {key}\n', "no time"),
        ("operational valid-before {key}\n", "not known"),
        ('operational valid-after="20270101Z",valid-before="20260101Z" {key}\n', "never good"),
        ('operational namespaces="felhom-op-v1",namespaces="felhom-op-v1" {key}\n', "twice"),
        ('operational namespaces="felhom-*" {key}\n', "another purpose"),
        ("operational no-touch-required {key}\n", "not known"),
        ("operational ssh-ed25519 AAAA\n", "cut short"),
        ("operational ssh-ed25519-cert-v01@openssh.com AAAA\n", ""),
        ("operational " + "x" * 20_000 + "\n", "characters"),
    ],
)
def test_what_is_wrong_with_a_list_is_told_with_its_line(
    files: SignerFiles, text: str, said: str
) -> None:
    files.directory.mkdir()
    files._write(ALLOWED, text.replace("{key}", key().line))
    found = problems(files)
    assert len(found) == 1
    assert said in found[0]
    assert ALLOWED in found[0]
    assert found[0].isprintable()
    with pytest.raises(SignersUnusable):
        files.load().signer(from_text(*key().line.split()))


def test_times_in_each_form_of_openssh_are_taken(files: SignerFiles) -> None:
    for text in ("20271231", "20271231Z", "202712312359", "20271231235959Z"):
        files.allow(f'operational valid-before="{text}" {key().line}')
        assert problems(files) == []
        assert files.load().signers[0].valid_before == text


def test_too_many_keys_and_too_large_a_list_are_problems(files: SignerFiles) -> None:
    files.allow(*[signer_line(key())] * (MAX_SIGNERS + 1))
    assert "101 keys" in problems(files)[0]
    files.allow("#" * 200_000)
    assert "more than" in problems(files)[0]


def test_a_list_that_others_may_write_counts_for_nothing(files: SignerFiles) -> None:
    files.allow(signer_line(key()))
    path = files.directory / ALLOWED
    for mode in (0o664, 0o646):
        path.chmod(mode)
        assert "write" in problems(files)[0]
    path.chmod(0o644)
    files.directory.chmod(0o775)
    assert "write" in problems(files)[0]


@pytest.mark.parametrize("name", [REVOKED, SET, ALLOWED, ""])
def test_a_list_that_the_disk_does_not_give_is_a_fault_and_not_a_list_that_is_not_there(
    files: SignerFiles, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.allow(signer_line(key()))
    files.revoke(key().public)
    files.about('expires = "20300101"\n')
    broken, lstat, opened = files.directory / name, os.lstat, os.open

    def failing(call: Callable[..., Any]) -> Callable[..., Any]:
        def ask(path: object, *more: Any, **named: Any) -> Any:
            if str(path) == str(broken):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(path, *more, **named)

        return ask

    monkeypatch.setattr(os, "lstat", failing(lstat))
    monkeypatch.setattr(os, "open", failing(opened))
    monkeypatch.setattr(os, "stat", failing(os.stat))
    found = files.load()
    assert found.present
    assert "Input/output error" in str(found.problems[0])
    with pytest.raises(SignersUnusable) as refused:
        found.signer(from_text(*key().line.split()))
    assert refused.value.temporary, "what was taken in waits until it is mended"


def test_a_list_that_is_not_root_s_counts_for_nothing(files: SignerFiles) -> None:
    files.allow(signer_line(key()))
    found = load(files.directory, owner=os.geteuid() + 1)
    assert found.present
    assert "belongs to" in str(found.problems[0])


def test_links_fifos_and_directories_count_for_nothing(files: SignerFiles, tmp_path: Path) -> None:
    files.allow(signer_line(key()))
    path = files.directory / ALLOWED
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert problems(files)
    path.unlink()
    os.mkfifo(path)
    assert problems(files)
    path.unlink()
    path.mkdir()
    assert problems(files)
    (tmp_path / "link").symlink_to(files.directory)
    assert "no directory" in str(load(tmp_path / "link", os.geteuid()).problems[0])


def test_a_list_of_revoked_keys_without_signers_is_a_problem(files: SignerFiles) -> None:
    files.directory.mkdir()
    files.revoke(key().public)
    assert len(problems(files)) == 1


def test_a_binary_list_of_revoked_keys_is_a_problem(files: SignerFiles) -> None:
    files.allow(signer_line(key()))
    (files.directory / REVOKED).write_bytes(b"SSHKRL\n\0\0\0\0\1\xff\xfe")
    assert "KRL" in problems(files)[0]


def test_a_key_is_known_by_its_bytes_and_not_by_its_comment(files: SignerFiles) -> None:
    files.allow(f"{signer_line(key())} {key(number=1).line}")
    files.revoke(f"# {key().line}\n{key(number=1).line} {key().line}\n")
    found = files.load()
    assert found.problems == ()
    own, other = (from_text(*k.line.split()) for k in (key(), key(number=1)))
    assert found.signer(own)
    found.refuse_revoked(own)
    with pytest.raises(UnknownKey):
        found.signer(other)
    with pytest.raises(RevokedKey):
        found.refuse_revoked(other)


def test_a_list_is_judged_as_text_too() -> None:
    signers, found = judge("here", f"{signer_line(key())}\nbroken\n")
    assert len(signers) == 1
    assert [str(p).split(" ")[0] for p in found] == ["here:2:"]
