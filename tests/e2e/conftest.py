"""A Debian 12 and a Debian 13, with the packages installed, and a node inside to work on.

felhom-agent is what is tested. felhom-agent-dev brings the node that plays Proxmox VE.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import Machine, why_not
from tests.e2e.pveum import CLIENT

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "/var/cache")) / "felhom-agent-e2e"
# A root that was made by another script is not used any more.
MADE_BY = hashlib.sha256((HERE / "make-root").read_bytes()).hexdigest()[:12]
SUITES = ("bookworm", "trixie")
AGENT = "felhom-agent"
SITE = "/srv/site"

# Quick enough for a test; the drop-in below makes systemd as impatient.
AGENT_TOML = """\
[proxmox]
token_id = "felhom-agent@pve!agent"
connect_timeout = 0.5
read_timeout = 0.8
[desired]
directory = "guests.d"
[reconcile]
interval = 1
backoff_first = 0.2
backoff_cap = 1
drain_timeout = 3
"""
WATCHFUL = "[Service]\nWatchdogSec=2s\nRestartSec=100ms\n"
GUEST = '[guest.100]\nstate = "running"\n[guest.100.config]\ncores = 2\n'


class Host:
    """A machine with a node that plays Proxmox VE, and hands on it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def hands(self, word: str, *arguments: object) -> Any:
        """Let something happen at the node; return its answer."""
        line = json.dumps([word, *arguments])
        script = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); "
            f"s.connect('{SITE}/hands'); s.sendall(sys.stdin.buffer.read()); "
            "print(s.makefile().readline(), end='')"
        )
        return json.loads(self.machine.run("python3", "-c", script, given=line + "\n").stdout)

    def begin_node(self, *words: str, python_path: str = "") -> None:
        """Let the node listen on port 8006; "old-ca": with a CA from before pve-cluster 9.1.2."""
        program = " ".join(["/mnt/e2e/node.py", SITE, *words])
        self.machine.shell(
            f"mkdir -p {SITE}; rm -f {SITE}/hands; systemd-run --quiet --unit=node --collect "
            f"--setenv=PYTHONDONTWRITEBYTECODE=1 --setenv=PYTHONPATH={python_path} "
            f"python3 {program}"
        )
        self.machine.wait_until(
            lambda: self.machine.run("test", "-S", f"{SITE}/hands", check=False).returncode == 0,
            "the node listens",
        )

    def play_pve(self) -> None:
        """Be a PVE host on which nothing of the agent was installed yet: the node, `pveum`,
        `pvesh`, the node's CA, and the package in root's home.
        """
        # The node comes from the checkout, since its package would bring the agent along.
        self.machine.shell(
            "apt-get -q install python3-trustme python3-tomli python3-proxmoxer python3-requests; "
            "cp /mnt/deb/felhom-agent_*.deb /root/"
        )
        self.begin_node(python_path="/mnt/source")
        self.trust()
        for name in ("pveum", "pvesh"):
            client = CLIENT.format(python="/usr/bin/python3", path=f"{SITE}/hands", before=[name])
            self.machine.write(f"/usr/sbin/{name}", client, "755")

    def write_demo(self, agent_toml: str = AGENT_TOML, guests: str = GUEST) -> None:
        """Do what an administrator does after the installation, up to starting the service."""
        self.trust()
        machine = self.machine
        machine.shell(f"install -m 600 {SITE}/token /etc/felhom-agent/token")
        machine.write("/etc/felhom-agent/agent.toml", agent_toml)
        machine.write("/etc/felhom-agent/guests.d/guests.toml", guests)
        machine.write(f"/etc/systemd/system/{AGENT}.service.d/quick.conf", WATCHFUL)
        machine.run("systemctl", "daemon-reload")

    def trust(self) -> None:
        """Put the node's CA where Proxmox VE has it, closed to other users."""
        self.machine.shell(
            f"mkdir -p -m 750 /etc/pve; install -m 640 {SITE}/ca.pem /etc/pve/pve-root-ca.pem"
        )

    def start(self) -> None:
        self.machine.run("systemctl", "start", AGENT)

    def pid(self) -> int:
        return int(self.machine.show(AGENT, "MainPID")["MainPID"])

    def said(self, *matches: str) -> list[dict[str, Any]]:
        """Return the agent's own journal entries that match, oldest first."""
        return self.machine.journal(f"_SYSTEMD_UNIT={AGENT}.service", *matches)

    def wait_for(self, words: str, times: int = 1) -> None:
        """Return once the agent has said these words that often."""

        def told() -> bool:
            return sum(words in str(e["MESSAGE"]) for e in self.said()) >= times

        self.machine.wait_until(told, f"the agent says {words!r}")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the machines see as /mnt: both packages, newer ones, and the node's program."""
    if reason := why_not():
        pytest.skip(reason)
    built = subprocess.run(
        [ROOT / "packaging" / "build-deb"], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    shared = tmp_path_factory.mktemp("shared")
    shutil.copytree(HERE, shared / "e2e")
    for name in ("deb", "newer"):
        (shared / name).mkdir()
    for line in built.stdout.splitlines():
        _newer(Path(shutil.copy(ROOT / line, shared / "deb")), shared / "newer")
    for name in ("packaging", "felhom_agent"):
        shutil.copytree(ROOT / name, shared / "source" / name)
    return shared


def _newer(package: Path, directory: Path) -> None:
    """Make the same package again, with a higher version, which it may depend on, too."""
    tree = directory / "tree"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN" / "control"
    text = control.read_text()
    (version,) = re.findall(r"^Version: (.+)$", text, re.MULTILINE)
    newer = text.replace(f"Version: {version}", f"Version: {version}+next")
    control.write_text(newer.replace(f"(= {version})", f"(= {version}+next)"))
    subprocess.run(["dpkg-deb", "-b", tree, directory], check=True, capture_output=True)
    shutil.rmtree(tree)


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest, shared: Path) -> str:
    """The name of a Debian release whose root is there, made if it was not."""
    name = str(request.param)
    if not root_of(name).is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(
            [HERE / "make-root", name, root_of(name)], capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
    return name


def root_of(suite: str) -> Path:
    """Return where the root of a Debian release is kept."""
    return CACHE / f"{suite}-{MADE_BY}"


@contextmanager
def booted(layers: list[Path], shared: Path) -> Iterator[Host]:
    with Machine(layers, shared) as machine:
        machine.write("/etc/apt/apt.conf.d/90yes", 'APT::Get::Assume-Yes "true";\n')
        machine.write("/etc/dpkg/dpkg.cfg.d/90conffiles", "force-confold\n")
        machine.write("/etc/hosts", "127.0.0.1 localhost\n")
        yield Host(machine)


@pytest.fixture
def bare(suite: str, shared: Path) -> Iterator[Host]:
    """A host without the agent."""
    with booted([root_of(suite)], shared) as host:
        yield host


@pytest.fixture(scope="session")
def installed(
    suite: str, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Path]:
    """A layer with both packages installed, for all tests of a release."""
    layer = tmp_path_factory.mktemp("layers") / suite
    with booted([root_of(suite)], shared) as host:
        host.machine.shell("apt-get -q install /mnt/deb/*.deb")
        host.machine.off()
        # A copy would lose what the overlay notes beside the files.
        shutil.move(host.machine.upper, layer)
    return {suite: layer}


@pytest.fixture
def host(suite: str, shared: Path, installed: Mapping[str, Path]) -> Iterator[Host]:
    """A host with the agent installed and a node that listens; nothing is configured yet."""
    with booted([installed[suite], root_of(suite)], shared) as host:
        host.begin_node()
        yield host


@pytest.fixture
def running(host: Host) -> Host:
    """A host whose agent is configured and has brought guest 100 in line."""
    host.write_demo()
    host.start()
    host.wait_for("guest 100 web: done: start")
    return host
