"""What is kept of signers in one directory: a job counts whole, with its own signatures, or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from felhom_agent.authz.keptsets import JOB, REVOKED_DIRECTORY, KeptSets, KeptTrust
from felhom_agent.errors import JournalClosed
from tests.journal.disks import WatchedDisk, failing

FIRST = KeptTrust(b"first", (b"a", b"b", b"c"))
SECOND = KeptTrust(b"second", (b"d", b"e"))


def test_what_was_kept_is_found_again_by_its_version_or_its_hash(tmp_path: Path) -> None:
    kept = KeptSets(tmp_path / "signers")
    assert (kept.versions(), kept.revocations()) == ({}, [])
    kept.keep("2", FIRST, {"allowed_signers": "a line\n"})
    kept.keep("10", SECOND, {})
    kept.keep(f"{REVOKED_DIRECTORY}/{SECOND.hash}", SECOND, {})
    assert list(kept.versions().items()) == [(2, FIRST), (10, SECOND)]
    assert kept.revocations() == [SECOND]
    assert (kept.path_of(2) / "allowed_signers").read_text() == "a line\n"


@pytest.mark.parametrize("call", ["write", "sync", "rename", "remove", "sync_directory"])
def test_one_that_takes_the_place_of_another_is_never_found_with_signatures_of_that_one(
    tmp_path: Path, call: str
) -> None:
    """A rotation whose end nobody knows may have left a job where the next one is kept."""
    texts = {"set.toml": "version = 2\n"}
    KeptSets(tmp_path).keep("2", FIRST, texts)
    whole = WatchedDisk()
    KeptSets(tmp_path, whole).keep("2", SECOND, texts)
    assert KeptSets(tmp_path).versions() == {2: SECOND}
    for number in range(whole.calls.count(call)):
        directory = tmp_path / str(number)
        KeptSets(directory).keep("2", FIRST, texts)
        with pytest.raises(JournalClosed, match="cannot be written"):
            KeptSets(directory, WatchedDisk(failing(call, 5, after=number))).keep(
                "2", SECOND, texts
            )
        assert KeptSets(directory).versions() in ({}, {2: FIRST}, {2: SECOND})


def test_a_job_that_was_not_written_to_its_end_does_not_count(tmp_path: Path) -> None:
    KeptSets(tmp_path).keep("2", FIRST, {})
    (tmp_path / "2" / JOB).unlink()
    assert KeptSets(tmp_path).versions() == {}
