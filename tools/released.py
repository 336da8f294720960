"""Keeps what this version writes on a host, for later versions to open.

`python -m tools.released`, once at each release, lets the agent work on the embedded node: changes,
a signed destroy, a hub, a pause, a freeze and its end. What it leaves is put under
`tests/data/released/VERSION/`: the journal's directory, agent.toml, guest files, a settings.toml
that says every setting, and `expected.json`, what this version itself finds in them. Keys and the
token stay out. The tests of every later version open all of it (`tests/test_released.py`).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

from felhom_agent import __version__
from felhom_agent.cli import demopush, demosign
from felhom_agent.cli.demo import differences, write_demo
from felhom_agent.cli.demostage import agent, command, serving, wait
from felhom_agent.config.agentfile import load
from felhom_agent.config.secret import read_secret
from felhom_agent.config.settings import Config
from felhom_agent.devnode import DevNode
from felhom_agent.devnode.demo.world import demo_world
from felhom_agent.durable.line import VERSION
from felhom_agent.irreversible import Irreversible
from felhom_agent.journal.operation import State
from felhom_agent.model import Action, Kind
from felhom_agent.proxmox.client import Client

ROOT = Path(__file__).parent.parent
RELEASED = ROOT / "tests" / "data" / "released"
# A name that says nothing of this machine, since the journal keeps the paths of guest files.
_SITE = Path("/tmp/felhom-agent-released")  # noqa: S108  # made afresh, and taken away
_SECRETS = ("challenge-key",)
_OF_THE_MACHINE = ("host-id", "lock")


def main() -> int:
    """Write the directory of this version; return the exit code."""
    shutil.rmtree(_SITE, ignore_errors=True)
    _SITE.mkdir(mode=0o700)
    try:
        config = _live()
        place = RELEASED / __version__
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        left_out = shutil.ignore_patterns(*_SECRETS, *_OF_THE_MACHINE)
        shutil.copytree(config.journal.directory, place / "journal", ignore=left_out)
        shutil.copytree(_SITE / "guests.d", place / "guests.d")
        text = config.path.read_text()
        (place / "agent.toml").write_text(text.replace(f"{_SITE}/", ""))
        (place / "settings.toml").write_text(every_setting())
        (place / "expected.json").write_text(json.dumps(found(place), indent=1) + "\n")
    finally:
        shutil.rmtree(_SITE)
    for path in sorted(place.rglob("*")):
        print(path.relative_to(ROOT))
    return 0


def _live() -> Config:
    """Let an agent do all that a journal tells of; return its configuration."""
    with serving(lambda: DevNode(demo_world())) as node:
        config = load(write_demo(node, _SITE))
        client = Client(config.proxmox, read_secret(config.proxmox))
        try:
            with agent(config):
                _must(wait(lambda: not differences(client)), "it converges")
                _must(demosign.show(node, config, client), "the signed job is done")
            _must(demopush.show(node, config.path), "the hub is held")
            with agent(load(config.path)) as lines:
                _must(wait(lambda: any("keeps" in line for line in lines)), "it runs")
                command(config, "pause", "101", "--why", "disk swap")
                command(config, "freeze", "--why", "moving")
                command(config, "thaw")
        finally:
            client.close()
    return config


def _must(true: bool, words: str) -> None:
    if not true:
        raise SystemExit(f"nothing is kept, for this did not come to pass: {words}")


def every_setting() -> str:
    """Return the agent.toml of the package with each setting said that it has as a comment."""
    text = (ROOT / "packaging" / "agent.toml").read_text()
    said = re.sub(r"^#(\w+ = \S.*)$", r"\1", text, flags=re.MULTILINE)
    return re.sub(r'^\w+ = ""\n', "", said, flags=re.MULTILINE)


def found(place: Path) -> dict[str, Any]:
    """Return what this version finds in a version's directory."""
    rows = json.loads(_told(place, "history", "--json", "-n", "10000"))["operations"]
    entries = json.loads(_told(place, "audit", "--json", "-n", "10000"))["entries"]
    return {
        "journal": {"format": VERSION, "words": words()},
        "operations": [
            {key: row[key] for key in ("op", "vmid", "action", "state")} for row in rows
        ],
        "decisions": [{key: row[key] for key in ("decision", "stage", "vmid")} for row in entries],
    }


def words() -> list[str]:
    """Return the words of an operation, of which an older version takes a new one for damage."""
    actions = (action.__name__ for action in get_args(Action) + get_args(Irreversible))
    return sorted({*actions, *State, *Kind})


def _told(place: Path, *words: str) -> str:
    line = [sys.executable, "-m", "felhom_agent", "--config", str(place / "agent.toml"), *words]
    return subprocess.check_output(line, cwd=ROOT, text=True)


if __name__ == "__main__":
    sys.exit(main())
