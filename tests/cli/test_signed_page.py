"""What docs/signed-operations.md tells an operator to type does what the page says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from felhom_agent.authz.check import STAGES
from felhom_agent.authz.hostblob import HOST_ACTS
from felhom_agent.cli.codes import DIFFERS, ERROR, OK
from felhom_agent.cli.request import ACTS
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES, FIRST_PRIVILEGES
from felhom_agent.planning.signedneeds import SIGNED_NEEDS, opt_in
from tests.authz.desk import needs_ssh_keygen
from tests.cli.pty_of import with_yes
from tests.commands import QUICK
from tests.conftest import Site
from tests.e2e.pveum import Privileges, Pveum
from tests.pages import ROOT, blocks
from tests.pages import commands as all_commands
from tests.process import SOON, Process, wait_until

NAME = "docs/signed-operations.md"
PAGE = (ROOT / NAME).read_text()
SPOOL = "/var/spool/felhom-agent"
WEB = {
    "name": "web",
    "memory": "1024",
    "cores": 1,
    "scsi0": "local-lvm:vm-101-disk-0,size=4G",
    "smbios1": "uuid=11111111-2222-3333-4444-555555555555",
    "meta": "creation-qemu=9.0.2,ctime=1700000000",
}
DB = {
    "name": "db",
    "memory": "1024",
    "cores": 1,
    "scsi0": "local-lvm:vm-102-disk-0,size=4G",
    "smbios1": "uuid=22222222-2222-3333-4444-555555555555",
    "meta": "creation-qemu=9.0.2,ctime=1700000000",
}


def section(heading: str) -> str:
    """Return what stands under a heading."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^#)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"the page has no part {heading!r}"
    return found[1]


def commands(heading: str, language: str = "sh") -> list[str]:
    """Return the lines of the code under a heading."""
    found = [b for b in blocks(NAME) if (b.heading, b.language) == (heading, language)]
    assert found, f"there is no {language} under {heading!r}"
    return [line for block in found for line in block.lines]


class Desk:
    """A person with a key, and a terminal on which `felhom-agent` is the one of a host."""

    def __init__(self, site: Site, settings: str = "") -> None:
        self.site = site
        self.directory = site.directory / "desk"
        self.spool = site.directory / "spool"
        for path in (self.directory / ".ssh", self.directory / "bin", self.spool):
            path.mkdir(parents=True)
        self.spool.chmod(0o755)
        self.config = site.write_config(
            f'{QUICK}[authz]\nsigners = "signers"\nkept = "kept"\nspool = "{self.spool}"\n'
            f"{settings}"
        )
        program = self.directory / "bin" / "felhom-agent"
        command = shlex.join([sys.executable, "-m", "felhom_agent", "--config", str(self.config)])
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
        key = self.directory / ".ssh" / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        for name in ("anna", "anna.pub"):
            there = key if name == "anna" else key.with_suffix(".pub")
            (self.directory / name).write_bytes(there.read_bytes())
            (self.directory / name).chmod(0o600)
        for name in ("bela", "safe", "safe2"):
            path = self.directory / name
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)

    def begin(self) -> None:
        """Start the agent."""
        self.agent = Process(self.config)
        self.agent.wait_for("felhom-agent 0")

    def type(self, line: str, code: int = OK) -> str:
        """Type a line as it stands on the page, and yes to what is asked; return what was said. It
        must end with that exit code.
        """
        environment = {
            **os.environ,
            "HOME": str(self.directory),
            "NO_COLOR": "1",
            "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        typed = ["/bin/bash", "-c", line.replace(SPOOL, str(self.spool))]
        ended, said = with_yes(typed, environment, self.directory)
        assert ended == code, f"{line}\n{said}"
        return said


@pytest.fixture
def desk(make_site: Callable[..., Site]) -> Iterator[Desk]:
    with a_desk(make_site) as desk:
        yield desk


@contextmanager
def a_desk(make_site: Callable[..., Site], settings: str = "") -> Iterator[Desk]:
    """Hold the page's host: its token may what the page says, of the page's guests."""
    site = make_site(
        privileges={
            **FIRST_PRIVILEGES,
            "/vms/101": [*AGENT_PRIVILEGES, *SIGNED_NEEDS["guest_destroy"]],
            "/vms/102": [*AGENT_PRIVILEGES, SIGNED_NEEDS["snapshot_rollback"][0]],
        }
    )
    site.world.add("qemu", 101, WEB)
    site.world.add("qemu", 102, DB)
    site.world.snapshot(102, "before-upgrade")
    site.world.edit(102, {"cores": 4})
    site.declare("[guest.102.config]\ncores = 4\n")
    found = Desk(site, settings)
    found.begin()
    try:
        yield found
    finally:
        found.agent.end()


@needs_ssh_keygen
def test_one_key_and_five_commands_destroy_a_guest_and_no_other(desk: Desk) -> None:
    lines = commands("One key, five commands")
    assert len(lines) == 5
    before = desk.site.world.config(102)
    said = []
    for line in lines:
        assert desk.site.world.here("qemu", 101) or " jobs" in line, "before it was submitted"
        said.append(desk.type(line))
    assert desk.site.world.here("qemu", 101) is None
    assert desk.site.world.config(102) == before
    assert "DESTROY VM 101 web" in said[2]
    assert re.search(r"guest_destroy +101 web +done", said[-1])
    (call,) = [m for m in desk.site.devnode.mutations if m.method == "DELETE"]
    assert call.params == {"destroy-unreferenced-disks": "0", "purge": "0"}
    assert "authorized" in desk.type("felhom-agent audit")
    assert ": good, " in desk.type("felhom-agent audit verify")


@needs_ssh_keygen
def test_the_rollback_of_the_page_pauses_the_guest_until_it_is_resumed(desk: Desk) -> None:
    desk.type(commands("One key, five commands")[0])
    *lines, resume = commands("A rollback")
    for line in lines:
        desk.type(line)
    desk.type("felhom-agent reconcile")
    assert desk.site.world.config(102)["cores"] == 1
    assert "after signed rollback" in desk.type("felhom-agent status --all", DIFFERS)
    desk.type(resume)
    wait_until(lambda: desk.site.world.config(102)["cores"] == 4, SOON)


@needs_ssh_keygen
def test_the_spool_directory_takes_what_the_page_moves_into_it(desk: Desk) -> None:
    desk.type(commands("One key, five commands")[0])
    for line in commands("A rollback")[:2]:
        desk.type(line)
    for line in commands("Without the control socket: the spool directory"):
        assert SPOOL in line
        desk.type(line)
    wait_until(lambda: desk.site.world.config(102)["cores"] == 1, SOON)


ANNA = "felhom-agent signers init --key anna.pub --recovery safe.pub"


@needs_ssh_keygen
def test_two_operators_destroy_what_one_cannot(make_site: Callable[..., Site]) -> None:
    heading = "Two operators"
    with a_desk(make_site, "\n".join(commands(heading, "toml"))) as desk:
        first, request, sign, sign_too, submit = commands(heading)
        for line in (first, request, sign):
            desk.type(line)
        assert "1 key has" in desk.type(submit, ERROR)
        assert desk.site.world.here("qemu", 101)
        desk.type(sign_too)
        assert "done" in desk.type(submit)
        assert desk.site.world.here("qemu", 101) is None


@needs_ssh_keygen
def test_a_rotation_outlives_the_agent_and_the_old_key_signs_no_more(desk: Desk) -> None:
    desk.type(ANNA)
    for line in commands("Rotation: other signers, by signature"):
        said = desk.type(line)
    assert "Set of version 2, by a signed rotation" in said
    desk.agent.end()
    desk.begin()
    *request, submit = commands("A rollback")[:3]
    for line in request:
        desk.type(line)
    assert "is not in" in desk.type(submit, ERROR)
    desk.type("felhom-agent sign db.request --key bela --force")
    assert "done" in desk.type(submit)


@needs_ssh_keygen
def test_with_all_keys_lost_root_provisions_anew_loudly(desk: Desk) -> None:
    desk.type(ANNA)
    for line in commands("A key that is lost"):
        said = desk.type(line)
    assert "Set of version 2, by root" in said
    desk.agent.wait_for("root has provisioned version 2 of the signers")
    assert ": good, " in desk.type("felhom-agent audit verify")


@needs_ssh_keygen
def test_a_stolen_key_is_taken_back_and_what_it_signed_dies(desk: Desk) -> None:
    desk.type(ANNA)
    desk.type("felhom-agent freeze --why trouble")
    request, sign, submit = commands("A rollback")[:3]
    for line in (request, sign, f"{submit} --no-wait"):
        desk.type(line)
    for line in commands("A key that is stolen"):
        said = desk.type(line)
    assert "done" in said
    desk.type("felhom-agent thaw")
    wait_until(lambda: "was taken back" in desk.type("felhom-agent jobs"), SOON)
    assert desk.site.world.config(102)["cores"] == 4
    assert "REVOKED" in desk.type("felhom-agent signers")


@needs_ssh_keygen
def test_a_freeze_is_ended_by_a_recovery_key(desk: Desk) -> None:
    desk.type(ANNA)
    desk.type("felhom-agent freeze --why trouble")
    assert "held: frozen by root" in desk.type("felhom-agent status")
    for line in commands("A freeze that is ended from afar"):
        desk.type(line)
    assert "held: frozen" not in desk.type("felhom-agent status")


def test_the_page_gives_the_token_what_check_would_name() -> None:
    role, *given = opt_in("guest_destroy", "101", "felhom-agent@pve!agent")
    lines = commands("What the token needs")
    assert lines == [role.partition(" || ")[0], *given]


def test_what_the_page_gives_the_token_is_the_act_on_that_guest_beside_what_it_had() -> None:
    granted: dict[str, Privileges] = {}

    def give(name: str, _down: Privileges, _secret: str, there: Privileges) -> None:
        granted[name] = there

    pveum = Pveum(give, lambda pool: [])
    first = [line for line in all_commands("docs/install.md") if line.startswith("pveum")]
    for line in (*first, *commands("What the token needs")):
        pveum.run(shlex.split(line)[1:])
    rights = granted["felhom-agent@pve!agent"]
    assert set(rights["/vms/101"]) == {*rights["/"], "VM.Allocate"}
    assert "VM.Allocate" not in rights["/"]


def test_every_part_of_the_page_with_commands_is_typed_by_a_test_here() -> None:
    typed = Path(__file__).read_text()
    parts = {block.heading for block in blocks(NAME) if block.language == "sh"}
    assert [part for part in sorted(parts) if f'"{part}"' not in typed] == []


@pytest.mark.parametrize(("word", "act"), [a for a in ACTS.items() if a[1] not in HOST_ACTS])
def test_the_page_names_each_acts_privilege_and_role(word: str, act: str) -> None:
    held = opt_in(act, "101", "felhom-agent@pve!agent")[-1].split()[-1].split(",")[-1]
    row = f"| {word} | `{SIGNED_NEEDS[act][0]}` | `{held}` |"
    assert row in section("What the token needs")


def test_the_page_says_of_each_stage_what_it_checks_and_what_to_do() -> None:
    order = re.findall(r"^\| \d+ \| (\w+) \|", section("The order of checks"), re.MULTILINE)
    assert order == [stage.name for stage in STAGES]
    rows = re.findall(r"^\| ([a-z, ]+) \|", section("When something is refused"), re.MULTILINE)
    named = [name for row in rows for name in row.split(", ") if name != "check"]
    assert sorted(named) == sorted(order)


def test_each_link_within_the_page_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    there = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= there
