"""A real Debian, booted with systemd in a container, for as long as a test needs it.

`systemd-nspawn --boot` on an overlay: the root below is only read, what the machine writes goes
into a directory that dies with it. It boots in about half a second. It needs root, and nothing of
what is done here is left behind: mounts and processes end with the mount namespace that holds them,
also if the test process is killed (the kernel sends SIGTERM then); a cgroup that was left is
removed by the next start.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PREFIX = "felhom-e2e-"
_SOON = 60.0

_BOOT = """\
echo $$ > "$CG/cgroup.procs"
exec unshare --mount --propagation=private sh -ec '
  umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs /run
  mount -t overlay -o "lowerdir=$LOWER,upperdir=$W/upper,workdir=$W/work" overlay "$W/root"
  exec systemd-nspawn --quiet --boot --register=no --keep-unit --machine="$NAME" --hostname=pve1 \\
    --private-network --notify-ready=yes --console=read-only --kill-signal=SIGRTMIN+4 \\
    --resolv-conf=off --timezone=off --link-journal=no \\
    --capability=CAP_BPF,CAP_PERFMON "--system-call-filter=bpf perf_event_open" \\
    --bind-ro="$SHARED:/mnt" -D "$W/root"
'
"""


def why_not() -> str:
    """Return why no machine can be booted here; empty if one can."""
    if os.geteuid() != 0:
        return "booting a Debian needs root"
    missing = [p for p in ("systemd-nspawn", "mmdebstrap", "nsenter") if not shutil.which(p)]
    if missing:
        return f"not installed: {', '.join(missing)} (apt install systemd-container mmdebstrap)"
    return ""


class Machine:
    """A booted Debian; a context manager. `shared` is seen inside as /mnt, to be read."""

    def __init__(self, layers: Sequence[Path], shared: Path) -> None:
        """`layers` are the directories that it is made of, the uppermost first."""
        self._layers = layers
        self._shared = shared
        self.work = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._cgroup = _cgroups() / self.work.name
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    @property
    def upper(self) -> Path:
        """What the machine has written, also after it is off."""
        return self.work / "upper"

    def __enter__(self) -> Self:
        try:
            self.boot()
        except BaseException:
            self.off()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.off()
        shutil.rmtree(self.work, ignore_errors=True)

    def boot(self) -> None:
        """Switch it on; return when systemd says that it is running."""
        _sweep()
        for name in ("upper", "work", "root"):
            (self.work / name).mkdir(exist_ok=True)
        self._cgroup.mkdir()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(self.work / "notify"))
            notify.settimeout(_SOON)
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "sh", "-ec", _BOOT],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            self._leader = _await_ready(notify)
        (self.work / "notify").unlink()
        # "degraded" (a unit of Debian's own failed) is told here, and fails the test.
        self.run("systemctl", "is-system-running", "--wait")

    def off(self) -> None:
        """Switch it off in order, or by force where that takes too long."""
        if self._process is not None:
            if self._leader:
                os.kill(self._leader, signal.SIGRTMIN + 4)
            try:
                self._process.wait(_SOON)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process, self._leader = None, 0
        _remove(self._cgroup)

    def run(
        self, *words: str, given: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine as root; `given` is its standard input.

        Raise AssertionError with what it printed if it fails, unless `check` is false.
        """
        enter = ["nsenter", "--target", str(self._leader), "--all", "env", "-i", f"PATH={_PATH}"]
        done = subprocess.run(
            [*enter, "LC_ALL=C.UTF-8", "HOME=/root", *words],
            input=given,
            capture_output=True,
            text=True,
            timeout=_SOON * 2,
            check=False,
        )
        shown = f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert not check or done.returncode == 0, shown
        return done

    def shell(self, script: str) -> str:
        """Run a script in the machine; return what it printed."""
        return self.run("sh", "-ec", script).stdout

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Give a file in the machine this text."""
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, given=text)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit."""
        printed = self.run("systemctl", "show", unit, "--property", ",".join(properties)).stdout
        return dict(line.split("=", 1) for line in printed.splitlines() if line)

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Return the entries of the machine's journal that match, oldest first."""
        self.run("journalctl", "--sync")
        printed = self.run("journalctl", "--output=json", "--all", "--quiet", *matches).stdout
        return [json.loads(line) for line in printed.splitlines()]

    def wait_until(self, true: Callable[[], object], words: str) -> None:
        """Return once it is true. Raise AssertionError with these words if it never is."""
        pause = threading.Event()
        for _ in range(int(_SOON / 0.1)):
            if true():
                return
            pause.wait(0.1)
        raise AssertionError(f"it never came to pass: {words}\n{self._tail()}")

    def _tail(self) -> str:
        return self.run("journalctl", "--no-pager", "-n", "40", check=False).stdout

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", _PATH),
            "CG": str(self._cgroup),
            "W": str(self.work),
            "LOWER": ":".join(str(layer) for layer in self._layers),
            "SHARED": str(self._shared),
            "NAME": self.work.name.replace("_", "0"),
            "NOTIFY_SOCKET": str(self.work / "notify"),
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        }


def _await_ready(notify: socket.socket) -> int:
    """Return the pid of the machine's init once it is up."""
    leader = 0
    while True:
        for line in notify.recv(4096).decode().splitlines():
            name, _, value = line.partition("=")
            if name == "X_NSPAWN_LEADER_PID":
                leader = int(value)
            if (name, value) == ("READY", "1") and leader:
                return leader


def _cgroups() -> Path:
    unified = Path("/sys/fs/cgroup/unified")
    return unified if unified.is_dir() else Path("/sys/fs/cgroup")


def _sweep() -> None:
    for left in _cgroups().glob(f"{_PREFIX}*"):
        if not Path(tempfile.gettempdir(), left.name).exists():
            _remove(left)


def _remove(cgroup: Path) -> None:
    for path in sorted(cgroup.rglob("*"), key=lambda p: -len(p.parts)):
        if path.is_dir():
            _rmdir(path)
    _rmdir(cgroup)


def _rmdir(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        # Somebody is still in there; the next start tries again.
        return
