"""The reference hub requests, holds and delivers jobs: what goes in, what comes out, and when."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.devhub import DevHub, Store
from felhom_agent.devhub.jobs import MAX_ACKNOWLEDGED, MAX_OPEN, NoSuchJob, TooMany
from tests.conftest import Clock
from tests.hub.client import API, NASTY, Client, pending, request, request_text, signed

JOBS = f"{API}/hosts/pve1/jobs"
ADMIN = f"{API}/admin/hosts/pve1/jobs"


@pytest.fixture
def hub(clock: Clock) -> Iterator[DevHub]:
    with DevHub(Store(), clock=clock) as hub:
        yield hub


class TestWhatIsDelivered:
    @pytest.mark.parametrize(
        "envelope",
        [
            signed(),
            signed("j" * 200, sigs_armored=["s" * 16_384] * 8),
            signed("ä 1/2"),
            signed(op_blob_b64=base64.b64encode(b"x" * 65_536).decode()),
            request(),
            request(stop=True, resume=False),
            request(params={"snapshot": "before", "purge": True, "count": -1}),
            {"job_id": "r1", "request": {"act": "thaw", "params": {}}},
        ],
        ids=["job", "largest", "odd id", "largest blob", "request", "flags", "params", "thaw"],
    )
    def test_it_is_as_it_was_put_in(
        self, host: Client, operator: Client, envelope: dict[str, object]
    ) -> None:
        assert operator("POST", ADMIN, json=envelope).status_code == 201
        assert host.fetches() == [envelope]

    def test_the_envelope_says_that_something_is_to_be_fetched_as_long_as_there_is(
        self, hub: DevHub, host: Client
    ) -> None:
        assert host.reports()["has_signed_ops"] is False
        hub.store.enqueue("pve1", signed(), held=True)
        assert host.reports()["has_signed_ops"] is False, "a job that is held is not"
        hub.store.hold_job("pve1", "j1", held=False)
        assert host.reports()["has_signed_ops"] is True
        host.fetches()
        assert host.reports()["has_signed_ops"] is True, "it was not acknowledged"
        host("DELETE", f"{JOBS}/j1")
        assert host.reports()["has_signed_ops"] is False
        hub.store.enqueue("pve1", request())
        assert host.reports()["has_signed_ops"] is True

    def test_jobs_come_in_the_order_in_which_they_were_put_in(
        self, hub: DevHub, host: Client, clock: Clock
    ) -> None:
        for name in ("z", "a", "m"):
            hub.store.enqueue("pve1", signed(name), clock.now)
            clock.pass_by(1)
        assert [job["job_id"] for job in host.fetches()] == ["z", "a", "m"]

    def test_a_job_of_the_same_id_takes_the_place_of_the_other(
        self, host: Client, operator: Client
    ) -> None:
        two = signed(sigs_armored=["one", "two"])
        for envelope in (signed(), two):
            assert operator("POST", ADMIN, json=envelope).status_code == 201
        assert host.fetches() == [two]

    def test_one_hosts_jobs_are_not_anothers(self, hub: DevHub, host: Client) -> None:
        other = Client(hub, hub.store.enroll("pve2"))
        hub.store.enqueue("pve1", signed())
        assert other("GET", f"{API}/hosts/pve2/jobs").json() == {"jobs": []}
        host.fetches()
        other("DELETE", f"{API}/hosts/pve2/jobs/j1")
        assert other("DELETE", f"{JOBS}/j1").status_code == 403
        assert host.fetches() == [signed()]


class TestAcknowledged:
    def test_it_is_delivered_no_more_and_listed_with_its_time(
        self, hub: DevHub, host: Client, clock: Clock
    ) -> None:
        hub.store.enqueue("pve1", signed("a/b ä"), clock.now)
        host.fetches()
        first = clock.now
        for _ in range(2):
            assert host("DELETE", f"{JOBS}/a%2Fb%20%C3%A4").status_code == 200
            clock.pass_by(10)
        assert host.fetches() == []
        assert [job.acknowledged for job in hub.store.all_jobs("pve1")] == [first]

    def test_a_host_cannot_speak_of_what_it_was_never_given(
        self, hub: DevHub, host: Client
    ) -> None:
        hub.store.enqueue("pve1", signed(), held=True)
        assert host("DELETE", f"{JOBS}/j1").status_code == 200
        assert hub.store.all_jobs("pve1")[0].is_open

    def test_the_last_200_of_a_host_are_kept(self, hub: DevHub, host: Client, clock: Clock) -> None:
        other = Client(hub, hub.store.enroll("pve2"))
        hub.store.enqueue("pve2", signed())
        other("GET", f"{API}/hosts/pve2/jobs")
        other("DELETE", f"{API}/hosts/pve2/jobs/j1")
        for number in range(MAX_ACKNOWLEDGED + 3):
            hub.store.enqueue("pve1", signed(f"j{number}"), clock.now)
            hub.store.deliver("pve1", clock.now)
            hub.store.acknowledge("pve1", f"j{number}", clock.now)
        found = [job.job_id for job in hub.store.all_jobs("pve1")]
        assert found == [f"j{number}" for number in range(MAX_ACKNOWLEDGED + 2, 2, -1)]
        assert len(hub.store.all_jobs("pve2")) == 1

    def test_it_counts_no_more_against_the_bound(
        self, hub: DevHub, host: Client, operator: Client
    ) -> None:
        for number in range(MAX_OPEN):
            answer = operator("POST", ADMIN, json=signed(f"j{number}"))
            assert answer.status_code == 201
        full = operator("POST", ADMIN, json=request())
        assert (full.status_code, full.json()) == (
            409, {"error": "the host has 50 open jobs already, more are not kept"}
        )  # fmt: skip
        assert operator("POST", ADMIN, json=signed("j7")).status_code == 201, "it replaces one"
        host.fetches()
        host("DELETE", f"{JOBS}/j7")
        assert operator("POST", ADMIN, json=request()).status_code == 201


def test_open_jobs_are_together_no_larger_than_an_agent_reads(hub: DevHub, host: Client) -> None:
    large = {"op_blob_b64": base64.b64encode(b"x" * 65_536).decode(),
             "sigs_armored": ["s" * 16_384] * 8}  # fmt: skip
    for number in range(13):
        hub.store.enqueue("pve1", signed(f"j{number}", **large))
    with pytest.raises(TooMany, match="3000000 bytes together"):
        hub.store.enqueue("pve1", signed("one too many", **large))
    assert len(host("GET", JOBS).content) < 4_000_000
    assert len(host.fetches()) == 13


def test_of_a_job_that_a_host_leaves_out_of_more_than_two_reports_that_is_known(
    hub: DevHub, host: Client
) -> None:
    def untold() -> list[str]:
        return [job.job_id for job in hub.store.all_jobs("pve1") if job.is_untold]

    for job in (signed("told"), signed("done"), signed("lost"), request("r1"), request("r2")):
        hub.store.enqueue("pve1", job)
    hub.store.enqueue("pve1", signed("held"), held=True)
    word = {"job_id": "told", "state": "pending", "why": ""}
    for _ in range(3):
        host.reports()
    assert untold() == [], "nothing was delivered yet"
    host.fetches()
    host("DELETE", f"{JOBS}/done")
    for _ in range(2):
        host.reports(jobs={"recent": [word]}, pending=[pending("r1")])
        assert untold() == []
    host.reports(jobs={"recent": [word]}, pending=[pending("r1")])
    assert untold() == ["lost", "r2"]
    for _ in range(10):
        host.reports()
    host.reports(jobs={"recent": [{**word, "job_id": "lost"}]})
    assert untold() == ["told", "r1", "r2"]


def test_what_is_malformed_costs_one_clear_line_and_is_not_kept(
    host: Client, operator: Client
) -> None:
    blob = signed()["op_blob_b64"]
    for envelope, line in (
        ({}, "job_id must be a text of 1 to 200 printable characters, not . or .."),
        (signed(""), "job_id must be"),
        (signed("x" * 201), "job_id must be"),
        (signed("a\nb"), "job_id must be"),
        (signed("\u202ex"), "job_id must be"),
        (signed("\ud800"), "job_id must be"),
        (signed(".."), "job_id must be"),
        ({**signed(), "job_id": 7}, "job_id must be"),
        ({**signed(), "job_id": ["x"]}, "job_id must be"),
        ({"job_id": "j1"}, "a signed job needs op_blob_b64"),
        ({"job_id": "j1", "op_blob_b64": blob}, "a signed job needs sigs_armored"),
        (signed(held=True), "a signed job has no 'held'"),
        ({**signed(), NASTY + "\x1b" + "k" * 500: 1}, "a signed job has no '<script>"),
        (signed(op_blob_b64=None), "op_blob_b64 must be a text"),
        (signed(op_blob_b64=""), "op_blob_b64 must hold 1 to 65536 bytes, it holds 0"),
        (signed(op_blob_b64="eA"), "op_blob_b64 is no base64"),
        (signed(op_blob_b64="e A="), "op_blob_b64 is no base64"),
        (signed(op_blob_b64="ä==="), "op_blob_b64 is no base64"),
        (signed(op_blob_b64="eB=="), "op_blob_b64 is no base64 in its one form"),
        (signed(op_blob_b64=base64.b64encode(b"x" * 65_537).decode()), "it holds 65537"),
        (signed(sigs_armored="x"), "sigs_armored must be a list of 1 to 8 signatures"),
        (signed(sigs_armored=[]), "sigs_armored must be a list"),
        (signed(sigs_armored=["x"] * 9), "sigs_armored must be a list"),
        (signed(sigs_armored=["x", 7]), "signature 2 must be a text of 1 to 16384 characters"),
        (signed(sigs_armored=[""]), "signature 1 must be"),
        (signed(sigs_armored=["x" * 16_385]), "signature 1 must be"),
        ({**signed(), **request("j1")}, "a request has no 'op_blob_b64'"),
        ({"job_id": "r1", "request": None}, "request must be an object"),
        ({"job_id": "r1", "request": {}}, "act must be one of guest_destroy, "),
        (request(act="storage_wipe"), "act must be one of"),
        (request(act=["thaw"]), "act must be one of"),
        (request(act="thaw"), "a request for thaw has no 'vmid'"),
        ({"job_id": "r1", "request": {"act": "force_stop", "params": {}}}, "needs vmid"),
        ({"job_id": "r1", "request": {"act": "thaw"}}, "a request for thaw needs params"),
        (request(vmid=True), "vmid must be a whole number from 100 to 999999999"),
        (request(vmid="101"), "vmid must be"),
        (request(vmid=101.0), "vmid must be"),
        (request(vmid=99), "vmid must be"),
        (request(vmid=1_000_000_000), "vmid must be"),
        (request(stop=1), "stop must be true or false"),
        (request(resume=None), "resume must be true or false"),
        (request(nonce="x"), "a request for guest_destroy has no 'nonce'"),
        (request(params=[]), "params must be an object of 20 parameters at most"),
        (request(params={f"p{'x' * n}": 1 for n in range(21)}), "params must be"),
        (request(params={"Purge": 1}), "'Purge' is no parameter's name"),
        (request(params={"\x1b" + "x" * 999: 1}), "is no parameter's name"),
        (request(params={"purge": None}), "the parameter purge must be true, false, a whole"),
        (request(params={"purge": 1.5}), "the parameter purge must be"),
        (request(params={"purge": 2**53}), "the parameter purge must be"),
        (request(params={"purge": [True]}), "the parameter purge must be"),
        (request(params={"key": "a\nb"}), "the parameter key must be"),
        (request(params={"key": ""}), "the parameter key must be"),
        (request(params={"key": "x" * 16_385}), "the parameter key must be"),
    ):
        answer = operator("POST", ADMIN, json=envelope)
        error = answer.json()["error"]
        assert (answer.status_code, line in error) == (400, True), (envelope, error)
        assert error.isprintable()
        assert len(error) < 250
    assert host.fetches() == []


@pytest.mark.parametrize(
    ("body", "line"),
    [(b"", "not JSON"), (b"[]", "not an object"), (b"\xff", "not JSON"),
     (b'{"x":' * 40 + b"1" + b"}" * 40, "nested more than 32 deep")],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(
    host: Client, operator: Client, body: bytes, line: str
) -> None:
    answer = operator("POST", ADMIN, data=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(line)


def test_a_file_of_an_earlier_version_opens_and_its_jobs_are_delivered(tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "CREATE TABLE host (host_id TEXT PRIMARY KEY, key TEXT NOT NULL, "
            "seen REAL NOT NULL DEFAULT 0, report TEXT NOT NULL DEFAULT '{}', "
            "generation INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT '', "
            "blocked INTEGER NOT NULL DEFAULT 0);"
            "CREATE TABLE job (host_id TEXT NOT NULL, job_id TEXT NOT NULL, "
            "envelope TEXT NOT NULL, PRIMARY KEY (host_id, job_id));"
            "INSERT INTO host (host_id, key) VALUES ('pve1', 'secret');"
            """INSERT INTO job VALUES ('pve1', 'j1', '{"job_id": "j1", "odd": [1]}');"""
        )
    for _ in range(2):
        with closing(Store(str(path))) as store:
            assert store.owner("secret") == "pve1"
            assert store.jobs("pve1")[0] == {"job_id": "j1", "odd": [1]}
            store.enqueue("pve1", request(), 1.0)
            found = [(job.job_id, job.since) for job in store.all_jobs("pve1")]
            assert found == [("j1", 0.0), ("r1", 1.0)]
            hub = DevHub(store)
            assert "unknown; 0 signatures" in Client(hub, hub.operator_key).page()
            hub.close()


def test_what_is_known_of_jobs_and_signers_survives_in_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / "hub.sqlite")
    with closing(Store(path)) as store:
        store.enroll("pve1")
        store.enqueue("pve1", signed("held"), 1.0, held=True)
        store.enqueue("pve1", signed("open"), 2.0)
        store.deliver("pve1", 3.0)
        store.acknowledge("pve1", "open", 4.0)
        for version in (4, 5):
            signers = {"version": version, "by": "root"}
            store.take_report("pve1", {"agent": {"signers": signers}}, 5.0)
        before = (store.all_jobs("pve1"), store.host("pve1"))
    with closing(Store(path)) as store:
        assert (store.all_jobs("pve1"), store.host("pve1")) == before


class TestTheFormThatAsks:
    PATH = "/hosts/pve1/jobs/ask"

    @pytest.mark.parametrize(
        ("form", "wanted"),
        [
            (
                {"act": "guest_destroy", "vmid": " 101 ", "purge": "1", "stop": "1"},
                {"act": "guest_destroy", "vmid": 101, "params": {"purge": True}, "stop": True},
            ),
            (
                {"act": "snapshot_rollback", "vmid": "101", "what": "before", "resume": "1"},
                {"act": "snapshot_rollback", "vmid": 101, "params": {"snapshot": "before"},
                 "resume": True},
            ),
            (
                {"act": "disk_detach", "vmid": "101", "what": "scsi1"},
                {"act": "disk_detach", "vmid": 101, "params": {"key": "scsi1"}},
            ),
            (
                {"act": "force_stop", "vmid": "101", "what": "", "params": ""},
                {"act": "force_stop", "vmid": 101, "params": {}},
            ),
            ({"act": "thaw", "vmid": ""}, {"act": "thaw", "params": {}}),
            (
                {"act": "key_revocation", "params": '{"key": "SHA256:abc"}'},
                {"act": "key_revocation", "params": {"key": "SHA256:abc"}},
            ),
        ],
    )  # fmt: skip
    def test_it_puts_a_request_in(
        self, host: Client, operator: Client, form: dict[str, str], wanted: dict[str, Any]
    ) -> None:
        answer = operator("POST", self.PATH, data=form)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/hosts/pve1#jobs")
        (found,) = host.fetches()
        assert found["request"] == wanted
        operator("POST", self.PATH, data=form)
        assert len(host.fetches()) == 2, "each has an id of its own"

    @pytest.mark.parametrize(
        ("form", "line"),
        [
            ({}, "act must be one of"),
            ({"act": NASTY, "vmid": NASTY}, "act must be one of"),
            ({"act": "guest_destroy"}, "vmid must be a whole number"),
            ({"act": "guest_destroy", "vmid": NASTY}, "vmid must be a whole number"),
            ({"act": "guest_destroy", "vmid": "9" * 5000}, "vmid must be a whole number"),
            ({"act": "guest_destroy", "vmid": "\u0661\u0660\u0661"}, "vmid must be a whole number"),
            ({"act": "thaw", "vmid": "101"}, "a request for thaw has no 'vmid'"),
            ({"act": "snapshot_delete", "vmid": "101"}, "the parameter snapshot must be"),
            ({"act": "force_stop", "vmid": "101", "what": "x"}, "takes no snapshot or disk key"),
            ({"act": "force_stop", "vmid": "101", "purge": "1"}, "only a guest that is destroyed"),
            ({"act": "thaw", "params": "{"}, "the further parameters are not JSON: "),
            ({"act": "thaw", "params": "[1]"}, "the further parameters are not an object"),
            ({"act": "thaw", "params": '{"x": {}}'}, "the parameter x must be"),
        ],
    )
    def test_what_is_wrong_is_said_on_the_page_with_what_was_typed(
        self, host: Client, operator: Client, form: dict[str, str], line: str
    ) -> None:
        answer = operator("POST", self.PATH, data=form)
        assert answer.status_code == 400
        assert line in error_of(answer.text)
        assert "<script" not in answer.text
        for name in ("vmid", "what", "params"):
            assert f'name="{name}" value="{html.escape(form.get(name, ""))}"' in answer.text
        assert host.fetches() == []


JOB = '{"act":"force_stop","name":"w\u00e4b","vmid":101}'
SIGNATURE = "-----BEGIN SSH SIGNATURE-----\nQUJD\nRA==\n-----END SSH SIGNATURE-----\n"


class TestTheFormThatPutsASignedJobIn:
    PATH = "/hosts/pve1/jobs/put"

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("count", [1, 8])
    def test_signatures_have_their_line_ends_again_and_the_job_its_bytes(
        self, host: Client, operator: Client, end: str, count: int
    ) -> None:
        form = {"job": JOB + end, "signatures": (end + SIGNATURE * count).replace("\n", end)}
        answer = operator("POST", self.PATH, data=form)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/hosts/pve1#jobs")
        (found,) = host.fetches()
        assert base64.b64decode(found["op_blob_b64"]) == JOB.encode()
        assert found["sigs_armored"] == [SIGNATURE] * count

    def test_the_same_job_with_one_more_signature_is_the_same_job(
        self, host: Client, operator: Client
    ) -> None:
        for count in (1, 2):
            operator("POST", self.PATH, data={"job": JOB, "signatures": SIGNATURE * count})
        (found,) = host.fetches()
        assert len(found["sigs_armored"]) == 2

    def test_it_has_the_id_that_was_typed(self, host: Client, operator: Client) -> None:
        operator("POST", self.PATH, data={"job": JOB, "signatures": SIGNATURE, "job_id": "mine"})
        assert host.fetches()[0]["job_id"] == "mine"

    def test_one_that_answers_a_request_takes_it_from_the_list(
        self, hub: DevHub, host: Client, operator: Client
    ) -> None:
        hub.store.enqueue("pve1", request("r1"))
        hub.store.enqueue("pve1", request("r2"))
        form = {"job": JOB, "signatures": SIGNATURE, "request": "r1"}
        assert operator("POST", self.PATH, data=form).status_code == 303
        first, second = host.fetches()
        assert (first, second["job_id"]) == (
            request("r2"),
            hashlib.sha256(JOB.encode()).hexdigest(),
        )

    @pytest.mark.parametrize("answered", ["nothing", "j1", NASTY])
    def test_one_that_answers_what_is_no_request_is_not_kept(
        self, hub: DevHub, host: Client, operator: Client, answered: str
    ) -> None:
        hub.store.enqueue("pve1", signed("j1"))
        form = {"job": JOB, "signatures": SIGNATURE, "request": answered}
        answer = operator("POST", self.PATH, data=form)
        assert answer.status_code == 400
        assert "This was not done: no open" in answer.text
        assert host.fetches() == [signed("j1")]

    def test_a_request_is_not_lost_where_its_answer_cannot_be_kept(
        self, hub: DevHub, operator: Client
    ) -> None:
        for number in range(MAX_OPEN):
            hub.store.enqueue("pve1", request(f"r{number}"))
        hub.store.enqueue("pve1", signed(), answers="r0")
        with pytest.raises(TooMany):
            hub.store.enqueue("pve1", signed("j2"))
        hub.store.drop_job("pve1", "r1")
        large = ["s" * 3_000_000]
        with pytest.raises(TooMany):
            hub.store.enqueue("pve1", signed("j2", sigs_armored=large), answers="r2")
        assert "r2" in {job["job_id"] for job in hub.store.jobs("pve1")}

    @pytest.mark.parametrize(
        ("form", "line"),
        [
            ({}, "the job is not the one line of the file that was signed"),
            ({"job": JOB}, "there must be 1 to 8 signatures"),
            ({"job": JOB + " ", "signatures": SIGNATURE}, "the job is not the one line"),
            ({"job": JOB[:-1] + "\r\n}", "signatures": SIGNATURE}, "the job is not the one line"),
            ({"job": '{"a":1,"a":1}', "signatures": SIGNATURE}, "the job is not the one line"),
            ({"job": "[" * 100_000, "signatures": SIGNATURE}, "the job is not the one line"),
            ({"job": "[1]", "signatures": SIGNATURE}, "the job is not the one line"),
            ({"job": NASTY, "signatures": NASTY}, "the job is not the one line"),
            ({"job": f'{{"x":"{"y" * 65_536}"}}', "signatures": SIGNATURE}, "it holds 65544"),
            ({"job": JOB, "signatures": SIGNATURE * 9}, "there must be 1 to 8 signatures"),
            ({"job": JOB, "signatures": SIGNATURE * 20_000}, "there must be 1 to 8 signatures"),
            ({"job": JOB, "signatures": NASTY}, "signature 1 does not go from its BEGIN line"),
            ({"job": JOB, "signatures": SIGNATURE + NASTY}, "signature 2 does not go"),
            ({"job": JOB, "signatures": NASTY + SIGNATURE}, "signature 1 does not go"),
            ({"job": JOB, "signatures": SIGNATURE[:60] + "\n" + SIGNATURE}, "signature 1 does"),
            ({"job": JOB, "signatures": SIGNATURE[:-10]}, "signature 1 does not go"),
            (
                {"job": JOB, "signatures": SIGNATURE.replace("QUJD", "x" * 16_384)},
                "signature 1 must be a text of 1 to 16384 characters",
            ),
            ({"job": JOB, "signatures": SIGNATURE, "job_id": "\x1b"}, "job_id must be"),
        ],
    )
    def test_what_is_wrong_is_said_on_the_page_with_what_was_typed(
        self, host: Client, operator: Client, form: dict[str, str], line: str
    ) -> None:
        answer = operator("POST", self.PATH, data=form)
        assert answer.status_code == 400
        assert line in error_of(answer.text)
        assert "<script" not in answer.text
        for name in ("job", "signatures"):
            assert f"\n{html.escape(form.get(name, ''))}</textarea>" in answer.text
        assert host.fetches() == []

    def test_one_that_is_held_is_kept_back_until_it_is_delivered_and_can_be_dropped(
        self, host: Client, operator: Client
    ) -> None:
        form = {"job": JOB, "signatures": SIGNATURE, "hold": "1", "job_id": "j/1"}
        operator("POST", self.PATH, data=form)
        assert host.fetches() == []
        for word, count in (("deliver", 1), ("hold", 0), ("deliver", 1), ("drop", 0)):
            answer = operator("POST", f"/hosts/pve1/jobs/{word}", data={"job_id": "j/1"})
            assert answer.status_code == 303
            assert len(host.fetches()) == count


@pytest.mark.parametrize("word", ["hold", "deliver", "drop"])
def test_what_is_not_open_is_neither_held_nor_delivered_nor_dropped(
    hub: DevHub, host: Client, operator: Client, word: str
) -> None:
    hub.store.enqueue("pve1", signed("done"))
    host.fetches()
    host("DELETE", f"{JOBS}/done")
    for job_id in ("done", "never", "", NASTY):
        answer = operator("POST", f"/hosts/pve1/jobs/{word}", data={"job_id": job_id})
        assert answer.status_code == 400
        assert "This was not done: no open job of this host has that id" in answer.text
    assert len(hub.store.all_jobs("pve1")) == 1


def test_a_request_is_dropped_and_not_held(hub: DevHub, host: Client, operator: Client) -> None:
    hub.store.enqueue("pve1", request())
    held = operator("POST", "/hosts/pve1/jobs/hold", data={"job_id": "r1"})
    assert (held.status_code, "a request is not held" in held.text) == (400, True)
    assert host.fetches() == [request()]
    assert operator("POST", "/hosts/pve1/jobs/drop", data={"job_id": "r1"}).status_code == 303
    assert host.fetches() == []
    with pytest.raises(NoSuchJob):
        hub.store.drop_job("pve1", "r1")


def error_of(page: str) -> str:
    """Return the one error that a page shows, which is a bounded line."""
    found = re.findall(r'id="error">(This was not done: .*?)</p>', page)
    assert len(found) == 1
    assert html.unescape(found[0]).isprintable()
    assert len(found[0]) < 250
    return html.unescape(found[0])


FORMS = {
    "jobs/ask": {"act": "thaw"},
    "jobs/put": {"job": JOB, "signatures": SIGNATURE},
    "jobs/hold": {"job_id": "j1"},
    "jobs/deliver": {"job_id": "j2"},
    "jobs/drop": {"job_id": "j1"},
    "signers/seen": {"version": "5"},
}


@pytest.mark.parametrize("path", FORMS)
class TestEveryForm:
    @pytest.fixture(autouse=True)
    def _jobs(self, hub: DevHub, host: Client) -> Iterator[None]:
        hub.store.enqueue("pve1", signed("j1"))
        hub.store.enqueue("pve1", signed("j2"), held=True)
        for version in (4, 5):
            host.reports(signers={"version": version, "by": "root"})
        before = hub.store.all_jobs("pve1")
        yield
        assert hub.store.all_jobs("pve1") == before, "nothing was done"
        found = hub.store.host("pve1")
        assert found is not None
        assert found.signers.unseen == 5

    @pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://[", "x"])
    def test_it_is_refused_from_another_origin(
        self, operator: Client, path: str, origin: str
    ) -> None:
        answer = operator("POST", f"/hosts/pve1/{path}", data=FORMS[path],
                          headers={"Origin": origin})  # fmt: skip
        assert answer.status_code == 403

    def test_it_is_the_operators_alone(self, hub: DevHub, host: Client, path: str) -> None:
        for caller in (host, Client(hub, "x")):
            answer = caller("POST", f"/hosts/pve1/{path}", data=FORMS[path])
            assert answer.status_code == 401

    def test_it_is_refused_with_a_field_twice_or_one_that_it_does_not_have(
        self, operator: Client, path: str
    ) -> None:
        pairs = list(FORMS[path].items())
        for more, line in (
            (pairs[:1], "the form has a field twice"),
            ([("\x1b" + NASTY * 100, "1")], "the form has no field"),
            ([(f"f{number}", "") for number in range(1000)], "the form cannot be read"),
        ):
            answer = operator("POST", f"/hosts/pve1/{path}", data=[*pairs, *more])
            error = answer.json()["error"]
            assert (answer.status_code, line in error) == (400, True), error
            assert error.isprintable()
            assert len(error) < 200

    def test_bytes_that_are_no_text_are_not_made_one(self, operator: Client, path: str) -> None:
        for value in (b"\xff", b"%ff"):
            body = next(iter(FORMS[path])).encode() + b"=" + value
            answer = operator("POST", f"/hosts/pve1/{path}", data=body)
            error = {"error": "the form cannot be read"}
            assert (answer.status_code, answer.json()) == (400, error)

    @pytest.mark.parametrize("body", [b"", b"\xff=1", b"%ff=%fe", b"{}", b"&&&;=", b"\0"])
    def test_it_is_refused_without_its_fields(
        self, operator: Client, path: str, body: bytes
    ) -> None:
        answer = operator("POST", f"/hosts/pve1/{path}", data=body)
        assert answer.status_code == 400

    def test_a_host_that_is_not_there_has_none(self, operator: Client, path: str) -> None:
        answer = operator("POST", f"/hosts/nobody/{path}", data=FORMS[path])
        assert answer.status_code == 404


class TestARequestsFile:
    def test_it_is_the_text_of_the_hosts_latest_report_as_an_attachment(
        self, hub: DevHub, host: Client, operator: Client
    ) -> None:
        text = request_text(operation={"name": "w\u00e4b"})
        host.reports(pending=[pending("r1", request=text)])
        answer = operator("GET", "/hosts/pve1/requests/r1")
        assert answer.content == text.encode()
        assert answer.headers["Content-Disposition"] == 'attachment; filename="r1.request"'
        assert answer.headers["Content-Type"] == "application/octet-stream"
        host.reports(pending=[])
        assert operator("GET", "/hosts/pve1/requests/r1").status_code == 404

    def test_its_name_is_safe_whatever_the_host_calls_it(
        self, host: Client, operator: Client
    ) -> None:
        host.reports(pending=[pending('../../"ä\\ x'), pending("x" * 200), pending("...")])
        names = [
            operator("GET", f"/hosts/pve1/requests/{path}").headers["Content-Disposition"]
            for path in ("..%2F..%2F%22%C3%A4%5C%20x", "x" * 200, "...")
        ]
        assert names == [
            f'attachment; filename="{name}.request"' for name in ("_" * 10 + "x",
                                                                  "x" * 100, "___")
        ]  # fmt: skip

    def test_it_is_the_operators_alone(self, host: Client) -> None:
        host.reports(pending=[pending("r1")])
        assert host("GET", "/hosts/pve1/requests/r1").status_code == 401

    @pytest.mark.parametrize(
        "said",
        [
            None, 7, "x", {}, [7], [None], [[]], [{}], [pending(request=None)],
            [pending(request="")], [pending(request="{}")], [pending(request="[1]")],
            [pending(request="[" * 10_000)], [pending(request=request_text() + "\n")],
            [pending(request=request_text(x="y" * 65_536))],
            [pending(request=request_text().replace("{", '{"\x7f":1,', 1))],
            [pending(request=request_text().replace("{", '{"\ud800":1,', 1))],
            [pending(request=request_text(schema="another"))],
            [pending(expires=None)], [pending(expires="1")], [pending(expires=1.5)],
            [pending(expires=True)], [pending(expires=-1)], [pending(expires=2**60)],
            [{**pending(), "job_id": 7}], [{**pending(), "job_id": "r\n1"}],
        ],
    )  # fmt: skip
    def test_what_is_no_request_is_not_there_and_spoils_no_other(
        self, host: Client, operator: Client, said: object
    ) -> None:
        host.reports(pending=said)
        assert operator("GET", "/hosts/pve1/requests/r1").status_code == 404
        assert "waiting for a signature" not in operator.page()
        if isinstance(said, list):
            host.reports(pending=[*said, pending("good")])
            assert operator("GET", "/hosts/pve1/requests/good").status_code == 200

    def test_of_two_about_one_job_the_first_counts_and_of_many_there_are_twenty(
        self, host: Client, operator: Client
    ) -> None:
        second = pending("r0", request=request_text(second=True))
        host.reports(pending=[pending("r0"), second, *(pending(f"r{n}") for n in range(1, 1000))])
        assert operator("GET", "/hosts/pve1/requests/r0").text == request_text()
        assert operator("GET", "/hosts/pve1/requests/r19").status_code == 200
        assert operator("GET", "/hosts/pve1/requests/r20").status_code == 404
