"""What root types is done as the journal's owner, who can go on with what it leaves behind."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from felhom_agent.cli.asowner import run_as_owner
from felhom_agent.config.place import CREDENTIALS
from felhom_agent.errors import FelhomError
from tests.cli.otherpython import install, libraries_of, make_python
from tests.conftest import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")

UNIT = Path(__file__).parent.parent.parent / "packaging" / "systemd" / "felhom-agent.service"
SOMEBODY = pwd.getpwnam("nobody")
"""Another user; `make e2e` does it as the service's user."""
SOON = 60.0
RUN_AS_OWNER = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from felhom_agent.cli.asowner import run_as_owner
directory, words, sources = map(json.loads, sys.argv[2:])
code = run_as_owner(Path(directory), words, {name: Path(path) for name, path in sources.items()})
print("itself" if code is None else code)
"""
PLANTED = "import os; print('planted, run by', os.getuid(), os.environ)\n"


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """Return a directory that everybody can enter, for this file's tests."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def command(ground: Path) -> Path:
    """Return the command as `make install` left it, run by a Python that everybody can run."""
    (ground / "python").mkdir()
    python = make_python(ground / "python", SOMEBODY)
    return install(ground / "tree", python)


@pytest.fixture
def place(site: Site, ground: Path) -> Iterator[Path]:
    """Return a directory that others can enter, with an agent's files, which are somebody's."""
    directory = ground / "place"
    directory.mkdir()
    path = site.write_config()
    text = path.read_text().replace('directory = "journal"', f'directory = "{directory}/journal"')
    text = text.replace('directory = "guests.d"', f'directory = "{directory}/guests.d"')
    lines = [line for line in text.splitlines() if not line.startswith(("token_file", "ca_file"))]
    lines[lines.index("[control]") + 1] = f'socket = "{directory}/control.sock"'
    (directory / "agent.toml").write_text("\n".join(lines))
    (directory / "guests.d").mkdir()
    (directory / "journal").mkdir(mode=0o700)
    os.chown(directory / "journal", SOMEBODY.pw_uid, SOMEBODY.pw_gid)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def whole(site: Site, place: Path) -> Path:
    """Return the place, with token and CA as files that its owner can read, and one that drifts."""
    shutil.copy(site.proxmox.token_file, place / "token")
    os.chown(place / "token", SOMEBODY.pw_uid, SOMEBODY.pw_gid)
    shutil.copy(str(site.proxmox.ca_file), place / "ca.pem")
    text = (place / "agent.toml").read_text()
    files = f'[proxmox]\ntoken_file = "{place}/token"\nca_file = "{place}/ca.pem"'
    (place / "agent.toml").write_text(text.replace("[proxmox]", files))
    (place / "guests.d" / "guests.toml").write_text("[guest.100.config]\ncores = 2\n")
    (place / "journal" / "journal.jsonl").touch(mode=0o600)
    os.chown(place / "journal" / "journal.jsonl", SOMEBODY.pw_uid, SOMEBODY.pw_gid)
    return place


def python_of(command: Path) -> str:
    return command.read_text().partition("\n")[0].removeprefix("#!")


def as_owner(command: Path, directory: Path, words: Sequence[str], sources: Mapping[str, Path],
             user: int = 0) -> str:  # fmt: skip
    """Call it where the command is installed; return what it returned, or said instead."""
    library = command.parent.parent / "lib/felhom-agent"
    given = [str(directory), list(words), {name: str(path) for name, path in sources.items()}]
    done = subprocess.run(
        [python_of(command), "-c", RUN_AS_OWNER, library, *map(json.dumps, given)],
        user=user, capture_output=True, text=True, timeout=SOON,
    )  # fmt: skip
    return done.stdout.splitlines()[-1] if done.returncode == 0 else done.stderr


def typed(command: Path, *words: str | Path, cwd: Path, **environment: str) -> tuple[int, str]:
    """Type the command in a directory; return its exit code, and what was said."""
    done = subprocess.run(
        [command, *words],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=SOON,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def plant(directory: Path, *names: str) -> Path:
    """Put programs into a directory that say who has run them."""
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PLANTED)
    return directory


def test_the_credentials_are_those_of_the_unit() -> None:
    lines = [line for line in UNIT.read_text().splitlines() if line.startswith("LoadCredential=")]
    assert lines
    found = dict(line.removeprefix("LoadCredential=").split(":", 1) for line in lines)
    assert {name: Path(path) for name, path in found.items()} == dict(CREDENTIALS)


def test_an_apply_of_root_leaves_a_journal_that_its_owner_can_go_on_with(
    site: Site, place: Path, command: Path
) -> None:
    (place / "guests.d" / "guests.toml").write_text("[guest.100.config]\ncores = 2\n")
    token = site.proxmox.token_file
    token.chmod(0o600)
    sources = {"token": token, "pve-root-ca.pem": Path(str(site.proxmox.ca_file))}
    words = ["--config", str(place / "agent.toml"), "apply", "--yes"]
    assert as_owner(command, place / "journal", words, sources) == "0"
    assert site.world.config(100)["cores"] == 2
    files = list((place / "journal").iterdir())
    assert files
    assert {file.stat().st_uid for file in files} == {SOMEBODY.pw_uid}
    # Not which directories are there: other tests may make some meanwhile.
    copies = ["grep", "-rlsF", "--include=token", token.read_text().strip(), "/run"]
    assert subprocess.run(copies, capture_output=True).stdout == b"", "no copy is left"


@pytest.mark.parametrize("words", ["journal repair", "run --once", "apply --yes", "hub forget"])
def test_what_lies_in_the_working_directory_is_not_run_as_the_owner(
    whole: Path, command: Path, words: str
) -> None:
    files = ("felhom_agent/__init__.py", "felhom_agent/__main__.py", "felhom_agent/cli/main.py",
             "json.py", "pwd.py", "argparse.py", "sitecustomize.py", "usercustomize.py",
             "requests/__init__.py", "tomli.py")  # fmt: skip
    cwd = plant(whole / "planted", *files)
    code, said = typed(command, "--config", whole / "agent.toml", *words.split(), cwd=cwd)
    assert "planted" not in said
    assert code in (0, 1, 2), said
    assert "No module" not in said


@pytest.mark.parametrize("variable", ["PYTHONPATH", "PYTHONUSERBASE", "PYTHONSTARTUP"])
def test_nor_is_what_a_variable_of_the_environment_names(
    whole: Path, command: Path, variable: str
) -> None:
    planted = plant(whole / "planted", "felhom_agent/__init__.py", "felhom_agent/__main__.py")
    words = ("--config", whole / "agent.toml", "journal", "repair")
    code, said = typed(command, *words, cwd=whole, **{variable: str(planted)})
    assert (code, "planted" in said) == (0, False), said


def test_the_package_that_runs_is_the_one_that_is_run_where_there_is_another(
    whole: Path, command: Path
) -> None:
    libraries = libraries_of(Path(python_of(command)))
    plant(libraries, "felhom_agent/__init__.py", "felhom_agent/__main__.py")
    try:
        words = ("--config", whole / "agent.toml", "journal", "repair")
        code, said = typed(command, *words, cwd=whole)
    finally:
        shutil.rmtree(libraries / "felhom_agent")
    assert (code, "planted" in said) == (0, False), said


def test_after_make_install_it_works_in_any_directory_and_with_a_relative_path(
    site: Site, whole: Path, command: Path
) -> None:
    for words in ("journal repair", "run --once", "apply --yes"):
        code, said = typed(command, "--config", "agent.toml", *words.split(), cwd=whole)
        assert code == 0, said
    assert site.world.config(100)["cores"] == 2
    closed = whole / "closed"
    closed.mkdir(mode=0o700)
    path = whole / "agent.toml"
    assert typed(command, "--config", path, "journal", "repair", cwd=closed)[0] == 0


def test_it_works_where_the_package_is_one_of_a_venv(
    whole: Path, command: Path, ground: Path
) -> None:
    (ground / "venv").mkdir()
    python = make_python(ground / "venv", SOMEBODY)
    shutil.copytree(
        command.parent.parent / "lib/felhom-agent/felhom_agent",
        libraries_of(python) / "felhom_agent",
    )
    ours = python.with_name("felhom-agent")
    ours.write_text(
        f"#!{python}\nimport sys\nfrom felhom_agent.cli.main import main\nsys.exit(main())\n"
    )
    ours.chmod(0o755)
    planted = plant(whole / "planted", "felhom_agent/__init__.py", "felhom_agent/__main__.py")
    code, said = typed(ours, "--config", "../agent.toml", "run", "--once", cwd=planted)
    assert (code, "planted" in said) == (0, False), said


def test_it_works_where_what_it_needs_is_found_by_a_variable(
    whole: Path, command: Path, ground: Path
) -> None:
    (ground / "bare").mkdir()
    python = make_python(ground / "bare", SOMEBODY)
    libraries_of(python).rename(ground / "bare/needed")
    ours = whole / "felhom-agent"
    ours.write_text(command.read_text().replace(python_of(command), str(python)))
    ours.chmod(0o755)
    words = ("--config", "agent.toml", "run", "--once")
    code, said = typed(ours, *words, cwd=whole, PYTHONPATH=str(ground / "bare/needed"))
    assert code == 0, said


def test_that_it_cannot_be_run_is_told_with_what_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(tmp_path, SOMEBODY.pw_uid, SOMEBODY.pw_gid)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(FelhomError, match=f"to user nobody, .* {tmp_path}/nothing: .*must be able"):
        run_as_owner(tmp_path / "journal", ["plan"], {})


def test_that_the_owner_may_not_read_the_program_is_told_in_a_line(
    whole: Path, command: Path
) -> None:
    library = command.parent.parent / "lib/felhom-agent"
    library.chmod(0o700)
    try:
        words = ("--config", whole / "agent.toml", "journal", "repair")
        code, said = typed(command, *words, cwd=whole)
    finally:
        library.chmod(0o755)
    assert (code, said.count("\n")) == (1, 1), said
    assert f"{library}/felhom_agent/__init__.py: Permission denied" in said
    assert "user nobody" in said


def test_its_exit_code_is_that_of_the_command(place: Path, command: Path) -> None:
    assert as_owner(command, place / "journal", ["nosuch"], {}) == "64"


def test_roots_own_journal_is_worked_on_by_root(tmp_path: Path) -> None:
    assert run_as_owner(tmp_path / "journal", ["nosuch"]) is None


def test_somebody_else_does_it_by_himself(place: Path, command: Path) -> None:
    found = as_owner(command, place / "journal", ["nosuch"], {}, user=SOMEBODY.pw_uid)
    assert found == "itself"
