"""A node that survives, for an agent that does not: what chaos happens to, and what it must leave.

Guests of two sorts: declared ones, which drift and must come back, and guests that nobody declares,
on which one-shot jobs are done, one at a time each. The node notes every request; what an agent may
have done is judged from that and from the journal, never from what the agent says.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from felhom_agent.devnode import Behaviour, DevNode, Fault, World
from felhom_agent.devnode.demo.site import write_site
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.devnode.world.schema import Raw
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.operation import Operation, replay
from tests.chaos.signed import SETTINGS, Owner

DECLARED = range(100, 108)
FOR_JOBS = range(900, 904)
NODE_POINTS = ("request arrived", "effect done", "while waiting")

_SETTINGS = """\
connect_timeout = 5
read_timeout = 2
write_timeout = 1

[reconcile]
interval = 1
jitter = 0
parallel = 4
backoff_first = 0.1
backoff_cap = 1
start_timeout = 5
stop_timeout = 5
drain_timeout = 1

[limits]
stopped = 100000
restarted = 100000
"""
_ACTIONS = {"config": "SetConfig", "start": "Start", "shutdown": "Stop", "stop": "PullPlug",
            "rollback": "Rollback"}  # fmt: skip
_FAULTS = (
    "reset-before", "reset-after", "status:596", "status:595", "hang", "truncated", "not-json",
    "refuse:got no worker upid - start worker failed", "late:0.3", "late:1.5", "delay:0.3",
)  # fmt: skip
_AGES = 3600.0


class StrikingNode(DevNode):
    """Calls `strike` with a point's name whenever a request of the agent passes it."""

    def __init__(self, world: World) -> None:
        self.strike: Callable[[str], None] = lambda point: None
        super().__init__(world)

    def hear(self, method: str, path: str, params: Mapping[str, str], token: str) -> Request:
        heard = super().hear(method, path, params, token)
        if heard.changes:
            self.strike("request arrived")
        elif path.endswith("/tasks") and self._works_for_us():
            self.strike("while waiting")
        return heard

    def _works_for_us(self) -> bool:
        """Return whether a task of a token runs: then the list is asked for by who waits for it."""
        with self.world.guard:
            return any("!" in task.user for task in self.world.tasks.running())

    def answer(self, heard: Request, raw: Mapping[str, Raw], authorization: str) -> Answer:
        answer = super().answer(heard, raw, authorization)
        if heard.changes:
            self.strike("effect done")
        return answer


@dataclass
class Job:
    """One job, the requests that had come before it was written, and its answer."""

    key: str
    vmid: int
    do: str
    since: int
    answer: str = ""


class ChaosSite:
    """The node, its guests, the files of an agent, and a hand that makes trouble."""

    def __init__(self, node: StrikingNode, directory: Path, rng: Random) -> None:
        self.node = node
        self.directory = directory
        self.jobs: list[Job] = []
        self._rng = rng
        self._furnish()

    @property
    def journal(self) -> Path:
        return self.directory / "journal" / NAME

    def trouble(self) -> None:
        """Let guests drift, put faults on the wire, and hand out jobs; all by chance."""
        rng, world = self._rng, self.node.world
        self.node.faults.clear()
        self.owner.act()
        for vmid in rng.sample(DECLARED, rng.randint(1, 3)):
            match rng.randrange(3):
                case 0:
                    world.stop(vmid)
                case 1:
                    world.edit(vmid, {"cores": str(rng.randint(3, 8))})
                case _:
                    world.edit(vmid, {"description": f"drift {rng.random()}"})
            self._behave(vmid)
        for _ in range(rng.choice((0, 0, 1, 2))):
            path = rng.choice(("config$", "start$", "shutdown$", r"/9\d\d", r"/95\d"))
            method = rng.choice(("POST", "PUT", "POST", "DELETE", ""))
            self.node.faults.add(Fault(method, path, rng.choice(_FAULTS)))
        if rng.random() < 0.05:  # PVE's API restarts
            self.node.faults.add(Fault("", "", "reset-before", times=rng.randint(3, 20)))
        for vmid in FOR_JOBS:
            if rng.random() < 0.5 and all(job.answer for job in self.jobs if job.vmid == vmid):
                self._hand_out(vmid)

    def hear_answers(self) -> list[str]:
        """Take what the agent acknowledged; return what is wrong about it."""
        said = {}
        for line in (self.directory / "acks").read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                said.update({json.loads(line)["key"]: json.loads(line)["answer"]})
        wrong = []
        for job in self.jobs:
            if not job.answer and job.key in said:
                job.answer = said[job.key]
                if job.answer == "succeeded" and not self._shows(job):
                    wrong.append(f"{job} was acknowledged, and does not show")
        return wrong

    def doubles(self) -> list[str]:
        """Return the jobs that were sent to PVE more than once, refusals apart."""
        found = []
        for job in self.jobs:
            until = min(
                (j.since for j in self.jobs if j.vmid == job.vmid and j.since > job.since),
                default=len(self.node.requests),
            )
            sent = [
                r
                for r in self.node.requests[job.since : until]
                if r.changes and r.guest == str(job.vmid) and not 400 <= r.status <= 595
            ]
            if len(sent) > 1:
                found.append(f"{job} was sent {len(sent)} times: {sent}")
        return found

    def overlaps(self) -> list[str]:
        """Return the changes that met another one of ours at the same guest."""
        return [f"{r.method} {r.path} met {r.during}" for r in self.node.mutations if r.during]

    def unwritten(self) -> list[str]:
        """Return where PVE was asked more often than the journal knows."""
        asked = Counter((int(r.guest), _action_of(r)) for r in self.node.mutations)
        written = Counter((o.vmid, o.action) for o in self.operations())
        return [
            f"guest {vmid}: {action} was asked for {times} times, {written[vmid, action]} written"
            for (vmid, action), times in asked.items()
            if times > written[vmid, action]
        ]

    def differences(self) -> list[str]:
        """Return what is not as declared."""
        world = self.node.world
        found = [f"guest {vmid} does not run" for vmid in DECLARED if not world.running(vmid)]
        for vmid in DECLARED:
            config = world.config(vmid)
            text = str(config.get("description", "")).strip()
            if (config["cores"], text) != (2, "as declared"):
                found.append(f"guest {vmid}: {config['cores']}, {text}")
        return found

    def operations(self) -> list[Operation]:
        """Return all operations of the journal."""
        return replay(read(self.journal, absent_ok=True))

    def _shows(self, job: Job) -> bool:
        world = self.node.world
        if job.do == "set":
            return str(world.config(job.vmid).get("description", "")).strip() == job.key
        return world.running(job.vmid) == (job.do == "start")

    def _hand_out(self, vmid: int) -> None:
        power = "stop" if self.node.world.running(vmid) else "start"
        do = self._rng.choice(("set", power))
        self._behave(vmid)
        self.jobs.append(Job(f"job-{len(self.jobs)}", vmid, do, len(self.node.requests)))
        job = self.jobs[-1]
        wish = {"key": job.key, "vmid": vmid, "kind": _kind(vmid), "do": do}
        with (self.directory / "jobs").open("a") as file:
            file.write(json.dumps({**wish, "expires": time.time() + _AGES}) + "\n")

    def _behave(self, vmid: int) -> None:
        rng = self._rng
        self.node.world.behave(
            vmid,
            Behaviour(
                start_seconds=rng.choice((0.0, 0.1, 0.4)),
                shutdown_seconds=rng.choice((0.0, 0.1, 0.4)),
                # Longer than PVE answers at once, so that it becomes a task.
                config_seconds=rng.choice((0.0, 0.0, 0.0, 2.2)),
            ),
        )

    def _furnish(self) -> None:
        for vmid in (*DECLARED, *FOR_JOBS):
            config = {"cores": 2, "description": "as declared"}
            self.node.world.add(_kind(vmid), vmid, config, running=vmid in DECLARED)
        path = write_site(self.node, self.directory)
        text = path.read_text()
        path.write_text(text.replace("\n[desired]", _SETTINGS.split("\n\n")[0] + "\n\n[desired]")
                        + "\n" + _SETTINGS.split("\n\n")[1] + SETTINGS)  # fmt: skip
        self.owner = Owner(self.node, self.directory, self._rng)
        guests = "".join(
            f'[guest.{vmid}]\nstate = "running"\nstop = "power-off"\n'
            f'[guest.{vmid}.config]\ncores = 2\ndescription = "as declared"\n'
            for vmid in DECLARED
        )
        (self.directory / "guests.d" / "guests.toml").write_text(guests + self.owner.declared)
        for name in ("jobs", "acks"):
            (self.directory / name).touch()


def _action_of(request: Request) -> str:
    if request.method == "DELETE":
        return "DeleteSnapshot" if "/snapshot/" in request.path else "Destroy"
    return _ACTIONS[request.path.rpartition("/")[2]]


def _kind(vmid: int) -> str:
    return "qemu" if vmid % 2 else "lxc"


@contextmanager
def chaos_site(directory: Path, rng: Random) -> Iterator[ChaosSite]:
    """Hold a site for the length of a block."""
    node = StrikingNode(World(now=time.time))
    with node:
        yield ChaosSite(node, directory, rng)
