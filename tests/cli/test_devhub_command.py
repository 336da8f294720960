"""`felhom-agent devhub`: a hub for the hand, from the keys it prints to Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.process import SOON


def devhub(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "felhom_agent", "devhub", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_prints_keys_that_work_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    database = str(tmp_path / "hub.sqlite")
    with devhub("--db", database, "--host", "pve1") as process:
        assert process.stdout is not None
        host_key, url, password = (process.stdout.readline().rstrip() for _ in range(3))
        key = host_key.removeprefix("The key of host pve1: ")
        url = url.removeprefix("A hub listens on ").partition(";")[0]
        reported = requests.post(
            f"{url}/api/v1/host-report",
            json={"host_id": "pve1"},
            headers={"Authorization": f"Bearer {key}"},
            timeout=SOON,
        )
        assert reported.json()["poll_interval_seconds"] == 60
        operator = ("operator", password.rpartition(" ")[2])
        assert "pve1" in requests.get(url, auth=operator, timeout=SOON).text
        process.send_signal(signal.SIGINT)
        assert process.wait(SOON) == 0
    with devhub("--db", database, "--host", "pve1") as process:
        assert process.stdout is not None
        assert "there is a host 'pve1' already; it keeps its key" in process.stdout.readline()
        process.terminate()
        assert process.wait(SOON) == 0


def test_a_database_that_cannot_be_had_is_told_in_words() -> None:
    with devhub("--db", "/nonexistent/x") as process:
        _, said = process.communicate(timeout=SOON)
    assert process.returncode == 1
    assert said.startswith("felhom-agent: the hub cannot begin: ")
    assert "Traceback" not in said


@pytest.mark.parametrize("port", ["99999", "-1", "x", "9" * 5000])
def test_a_port_that_is_none_is_wrong_usage(port: str) -> None:
    with devhub(f"--port={port}") as process:
        _, said = process.communicate(timeout=SOON)
    assert process.returncode == 64
    assert "is no whole number from 0 to 65535" in said
    assert said.count("\n") == 1
