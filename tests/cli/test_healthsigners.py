"""`check` tells who may sign, what keeps signatures from counting, and what PVE would refuse."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from felhom_agent.authz.sshkeygen import SshKeygen
from felhom_agent.cli.health import Finding, Level
from felhom_agent.cli.healthsigners import of_signers
from felhom_agent.cli.main import main
from felhom_agent.cli.serviceuser import Service, User
from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import ClockTrust, Config, KeyRole, Threshold
from tests.authz.desk import key, needs_ssh_keygen, signer_line
from tests.cli.hosts import NOBODY, needs_root
from tests.cli.test_privileges import ROLE
from tests.conftest import Site

pytestmark = needs_ssh_keygen
NOBODYS = Service(User("nobody", NOBODY.pw_uid, frozenset({NOBODY.pw_gid}), "nogroup"))


@pytest.fixture
def directory() -> str:
    return '[authz]\nsigners = "signers"\nkept = "kept"\n'


@pytest.fixture
def config(site: Site, directory: str) -> Config:
    return load(site.write_config(directory))


def allow(config: Config, *lines: str) -> Path:
    config.authz.signers.mkdir(mode=0o755, exist_ok=True)
    path = config.authz.signers / "allowed_signers"
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o644)
    return path


def found(config: Config, clock: Path = Path("/"), **given: SshKeygen) -> list[Finding]:
    return list(of_signers(config, Service(None), clock, **given))


def told(findings: list[Finding], level: Level) -> str:
    return "\n".join(f.text for f in findings if f.level is level)


def test_no_list_is_worth_knowing_and_no_fault(config: Config) -> None:
    (finding,) = found(config)
    assert finding.level is Level.NOTE
    assert "so nobody may sign" in finding.text
    assert finding.remedy == ("felhom-agent signers init --key FILE.pub",)


def test_keys_that_count_are_good_by_their_roles(config: Config) -> None:
    allow(config, signer_line(key()), f"recovery {key(number=1).line}")
    findings = found(config)
    assert {f.level for f in findings} == {Level.GOOD}
    assert "1 operational key, 1 recovery key" in told(findings, Level.GOOD)


def test_keys_that_are_over_count_for_nothing(config: Config) -> None:
    allow(config, f'operational valid-before="20200101Z" {key().line}')
    assert "no key that counts now" in told(found(config), Level.NOTE)


def test_each_fault_is_one_with_its_line(config: Config) -> None:
    path = allow(config, signer_line(key()), "* ssh-ed25519 AAAA", *["x"] * 30)
    findings = found(config)
    faults = [f.text for f in findings if f.level is Level.BAD]
    assert faults[0].startswith(f"{path}:2: '*' is a pattern")
    assert len(faults) == 21
    assert "and 11 more faults" in faults[-1]
    assert "operational key" not in told(findings, Level.GOOD)


@needs_root
def test_a_list_that_the_service_cannot_read_is_a_fault(config: Config, site: Site) -> None:
    away = Path(tempfile.gettempdir()).resolve()
    for each in (site.directory, *site.directory.parents):
        if away in each.resolve().parents:
            each.chmod(0o755)
    path = allow(config, signer_line(key()))
    assert told(list(of_signers(config, NOBODYS, Path("/"))), Level.BAD) == ""
    path.chmod(0o600)
    findings = list(of_signers(config, NOBODYS, Path("/")))
    assert str(path) in told(findings, Level.BAD)
    assert "operational key" not in told(findings, Level.GOOD)


def test_a_host_without_ssh_keygen_checks_nothing(config: Config) -> None:
    allow(config, signer_line(key()))
    findings = found(config, verifier=SshKeygen(Path("/nonexistent/ssh-keygen")))
    assert "no signature can be checked: /nonexistent/ssh-keygen is missing" in told(
        findings, Level.BAD
    )


def test_a_clock_that_nothing_vouches_for_is_told_unless_it_is_trusted(
    config: Config, tmp_path: Path
) -> None:
    allow(config, signer_line(key()))
    note = told(found(config, tmp_path / "synchronized"), Level.NOTE)
    assert "jobs with the signer's own times (sign --for) wait" in note
    assert "requests need no clock" in note
    (tmp_path / "synchronized").touch()
    assert told(found(config, tmp_path / "synchronized"), Level.NOTE) == ""
    trusting = replace(config, authz=replace(config.authz, clock=ClockTrust.TRUST))
    assert told(found(trusting, tmp_path / "none"), Level.NOTE) == ""


@pytest.fixture
def check(
    make_site: Callable[..., Site], directory: str, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run `check` on a node with a VM 101 and a container 200, by a token with these rights."""

    def run(privileges: dict[str, list[str]], *, signed: bool = True) -> tuple[int, str]:
        site = make_site(privileges=privileges)
        site.world.add("qemu", 101, {"name": "web", "memory": "1024"})
        site.world.add("lxc", 200, {"hostname": "dns", "memory": 512, "unprivileged": 1})
        site.declare("[guest.101]\n")
        path = site.write_config(directory)
        if signed:
            allow(load(path), signer_line(key()))
        code = main(["--config", str(path), "check"])
        return code, capsys.readouterr().out

    return run


def test_acts_that_the_token_may_not_do_are_told_with_what_lets_it(
    check: Callable[..., tuple[int, str]],
) -> None:
    code, out = check({"/": ROLE})
    assert code == 0, out
    assert (
        "note  signed guest_destroy: PVE will refuse it to the token on 101 web, 200 dns: " in out
    )
    assert "it lacks VM.Allocate" in out
    assert "it lacks VM.Snapshot.Rollback" in out
    assert "signed snapshot_delete: " in out
    assert "what is signed the token may do, of force_stop, disk_detach" in out
    assert "pveum acl modify /vms/VMID --users felhom-agent@pve --roles" in out
    assert "FelhomAgent,FelhomAgentDestroy" in out


def test_what_was_let_for_one_guest_is_told_of_the_others_alone(
    check: Callable[..., tuple[int, str]],
) -> None:
    _, out = check({"/": ROLE, "/vms/101": [*ROLE, "VM.Allocate", "VM.Snapshot"]})
    assert "signed guest_destroy: PVE will refuse it to the token on 200 dns: " in out
    _, out = check({"/": [*ROLE, "VM.Allocate", "VM.Snapshot"]})
    assert "PVE will refuse" not in out
    assert "the token may do, of guest_destroy, snapshot_rollback, snapshot_delete, force" in out


def test_where_nobody_may_sign_acts_are_not_spoken_of(
    check: Callable[..., tuple[int, str]],
) -> None:
    _, out = check({"/": ROLE}, signed=False)
    assert "signed guest_destroy" not in out
    assert "so nobody may sign" in out


def test_a_set_that_ends_soon_is_worth_knowing_and_one_that_has_ended_is_a_fault(
    config: Config,
) -> None:
    allow(config, signer_line(key()))
    about = config.authz.signers / "set.toml"
    for days, level, words in ((10, Level.NOTE, "ends at"), (-1, Level.BAD, "has ended at")):
        end = datetime.now(UTC) + timedelta(days=days)
        about.write_text(f'expires = "{end:%Y%m%d%H%M%S}"\n')
        about.chmod(0o644)
        assert f"the set of signers {words}" in told(found(config), level)
    about.write_text('expires = "20980101"\n')
    assert "the set of signers" not in "\n".join(f.text for f in found(config))


def test_an_act_that_more_people_must_sign_than_there_are_is_a_fault(config: Config) -> None:
    allow(config, signer_line(key()), f"recovery {key(number=1).line}")
    wanted = replace(
        config.authz, threshold=(Threshold("guest_destroy", 2), Threshold("key_rotation", 1))
    )
    said = told(found(replace(config, authz=wanted)), Level.BAD)
    assert "guest_destroy must be signed by 2 different operational keys, and the set has 1" in said
    assert "key_rotation" not in said


def test_who_asks_is_a_person_more_and_a_key_that_must_be_touched_is_a_security_key(
    config: Config,
) -> None:
    allow(config, signer_line(key()), f"recovery {key(number=1).line}")
    wanted = replace(config.authz, separate_requester=True)
    said = told(found(replace(config, authz=wanted)), Level.BAD)
    assert "force_stop, disk_detach must be signed by 2 different operational keys" in said
    wanted = replace(config.authz, touch_required=(KeyRole.RECOVERY,))
    said = told(found(replace(config, authz=wanted)), Level.BAD)
    assert "key_rotation, thaw must be signed by 1 different touched recovery keys" in said
    assert "operational" not in said
    allow(config, signer_line(key()))
    assert "must be signed" not in "\n".join(f.text for f in found(replace(config, authz=wanted)))


def test_what_came_by_signature_and_cannot_be_read_is_told_and_not_passed_over(
    config: Config,
) -> None:
    allow(config, signer_line(key()))
    kept = config.path.parent / "kept"
    kept.write_text("no directory")
    config = replace(config, authz=replace(config.authz, kept=kept))
    said = told(found(config), Level.BAD)
    assert "root's lists alone: what came by signature cannot be read" in said
