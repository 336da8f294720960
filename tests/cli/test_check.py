"""`check --json` is as its schema says, and tells what is to be done."""

from __future__ import annotations

import os
from typing import Any

import pytest

from felhom_agent.cli.check import show
from felhom_agent.cli.health import bad, good, note
from felhom_agent.cli.main import main
from tests.commands import validated
from tests.conftest import Site


def checked(site: Site, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = main(["--config", str(site.directory / "agent.toml"), "check", "--json"])
    return code, validated("check", capsys.readouterr().out)


def test_check_answers_with_its_findings(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.write_config()
    site.declare("[guest.100]\nconfig.cores = 1\n")
    code, answer = checked(site, capsys)
    assert (code, answer["good"]) == (0, True)
    assert all(finding["good"] for finding in answer["findings"])


def test_check_notes_where_nothing_is_declared_and_how_many_guests_there_are(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.write_config()
    code, answer = checked(site, capsys)
    texts = [finding["text"] for finding in answer["findings"]]
    assert code == 0
    assert "guest files declare 0 guests" in texts
    where = site.guests_directory
    assert f"node pve1 has 2 guests, and none is declared in {where}" in texts


def test_check_answers_in_json_also_where_agent_toml_is_wrong(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    (site.directory / "agent.toml").write_text("[proxmox]\nx = 1\n")
    code, answer = checked(site, capsys)
    assert (code, answer["good"]) == (78, False)
    assert "agent.toml:2: [proxmox] x: unknown key" in answer["findings"][-1]["text"]


def test_check_tells_a_wrong_node_with_those_there_are(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    path = site.write_config()
    path.write_text(path.read_text().replace('"pve1"', '"pve7"'))
    code, answer = checked(site, capsys)
    bad = [finding["text"] for finding in answer["findings"] if not finding["good"]]
    assert code == 1
    words = 'the cluster has no node "pve7" (it has: pve1); set node in [proxmox] of agent.toml'
    assert bad
    assert all(text.startswith(words) for text in bad)


def test_check_of_files_answers_in_the_same_form(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare("[guest.100.config]\ncores = 1\n")
    assert main(["check", "--json", str(site.guests_directory)]) == 0
    answer = validated("check", capsys.readouterr().out)
    (finding,) = answer["findings"]
    assert (finding["level"], finding["text"]) == ("good", "guest files declare 1 guest")
    assert answer["summary"] == "No fault; 1 good."
    site.declare("[guest.100.config]\ncores = 0\n")
    assert main(["check", "--json", str(site.guests_directory)]) == 78
    answer = validated("check", capsys.readouterr().out)
    assert not answer["good"]
    assert [finding["level"] for finding in answer["findings"]] == ["bad", "note"]


def test_a_file_or_a_directory_in_which_nothing_is_declared_is_noted_by_its_name(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    where = site.guests_directory
    assert main(["check", str(where)]) == 0
    told = f"note  no guest is declared in {where}: no file in it ends in .toml\n"
    assert capsys.readouterr().out == f"{told}No fault, 1 note; 0 good.\n"
    site.declare("# all are gone\n", "b.toml")
    assert main(["check", str(where), str(where / "b.toml")]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"note  no guest is declared in {where}",
        f"note  no guest is declared in {where}/b.toml",
    ]
    site.declare("[guest.100.config]\ncores = 1\n", "a.toml")
    assert main(["check", str(where), str(where / "b.toml")]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"note  no guest is declared in {where}/b.toml",
        "ok    guest files declare 1 guest",
    ]


def test_what_is_declared_wrongly_or_twice_is_not_said_to_be_no_declaration(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare("[guest.100.config]\ncores = 0\n", "a.toml")
    site.declare("[guest.200]\n", "b.toml")
    site.declare("[guest.200]\n", "c.toml")
    site.declare("[guest", "d.toml")
    names = [str(site.guests_directory / f"{name}.toml") for name in "abcd"]
    assert main(["check", *names, os.path.relpath(names[0]), str(site.guests_directory)]) == 78
    assert "no guest is declared" not in capsys.readouterr().out


def test_many_empty_files_are_told_in_so_many_lines(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    for number in range(50):
        site.declare("", f"{number}.toml")
        names.append(str(site.guests_directory / f"{number}.toml"))
    assert main(["check", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "note  and in 30 more of the files and directories that were named"
    assert len(lines) == 22


def test_what_is_no_guest_file_only_by_its_names_letters_is_noted(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.write_config()
    site.declare("[guest.100.config]\ncores = 1\n", "z.TOML")
    told = f"{site.guests_directory}/z.TOML: not read: its name must end in .toml, in small letters"
    assert main(["check", str(site.guests_directory)]) == 0
    assert f"note  {told}\n" in capsys.readouterr().out
    _, answer = checked(site, capsys)
    assert told in [finding["text"] for finding in answer["findings"]]


def test_each_kind_of_finding_has_its_word_and_the_remedy_stands_below(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [good("a"), note("b:", "do b"), bad("c:", "do c", "then d")]
    assert show(findings) == 1
    assert capsys.readouterr().out.splitlines() == [
        "ok    a", "note  b:", "        do b", "FAIL  c:", "        do c", "        then d",
        "1 fault, 1 note; 1 good.",
    ]  # fmt: skip
