"""Whose the agent's directories are: what is another user's is refused, with what mends it."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from felhom_agent.durable.disk import prepare
from tests.process import SOON

NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = (
    "import os, sys, pathlib\n"
    "from felhom_agent.durable.disk import prepare\n"
    "os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]))\n"
    "try:\n    prepare(pathlib.Path(sys.argv[3]))\n"
    "except PermissionError as error:\n    print(error.strerror)\n"
)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def test_what_is_another_users_is_used_as_that_user(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY.pw_uid, NOBODY.pw_gid)
    with pytest.raises(PermissionError, match=r"runuser -u nobody -- felhom-agent \.\.\."):
        prepare(tmp_path)


def test_what_is_roots_is_given_to_the_service_and_not_run_as_root() -> None:
    ids = (str(NOBODY.pw_uid), str(NOBODY.pw_gid))
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *ids, "/usr"],
        capture_output=True, text=True, timeout=SOON, check=True,
    )  # fmt: skip
    assert done.stdout == (
        "it belongs to user root, and this is user nobody; as root: chown -R nobody /usr\n"
    )
