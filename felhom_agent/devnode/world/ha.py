"""The HA manager of the node: it hears requests at once and acts in its own time, as root.

A start or stop of a managed guest is only a request: its task (`hastart`, `hastop`) ends well at
once, and a cycle later the manager starts or stops the guest with a task of its own, which belongs
to root@pam. recorded: 140-ha-no-crm, 141-ha-running.
"""

from __future__ import annotations

from felhom_agent.devnode.world.guest import NOUN, TASK_PREFIX, Guest
from felhom_agent.devnode.world.power import DEFAULT_TIMEOUT, Host, Order, work
from felhom_agent.devnode.world.refusal import Died
from felhom_agent.devnode.world.tasks import Task
from felhom_agent.devnode.world.worker import Steps

CYCLE = 7.0
"""Seconds until the manager acts on a request. recorded: 6.4 to 7.8 s."""

ATTEMPTS = 4
"""Starts that may fail before the manager gives a guest up. recorded: 141-ha-running/026."""

ROOT = "root@pam"


class HaManager:
    """Brings managed guests to the state that was asked for."""

    def __init__(self, host: Host) -> None:
        self._room = host
        self._managed: dict[int, Guest] = {}
        self._wanted: dict[int, str] = {}
        self._attempts: dict[int, int] = {}
        self._patience: dict[int, float] = {}
        self._watched: set[int] = set()
        self.disarmed = ""

    def disarm(self, mode: str) -> None:
        """Disarm HA with a resource mode, "freeze" or "ignore"; "" arms it again, and what is not
        as it is configured is brought there. recorded: calls-9.2/205-ha-armed.
        """
        self.disarmed = mode
        for guest in self._managed.values():
            self.watch(guest)

    def manage(self, guest: Guest, state: str) -> None:
        """Put a guest under the manager in that state; "" takes it out again."""
        guest.ha = state
        self._managed[guest.vmid] = guest
        self._attempts[guest.vmid] = 0
        self._wanted[guest.vmid] = state
        self.watch(guest)

    def forget(self, guest: Guest) -> None:
        """Take a guest out that is destroyed."""
        guest.ha = ""
        for by_vmid in (self._managed, self._wanted, self._attempts, self._patience):
            by_vmid.pop(guest.vmid, None)

    def request(self, verb: str, guest: Guest, task: Task, patience: float) -> Steps:
        """Return the worker of a `hastart` or `hastop` task.

        `patience` is how long a stop waits for the guest, in seconds, before it pulls the plug.
        """
        task.log.append(f"Requesting HA {verb} for {NOUN[guest.kind]} {guest.vmid}")
        yield 0.0
        if guest.ha == "error":
            sid = f"{NOUN[guest.kind].lower()}:{guest.vmid}"
            command = (
                f"set {sid} --state started" if verb == "start" else f"crm-command stop {sid} 0"
            )
            task.log.append(f"service '{sid}' in error state, must be disabled and fixed first")
            text = f"command 'ha-manager {command}' failed: exit code 255"
            raise Died(text)
        if self.disarmed:
            # A start is in its configuration from now on, a stop is lost (recorded: 9.2 205/036).
            if verb == "start":
                self._wanted[guest.vmid] = "started"
            return
        self._attempts[guest.vmid] = 0
        self._patience[guest.vmid] = patience
        self._wanted[guest.vmid] = "started" if verb == "start" else "stopped"
        self.watch(guest)

    def watch(self, guest: Guest) -> None:
        """Look at a guest in the next cycle, if it is managed."""
        if guest.managed and not self.disarmed and guest.vmid not in self._watched:
            self._watched.add(guest.vmid)
            self._room.events.later(CYCLE, lambda: self._look(guest))

    def _look(self, guest: Guest) -> None:
        self._watched.discard(guest.vmid)
        wanted = self._wanted.get(guest.vmid, "")
        if not guest.managed or self.disarmed or guest.ha == "error":
            return
        if guest.flock.held:
            self.watch(guest)
            return
        self._bring(guest, wanted)

    def _bring(self, guest: Guest, wanted: str) -> None:
        if wanted == "started" and not guest.running:
            self._start(guest)
        elif wanted in ("stopped", "disabled") and guest.running:
            self._stop(guest)
        else:
            # recorded: 141-ha-running/033; the manager's word for a disabled guest.
            guest.ha = "stopped" if wanted == "disabled" else wanted

    def _start(self, guest: Guest) -> None:
        if self._attempts[guest.vmid] >= ATTEMPTS:
            guest.ha = "error"
            return
        self._attempts[guest.vmid] += 1
        guest.ha = "started"
        self._do("start", guest)

    def _stop(self, guest: Guest) -> None:
        # recorded: 141-ha-running/013, 022; without patience it is a stop, else a shutdown.
        patience = self._patience.get(guest.vmid, DEFAULT_TIMEOUT)
        guest.ha = "request_stop"
        self._do("shutdown" if patience else "stop", guest, patience)

    def _do(self, verb: str, guest: Guest, patience: float = 0.0) -> None:
        order = Order(guest.kind, guest.vmid, guest.node, ROOT, patience, force=True)
        kind = f"{TASK_PREFIX[guest.kind]}{verb}"
        host = self._room
        host.tasks.start(kind, guest.vmid, ROOT, lambda task: work(host, verb, order, task))
        self.watch(guest)
