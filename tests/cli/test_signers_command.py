"""`felhom-agent signers` shows whose signatures count; `init` makes the list from a public key."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from felhom_agent.authz.keymaterial import PublicKey, from_text
from felhom_agent.authz.refusals import OperationRefused
from felhom_agent.authz.signerline import Role
from felhom_agent.authz.signers import judge, load
from felhom_agent.durable.disk import Disk
from tests.authz.desk import (
    Key,
    a_host,
    key,
    needs_ssh_keygen,
    security_key,
    signed,
    signer_line,
)
from tests.cli.hosts import NOBODY, needs_root
from tests.commands import Felhom, typed

pytestmark = needs_ssh_keygen


@pytest.fixture
def felhom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Felhom:
    """An agent.toml that says nothing but where the signers and the journal are."""
    path = tmp_path / "agent.toml"
    path.write_text(
        '[authz]\nsigners = "signers"\nkept = "kept"\n[journal]\ndirectory = "journal"\n'
    )
    return typed(path, capsys, "signers")


@pytest.fixture
def signers(tmp_path: Path) -> Path:
    return tmp_path / "signers"


def pub(directory: Path, text: str | bytes, name: str = "id.pub") -> str:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_one_key_makes_a_list_that_counts_and_tells_what_to_do_next(
    felhom: Felhom, signers: Path, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        code, out, err = felhom("init", "--key", pub(tmp_path, key().public))
    finally:
        os.umask(before)
    assert (code, err) == (0, "")
    assert f"Wrote {signers}/allowed_signers" in out
    assert re.search(r"operational +ssh-ed25519 +SHA256:\S+ +ed25519 of the desk +always", out)
    assert "felhom-agent request destroy 101 -o web.request" in out
    found = load(signers, os.geteuid())
    assert [s.key.text for s in found.signers] == [key().line]
    assert found.problems == ()
    assert stat.S_IMODE(signers.stat().st_mode) == 0o755
    assert stat.S_IMODE((signers / "allowed_signers").stat().st_mode) == 0o644
    assert [path.name for path in signers.iterdir()] == ["allowed_signers"]
    assert felhom()[0] == 0


def test_a_recovery_key_is_another_one(felhom: Felhom, signers: Path, tmp_path: Path) -> None:
    first = pub(tmp_path, key().public)
    same = pub(tmp_path, f"{key().line} another comment\n", "same.pub")
    code, _, err = felhom("init", "--key", first, "--recovery", same)
    assert (code, signers.exists()) == (1, False)
    assert "same.pub: the key is given twice; a key has one role" in err
    other = pub(tmp_path, security_key("ssh-ed25519").public, "other.pub")
    code, out, _ = felhom("init", "--key", first, "--recovery", other, "--until", "20991231")
    assert code == 0
    assert re.search(r"recovery +sk-ssh-ed25519@openssh.com .* until 2099-12-31 00:00", out)


def test_a_list_that_is_there_is_replaced_only_by_force(
    felhom: Felhom, signers: Path, tmp_path: Path
) -> None:
    assert felhom("init", "--key", pub(tmp_path, key().public))[0] == 0
    (signers / "allowed_signers").chmod(0o666)
    other = pub(tmp_path, key(number=1).public)
    code, out, err = felhom("init", "--key", other)
    assert (code, out) == (1, "")
    assert "is there already" in err
    assert "--force" in err
    assert key().line in (signers / "allowed_signers").read_text()
    assert felhom("init", "--key", other, "--force")[0] == 0
    assert [s.key.text for s in load(signers, os.geteuid()).signers] == [key(number=1).line]
    assert sorted(path.name for path in signers.iterdir()) == ["allowed_signers", "set.toml"]
    assert load(signers, os.geteuid()).version == 2, "it counts over all that came by signature"


def test_no_list_is_no_fault(felhom: Felhom, signers: Path) -> None:
    code, out, err = felhom()
    assert (code, err) == (0, "")
    assert f"there is no {signers}/allowed_signers, so nobody may sign" in out
    assert "felhom-agent signers init --key FILE.pub" in out


def test_each_fault_is_told_with_its_line_and_ends_in_1(
    felhom: Felhom, signers: Path, tmp_path: Path
) -> None:
    felhom("init", "--key", pub(tmp_path, key().public))
    with (signers / "allowed_signers").open("a") as file:
        file.write(f"* {key(number=1).line}\noperational ssh-ed25519 AAAA\n")
    code, out, err = felhom()
    assert code == 1
    assert f"{signers}/allowed_signers:4: '*' is a pattern" in err
    assert f"{signers}/allowed_signers:5: it is cut short" in err
    assert "no signature counts until that is mended" in err
    assert "SHA256:" in out


def test_keys_that_do_not_count_are_marked(felhom: Felhom, signers: Path) -> None:
    signers.mkdir()
    past, coming = 'valid-before="20200101Z"', 'valid-after="20980101Z"'
    lines = [f"operational {past} {key().line}", f"operational {coming} {key(number=1).line}"]
    lines.append(f"operational {key(number=2).line} anna")
    (signers / "allowed_signers").write_text("".join(f"{line}\n" for line in lines))
    (signers / "revoked_keys").write_text(f"{key(number=2).line}\n")
    code, out, _ = felhom()
    assert code == 0
    assert "EXPIRED, until 2020-01-01" in out
    assert "NOT YET, from 2098-01-01" in out
    assert re.search(r"anna +REVOKED", out)
    assert f"Taken back:\n  ssh-ed25519 {public_key_of(key(number=2)).fingerprint}\n" in out


CERTIFICATE = "ssh-ed25519-cert-v01@openssh.com {} anna\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "0 lines"),
        (b"\n\n# nothing\n", "0 lines"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n", "private key"),
        ("{key} one\n{other} two\n", "2 lines"),
        ("{rsa1024}", "1024 bits is too weak"),
        (CERTIFICATE, "a certificate"),
        ('command="rm -rf /" {key}\n', "the option 'command' is not known"),
        ('valid-before="20990101" {key}\n', "something stands before the key"),
        ('namespaces="felhom-op-v1" {key}\n', "something stands before the key"),
        ("operational {key}\n", "not known here"),
        ("{key} anna\noperational {other} eve\n", "2 lines"),
        ("{key} anna\roperational {other} eve\n", "carriage return"),
        ("{key} a\0b\n", "zero byte"),
        ("\ufeff{key}\n", "no line like"),
        ("{key}\n".encode("utf-16"), "no text in UTF-8"),
        (b"ssh-ed25519 \xff\xfe\n", "no text in UTF-8"),
        (b"x" * 10_000_000, "10,000,000 bytes"),
        ("ssh-ed25519 {key}\n", "cut short"),
        ("ssh-dss AAAAB3NzaC1kc3MAAAAA\n", "of type 'ssh-dss'"),
    ],
)
def test_what_is_no_public_key_is_refused_in_a_line_and_nothing_is_written(
    felhom: Felhom, signers: Path, tmp_path: Path, text: str | bytes, said: str
) -> None:
    if isinstance(text, str):
        text = text.replace("{key}", key().line).replace("{other}", key(number=1).line)
        if "{rsa1024}" in text:
            text = key("rsa", bits=1024).public
        text = text.replace("{}", certificate(tmp_path))
    code, out, err = felhom("init", "--key", pub(tmp_path, text))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "id.pub" in err
    assert said in err
    assert "c2VjcmV0" not in err
    assert len(err) < 500
    assert not signers.exists()


def certificate(directory: Path) -> str:
    """Return the base64 of a certificate for a key, by the real ssh-keygen."""
    for name in ("ca", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(words, check=True)
    words = ["ssh-keygen", "-q", "-s", "ca", "-I", "anna", "user.pub"]
    subprocess.run(words, check=True, cwd=directory)
    return (directory / "user-cert.pub").read_text().split()[1]


@pytest.mark.parametrize(
    "text", ["{key}", "{key}\n", "{key}\r\n", "  {key} \n\n", "{key} a\x1b[31mb\u2028c\x0bd\n"]
)
def test_one_key_is_taken_however_its_line_ends_and_its_comment_cannot_act(
    felhom: Felhom, signers: Path, tmp_path: Path, text: str
) -> None:
    code, out, _ = felhom("init", "--key", pub(tmp_path, text.replace("{key}", key().line)))
    assert code == 0
    assert [s.key.text for s in load(signers, os.geteuid()).signers] == [key().line]
    assert "\x1b" not in out
    assert (signers / "allowed_signers").read_text().isprintable() is False
    assert "\x1b" not in (signers / "allowed_signers").read_text()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: None])
def test_what_is_no_file_is_refused_without_waiting(
    felhom: Felhom, signers: Path, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "thing")
    code, out, err = felhom("init", "--key", str(tmp_path / "thing"))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "thing: " in err
    assert "remove it" not in err
    assert not signers.exists()


@needs_root
def test_a_directory_that_is_not_roots_alone_is_not_written_into(
    felhom: Felhom, signers: Path, tmp_path: Path
) -> None:
    words = ("init", "--key", pub(tmp_path, key().public))
    signers.mkdir()
    signers.chmod(0o775)
    assert "others than its owner can write it" in felhom(*words)[2]
    signers.chmod(0o755)
    os.chown(signers, NOBODY.pw_uid, NOBODY.pw_gid)
    assert "belongs to user" in felhom(*words)[2]
    signers.rmdir()
    signers.symlink_to(tmp_path)
    assert "a link to one does not count" in felhom(*words)[2]
    assert not (tmp_path / "allowed_signers").exists()
    signers.unlink()
    signers.write_text("")
    assert "no directory" in felhom(*words)[2]


def test_init_is_roots(
    felhom: Felhom, signers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: user)
    code, _, err = felhom("init", "--key", pub(tmp_path, key().public))
    assert (code, signers.exists()) == (1, False)
    assert "run it as that user" in err


def test_words_that_say_nothing_are_wrong_usage(felhom: Felhom) -> None:
    assert felhom("init")[0] == 64
    assert felhom("--key", "x.pub")[0] == 64
    assert felhom("--force")[0] == 64
    assert "there is no option '--ky'; did you mean '--key'" in felhom("init", "--ky", "x")[2]


def public_key_of(signer: Key) -> PublicKey:
    return from_text(*signer.line.split())


def test_each_signer_has_a_line_and_the_set_its_end(
    felhom: Felhom, signers: Path, tmp_path: Path
) -> None:
    anna, bela, safe = (
        pub(tmp_path, each.public, f"{n}.pub")
        for n, each in enumerate((key(), key(number=1), key(number=5)))
    )
    words = ["--key", anna, "--key", bela, "--recovery", safe, "--expires", "20980101"]
    code, out, err = felhom("init", *words)
    assert (code, err) == (0, "")
    found = load(signers, os.geteuid())
    assert [str(each.role) for each in found.signers] == ["operational", "operational", "recovery"]
    assert "Set of version 1, by root; it ends at 2098-01-01" in out
    assert found.expires == datetime(2098, 1, 1, tzinfo=UTC).timestamp()


def test_a_date_that_is_none_writes_nothing(felhom: Felhom, signers: Path, tmp_path: Path) -> None:
    words = ["--key", pub(tmp_path, key().public), "--expires"]
    for date in ("soon", "2098-01-01", "20981301", "209801011200"):
        code, _, err = felhom("init", *words, date)
        assert (code, "--expires must be a time in UTC" in err) == (64, True)
    assert not signers.exists()


def test_what_came_by_signature_is_shown_and_root_provisions_the_version_above_it(
    felhom: Felhom, signers: Path, tmp_path: Path
) -> None:
    safe, newer = key(number=5), key(number=6)
    lines = [signer_line(key()), signer_line(safe, Role.RECOVERY)]
    with a_host(tmp_path, *lines) as host:
        host.trust.current()
        operation = host.rotation(
            signer_line(key(number=1)), signer_line(newer, Role.RECOVERY), version=2
        )
        job = signed(operation, safe, newer, key(number=1))
        host.authorize(job)
        host.trust.rotate(job, operation)
    code, out, err = felhom()
    assert (code, err) == (0, "")
    assert public_key_of(key(number=1)).fingerprint in out
    assert public_key_of(key()).fingerprint not in out
    assert "Set of version 2, by a signed rotation; it does not end." in out
    code, out, _ = felhom("init", "--force", "--key", pub(tmp_path, key(number=2).public))
    assert (code, load(signers, os.geteuid()).version) == (0, 3)
    assert "Set of version 3, by root" in out


def test_who_only_looks_tells_no_change_that_the_agent_has_not_made(
    felhom: Felhom, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = pub(tmp_path, key().public)
    felhom("init", "--key", given)
    for words in (("init", "--force", "--key", given), ()):
        code, out, err = felhom(*words)
        assert (code, err, "Set of version 2, by root" in out) == (0, "", True)
    assert caplog.text == ""


def test_root_who_is_cut_off_while_he_provisions_brings_no_older_list_back(
    felhom: Felhom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    safe, newer = key(number=5), key(number=6)
    lines = [signer_line(key()), signer_line(safe, Role.RECOVERY)]
    with a_host(tmp_path, *lines) as host:
        host.trust.current()
        operation = host.rotation(
            signer_line(key(number=1)), signer_line(newer, Role.RECOVERY), version=2
        )
        job = signed(operation, safe, newer, key(number=1))
        host.authorize(job)
        host.trust.rotate(job, operation)
        renames, rename = iter([1]), Disk.rename

        def cut_off(disk: Disk, old: Path, new: Path) -> None:
            if next(renames, None) is None:
                raise OSError(errno.EIO, "the power goes")
            rename(disk, old, new)

        monkeypatch.setattr(Disk, "rename", cut_off)
        given = pub(tmp_path, key(number=2).public)
        assert felhom("init", "--force", "--key", given)[0] == 1
        monkeypatch.undo()
        with pytest.raises(OperationRefused):
            host.authorize(signed(host.request(), key()))
        assert felhom("init", "--force", "--key", given)[0] == 0
        assert host.authorize(signed(host.request(), key(number=2)))


def test_a_list_for_a_rotation_is_written_where_it_is_asked_for_and_counts_for_nothing(
    felhom: Felhom, signers: Path, tmp_path: Path
) -> None:
    out = tmp_path / "next.signers"
    bela, safe = pub(tmp_path, key(number=1).public, "b.pub"), pub(tmp_path, key(number=6).public)
    code, said, err = felhom("make", "--key", bela, "--recovery", safe, "-o", str(out))
    assert (code, err, signers.exists()) == (0, "", False)
    assert "rotate-signers --signers next.signers" in said
    found, problems = judge("next.signers", out.read_text())
    assert (len(found), problems) == (2, ())
    assert felhom("make", "--key", bela, "-o", str(out))[0] == 1, "it is there already"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["make", "--key", "k"], "needs -o"),
        (["make", "-o", "f"], "needs --key"),
        (["make", "--key", "k", "-o", "f", "--expires", "20300101"], "rotate-signers --until"),
        (["init", "--key", "k", "-o", "f"], "-o is of `signers make`"),
        (["-o", "f"], "are of `signers init` or `make`"),
    ],
)
def test_words_that_do_not_fit_are_wrong_usage(felhom: Felhom, words: list[str], why: str) -> None:
    code, _, err = felhom(*words)
    assert (code, why in err) == (64, True)
