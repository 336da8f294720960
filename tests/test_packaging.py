"""What is installed, where, and how far the unit is confined; the booted Debian has the rest."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from felhom_agent import __version__
from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import AuthzConfig, NotifyConfig
from felhom_agent.service.timesync import TIMESYNCD

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "packaging" / "systemd" / "felhom-agent.service"
HINTS = UNIT.with_name("felhom-agent-hints.service")
NOTIFY = UNIT.with_name("felhom-agent-notify.service")
PATH = UNIT.with_name("felhom-agent-notify.path")
UNITS = pytest.mark.parametrize("unit", [UNIT, HINTS], ids=lambda unit: str(unit.stem))


def place(what: str, tree: Path, prefix: str = "/usr/local") -> None:
    environment = {"DESTDIR": str(tree), "PREFIX": prefix, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    script = ROOT / "packaging" / "install-files"
    subprocess.run([script, what], env=environment, check=True, capture_output=True)


def files(tree: Path) -> set[str]:
    return {f"/{path.relative_to(tree)}" for path in tree.rglob("*") if path.is_file()}


def test_an_installation_puts_each_thing_where_debian_looks_for_it(tmp_path: Path) -> None:
    place("install", tmp_path)
    there = files(tmp_path)
    assert {
        "/usr/local/bin/felhom-agent",
        "/usr/local/lib/systemd/system/felhom-agent.service",
        "/usr/local/lib/systemd/system/felhom-agent-hints.service",
        "/usr/local/lib/systemd/system/felhom-agent-notify.service",
        "/usr/local/lib/systemd/system/felhom-agent-notify.path",
        "/usr/local/lib/sysusers.d/felhom-agent.conf",
        "/usr/local/lib/tmpfiles.d/felhom-agent.conf",
        "/usr/local/lib/systemd/catalog/felhom-agent.catalog",
        "/usr/local/share/man/man1/felhom-agent.1",
        "/usr/local/share/man/man5/felhom-agent.toml.5",
        "/usr/local/share/bash-completion/completions/felhom-agent",
        "/usr/local/share/felhom-agent/prometheus/felhom-agent.rules.yml",
        "/usr/local/share/felhom-agent/grafana/felhom-agent.json",
        "/usr/local/share/zsh/site-functions/_felhom-agent",
        "/etc/felhom-agent/agent.toml",
    } <= there
    unit = tmp_path / "usr/local/lib/systemd/system/felhom-agent.service"
    assert "\nExecStart=/usr/local/bin/felhom-agent run\n" in unit.read_text()
    for name in ("hints", "notify"):
        helper = unit.with_name(f"felhom-agent-{name}.service").read_text()
        found = re.findall(r"^ExecStart=/usr/bin/python3 -I -S -B (\S+)", helper, re.MULTILINE)
        assert (tmp_path / found[0].lstrip("/")).is_file()
    assert (tmp_path / "etc/felhom-agent/notify.d").is_dir()
    command = (tmp_path / "usr/local/bin/felhom-agent").read_text()
    assert 'sys.path.insert(0, "/usr/local/lib/felhom-agent")' in command


def test_what_was_installed_can_be_taken_away_and_what_a_person_wrote_stays(
    tmp_path: Path,
) -> None:
    place("install", tmp_path, "/usr")
    (tmp_path / "etc/felhom-agent/agent.toml").write_text("mine")
    (tmp_path / "etc/felhom-agent/guests.d/a.toml").write_text("mine")
    place("install", tmp_path, "/usr")
    place("uninstall", tmp_path, "/usr")
    assert files(tmp_path) == {"/etc/felhom-agent/agent.toml", "/etc/felhom-agent/guests.d/a.toml"}
    assert (tmp_path / "etc/felhom-agent/agent.toml").read_text() == "mine"


def test_a_file_that_root_writes_among_the_guest_files_has_the_services_group(
    tmp_path: Path,
) -> None:
    place("install", tmp_path)
    mode = (tmp_path / "etc/felhom-agent/guests.d").stat().st_mode
    assert stat.S_IMODE(mode) == 0o2750
    postinst = (ROOT / "packaging" / "debian" / "felhom-agent.postinst").read_text()
    assert 'chmod 2750 "$guests"' in postinst


def test_the_lists_of_signers_and_the_spool_are_there_for_root_to_write_and_the_agent_to_read(
    tmp_path: Path,
) -> None:
    place("install", tmp_path)
    made = (ROOT / "packaging" / "debian" / "felhom-agent.dirs").read_text().splitlines()
    defaults = AuthzConfig()
    assert defaults.spool is not None
    for directory in (defaults.signers, defaults.spool):
        there = tmp_path / directory.relative_to("/")
        assert stat.S_IMODE(there.stat().st_mode) == 0o755
        assert str(directory.relative_to("/")) in made
    purge = (ROOT / "packaging" / "debian" / "felhom-agent.postrm").read_text()
    assert str(defaults.spool) in purge


def test_nothing_of_the_unit_hides_what_signed_operations_read() -> None:
    lines = UNIT.read_text().splitlines()
    hidden = [line for line in lines if line.startswith(("InaccessiblePaths=", "TemporaryFile"))]
    assert hidden == ["TemporaryFileSystem=/run:ro,mode=755"]
    assert f"BindReadOnlyPaths=-{TIMESYNCD.parent}" in lines, "it is under /run"
    control = (ROOT / "packaging" / "debian" / "control").read_text()
    (recommended,) = re.findall(r"^Package: felhom-agent\n(?s:.*?)^Recommends: ((?:.+\n )*.+)$",
                                control, re.MULTILINE)  # fmt: skip
    assert {"git", "openssh-client"} <= {name.split()[0] for name in recommended.split(",")}


def test_the_unit_lets_the_file_of_metrics_be_written_where_the_page_says() -> None:
    (path,) = re.findall(r'^textfile = "(.*)"$', (ROOT / "docs" / "metrics.md").read_text(), re.M)
    assert f"ReadWritePaths=-{Path(path).parent}" in UNIT.read_text().splitlines()


def test_the_configuration_that_is_installed_is_good() -> None:
    config = load(ROOT / "packaging" / "agent.toml")
    assert config.proxmox.token_id == "felhom-agent@pve!agent"
    assert config.desired.directory == ROOT / "packaging" / "guests.d"


def test_package_and_program_have_the_same_version() -> None:
    first = (ROOT / "packaging" / "debian" / "changelog").read_text().partition("\n")[0]
    assert f"({__version__})" in first


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
@UNITS
def test_the_unit_is_confined_as_far_as_systemd_can_tell(unit: Path) -> None:
    # One of the ten is for its second group, which is its own user's.
    analyze = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=10"]
    done = subprocess.run([*analyze, unit], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
@pytest.mark.parametrize("unit", [UNIT, HINTS, NOTIFY, PATH], ids=lambda unit: str(unit.name))
def test_systemd_understands_every_line_of_the_unit(unit: Path, tmp_path: Path) -> None:
    for each in {unit, NOTIFY}:
        text = each.read_text().replace("/usr/bin/felhom-agent", "/bin/true")
        text = text.replace("/usr/bin/python3", "/bin/true")
        (tmp_path / each.name).write_text(text)
    verify = ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", [UNIT, HINTS, NOTIFY], ids=lambda unit: str(unit.stem))
def test_every_group_of_the_units_lines_has_its_reason(unit: Path) -> None:
    paragraphs = re.split(r"\n\n|\n(?=#)", unit.read_text().partition("[Service]")[2])
    for paragraph in paragraphs:
        lines = paragraph.strip().splitlines()
        if lines and not lines[0].startswith("["):
            assert lines[0].startswith("#"), f"no reason is given: {lines[0]}"


def test_the_sockets_directory_is_for_the_group_of_admins_and_what_else_it_has_is_not() -> None:
    lines = UNIT.read_text().splitlines()
    groups = [line for line in lines if line.startswith(("Group=", "SupplementaryGroups="))]
    assert groups == ["Group=felhom-admin", "SupplementaryGroups=felhom-agent"]
    assert {"RuntimeDirectoryMode=0750", "StateDirectoryMode=0700", "UMask=0077"} <= set(lines)
    users = (UNIT.parent / "felhom-agent.sysusers").read_text().splitlines()
    assert [line.split()[:2] for line in users if not line.startswith("#")] == [
        ["u", "felhom-agent"],
        ["g", "felhom-admin"],
        ["u", "felhom-notify"],
    ]


def test_what_systemd_tries_by_itself_never_locks_out_who_repairs_something() -> None:
    settings = dict(
        line.split("=", 1) for line in UNIT.read_text().splitlines() if re.match(r"\w+=", line)
    )
    seconds = {"s": 1, "min": 60}
    delay, interval = (
        int(found[1]) * seconds[found[2]]
        for name in ("RestartSec", "StartLimitIntervalSec")
        if (found := re.fullmatch(r"(\d+)(s|min)", settings[name]))
    )
    by_systemd = interval // delay + 1
    assert by_systemd + 2 < int(settings["StartLimitBurst"]), "a person may start it, too"
    assert interval <= 60
    assert settings["RestartPreventExitStatus"].split() == ["78", "65"]


def test_the_start_up_order_of_the_host_goes_first() -> None:
    assert re.search(r"^After=.* pve-guests\.service$", UNIT.read_text(), re.MULTILINE)


def test_the_root_helper_has_no_network_no_capability_and_a_directory_of_its_own() -> None:
    lines = set(HINTS.read_text().splitlines())
    assert {
        "User=root",
        "Group=felhom-agent",
        "PrivateNetwork=yes",
        "RestrictAddressFamilies=none",
        "CapabilityBoundingSet=",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "RuntimeDirectory=felhom-agent-hints",
        "RuntimeDirectoryMode=0750",
        "ConditionPathExists=/etc/pve",
    } <= lines
    assert not [line for line in lines if line.startswith(("ReadWritePaths=", "StateDirectory="))]


def test_the_agent_reads_the_helpers_directory_which_is_there_before_either() -> None:
    assert "BindReadOnlyPaths=-/run/felhom-agent-hints" in UNIT.read_text().splitlines()
    made = UNIT.with_name("felhom-agent.tmpfiles").read_text().splitlines()
    assert [line for line in made if not line.startswith("#")] == [
        "d /run/felhom-agent-hints 0750 root felhom-agent -",
        "d /run/felhom-agent-notify 2770 felhom-agent felhom-notify -",
    ]


# systemd.exec(5): each of these implies NoNewPrivileges where the service is not root's, and then a
# setgid mailer cannot put anything into its queue.
IMPLIES_NO_NEW_PRIVILEGES = {
    "SystemCallFilter", "SystemCallArchitectures", "SystemCallLog", "RestrictAddressFamilies",
    "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
    "MemoryDenyWriteExecute", "PrivateDevices", "ProtectClock", "ProtectHostname",
    "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "DynamicUser",
    "PrivateUsers",
}  # fmt: skip


def test_the_commands_unit_lets_a_mailer_become_who_it_is_and_nobody_else_in() -> None:
    settings = dict(
        line.split("=", 1) for line in NOTIFY.read_text().splitlines() if re.match(r"\w+=", line)
    )
    assert settings["NoNewPrivileges"] == "no"
    assert settings.keys().isdisjoint(IMPLIES_NO_NEW_PRIVILEGES)
    assert (settings["User"], settings["Group"]) == ("felhom-notify", "felhom-notify")
    hidden = settings["InaccessiblePaths"].split()
    assert {"-/run/felhom-agent", "-/var/lib/felhom-agent"} <= set(hidden)


def test_the_spool_of_notifications_is_the_same_for_all() -> None:
    spool = str(NotifyConfig().spool)
    assert f"DirectoryNotEmpty={spool}" in PATH.read_text().splitlines()
    assert f"notifyhelper.py {spool} /etc/felhom-agent\n" in NOTIFY.read_text()
    assert f"BindPaths=-{spool}" in UNIT.read_text().splitlines()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_the_commands_unit_is_confined_as_far_as_a_mailer_lets_it() -> None:
    analyze = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=65"]
    done = subprocess.run([*analyze, NOTIFY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]
