"""What others write reaches no terminal, systemd or log as it is; secrets reach none at all."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felhom_agent.devnode import Behaviour, Fault
from tests.conftest import Site
from tests.hostile.fuzz_text import check, one

QUICK = "[reconcile]\ninterval = 1\njitter = 0\nbackoff_first = 0.1\ndrain_timeout = 1\n"
PASSWORD = "correct horse battery"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_fine_at_every_exit(data: bytes) -> None:
    one(data)


def test_long_texts_are_fine_at_every_exit() -> None:
    drawn = random.Random(1)  # noqa: S311  # it need not be secret
    for size in (1000, 70_000):
        for way in range(4):
            one(bytes([way]) + drawn.randbytes(size))


def agent(site: Site, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the agent to its end."""
    command = [sys.executable, "-m", "felhom_agent", "--config", str(site.write_config(QUICK))]
    return subprocess.run(
        [*command, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_no_secret_is_in_anything_that_a_talkative_agent_says_or_keeps(site: Site) -> None:
    site.world.add("qemu", 101, {"name": "cloud", "ide2": "local:cloudinit,media=cdrom"})
    site.declare(
        f'[guest.101]\nstate = "running"\n[guest.101.config]\ncipassword = "{PASSWORD}"\n'
        "cores = 3\n[guest.100.config]\ncores = 2\n"
    )
    # A proxy in between that quotes the request's header in its words.
    quoted = f"refuse:bad gateway, Authorization: PVEAPIToken=x!y={site.secret}"
    site.devnode.faults.add(Fault("POST", "qemu/100/config", quoted))
    said = [
        agent(site, "run", "--once", "--verbose", PYTHONDEVMODE="1"),
        agent(site, "plan", PYTHONDEVMODE="1"),
        agent(site, "plan", "--json"),
        agent(site, "history"),
    ]
    assert "bad gateway" in said[0].stderr
    assert "PVEAPIToken=x!y=(secret)" in said[0].stderr
    kept = "".join(
        path.read_bytes().decode(errors="replace")
        for path in (site.directory / "journal").rglob("*")
        if path.is_file()
    )
    everything = "".join([*(done.stdout + done.stderr for done in said), kept])
    assert "cipassword" in everything
    assert PASSWORD not in everything
    assert site.secret not in everything
    assert "Traceback" not in everything


def test_the_words_of_a_node_reach_systemd_as_one_line(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("systemd.daemon", reason="systemd-python needs libsystemd's headers")
    words = "no\nMAINPID=1\nSTOPPING=1\x1b[2J"
    site.world.behave(100, Behaviour(start_error=words))
    site.declare('[guest.100]\nstate = "running"\n')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30.0)
        with subprocess.Popen(
            [
                sys.executable,
                "-m",
                "felhom_agent",
                "--config",
                str(site.write_config(QUICK)),
                "run",
            ],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                heard = listener.recv(4096).decode()
                while "MAINPID" not in heard:
                    heard = listener.recv(4096).decode()
            finally:
                process.terminate()
                _, err = process.communicate(timeout=30)
    assert heard.startswith("STATUS=")
    check(heard, 520)
    for line in err.splitlines():
        check(line, 12_000)
