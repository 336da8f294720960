"""The hub's jobs, as a hub of the contract lists them: handed over, acknowledged, told of."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from felhom_agent.authz.refusals import GuestLocked, NoSigners, WrongGuest
from felhom_agent.devhub import DevHub, Store
from felhom_agent.errors import Interrupted, JournalError
from felhom_agent.hub.jobround import MAX_OWN, NOT_USABLE
from felhom_agent.hub.jobs import SignedStatus, TakenJob
from tests.conftest import Site
from tests.hub.conftest import DONE, PENDING, Begin, JobTable, Round, Scripted, envelope, http

POLL = 600
REFUSED = TakenJob("refused", "the key is on no list", final=True)


def job(job_id: str, blob: bytes = b"signed bytes", *signatures: str) -> dict[str, Any]:
    """Return a signed job as a hub carries it."""
    return {
        "job_id": job_id,
        "op_blob_b64": base64.b64encode(blob).decode(),
        "sigs_armored": list(signatures) or ["an armored signature"],
    }


def request(job_id: str, act: str = "snapshot_delete", **more: object) -> dict[str, Any]:
    wanted = {"act": act, "vmid": 101, "params": {"snapshot": "before"}, **more}
    return {"job_id": job_id, "request": wanted}


@pytest.fixture
def hub() -> Iterator[DevHub]:
    with DevHub(Store(), poll_seconds=POLL) as hub:
        yield hub


class Desk:
    """A hub, an agent's loop to it, and the table of its jobs."""

    def __init__(self, hub: DevHub, begin: Begin, *, usable: bool = True) -> None:
        self.hub = hub
        self.table = JobTable()
        key = hub.store.enroll("pve1")
        self.agent: Round = begin(hub.url, key, signed=self.table if usable else None)

    def enqueue(self, *jobs: dict[str, Any]) -> None:
        for each in jobs:
            self.hub.store.enqueue("pve1", each)

    def drop(self, job_id: str) -> None:
        self.hub.store.forget_job("pve1", job_id)

    def round(self) -> float:
        return self.agent.loop.round()

    @property
    def listed(self) -> list[str]:
        return [each["job_id"] for each in self.hub.store.jobs("pve1")]

    def told(self) -> Any:
        """Return what the hub was told last of the agent."""
        host = self.hub.store.host("pve1")
        assert host is not None
        return host.report["agent"]

    def recent(self) -> dict[str, tuple[str, str]]:
        """Report once more, and return how each job stands, and why, as the hub has it."""
        self.round()
        return {
            each["job_id"]: (each["state"], each["why"]) for each in self.told()["jobs"]["recent"]
        }

    def pending(self) -> dict[str, str]:
        """Report once more, and return the requests that wait, as the hub has them."""
        self.round()
        return {each["job_id"]: each["request"] for each in self.told()["pending"]}


@pytest.fixture
def desk(hub: DevHub, begin: Begin) -> Desk:
    return Desk(hub, begin)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


class TestSignedJobs:
    def test_a_job_is_handed_over_as_it_came_and_stays_with_the_hub_until_it_has_ended(
        self, desk: Desk
    ) -> None:
        desk.enqueue(job("a", b"\x00\xff bytes", "first", "second"))
        desk.round()
        assert desk.table.taken == [("a", b"\x00\xff bytes", (b"first", b"second"))]
        assert desk.listed == ["a"]
        desk.table.jobs["a"] = DONE
        desk.round()
        assert desk.listed == []

    def test_how_a_job_stands_is_told_while_it_waits_and_after_it_has_ended(
        self, desk: Desk
    ) -> None:
        desk.enqueue(job("a"))
        desk.round()
        assert desk.recent() == {"a": ("pending", "")}
        desk.table.jobs["a"] = TakenJob("failed", "the task ended with an error", final=True)
        assert desk.recent() == {"a": ("failed", "the task ended with an error")}
        assert desk.listed == []
        assert desk.recent() == {"a": ("failed", "the task ended with an error")}

    def test_a_job_that_is_refused_for_good_is_acknowledged_and_told_with_the_reason(
        self, desk: Desk
    ) -> None:
        desk.table.jobs["a"] = REFUSED
        desk.enqueue(job("a"))
        desk.round()
        assert desk.listed == []
        assert desk.recent() == {"a": ("refused", "the key is on no list")}

    def test_a_job_that_cannot_be_taken_now_is_tried_at_each_round_and_said_once(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        desk.table.trouble["a"] = JournalError("the disk is full")
        desk.enqueue(job("a"))
        for _ in range(3):
            desk.round()
        assert desk.table.ids == ["a"] * 3
        assert desk.listed == ["a"]
        assert lines(caplog) == ["job a of the hub waits: the disk is full"]
        assert desk.recent() == {"a": ("pending", "the disk is full")}
        desk.table.trouble.clear()
        desk.table.jobs["a"] = DONE
        desk.round()
        assert desk.listed == []

    @pytest.mark.parametrize("error", [JournalError("full"), RuntimeError("a bug")], ids=str)
    def test_a_job_that_cannot_be_taken_leaves_the_others_their_turn(
        self, desk: Desk, error: Exception
    ) -> None:
        desk.table.trouble["b"] = error
        desk.table.jobs["a"] = desk.table.jobs["c"] = DONE
        desk.enqueue(job("a"), job("b"), job("c"))
        desk.round()
        assert desk.table.ids == ["a", "b", "c"]
        assert desk.listed == ["b"]

    def test_jobs_that_are_taken_are_named_in_one_line_and_once(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        desk.enqueue(*(job(f"j{n}") for n in range(8)))
        desk.round()
        desk.round()
        named = ", ".join(f"j{n} (pending)" for n in range(5))
        assert lines(caplog) == [f"signed jobs of the hub: {named} and 3 more"]

    def test_while_a_job_has_not_ended_the_loop_comes_again_soon_and_once_more_to_tell_its_end(
        self, desk: Desk
    ) -> None:
        assert desk.round() == POLL
        desk.enqueue(job("a"))
        assert [desk.round(), desk.round()] == [60.0, 60.0]
        desk.table.jobs["a"] = DONE
        assert desk.round() == 60.0, "the hub has not heard of the end yet"
        assert desk.round() == POLL

    def test_a_job_that_the_hub_has_dropped_is_told_of_until_it_has_ended(self, desk: Desk) -> None:
        desk.enqueue(job("a"))
        desk.round()
        desk.drop("a")
        assert desk.round() == 60.0
        desk.table.jobs["a"] = DONE
        assert desk.round() == POLL
        assert desk.recent() == {"a": ("done", "")}
        assert desk.table.ids == ["a"]

    def test_a_job_that_the_hub_drops_before_it_was_taken_is_not_told_of_any_more(
        self, desk: Desk
    ) -> None:
        desk.table.trouble["a"] = JournalError("full")
        desk.enqueue(job("a"), job("b"))
        desk.round()
        desk.drop("a")
        desk.round()
        assert desk.recent() == {"b": ("pending", "")}

    def test_a_job_that_could_not_be_taken_makes_the_loop_come_again_soon(self, desk: Desk) -> None:
        desk.table.trouble["a"] = JournalError("full")
        desk.enqueue(job("a"))
        assert desk.round() == 60.0

    def test_without_signed_operations_a_job_waits_with_the_hub_and_is_told_as_pending(
        self, hub: DevHub, begin: Begin, site: Site
    ) -> None:
        desk = Desk(hub, begin, usable=False)
        desk.enqueue(job("a"), request("b"))
        assert desk.round() == POLL
        assert desk.recent() == {"a": ("pending", NOT_USABLE), "b": ("pending", NOT_USABLE)}
        assert desk.listed == ["a", "b"]
        assert site.devnode.mutations == ()

    def test_a_hub_without_jobs_is_not_asked_for_them_and_hears_how_the_last_ones_ended(
        self, begin: Begin, scripted: Scripted
    ) -> None:
        table = JobTable()
        table.jobs["a"] = DONE
        loop = begin(scripted.url, signed=table).loop
        for answer in (envelope(has_signed_ops=False), envelope()):
            scripted.answers(answer)
            loop.round()
        assert len(scripted.heard) == 2, "two reports and nothing else"
        assert b'{"job_id": "a", "state": "done"' in scripted.heard[-1]

    def test_what_the_table_has_to_tell_is_in_each_report(self, desk: Desk) -> None:
        desk.table.status = SignedStatus(last_nonce="0f", accepted=3, challenge="c4")
        desk.round()
        told = desk.told()
        assert told["jobs"] == {"last_nonce": "0f", "accepted": 3, "recent": []}
        assert (told["challenge"], told["audit_head"]) == ("c4", None)

    def test_the_newest_of_many_jobs_are_told_and_those_never_taken_have_their_part(
        self, desk: Desk
    ) -> None:
        desk.table.jobs = {f"t{n}": DONE for n in range(80)}
        odd = [{"job_id": f"odd{n:02}"} for n in range(30)]
        desk.enqueue(*odd)
        desk.round()
        told = list(desk.recent())
        assert told == [f"t{n}" for n in range(50, 80)] + [f"odd{n}" for n in range(10, 30)]
        desk.table.jobs.clear()
        assert len(desk.recent()) == MAX_OWN, "and the last of them are remembered"


class TestRequests:
    def test_a_request_is_composed_once_and_told_for_as_long_as_the_hub_lists_it(
        self, desk: Desk
    ) -> None:
        desk.enqueue(request("r", resume=True))
        desk.round()
        assert desk.pending() == desk.pending() == {"r": '{"number":1}'}
        assert desk.table.wanted == [
            {
                "act": "snapshot_delete", "vmid": 101, "params": {"snapshot": "before"},
                "stop": False, "resume": True,
            }
        ]  # fmt: skip
        assert desk.told()["pending"][0]["expires"] == 2_000_000_000
        assert desk.told()["jobs"]["recent"] == []
        assert desk.listed == ["r"], "it waits for a signature"

    def test_a_request_for_the_host_has_no_guest(self, desk: Desk) -> None:
        desk.enqueue({"job_id": "r", "request": {"act": "thaw", "params": {}}})
        desk.round()
        assert desk.table.wanted == [{"act": "thaw", "params": {}, "stop": False, "resume": False}]

    def test_a_text_that_is_new_is_told_soon_and_then_waits_in_no_haste(self, desk: Desk) -> None:
        desk.enqueue(request("r"))
        assert [desk.round(), desk.round()] == [60.0, POLL]

    def test_a_request_that_the_hub_drops_is_forgotten_and_composed_anew_if_it_comes_again(
        self, desk: Desk
    ) -> None:
        desk.enqueue(request("r"), request("s"))
        desk.round()
        desk.drop("r")
        desk.round()
        assert desk.pending() == {"s": '{"number":2}'}
        desk.drop("s")
        desk.round()
        assert desk.pending() == {}
        desk.enqueue(request("r"))
        desk.round()
        assert desk.pending() == {"r": '{"number":3}'}

    def test_a_request_whose_time_is_over_is_not_told_any_more_and_composed_anew(
        self, desk: Desk, site: Site
    ) -> None:
        desk.table.expires = int(site.clock.now) + 100
        desk.enqueue(request("r"))
        desk.round()
        site.clock.pass_by(100.0)
        desk.table.expires += 1000
        assert desk.pending() == {}
        assert desk.pending() == {"r": '{"number":2}'}

    def test_a_request_that_is_refused_for_good_is_acknowledged_and_told_with_the_reason(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        desk.table.trouble["force_stop"] = WrongGuest("there is no guest 101 on this host")
        desk.enqueue(request("r", "force_stop"))
        assert desk.round() == 60.0
        assert desk.listed == []
        for _ in range(2):
            assert desk.recent() == {"r": ("refused", "there is no guest 101 on this host")}
        assert desk.pending() == {}
        assert lines(caplog) == ["job r of the hub is refused: there is no guest 101 on this host"]

    @pytest.mark.parametrize(
        "error", [GuestLocked("it is locked (backup)"), JournalError("full"), KeyError()], ids=str
    )
    def test_a_request_that_cannot_be_composed_now_is_tried_again(
        self, desk: Desk, error: Exception
    ) -> None:
        desk.table.trouble["force_stop"] = error
        desk.enqueue(request("r", "force_stop"), request("s"))
        assert desk.round() == 60.0
        assert desk.listed == ["r", "s"]
        assert desk.recent()["r"][0] == "pending"
        desk.table.trouble.clear()
        desk.round()
        assert set(desk.pending()) == {"r", "s"}

    def test_a_refusal_for_good_is_asked_for_once_though_the_hub_goes_on_listing_it(
        self, begin: Begin, scripted: Scripted
    ) -> None:
        table = JobTable()
        table.trouble["force_stop"] = NoSigners("nobody may sign on this host")
        loop = begin(scripted.url, signed=table).loop
        for _ in range(3):
            jobs = http("200 OK", {"jobs": [request("r", "force_stop")]})
            scripted.answers(envelope(has_signed_ops=True), jobs, http("200 OK", {}))
            loop.round()
        assert len(table.wanted) == 1
        assert sum(heard.startswith(b"DELETE") for heard in scripted.heard) == 3

    def test_a_request_that_was_signed_comes_back_as_a_job_of_the_same_id(self, desk: Desk) -> None:
        desk.enqueue(request("r"))
        desk.round()
        desk.enqueue(job("r"))
        desk.round()
        assert desk.table.ids == ["r"]
        assert desk.pending() == {}
        assert desk.recent() == {"r": ("pending", "")}


class TestEnd:
    """The loop is closed in the middle of a round."""

    def test_no_job_is_handed_over_any_more(self, desk: Desk, begin: Begin) -> None:
        table = desk.table

        class Closing(JobTable):
            def take(self, job_id: str, blob: bytes, signatures: tuple[bytes, ...]) -> TakenJob:
                desk.agent.loop._stopping.set()
                return table.take(job_id, blob, signatures)

        desk.agent.loop._jobs._signed = Closing()
        desk.enqueue(job("a"), job("b"))
        assert desk.round() == 3600.0
        assert table.ids == ["a"]

    def test_a_job_whose_examination_is_cut_short_stays_with_the_hub(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        desk.table.trouble["a"] = Interrupted("the agent is stopping")
        desk.enqueue(job("a"), job("b"))
        assert desk.round() == 3600.0
        assert desk.table.ids == ["a"]
        assert desk.listed == ["a", "b"]
        assert lines(caplog) == []

    @pytest.mark.parametrize("hangs_in", [1, 2], ids=["the list", "an acknowledgement"])
    def test_a_call_about_jobs_that_hangs_is_ended_at_once_and_in_silence(
        self, begin: Begin, scripted: Scripted, caplog: pytest.LogCaptureFixture, hangs_in: int
    ) -> None:
        asked, over = threading.Event(), threading.Event()

        def hang(_: Callable[[bytes], None]) -> None:
            asked.set()
            over.wait(20.0)

        table = JobTable()
        table.jobs["a"] = DONE
        script = [envelope(has_signed_ops=True), http("200 OK", {"jobs": [job("a")]})]
        scripted.answers(*script[:hangs_in], hang)
        loop = begin(scripted.url, signed=table, read_timeout=60.0).loop
        loop.start()
        assert asked.wait(20.0)
        loop.close(10.0)
        over.set()
        assert not loop._thread.is_alive()
        assert lines(caplog) == []


def test_how_a_job_stands_is_taken_from_who_does_it_and_not_from_the_hubs_last_list(
    desk: Desk,
) -> None:
    desk.table.trouble["a"] = JournalError("full")
    desk.enqueue(job("a"))
    desk.round()
    desk.table.jobs["a"] = replace(PENDING, why="the host is frozen")
    assert desk.recent() == {"a": ("pending", "the host is frozen")}
