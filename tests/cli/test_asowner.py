"""What root types is done as the journal's owner, who can go on with what it leaves behind."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent.cli.asowner import run_as_owner
from felhom_agent.config.place import CREDENTIALS
from felhom_agent.errors import FelhomError
from tests.conftest import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")

UNIT = Path(__file__).parent.parent.parent / "packaging" / "systemd" / "felhom-agent.service"


@pytest.fixture
def somebody() -> pwd.struct_passwd:
    """Return another user, who can run this Python; `make e2e` does it as the service's user."""
    found = pwd.getpwnam("nobody")
    try:
        run = [sys.executable, "-c", "import felhom_agent"]
        subprocess.run(run, user=found.pw_uid, group=found.pw_gid, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this Python, or the project, can only be read by root")
    return found


@pytest.fixture
def place(site: Site, somebody: pwd.struct_passwd) -> Iterator[Path]:
    """Return a directory that others can enter, with a journal's directory that is somebody's."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    path = site.write_config()
    text = path.read_text().replace('directory = "journal"', f'directory = "{directory}/journal"')
    text = text.replace('directory = "guests.d"', f'directory = "{directory}/guests.d"')
    lines = [line for line in text.splitlines() if not line.startswith(("token_file", "ca_file"))]
    lines[lines.index("[control]") + 1] = f'socket = "{directory}/control.sock"'
    (directory / "agent.toml").write_text("\n".join(lines))
    (directory / "guests.d").mkdir()
    (directory / "journal").mkdir(mode=0o700)
    os.chown(directory / "journal", somebody.pw_uid, somebody.pw_gid)
    yield directory
    shutil.rmtree(directory)


def test_the_credentials_are_those_of_the_unit() -> None:
    lines = [line for line in UNIT.read_text().splitlines() if line.startswith("LoadCredential=")]
    assert lines
    found = dict(line.removeprefix("LoadCredential=").split(":", 1) for line in lines)
    assert {name: Path(path) for name, path in found.items()} == dict(CREDENTIALS)


def test_an_apply_of_root_leaves_a_journal_that_its_owner_can_go_on_with(
    site: Site, place: Path, somebody: pwd.struct_passwd
) -> None:
    (place / "guests.d" / "guests.toml").write_text("[guest.100.config]\ncores = 2\n")
    token = site.proxmox.token_file
    token.chmod(0o600)
    sources = {"token": token, "pve-root-ca.pem": Path(str(site.proxmox.ca_file))}
    words = ["--config", str(place / "agent.toml"), "apply", "--yes"]
    before = set(Path("/run").glob("felhom-agent-*"))
    assert run_as_owner(place / "journal", words, sources) == 0
    assert site.world.config(100)["cores"] == 2
    files = list((place / "journal").iterdir())
    assert files
    assert {file.stat().st_uid for file in files} == {somebody.pw_uid}
    assert set(Path("/run").glob("felhom-agent-*")) == before, "no copy of a secret is left"


def test_that_it_cannot_be_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(tmp_path, nobody.pw_uid, nobody.pw_gid)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(FelhomError, match="belongs to user nobody, and this command cannot run"):
        run_as_owner(tmp_path / "journal", ["plan"], {})


def test_its_exit_code_is_that_of_the_command(site: Site, place: Path) -> None:
    assert run_as_owner(place / "journal", ["nosuch"], {}) == 64


def test_roots_own_journal_is_worked_on_by_root(tmp_path: Path) -> None:
    assert run_as_owner(tmp_path / "journal", ["nosuch"]) is None


def test_somebody_else_does_it_by_himself(place: Path, somebody: pwd.struct_passwd) -> None:
    code = (
        "import sys; from pathlib import Path; from felhom_agent.cli.asowner import run_as_owner; "
        "sys.exit(0 if run_as_owner(Path(sys.argv[1]), ['nosuch']) is None else 1)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(place / "journal")],
        user=somebody.pw_uid,
        group=somebody.pw_gid,
        check=False,
    )
    assert process.returncode == 0
