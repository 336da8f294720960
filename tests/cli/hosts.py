"""A host whose agent belongs to another user than root, who types the commands."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.cli.main import main
from tests.conftest import TOKEN_ID, Site

NOBODY = pwd.getpwnam("nobody")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@dataclass
class Host:
    """A directory with all that an agent has, on a site's node."""

    directory: Path
    site: Site
    capsys: pytest.CaptureFixture[str]

    @property
    def guests(self) -> Path:
        return self.directory / "guests.d"

    def declare(self, text: str, name: str = "guests.toml") -> Path:
        path = self.guests / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def check(self, *words: str) -> tuple[int, list[dict[str, Any]]]:
        """Return the exit code and the findings of `check --json`."""
        config = str(self.directory / "agent.toml")
        code = main(["--config", config, "check", "--json", *words])
        findings: list[dict[str, Any]] = json.loads(self.capsys.readouterr().out)["findings"]
        return code, findings

    def faults(self, *words: str) -> list[str]:
        """Return the texts of what is a fault."""
        return [f["text"] for f in self.check(*words)[1] if f["level"] == "bad"]


def opened_host(site: Site, capsys: pytest.CaptureFixture[str]) -> Iterator[Host]:
    """Hold a host whose agent is nobody's, where this is root; else ours."""
    directory = Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o755)
        for name in ("guests.d", "journal"):
            (directory / name).mkdir(mode=0o755)
        (directory / "ca.pem").write_bytes(site.devnode.ca_file.read_bytes())
        (directory / "ca.pem").chmod(0o644)
        (directory / "token").write_text(site.secret)
        (directory / "token").chmod(0o600)
        (directory / "agent.toml").write_text(
            f'[proxmox]\nendpoint = "{site.devnode.endpoint}"\nnode = "pve1"\n'
            f'token_id = "{TOKEN_ID}"\ntoken_file = "token"\nca_file = "ca.pem"\n'
            '[desired]\ndirectory = "guests.d"\nsettle = 0\n[control]\nsocket = "control.sock"\n'
            '[journal]\ndirectory = "journal"\n'
        )
        (directory / "agent.toml").chmod(0o644)
        if os.geteuid() == 0:
            for name in ("journal", "token"):
                os.chown(directory / name, NOBODY.pw_uid, NOBODY.pw_gid)
        yield Host(directory, site, capsys)
    finally:
        shutil.rmtree(directory)
