"""How things stand, as a person reads it, whatever the agent is and says."""

from __future__ import annotations

import copy
import random
from datetime import datetime
from typing import Any

import pytest

from felhom_agent.cli import statustext
from felhom_agent.cli.statustext import Asked
from felhom_agent.cli.terminal import Line
from tests.control import valid

NOW = datetime.fromisoformat("2026-11-26T19:30:00+00:00").timestamp()
ALL = Asked(every=True)


def guest(vmid: int, outcome: str | None = "converged", **more: object) -> dict[str, Any]:
    return {
        "vmid": vmid, "kind": "qemu", "name": f"g{vmid}", "state": "running", "mode": "enforce",
        "outcome": outcome, "why": "", "since": "2026-11-26T17:30:00Z", "activity": "idle",
        "next": None, "plan": [], **more,
    }  # fmt: skip


def hold(name: str, why: str, vmid: int = 0) -> dict[str, Any]:
    since = "2026-11-26T19:10:00Z"
    return {"name": name, "vmid": vmid, "why": why, "since": since, "by": "root"}


def pause(
    vmid: int, *, freeze: bool = False, left: float | None = None, why: str = "disk swap"
) -> dict[str, Any]:
    since = "2026-11-26T19:10:00Z"
    return {"vmid": vmid, "freeze": freeze, "since": since, "left": left, "why": why, "by": "root"}


def status(*guests: dict[str, Any], **more: object) -> dict[str, Any]:
    found = {
        "schema": 1, "version": "0.2.0", "node": "pve1", "started": "2026-11-23T19:00:00Z",
        "mode": "enforce", "holds": [], "suspensions": [],
        "last_pass": {"at": "2026-11-26T19:29:48Z", "seconds": 0.31, "ok": True, "why": ""},
        "next_pass": "2026-11-26T19:30:48Z",
        "counts": dict.fromkeys(
            ("declared", "converged", "retry", "blocked", "refused", "running", "queued",
             "in_flight", "unknown"), 0),
        "guests": list(guests), "others": [], "problems": [], "held": None, "hub": None,
        "trouble": "", "hints": None, **more,
    }  # fmt: skip
    valid("status", found)
    return found


def plain(line: Line | str) -> str:
    parts = [line] if isinstance(line, str) else line
    return "".join(part if isinstance(part, str) else part.text for part in parts)


def head(found: dict[str, Any]) -> str:
    return plain(statustext.agent_line(found, NOW))


def rows(found: dict[str, Any], asked: Asked = ALL) -> list[list[str]]:
    return [[plain([cell]) for cell in row] for row in statustext.guest_rows(found, asked, NOW)]


def row(found: dict[str, Any]) -> list[str]:
    (only,) = rows(found)
    return only


class TestHead:
    def test_a_good_day_is_one_line(self) -> None:
        assert head(status()) == (
            "felhom-agent 0.2.0  pve1  up 3 d  last pass 12 s ago (0.3 s)  files: ok  frozen: no"
        )
        assert list(statustext.news(status(), NOW)) == []

    def test_what_is_wrong_stands_in_it_and_why_below(self) -> None:
        failed = {"at": "2026-11-26T19:29:48Z", "seconds": 5.0, "ok": False, "why": "x"}
        problems = [
            {"file": "dns.toml", "line": 5, "text": "corse: no such option", "follows": False}
        ]
        frozen = [pause(0, freeze=True, left=7800)]
        found = status(
            last_pass=failed, problems=problems * 2, suspensions=frozen,
            trouble="the node cannot be observed: refused",
            holds=[hold("freeze", "frozen by root: moving"), hold("mode", "observe mode")],
            hub={"generation": 7, "blocked": True, "reported": None},
        )  # fmt: skip
        assert head(found) == (
            "felhom-agent 0.2.0  pve1  up 3 d  last pass FAILED 12 s ago (5.0 s)  files: 2 ERRORS  "
            f"frozen: until {datetime.fromtimestamp(NOW + 7800):%H:%M}  mode: observe  "
            "hub: blocks this host"
        )
        assert [plain(line) for line in statustext.news(found, NOW)] == [
            "trouble: the node cannot be observed: refused",
            "held: frozen by root: moving (for 20 m)",
        ]

    def test_after_a_pass_that_failed_nobody_knows_that_all_is_well(self) -> None:
        passed = {"at": "2026-11-26T19:29:48Z", "seconds": 5.0, "ok": False, "why": "x"}
        assert statustext.differs(status(guest(101), last_pass=passed), ())
        assert not statustext.differs(status(guest(101)), ())

    def test_before_the_first_pass_and_with_all_paused(self) -> None:
        found = status(last_pass=None, suspensions=[pause(0), pause(0, freeze=True)])
        assert "no pass yet" in head(found)
        assert "frozen: until thaw  paused: all" in head(found)

    def test_what_the_brake_holds_is_told_with_how_to_let_it_pass(self) -> None:
        found = status(held={"plan": "3f9c", "vmids": list(range(101, 113))})
        (line,) = statustext.news(found, NOW)
        assert plain(line) == (
            "held: unusually large: 12 guests, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110 "
            "and 2 more; felhom-agent approve 3f9c lets this pass"
        )

    def test_what_the_brake_holds_is_told_by_number_and_name(self) -> None:
        held = {"plan": "3f9c", "vmids": [101, 103]}
        (line,) = statustext.news(status(guest(101), guest(102), held=held), NOW)
        assert plain(line) == (
            "held: unusually large: 2 guests, 101 g101, 103; "
            "felhom-agent approve 3f9c lets this pass"
        )


class TestRows:
    def test_what_is_as_declared_is_counted_and_not_listed(self) -> None:
        found = status(
            guest(101, "blocked", why="needs a restart: memory 2048 -> 3072",
                  next="2026-11-29T03:00:00Z"),
            *[guest(vmid) for vmid in range(110, 140)],
            others=[{"vmid": 900 + n, "kind": "lxc", "name": "x", "state": None} for n in range(4)],
        )  # fmt: skip
        sunday = datetime.fromisoformat("2026-11-29T03:00:00+00:00").astimezone()
        assert rows(found, Asked()) == [
            ["101", "g101", "running", "waits", "2 h", f"Sun {sunday:%H:%M}",
             "needs a restart: memory 2048 -> 3072"],
        ]  # fmt: skip
        assert statustext.rest_line(found, Asked()) == (
            "30 more as declared; 4 guests of the node are not declared (--all)"
        )
        every = rows(found)
        assert [len(each) for each in every] == [len(statustext.HEAD)] * 35
        assert every[-1] == ["903", "x", "-", "not declared", "", "", ""]
        assert statustext.rest_line(found, ALL) == ""

    def test_where_all_is_well_there_is_no_table(self) -> None:
        found = status(
            guest(101),
            guest(102),
            others=[{"vmid": 103, "kind": "lxc", "name": "", "state": "stopped"}],
        )
        assert rows(found, Asked()) == []
        assert statustext.rest_line(found, Asked()) == (
            "2 as declared; 1 guest of the node is not declared (--all)"
        )
        assert statustext.rest_line(status(), Asked()) == "no guest is declared"
        assert statustext.rest_line(status(others=None), Asked()) == "no guest is declared"

    def test_who_is_asked_for_is_shown_declared_or_not(self) -> None:
        found = status(
            guest(101),
            guest(102),
            others=[{"vmid": 103, "kind": "lxc", "name": "", "state": "stopped"}],
        )
        asked = Asked(frozenset({101, 103, 104}))
        assert [each[0] for each in rows(found, asked)] == ["101", "103"]
        assert rows(found, asked)[1][1:4] == ["?", "stopped", "not declared"]
        assert statustext.unknown_guests(found, asked.vmids) == [104]
        assert statustext.rest_line(found, asked) == ""

    def test_a_paused_guest_is_told_with_its_end_and_what_differs(self) -> None:
        found = status(
            guest(105, "blocked", why="paused; would start", plan=["start"]),
            suspensions=[pause(105, left=60)],
        )
        assert row(found)[3:] == ["paused", "20 m", "in 60 s", "disk swap; differs: start"]
        found = status(guest(105), suspensions=[pause(0, why="")])
        assert row(found)[3:] == ["paused", "20 m", "resume", ""]
        assert not statustext.differs(found, ())
        found = status(guest(105), suspensions=[pause(106), pause(0, freeze=True)])
        assert row(found)[3] == "as declared"

    def test_what_is_only_observed_is_no_waiting(self) -> None:
        noted = "noted: observed only; would set cores: 2 -> 4"
        found = status(guest(201, "blocked", why=noted[7:], mode="observe", plan=[noted]))
        assert row(found)[3:] == ["observed", "2 h", "", "differs: set cores: 2 -> 4"]
        why = "nothing is changed in observe mode"
        found = status(
            guest(201, "blocked", why=f"{why}; would start", plan=["start"]),
            guest(202, "blocked", why="locked", mode="observe", plan=["withheld: locked"]),
            guest(203, "refused", why="no such storage", mode="observe", plan=["refused: x"]),
            holds=[hold("mode", why)],
        )
        assert [each[3] for each in rows(found)] == ["observed", "waits", "refused"]

    @pytest.mark.parametrize(
        ("made", "verdict", "note"),
        [
            (guest(101, "retry", why="start failed"), "retry", "start failed"),
            (guest(101, "refused", why="cores: wrong"), "refused", "cores: wrong"),
            (guest(101, None), "not seen yet", ""),
            (guest(101, "retry", activity="running", plan=["start"]), "at work", "start"),
            (guest(101, "retry", activity="queued", plan=["a", "b"]), "queued", "a; b"),
            (guest(101, plan=["start"]), "as declared", ""),
        ],
    )  # fmt: skip
    def test_each_way_to_stand_has_a_word(
        self, made: dict[str, Any], verdict: str, note: str
    ) -> None:
        found = row(status(made))
        assert (found[3], found[6]) == (verdict, note)
        assert statustext.differs(status(made), ()) == (made["outcome"] != "converged")

    def test_names_and_notes_are_bounded_and_show_no_escape(self) -> None:
        odd = guest(101, "blocked", name="\x1b[2J\u202e" + "n" * 500, why="y\n" * 5000)
        found = row(status(odd))
        assert all(cell.isprintable() for cell in found)
        assert len(found[1]) <= statustext.MAX_NAME
        assert len(found[6]) <= statustext.MAX_NOTE

    def test_a_clock_that_was_put_back_makes_no_time_less_than_nothing(self) -> None:
        found = status(guest(101, since="2030-01-01T00:00:00Z"), started="2030-01-01T00:00:00Z")
        assert row(found)[4] == "0 s"
        assert "up 0 s" in head(found)


class TestProblems:
    def test_each_is_told_with_its_place(self) -> None:
        problems = [
            {"file": "dns.toml", "line": 5, "text": "corse: no such option", "follows": False},
            {
                "file": "dns.toml",
                "line": 0,
                "text": "has errors; the last good declaration stays",
                "follows": True,
            },
            {"file": "", "line": 0, "text": "and more", "follows": False},
        ]
        found = status(problems=problems)
        assert [plain(line) for line in statustext.problem_lines(found)] == [
            "dns.toml:5  corse: no such option",
            "dns.toml  has errors; the last good declaration stays",
            "and more",
        ]
        assert statustext.differs(found, ())

    def test_hundreds_are_cut_unless_all_are_asked_for(self) -> None:
        found = status(
            problems=[{"file": "x", "line": n, "text": "y", "follows": False} for n in range(100)]
        )
        shown = [plain(line) for line in statustext.problem_lines(found)]
        assert (len(shown), shown[-1]) == (21, "and 80 more; felhom-agent check tells all")
        assert len(list(statustext.problem_lines(found, every=True))) == 100


class TestOthers:
    """Other agents, and what is none."""

    def test_an_older_agent_is_told_of_and_nothing_is_made_up(self) -> None:
        found = status(guest(101), guest(102, "blocked", why="locked"))
        gone = ("schema", "others", "problems", "held", "hub", "trouble", "hints", "next_pass")
        for name in gone:
            del found[name]
        for each in found["guests"]:
            for name in ("state", "mode", "next"):
                del each[name]
        assert "files" not in head(found)
        assert rows(found, Asked()) == [["102", "g102", "-", "waits", "2 h", "", "locked"]]
        assert statustext.rest_line(found, Asked()) == "1 more as declared"
        (line,) = statustext.news(found, NOW)
        assert plain(line).startswith(
            "note: the agent that runs (0.2.0) does not tell this command"
        )
        assert plain(line).endswith(
            "of: others, problems, held, trouble, hints; systemctl restart felhom-agent"
        )

    def test_members_of_any_type_break_nothing(self) -> None:
        whole = status(
            guest(101, "blocked", plan=["start"], next="2026-11-26T19:30:05Z"),
            guest(102),
            others=[{"vmid": 103, "kind": "lxc", "name": "x", "state": None}],
            problems=[{"file": "x", "line": 1, "text": "y", "follows": False}],
            holds=[hold("mode", "x"), hold("freeze", "y")],
            suspensions=[pause(0), pause(101, left=5), pause(0, freeze=True, left=5)],
            held={"plan": "x", "vmids": [101]},
            hub={"generation": 1, "blocked": True, "reported": None},
            trouble="z",
        )  # fmt: skip
        odd: list[Any] = [
            None,
            True,
            -1,
            10**400,
            1e300,
            float("nan"),
            "",
            "\ud800\x1b",
            [],
            [[]],
            [None],
            {},
        ]
        chance = random.Random(16)  # noqa: S311
        for _ in range(3000):
            found = copy.deepcopy(whole)
            for _ in range(chance.randint(1, 4)):
                _break(found, chance, odd)
            for asked in (Asked(), ALL, Asked(frozenset({101, 103}))):
                made = [
                    head(found), *map(plain, statustext.news(found, NOW)),
                    statustext.rest_line(found, asked),
                    *(cell for each in rows(found, asked) for cell in each),
                    *map(plain, statustext.problem_lines(found)),
                ]  # fmt: skip
                assert all(isinstance(text, str) for text in made)
                assert isinstance(statustext.differs(found, asked.vmids), bool)
                statustext.unknown_guests(found, asked.vmids)


def _break(found: Any, chance: random.Random, odd: list[Any]) -> None:
    """Put something odd, or nothing, somewhere into an answer."""
    while True:
        keys = list(found) if isinstance(found, dict) else list(range(len(found)))
        if not keys:
            return
        key = chance.choice(keys)
        if isinstance(found[key], dict | list) and chance.random() < 0.7:
            found = found[key]
        elif chance.random() < 0.2:
            del found[key]
            return
        else:
            found[key] = chance.choice(odd)
            return
