"""A hub that lies about jobs: each lie costs its own part, in one line, and nothing else."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest

from felhom_agent.devhub import DevHub
from felhom_agent.hub.jobs import TakenJob
from tests.conftest import Site
from tests.hostile.rawhub import Caller, raw_hub
from tests.hub.conftest import DONE, KEY, PENDING, Begin, JobTable, Round, Scripted, envelope, http
from tests.hub.test_jobround import job, request

FINE = http("200 OK", {})
HAS_JOBS = envelope(poll_interval_seconds=600, has_signed_ops=True)


class Liar:
    """A scripted hub, an agent's loop to it, and the table of its jobs."""

    def __init__(self, hub: Scripted, begin: Begin) -> None:
        self.hub = hub
        self.table = JobTable()
        self.agent: Round = begin(hub.url, signed=self.table)

    def lists(self, jobs: object, *answers: bytes) -> float:
        """Go through a round in which this is the list, and these answer what comes then."""
        body = {"jobs": jobs}
        self.hub.heard.clear()
        self.hub.answers(HAS_JOBS, http("200 OK", body), *(answers or (FINE,)))
        return self.agent.loop.round()

    @property
    def dropped(self) -> list[str]:
        """What was acknowledged since the last list, as it stood in the path."""
        heard = [each.partition(b" HTTP")[0].decode() for each in self.hub.heard]
        prefix = "DELETE /api/v1/hosts/pve1/jobs/"
        return [line.removeprefix(prefix) for line in heard if line.startswith(prefix)]

    def told(self) -> dict[str, tuple[str, str]]:
        """Report once more, and return how each job stands, and why, as the hub has it."""
        self.hub.answers(envelope())
        self.agent.loop.round()
        agent = json.loads(self.hub.heard[-1].rpartition(b"\n")[2])["agent"]
        return {each["job_id"]: (each["state"], each["why"]) for each in agent["jobs"]["recent"]}


@pytest.fixture
def liar(scripted: Scripted, begin: Begin) -> Liar:
    return Liar(scripted, begin)


def lines(caplog: pytest.LogCaptureFixture, at_most: int = 1) -> list[str]:
    """Return what was logged: few lines, short and printable, without the key."""
    found = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    assert len(found) <= at_most, found
    assert all(line.isprintable() and len(line) < 400 and KEY not in line for line in found)
    assert "internal error" not in caplog.text
    return found


@pytest.mark.parametrize("body", [None, [], {}, {"jobs": 1}, {"jobs": {"a": {}}}], ids=str)
def test_an_answer_without_a_list_changes_nothing_and_is_said_once(
    liar: Liar, caplog: pytest.LogCaptureFixture, body: object
) -> None:
    liar.lists([request("r")])
    for _ in range(2):
        liar.hub.answers(HAS_JOBS, http("200 OK", body))
        liar.agent.loop.round()
    assert lines(caplog) == ["the hub's list of jobs is not followed: there is none in its answer"]
    assert len(liar.agent.loop._jobs.report().pending) == 1


def test_of_an_endless_list_a_hundred_jobs_are_taken_and_the_rest_is_said_in_one_line(
    liar: Liar, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        liar.lists([job(f"j{n}") for n in range(10_000)])
    assert liar.table.ids == [f"j{n}" for n in range(100)] * 2
    assert lines(caplog) == ["the hub lists more than 100 jobs at once; the others wait"]
    assert len(liar.told()) == 50


def test_a_list_that_drips_is_given_up_and_the_next_round_is_as_good_as_any(
    begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    def behave(caller: Caller) -> None:
        if caller.hear().startswith(b"POST"):
            caller.send(HAS_JOBS)
        else:
            caller.send(b'HTTP/1.1 200 OK\r\n\r\n{"jobs": [')
            caller.drip(b" ")

    table = JobTable()
    with raw_hub() as hub:
        hub.behaviour = behave
        round_ = begin(hub.url, signed=table, connect_timeout=0.2, read_timeout=0.15)
        round_.loop.round()
        words = "the hub's list of jobs cannot be had: its answer took longer than 0.5 s"
        assert lines(caplog) == [words]
        hub.behaviour = lambda caller: caller.send(
            HAS_JOBS if caller.hear().startswith(b"POST") else http("200 OK", {"jobs": [job("a")]})
        )
        round_.loop.round()
    assert table.ids == ["a"]


def test_a_flood_is_not_taken_for_a_list(liar: Liar, caplog: pytest.LogCaptureFixture) -> None:
    flood = b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 5_000_000
    liar.hub.answers(HAS_JOBS, flood)
    liar.agent.loop.round()
    assert "longer than" in lines(caplog)[0]
    assert liar.table.taken == []


ODD: dict[str, dict[str, Any]] = {
    "a blob that is none": {"op_blob_b64": 5},
    "a huge blob": {"op_blob_b64": "QUFB" * 30_000},
    "base64 of two meanings": {"op_blob_b64": "QR=="},
    "no signature": {"sigs_armored": []},
    "nine signatures": {"sigs_armored": ["s"] * 9},
    "a signature that is none": {"sigs_armored": [{}]},
    "a huge signature": {"sigs_armored": ["s" * 100_000]},
    "a job and a request": {"request": request("x")["request"]},
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_job_is_refused_acknowledged_and_told_and_the_others_have_their_turn(
    liar: Liar, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    liar.lists([job("a"), {**job("odd"), **ODD[what]}, job("z")])
    assert liar.table.ids == ["a", "z"]
    assert liar.dropped == ["odd"]
    (line,) = lines(caplog)
    assert line.startswith("job odd of the hub is refused: ")
    assert liar.told()["odd"] == ("refused", line.partition("refused: ")[2])


@pytest.mark.parametrize("row", [None, 5, "x", [], True, {}, {"job_id": 7}, {"job_id": None}])
def test_a_row_without_a_name_is_told_and_said_and_there_is_nothing_to_acknowledge(
    liar: Liar, caplog: pytest.LogCaptureFixture, row: object
) -> None:
    for _ in range(2):
        liar.lists([row, job("a"), row])
        assert liar.dropped == []
    assert liar.table.ids == ["a", "a"]
    (line,) = lines(caplog)
    assert line.startswith("job (none) of the hub is refused: ")
    assert liar.told()["(none)"][0] == "refused"


@pytest.mark.parametrize("job_id", ["a\x1b[2J\nb", "x" * 201, "..", "\x00", "\u202eb", "x" * 10**6])
def test_a_job_with_a_name_that_cannot_be_written_down_is_never_taken_nor_acknowledged(
    liar: Liar, caplog: pytest.LogCaptureFixture, job_id: str
) -> None:
    liar.lists([job(job_id), job("a")])
    assert liar.table.ids == ["a"]
    assert liar.dropped == []
    lines(caplog)
    (shown, *_) = [name for name in liar.told() if name != "a"]
    assert shown.isprintable()
    assert len(shown) <= 200


@pytest.mark.parametrize(
    ("job_id", "path"),
    [
        ("a/../../b", "a%2F..%2F..%2Fb"),
        ("a b?c#d", "a%20b%3Fc%23d"),
        ("%2e", "%252e"),
        ("x" * 200, "x" * 200),
        ("é", "%C3%A9"),
    ],
)
def test_a_name_with_odd_characters_stays_one_part_of_the_path(
    liar: Liar, job_id: str, path: str
) -> None:
    liar.table.jobs[job_id] = DONE
    liar.lists([job(job_id)])
    assert liar.dropped == [path]


def test_a_real_hub_drops_a_job_whose_name_has_a_slash(hub: DevHub, begin: Begin) -> None:
    table = JobTable()
    table.jobs["a/b ?"] = DONE
    hub.store.enqueue("pve1", job("a/b ?"))
    begin(hub.url, hub.store.enroll("pve1"), signed=table).loop.round()
    assert hub.store.jobs("pve1") == []


def test_of_two_jobs_with_one_name_the_first_counts_and_its_end_alone_is_acknowledged(
    liar: Liar, caplog: pytest.LogCaptureFixture
) -> None:
    liar.lists([job("a", b"first"), job("a", b"second"), request("a")])
    assert [blob for _, blob, _ in liar.table.taken] == [b"first"]
    assert liar.table.wanted == []
    assert liar.dropped == []
    assert dict(liar.agent.loop._jobs.report().recent) == {"a": PENDING}
    liar.table.jobs["a"] = DONE
    liar.lists([job("a", b"first"), job("a", b"second")])
    assert liar.dropped == ["a"]
    assert lines(caplog) == [
        "job a of the hub is refused: its job_id is another job's in the same list"
    ]


def test_the_order_of_a_list_makes_no_difference(
    liar: Liar, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    jobs = [job("a"), request("r"), job("b"), {"job_id": "odd"}, request("s")]
    liar.table.jobs["b"] = DONE
    liar.lists(jobs)
    told = liar.agent.loop._jobs.report()
    said = len(caplog.records)
    liar.lists(jobs[::-1])
    again = liar.agent.loop._jobs.report()
    assert dict(again.recent) == dict(told.recent)
    assert dict(again.pending) == dict(told.pending)
    assert len(liar.table.wanted) == 2
    assert len(caplog.records) == said, "and is no news"
    assert sorted(liar.dropped) == ["b", "odd"]


def test_a_job_that_comes_again_after_its_end_is_handed_over_again_and_acknowledged_again(
    liar: Liar,
) -> None:
    liar.table.jobs["a"] = DONE
    for _ in range(3):
        liar.lists([job("a")])
        assert liar.dropped == ["a"]
    assert liar.table.ids == ["a"] * 3
    assert liar.told() == {"a": ("done", "")}


def test_a_job_that_comes_again_and_again_after_its_end_makes_no_haste(liar: Liar) -> None:
    liar.table.jobs["a"] = DONE
    assert [liar.lists([job("a")]) for _ in range(3)] == [60.0, 600.0, 600.0]


def test_a_job_that_came_back_as_garbage_stands_as_it_ended(liar: Liar) -> None:
    liar.table.jobs["a"] = DONE
    liar.lists([{"job_id": "a", "op_blob_b64": 5}])
    assert liar.told() == {"a": ("done", "")}


def test_a_hub_that_drops_jobs_loses_nothing_that_was_taken(liar: Liar) -> None:
    liar.lists([job("a"), job("b")])
    for again in ([], [job("b")]):
        liar.lists(again)
        assert liar.told() == {"a": ("pending", ""), "b": ("pending", "")}
    liar.table.jobs["a"] = TakenJob("failed", "its task failed", final=True)
    assert liar.told()["a"] == ("failed", "its task failed")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http("500 Oops", {}), "status 500"),
        (http("307 Go", {}, "Location: http://127.0.0.1:1/"), "redirect"),
        (http("403 Forbidden", {}), "not for this host"),
        (http("202 Later", {}), "status 202"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_acknowledgement_that_fails_costs_itself_and_is_tried_again(
    liar: Liar, caplog: pytest.LogCaptureFixture, answer: bytes, words: str
) -> None:
    liar.table.jobs["a"] = liar.table.jobs["b"] = DONE
    for _ in range(2):
        assert liar.lists([job("a"), job("b")], answer, FINE) == 60.0
        assert liar.dropped == ["a", "b"]
    (line,) = lines(caplog)
    assert line.startswith("jobs of the hub that have ended cannot be acknowledged: ")
    assert words in line
    liar.lists([job("a")], FINE)
    assert liar.dropped == ["a"]
    caplog.clear()
    liar.lists([job("a")], answer)
    assert len(lines(caplog)) == 1, "it is said again, since all was well in between"


@pytest.mark.parametrize(
    "answer",
    [
        http("200 OK", raw=b""),
        http("200 OK", raw=b"<html>gone"),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        http("404 Not Found", {}),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_job_is_gone_whatever_the_hub_says_with_it(
    liar: Liar, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    liar.table.jobs["a"] = DONE
    liar.lists([job("a")], answer)
    assert lines(caplog) == []


def test_a_hub_that_goes_away_is_told_of_no_other_end_in_that_round(
    liar: Liar, caplog: pytest.LogCaptureFixture
) -> None:
    for job_id in "abc":
        liar.table.jobs[job_id] = DONE
    liar.lists([job("a"), job("b"), job("c")], FINE, b"")
    assert liar.dropped == ["a", "b"]
    assert len(lines(caplog)) == 1
    liar.lists([job("b"), job("c")])
    assert liar.dropped == ["b", "c"]


def test_a_hub_that_asks_for_patience_gets_it(liar: Liar) -> None:
    liar.table.jobs["a"] = liar.table.jobs["b"] = DONE
    jobs = [job("a"), job("b")]
    assert liar.lists(jobs, http("503 Wait", {}, "Retry-After: 1200")) == 1200.0
    assert liar.dropped == ["a"]
    assert liar.lists([]) == 600.0


def test_of_a_hundred_requests_twenty_are_composed_and_the_others_wait_for_their_turn(
    liar: Liar, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [request(f"r{n:02}") for n in range(100)]
    for _ in range(3):
        liar.lists(requests)
    assert len(liar.table.wanted) == 20
    report = liar.agent.loop._jobs.report()
    assert [job_id for job_id, _ in report.pending] == [f"r{n:02}" for n in range(20)]
    assert lines(caplog) == []
    liar.lists(requests[::-1])
    assert len(liar.table.wanted) == 20, "another order composes no more"
    liar.lists(requests[5:])
    assert len(liar.table.wanted) == 25
    assert set(liar.told().values()) == {
        ("pending", "20 requests are composed at a time; it waits for its turn")
    }


def test_a_hundred_requests_that_fail_are_twenty_attempts_a_round(liar: Liar) -> None:
    liar.table.trouble["snapshot_delete"] = KeyError("a bug")
    liar.lists([request(f"r{n}") for n in range(100)])
    assert len(liar.table.wanted) == 20


def test_a_hundred_odd_rows_are_six_lines_and_another_hundred_six_more(
    liar: Liar, caplog: pytest.LogCaptureFixture
) -> None:
    for first in (0, 100):
        caplog.clear()
        liar.lists([{"job_id": f"odd{n}" + "\x07" * (n % 2)} for n in range(first, first + 100)])
        liar.lists([{"job_id": f"odd{n}" + "\x07" * (n % 2)} for n in range(first, first + 100)])
        found = lines(caplog, 6)
        assert len(found) == 6
        assert found[-1] == "95 more lines of this kind are not shown"
        assert len(liar.dropped) == 50
    assert len(liar.told()) == 50


def test_no_text_of_a_hub_is_shown_longer_than_a_line(
    liar: Liar, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    liar.lists([{"job_id": "x" * 200}, job("y" * 200), *(job(c * 200) for c in "abcdefgh")])
    assert all(len(record.getMessage()) < 400 for record in caplog.records)
    assert len(caplog.records) == 2


def test_the_key_is_in_no_path_and_every_call_about_jobs_shows_it(liar: Liar) -> None:
    liar.table.jobs["a"] = DONE
    liar.lists([job("a")])
    for heard in liar.hub.heard:
        assert KEY.encode() not in heard.partition(b"\r\n")[0]
        assert re.search(rb"(?m)^Authorization: Bearer " + KEY.encode(), heard)


def test_no_list_of_a_hub_changes_a_guest(liar: Liar, site: Site) -> None:
    jobs = [job("a"), request("r", "guest_destroy", params={"purge": True}), {"job_id": "odd"}]
    liar.lists(jobs)
    assert site.devnode.mutations == ()
