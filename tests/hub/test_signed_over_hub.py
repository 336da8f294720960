"""A hostile hub against a real agent: it carries what operators sign, and can make none of it.

A real hub over HTTP, a real devnode over HTTPS, real keys. The hub holds back, hoards, repeats,
reorders, cuts and adds; what happens to guests and signers is what was signed, once, or nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.authz.armor import MAX_ARMOR
from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.jobs import JobState, JobStatus
from felhom_agent.authz.rate import BURST, SECONDS_EACH, Rate
from felhom_agent.authz.request import SignedRequest, parse_request, with_times
from felhom_agent.authz.signerline import Role
from felhom_agent.authz.sshkeygen import SSH_KEYGEN
from felhom_agent.authz.words import with_words
from felhom_agent.config.settings import Threshold
from felhom_agent.daemon.signedjobs import MAX_LISTED
from felhom_agent.devnode import Fault
from felhom_agent.journal.audit import AUDIT_NAME, verify_audit
from felhom_agent.journal.signed import CHALLENGE_SECONDS, MAX_CHALLENGES
from tests.authz.desk import key, needs_ssh_keygen, signer_line
from tests.conftest import Clock, Site
from tests.daemon.signing import DESTROY, PRIVILEGES
from tests.hub.carrier import HubbedHost, Linked, a_carrier, asked, carried, signed

pytestmark = needs_ssh_keygen

ANNA, BELA, STRANGER = key(), key(number=1), key(number=9)
SAFE, NEW_SAFE = key(number=5), key(number=6)
FIRST = (signer_line(ANNA), signer_line(SAFE, Role.RECOVERY))
SECOND = (signer_line(BELA), signer_line(NEW_SAFE, Role.RECOVERY))


@pytest.fixture
def scene(make_site: Callable[..., Site]) -> Iterator[HubbedHost]:
    """A host whose VM 100 is named for the hub, and whose container 200 is not."""
    with a_carrier() as hub:
        scene = HubbedHost(make_site(privileges=PRIVILEGES), hub)
        scene.allow(*FIRST)
        yield scene


@pytest.fixture
def linked(scene: HubbedHost) -> Iterator[Linked]:
    with scene.agent() as linked:
        yield linked


def force_stop(linked: Linked) -> SignedRequest:
    return linked.wanted(asked("r", "force_stop", 100))


def sent(linked: Linked, word: str = "") -> list[str]:
    """Return what PVE was asked to change, and what of it has that word in its path."""
    site = linked.agent.host.site
    return [m.path for m in site.devnode.mutations if word in f"{m.method} {m.path}"]


def start(linked: Linked) -> None:
    linked.agent.host.site.world.start(100)
    linked.agent.running.look()


class TestTheWholeWay:
    def test_a_request_is_told_signed_carried_done_acknowledged_and_told_of(
        self, linked: Linked
    ) -> None:
        request = linked.wanted(asked("r", DESTROY, 100, purge=False))
        assert request.operation.guest == "100 web"
        assert request.circumstances.node == "pve1"
        before = linked.told()["jobs"]
        assert (before["accepted"], before["last_nonce"]) == (0, None)
        job = signed(request, ANNA)
        assert linked.settled(job).state is JobState.DONE
        assert linked.hub.acknowledged == []
        linked.round()
        assert linked.hub.acknowledged == ["j"]
        assert linked.hub.rows == []
        told = linked.told()["jobs"]
        assert told["recent"] == [{"job_id": "j", "state": "done", "why": ""}]
        assert (told["accepted"], told["last_nonce"]) == (1, request.operation.nonce)
        assert linked.agent.host.site.world.here("qemu", 100) is None

    def test_a_guest_that_was_not_named_for_the_hub_is_refused_and_nothing_of_it_is_told(
        self, linked: Linked
    ) -> None:
        asked_before = len(linked.agent.host.site.devnode.requests)
        linked.round(asked("r", DESTROY, 200, purge=False), asked("s", DESTROY, 300, purge=False))
        there, absent = linked.recent()["r"], linked.recent()["s"]
        assert there[0] == absent[0] == "refused"
        assert there[1].replace("200", "N") == absent[1].replace("300", "N")
        assert linked.told()["pending"] == []
        assert "dns" not in json.dumps(linked.hub.report)
        assert linked.hub.acknowledged == ["r", "s"]
        assert len(linked.agent.host.site.devnode.requests) == asked_before

    def test_what_its_owner_signs_for_any_guest_is_done_whoever_carries_it(
        self, linked: Linked
    ) -> None:
        job = signed(linked.agent.request(DESTROY, 200), ANNA)
        assert linked.settled(job).state is JobState.DONE
        assert linked.agent.host.site.world.here("lxc", 200) is None

    def test_a_request_that_was_told_before_a_restart_may_be_signed_after_it(
        self, scene: HubbedHost
    ) -> None:
        with scene.agent() as linked:
            start(linked)
            job = signed(force_stop(linked), ANNA)
        with scene.agent() as linked:
            assert linked.settled(job).state is JobState.DONE

    def test_a_job_that_root_brought_first_is_told_by_the_hubs_name_though_the_hub_drops_it(
        self, linked: Linked
    ) -> None:
        start(linked)
        suspensions = linked.agent.parts.suspensions
        suspensions.freeze(None, "a reason", "root")
        job = signed(force_stop(linked), ANNA)
        linked.agent.ready.jobs.submit(replace(job, source="socket"))
        linked.round(carried(job))
        linked.hub.rows = []
        linked.round()
        assert linked.recent()["j"][0] == "pending"
        suspensions.thaw("root")
        assert linked.agent.tried(job).state is JobState.DONE
        assert linked.recent()["j"][0] == "done"

    def test_another_request_under_the_same_name_is_composed_anew(self, linked: Linked) -> None:
        linked.round(asked("r", "force_stop", 100))
        linked.round(asked("r", DESTROY, 100, purge=False))
        (pending,) = linked.told()["pending"]
        assert parse_request(pending["request"].encode()).operation.act == DESTROY
        linked.round(asked("r", DESTROY, 200, purge=False))
        assert linked.recent()["r"][0] == "refused"
        linked.round(asked("r", "force_stop", 100))
        assert len(linked.told()["pending"]) == 1

    def test_requests_without_end_do_not_keep_root_from_making_one(self, linked: Linked) -> None:
        for number in range(MAX_CHALLENGES // 20 + 1):
            linked.round(*(asked(f"{number}-{n}", "force_stop", 100) for n in range(20)))
            assert len(linked.told()["pending"]) == 20
        assert linked.agent.request("force_stop").operation.challenge


class TestWhatAHubMayDoToAJob:
    def test_one_that_it_hoarded_for_a_day_is_refused_as_too_late(self, linked: Linked) -> None:
        job = signed(linked.wanted(asked("r", DESTROY, 100, purge=False)), ANNA)
        linked.later(CHALLENGE_SECONDS + 60)
        linked.round(carried(job))
        assert linked.recent()["j"] == (
            "refused", "time: its challenge is older than 24 h; make a new request"
        )  # fmt: skip
        assert linked.hub.acknowledged == ["j"]
        assert sent(linked) == []

    def test_one_with_times_of_the_signers_own_is_refused_from_a_hub_and_not_from_root(
        self, linked: Linked
    ) -> None:
        start(linked)
        request = force_stop(linked)
        now = int(linked.agent.host.site.clock())
        timed = replace(request, operation=with_times(request.operation, now, 600))
        job = signed(timed, ANNA)
        linked.round(carried(job))
        assert "must have a challenge of this agent's" in linked.recent()["j"][1]
        assert sent(linked) == []
        assert linked.agent.done(replace(job, source="socket")).state is JobState.DONE

    def test_one_that_comes_again_after_its_end_is_done_once_under_whatever_name_it_comes(
        self, scene: HubbedHost
    ) -> None:
        with scene.agent() as linked:
            start(linked)
            job = signed(force_stop(linked), ANNA)
            linked.settled(job, "a")
            linked.round()
            start(linked)
            linked.round(carried(job, "a"), carried(job, "b"))
            assert linked.recent()["b"][0] == "done"
            assert scene.hub.acknowledged == ["a", "a", "b"]
        with scene.agent() as linked:
            linked.round(carried(job, "a"), carried(job, "c"))
            assert linked.recent()["a"][0] == linked.recent()["c"][0] == "done"
            linked.agent.running.look()
            assert linked.told_jobs()["accepted"] == 1
            assert scene.host.site.world.running(100)
        assert scene.hub.acknowledged == ["a", "a", "b", "a", "c"]
        assert len(sent(linked, "status/stop")) == 1

    @pytest.mark.parametrize("order", ["one round", "one after the other"])
    def test_of_two_for_the_same_state_of_a_guest_the_second_is_refused_in_any_order(
        self, scene: HubbedHost, order: str
    ) -> None:
        world = scene.host.site.world
        world.snapshot(100, "first")
        world.snapshot(100, "second")
        with scene.agent() as linked:
            first, second = (
                signed(linked.wanted(asked("r", "snapshot_delete", 100, snapshot=name)), ANNA)
                for name in ("first", "second")
            )
            late = [carried(second, "late")] if order == "one round" else []
            linked.round(*late, carried(first, "early"))
            linked.agent.ended(first)
            linked.round(carried(second, "late"))
            linked.agent.ended(second)
            found = linked.recent()
        states = sorted([found["early"][0], found["late"][0]])
        assert states == ["done", "refused"]
        lost = found["late"] if found["late"][0] == "refused" else found["early"]
        assert lost[1].startswith("state: ")
        assert len(world.snapshots(100)) == 1

    def test_one_that_it_drops_is_neither_told_of_nor_counted(self, linked: Linked) -> None:
        start(linked)
        dropped, carried_on = (signed(force_stop(linked), ANNA) for _ in range(2))
        linked.settled(carried_on)
        told = linked.told_jobs()
        assert told["accepted"] == 1
        assert [each["job_id"] for each in told["recent"]] == ["j"]
        nonce = json.loads(dropped.blob)["nonce"]
        assert nonce not in json.dumps(linked.hub.report)
        assert told["last_nonce"] == json.loads(carried_on.blob)["nonce"]

    def test_one_of_another_host_is_refused_though_the_same_key_signed_it(
        self, linked: Linked
    ) -> None:
        request = force_stop(linked)
        other = replace(request.operation, host="f" * 32)
        linked.round(carried(signed(replace(request, operation=with_words(other)), ANNA)))
        state, why = linked.recent()["j"]
        assert (state, why.partition(":")[0]) == ("refused", "host")
        assert sent(linked) == []

    def test_one_without_a_step_that_was_signed_is_refused_by_its_signature(
        self, linked: Linked
    ) -> None:
        start(linked)
        row = {"act": DESTROY, "vmid": 100, "params": {"purge": False}, "stop": True}
        job = signed(linked.wanted({"job_id": "r", "request": row}), ANNA)
        cut = job.blob.replace(b'"stop":true', b'"stop":false')
        assert cut != job.blob
        linked.round(carried(replace(job, blob=cut)))
        state, why = linked.recent()["j"]
        assert (state, why.partition(":")[0]) == ("refused", "signature")
        assert linked.settled(job, "k").state is JobState.DONE


class TestAWordThatWasGiven:
    """What was refused for good was told to its signer, who decides anew; a hub does not."""

    def test_one_that_was_refused_for_the_guests_state_is_not_done_later_however_it_is_carried(
        self, scene: HubbedHost
    ) -> None:
        world = scene.host.site.world
        with scene.agent() as linked:
            job = signed(linked.wanted(asked("r", DESTROY, 100, purge=False)), ANNA)
            start(linked)
            linked.round(carried(job))
            assert linked.recent()["j"][1].startswith("state: ")
            world.stop(100)
            linked.round(carried(job), carried(replace(job, signatures=job.signatures * 2), "k"))
            assert linked.recent()["k"][0] == "refused"
        with scene.agent() as linked:
            linked.round(carried(job), carried(replace(job, signatures=job.signatures * 2), "l"))
            linked.agent.running.look()
            assert linked.recent()["l"][0] == "refused"
            assert sent(linked, "DELETE") == []
            assert linked.agent.decisions().count("refused") == 1
            by_root = replace(job, source="socket")
            assert linked.agent.done(by_root).state is JobState.DONE, "a person brought it again"

    def test_a_flood_does_not_make_the_agent_forget_what_it_refused(self, linked: Linked) -> None:
        job = signed(linked.wanted(asked("r", DESTROY, 100, purge=False)), ANNA)
        start(linked)
        linked.round(carried(job))
        for number in range(2 * MAX_LISTED):
            linked.agent.ready.jobs._note(
                JobStatus(f"{number:064x}", JobState.REFUSED, 0.0, stage="armor")
            )
        linked.agent.host.site.world.stop(100)
        linked.round(carried(job))
        linked.agent.running.look()
        assert linked.recent()["j"][0] == "refused"
        assert sent(linked, "DELETE") == []

    def test_one_that_root_has_put_into_the_spool_is_done_though_a_hub_brought_it_before(
        self, scene: HubbedHost
    ) -> None:
        """It has times of its signer's own, which count from root alone."""
        spool = scene.host.spool
        spool.mkdir()
        scene.policy = {"spool": spool}
        with scene.agent() as linked:
            start(linked)
            request, now = force_stop(linked), int(scene.host.site.clock())
            timed = replace(request, operation=with_times(request.operation, now, 600))
            job = signed(timed, ANNA)
            linked.round(carried(job))
        with scene.agent() as linked:
            linked.round(carried(job))
            assert linked.recent()["j"][0] == "refused"
            (spool / "one.job.sig").write_bytes(job.signatures[0])
            (spool / "one.job").write_bytes(job.blob)
            linked.agent.running.look()
            linked.wait_for(job, JobState.DONE)


class TestWhatAHubMayDoToSignatures:
    @pytest.fixture
    def scene(self, scene: HubbedHost) -> HubbedHost:
        """A host on which two must sign to pull the plug."""
        scene.allow(signer_line(ANNA), signer_line(BELA))
        scene.policy = {"threshold": (Threshold("force_stop", 2),)}
        return scene

    def test_without_one_of_two_it_is_refused_by_the_threshold_and_with_both_it_is_done(
        self, linked: Linked
    ) -> None:
        start(linked)
        whole = signed(force_stop(linked), ANNA, BELA)
        for number, cut in enumerate(whole.signatures):
            linked.round(carried(replace(whole, signatures=(cut,)), f"cut {number}"))
            state, why = linked.recent()[f"cut {number}"]
            assert (state, why.partition(":")[0]) == ("refused", "threshold")
        assert sent(linked) == []
        assert linked.settled(whole, "whole").state is JobState.DONE

    def test_the_signature_of_one_twice_is_one(self, linked: Linked) -> None:
        job = signed(force_stop(linked), ANNA, ANNA)
        linked.round(carried(job))
        assert linked.recent()["j"][1].startswith("threshold: ")

    def test_with_a_strangers_signature_it_is_refused_and_without_it_it_is_done(
        self, linked: Linked
    ) -> None:
        start(linked)
        request = force_stop(linked)
        linked.round(carried(signed(request, ANNA, BELA, STRANGER), "more"))
        state, why = linked.recent()["more"]
        assert (state, why.partition(":")[0]) == ("refused", "threshold")
        assert "is no signer; leave that out" in why
        assert sent(linked) == []
        assert linked.settled(signed(request, ANNA, BELA)).state is JobState.DONE

    def test_what_waits_with_enough_of_them_is_not_spoiled_by_fewer(self, linked: Linked) -> None:
        start(linked)
        suspensions = linked.agent.parts.suspensions
        suspensions.freeze(None, "a reason", "root")
        job = signed(force_stop(linked), ANNA, BELA)
        linked.round(carried(job))
        linked.round(carried(replace(job, signatures=job.signatures[:1])))
        linked.round(carried(replace(job, signatures=(b"-" * MAX_ARMOR,)), "other"))
        assert linked.recent()["j"][0] == "pending"
        suspensions.thaw("root")
        assert linked.agent.tried(job).state is JobState.DONE


def counted_runs(linked: Linked, directory: Path) -> Callable[[], int]:
    """Return what tells how often the real ssh-keygen was run to check a signature from now on."""
    log, script = directory / "runs", directory / "ssh-keygen"
    script.write_text(f'#!/bin/sh\necho run >> {log}\nexec {SSH_KEYGEN} "$@"\n')
    script.chmod(0o755)
    linked.agent.ready.trust._verifier._program = script  # type: ignore[attr-defined]
    return lambda: len(log.read_text().splitlines()) if log.exists() else 0


class TestAFlood:
    def test_of_a_hundred_forged_jobs_a_burst_is_examined_and_a_good_one_behind_them_is_done(
        self, linked: Linked, tmp_path: Path
    ) -> None:
        start(linked)
        good = signed(force_stop(linked), ANNA)
        runs, clock = counted_runs(linked, tmp_path), Clock()
        linked.agent.ready.examiner._rate = Rate(clock)
        forged = [
            carried(SignedJob(b"forged %d" % n, (b"nonsense",)), f"forged {n}") for n in range(99)
        ]
        linked.round(*forged, carried(good))
        assert linked.agent.decisions() == ["refused"] * BURST
        assert linked.hub.acknowledged == [f"forged {n}" for n in range(BURST)]
        assert linked.recent()["j"][1].startswith("too many signed jobs at once; again in")
        assert runs() == 0
        for _ in range(100 // BURST):
            clock.pass_by(BURST * SECONDS_EACH)
            linked.round()
        assert linked.agent.ended(good).state is JobState.DONE
        assert linked.agent.decisions() == ["refused"] * 99 + ["accepted", "authorized", "done"]
        assert runs() == 2

    def test_a_flood_from_the_hub_does_not_keep_roots_own_job_from_being_done(
        self, linked: Linked
    ) -> None:
        start(linked)
        linked.agent.ready.examiner._rate = Rate(Clock())
        linked.round(
            *(carried(SignedJob(b"forged %d" % n, (b"x",)), f"{n}") for n in range(BURST + 1))
        )
        assert linked.agent.done(linked.agent.job("force_stop")).state is JobState.DONE

    def test_a_refused_job_is_acknowledged_and_not_examined_again_while_the_hub_insists(
        self, linked: Linked, tmp_path: Path
    ) -> None:
        linked.hub.insists = True
        runs = counted_runs(linked, tmp_path)
        job = signed(force_stop(linked), ANNA)
        forged = replace(job, blob=job.blob.replace(b"force_stop", b"guest_stop"))
        for _ in range(3):
            linked.round(carried(forged), carried(forged, "another name"))
        assert runs() == 1
        assert linked.agent.decisions() == ["refused"]
        assert linked.hub.acknowledged == ["j", "another name"] * 3
        assert linked.recent()["another name"][0] == "refused"

    def test_signatures_that_change_each_time_are_examined_no_oftener_than_the_rate(
        self, linked: Linked
    ) -> None:
        clock = Clock()
        linked.agent.ready.examiner._rate = Rate(clock)
        for number in range(BURST + 5):
            linked.round(carried(SignedJob(b"the same", (b"signature %d" % number,))))
        assert linked.agent.decisions() == ["refused"] * BURST


class TestWhatIsInTheWay:
    def test_a_job_waits_unacknowledged_while_the_node_is_away_and_is_done_when_it_is_back(
        self, linked: Linked
    ) -> None:
        start(linked)
        job = signed(force_stop(linked), ANNA)
        faults = linked.agent.host.site.devnode.faults
        faults.add(Fault(action="status:595", times=100_000))
        linked.round(carried(job))
        assert linked.recent()["j"][0] == "pending"
        assert linked.hub.acknowledged == []
        assert len(linked.hub.rows) == 1
        faults.clear()
        linked.round()
        assert linked.agent.ended(job).state is JobState.DONE
        linked.round()
        assert linked.hub.acknowledged == ["j"]

    def test_one_that_was_taken_is_done_when_the_node_is_back_though_the_hub_drops_it(
        self, linked: Linked
    ) -> None:
        start(linked)
        job = signed(force_stop(linked), ANNA)
        faults = linked.agent.host.site.devnode.faults
        linked.round(carried(job))
        linked.hub.rows = []
        faults.add(Fault(action="status:595", times=100_000))
        assert linked.agent.tried(job).state is JobState.PENDING
        assert linked.recent()["j"][0] == "pending"
        faults.clear()
        assert linked.agent.tried(job).state is JobState.DONE
        assert linked.recent()["j"][0] == "done"

    def test_an_audit_log_that_is_moved_away_lets_jobs_wait_and_the_report_goes_on(
        self, linked: Linked
    ) -> None:
        start(linked)
        job = signed(force_stop(linked), ANNA)
        path = linked.agent.host.config.journal.directory / AUDIT_NAME
        head = linked.told()["audit_head"]
        path.rename(path.with_name("aside"))
        linked.round(carried(job))
        told = linked.told()
        assert told["jobs"]["recent"][0]["state"] == "pending"
        assert "takes no more decisions" in told["jobs"]["recent"][0]["why"]
        assert (told["audit_head"], told["signers"]["version"]) == (head, 1)
        assert linked.hub.acknowledged == []
        assert sent(linked, "status/stop") == []

    def test_an_agent_whose_audit_log_cannot_be_used_says_so_of_each_job_and_takes_none(
        self, scene: HubbedHost
    ) -> None:
        with scene.agent() as linked:
            start(linked)
            job = signed(force_stop(linked), ANNA)
        path = scene.host.config.journal.directory / AUDIT_NAME
        path.write_bytes(path.read_bytes().replace(b"begun", b"begum"))
        with scene.agent() as linked:
            linked.round(carried(job), asked("r", "force_stop", 100))
            told = linked.told()
            why = "no signed operation is done on this host now; see its log"
            assert told["jobs"] == {
                "last_nonce": None, "accepted": 0,
                "recent": [{"job_id": n, "state": "pending", "why": why} for n in ("j", "r")],
            }  # fmt: skip
            assert (told["frozen"], told["signers"], told["audit_head"]) == (None, None, None)
            assert (told["challenge"], told["pending"]) == (None, [])
        assert scene.hub.acknowledged == []

    def test_each_decision_moves_the_head_in_the_report_and_the_log_has_every_one_of_them(
        self, linked: Linked
    ) -> None:
        start(linked)
        job = signed(force_stop(linked), ANNA)
        heads = [linked.told()["audit_head"]]
        linked.round(carried(SignedJob(b"forged", (b"nonsense",)), "forged"))
        heads.append(linked.told()["audit_head"])
        linked.settled(job)
        heads.append(linked.told()["audit_head"])
        assert len(set(heads)) == 3
        path = linked.agent.host.config.journal.directory / AUDIT_NAME
        for head in heads:
            assert verify_audit(path, head=head).problems == ()
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:-1]))
        assert "no line has the hash" in verify_audit(path, head=heads[-1]).problems[0]


def rotation(linked: Linked, *lines: str) -> SignedRequest:
    text = "".join(f"{line}\n" for line in lines)
    return linked.wanted(asked("r", "key_rotation", allowed_signers=text))


class TestSigners:
    def test_a_rotation_signed_by_old_and_new_keys_is_done_and_the_old_key_signs_no_more(
        self, linked: Linked
    ) -> None:
        start(linked)
        before = signed(force_stop(linked), ANNA)
        job = signed(rotation(linked, *SECOND), SAFE, NEW_SAFE, BELA)
        assert linked.settled(job, "rotation").state is JobState.DONE
        told = linked.told()["signers"]
        assert (told["version"], told["by"]) == (2, "rotation")
        assert (told["operational"], told["recovery"]) == (1, 1)
        linked.round(carried(before, "old"))
        assert linked.recent()["old"][1].startswith("key: ")
        assert sent(linked, "status/stop") == []
        assert linked.settled(signed(force_stop(linked), BELA)).state is JobState.DONE

    def test_a_hub_that_asks_for_a_set_that_would_lock_the_owner_out_is_refused(
        self, linked: Linked
    ) -> None:
        linked.round(asked("r", "key_rotation", allowed_signers=f"{SECOND[0]}\n"))
        state, why = linked.recent()["r"]
        assert state == "refused"
        assert "would lock you out" in why
        assert linked.told()["pending"] == []

    def test_a_set_that_the_hub_put_in_the_place_of_the_one_asked_for_is_not_signed_for(
        self, linked: Linked
    ) -> None:
        theirs = (signer_line(STRANGER), signer_line(key(number=8), Role.RECOVERY))
        wanted, theirs_wanted = rotation(linked, *SECOND), rotation(linked, *theirs)
        job = signed(wanted, SAFE, NEW_SAFE, BELA)
        swapped = replace(job, blob=theirs_wanted.operation.encode())
        alone = signed(theirs_wanted, STRANGER, key(number=8))
        for name, theirs_job, stage in (("a", swapped, "signature"), ("b", alone, "key")):
            linked.round(carried(theirs_job, name))
            state, why = linked.recent()[name]
            assert (state, why.partition(":")[0]) == ("refused", stage)
        assert linked.told()["signers"]["version"] == 1

    def test_a_revocation_ends_a_job_of_that_key_that_waits(self, linked: Linked) -> None:
        start(linked)
        suspensions = linked.agent.parts.suspensions
        suspensions.freeze(None, "a reason", "root")
        waits = signed(force_stop(linked), ANNA)
        linked.round(carried(waits, "waits"))
        assert linked.recent()["waits"][0] == "pending"
        revocation = linked.wanted(asked("r", "key_revocation", keys=[ANNA.line]))
        assert linked.settled(signed(revocation, SAFE), "back").state is JobState.DONE
        suspensions.thaw("root")
        linked.agent.tried(waits)
        assert linked.recent()["waits"][1].startswith("revocation: ")
        assert sent(linked, "status/stop") == []

    def test_a_hub_that_holds_a_revocation_back_delays_it_and_no_more(self, linked: Linked) -> None:
        revocation = linked.wanted(asked("r", "key_revocation", keys=[ANNA.line]))
        job = signed(revocation, SAFE)
        linked.round()
        assert linked.told_jobs()["accepted"] == 0
        linked.later(CHALLENGE_SECONDS - 3600)
        assert linked.settled(job).state is JobState.DONE
        linked.round(carried(signed(force_stop(linked), ANNA), "late"))
        assert linked.recent()["late"][1].startswith("revocation: ")

    def test_root_does_what_a_hub_holds_back(self, linked: Linked) -> None:
        job = signed(linked.wanted(asked("r", "key_revocation", keys=[ANNA.line])), SAFE)
        assert linked.agent.done(replace(job, source="socket")).state is JobState.DONE
        linked.round(carried(job, "late"))
        assert linked.recent()["late"][0] == "done"
        assert linked.told_jobs()["accepted"] == 1

    def test_a_thaw_ends_the_freeze_though_it_holds_every_guest(self, linked: Linked) -> None:
        linked.agent.parts.suspensions.freeze(None, "a reason", "root")
        assert linked.told()["frozen"] is True
        stops = signed(force_stop(linked), ANNA)
        linked.round(carried(stops, "stops"))
        thaw = signed(linked.wanted(asked("r", "thaw")), SAFE)
        assert linked.settled(thaw, "thaw").state is JobState.DONE
        assert linked.told()["frozen"] is False
        assert linked.agent.tried(stops).state is JobState.DONE

    def test_a_thaw_that_is_carried_again_ends_no_later_freeze(self, linked: Linked) -> None:
        suspensions = linked.agent.parts.suspensions
        suspensions.freeze(None, "a reason", "root")
        thaw = signed(linked.wanted(asked("r", "thaw")), SAFE)
        linked.settled(thaw)
        suspensions.freeze(None, "another reason", "root")
        linked.round(carried(thaw), carried(thaw, "again"))
        linked.agent.running.look()
        assert linked.told()["frozen"] is True
