"""A text that is no TOML is answered with what to write instead, and never with a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.config import tomlfile
from felhom_agent.errors import ConfigError

SECRET = "hunter2-Zx9"


def told(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        tomlfile.parse(text, Path("g.toml"))
    (problem,) = caught.value.problems
    line = str(problem)
    assert line.isprintable()
    assert len(line) < 500
    return line


@pytest.mark.parametrize(
    "before", ["", "[guest.101]\n", "[guest.101]\n# it's a note\n\nkind = 'qemu'\n"]
)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("state = running", 'text needs quotes: state = "running" (at the ^: state = ^running)'),
        ("net0 = virtio,bridge=vmbr0", 'text needs quotes: net0 = "virtio,bridge=vmbr0"'),
        (
            "memory = 2048 MB",
            'a number has digits alone, and no unit; a text needs quotes: memory = "2048 MB"',
        ),
        ("memory = 2G  # two", 'no unit; a text needs quotes: memory = "2G"'),
        ("cores = 1_", "a number has digits alone, and no unit; a text needs quotes: cores = "),
        (
            "interval = 1m",
            "a number has digits alone, and no unit; a text needs quotes: interval =",
        ),
        (
            "cpulimit = 1.5x",
            "a number has digits alone, and no unit; a text needs quotes: cpulimit",
        ),
        ("keyboard = de", 'text needs quotes: keyboard = "de"'),
        ("startdate = 2026-13-45", 'a date or time needs quotes: startdate = "2026-13-45"'),
        ("startdate = 2026-02-30", 'a date or time needs quotes: startdate = "2026-02-30"'),
        ("onboot = True", "in small letters: onboot = true"),
        ("onboot = FALSE", "in small letters: onboot = false"),
        ("onboot = yes", "onboot = true"),
        ("onboot = off", "onboot = false"),
        ("cpulimit = none", "leave cpulimit out"),
        ("cpulimit = 0,5", "a point, not a comma: cpulimit = 0.5"),
        ("cpulimit = .5", "cpulimit = 0.5"),
        ("cores = 04", "no zero in front: cores = 4"),
        ("cores = 4;", "nothing may follow the value: cores = 4"),
        ("cores = 4,", "nothing may follow the value: cores = 4"),
        ("cores: 4", 'write "=" in place of ":": cores = 4 (at the ^: cores^: 4)'),
        ("state: running", 'write "=" in place of ":": state = "running"'),
        ("cores; 4", 'write "=" in place of ";": cores = 4'),
        ("cores := 4", 'write "=" in place of ":=": cores = 4'),
        ("cores => 4", 'write "=" in place of "=>": cores = 4'),
        ("cores == 4", 'write "=" in place of "==": cores = 4'),
        ("cores 4", 'there is no "=": cores = 4'),
        ("cores", 'it has no "="'),
        ("cores =", "there is no value after cores ="),
        ("= 4", "the name before the = is missing"),
        ("cores = 4 memory = 2", "a line has one setting; begin a new line for memory"),
        ('name = "web', 'the quote " that opens here is not closed'),
        ("name = 'web", "the quote ' that opens here is not closed"),
        ('name = "a"b"', "nothing may follow the closing quote"),
        ('name = "C:\\dir"', "a backslash"),
        ("name = \u201cweb\u201d", "plain quotes"),
        ("name\u00a0= 'web'", "no-break space (U+00A0); type a plain blank"),
        ("tags = [prod, web]", 'with quotes: tags = ["prod", "web"]'),
        ("tags = ['a' 'b']", "with commas"),
        ("tags = ['a', 'b'", "the [ that opens here has no ]"),
        ("config = { cores = 2", "the { that opens here has no }"),
        ("config = { cores: 2 }", "written with = and commas"),
        ("- web", "a list is written with brackets"),
        ("// a comment", "a comment begins with #"),
        ("; a comment", "a comment begins with #"),
        ("[guest.102", "the ] after the table's name is missing"),
        ("[[hosts.a]", "the ] after the table's name is missing"),
        ("[guest.]", "a part of the table's name is missing"),
        ("[guest.102] cores = 2", "nothing may follow a table's name"),
        ("[my guest]", "needs quotes"),
        ('name = """a', 'the text that begins with """ here is never closed'),
        ("name = '''a", "the text that begins with ''' here is never closed"),
        ("name = 'a\x07'", "the control character U+0007"),
    ],
)
def test_what_people_write_is_answered_with_the_line_and_what_to_write(
    before: str, line: str, words: str
) -> None:
    number = before.count("\n") + 1
    for text in (before + line, before + line + "\n"):
        problem = told(text)
        assert problem.startswith(f"g.toml:{number}: is not valid TOML: "), problem
        assert words in problem


@pytest.mark.parametrize(
    "line", ["state = running", "cores: 4", "onboot = True", "cores == 4", "cores = 04", "cores 4"]
)
def test_what_is_proposed_is_toml(line: str) -> None:
    proposed = told(line).partition(" (at the ^")[0].rpartition(": ")[2]
    assert tomli.loads(proposed)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n  "guest": {"101": {}}\n}\n', "it is JSON"),
        ("---\nguest:\n  101:\n    cores: 2\n", "it is YAML"),
        ("guest:\n  101:\n    cores: 2\n", "it is YAML"),
        ("<xml>\n</xml>", "it is XML"),
    ],
)
def test_another_format_is_called_by_its_name(text: str, words: str) -> None:
    assert words in told(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[guest.101]\na = 1\na = 2\n",
            'g.toml:3: is not valid TOML: "a" stands twice, first in line 2',
        ),
        (
            "[guest.101]\na = 1\n[guest.102]\na = 2\nb = 1\na = 3\n",
            '"a" stands twice, first in line 4',
        ),
        (
            "[guest.101]\na = 1\n\n[guest.101]\n",
            "g.toml:4: is not valid TOML: [guest.101] stands twice, first in line 1",
        ),
    ],
)
def test_what_stands_twice_names_where_it_stood_first(text: str, words: str) -> None:
    assert words in told(text)


@pytest.mark.parametrize("key", ["cipassword", "password", "token", "sshkeys", "secret", "hub_key",
                                 "CIPASSWORD", '"cipassword"', "env"])  # fmt: skip
@pytest.mark.parametrize(
    "form",
    [
        "{key} = {secret}", "{key}: {secret}", "{key}; {secret}", "{key} {secret}",
        "{key} == {secret}",
        '{key} = "{secret}', '{key} = "a"{secret}"', "{key} = [{secret}]",
        "{key} = [\n{secret} x\n]",
        "{key} = [\n{secret}: x\n]", '{key} = """\n{secret}', '{key} = """\n{secret} = 1\n" x',
        "{key} = {secret} x = 2", "config = {{ {key} = {secret} }}", '{{"{key}": "{secret}"',
        "{key}:\n  {secret}\nx:\n  y: 1", "{key} = \\{secret}",
        '{key} = "\\{secret}"', "{key} = 1, {secret}",
        "{key} = \u201c{secret}\u201d", '{key} = "x\x07{secret}"', '{key} = ["{secret}" "x"]',
    ],
)  # fmt: skip
def test_no_line_that_may_hold_a_secret_is_shown(key: str, form: str) -> None:
    text = form.format(key=key, secret=SECRET)
    assert SECRET not in told(f"[guest.101]\nkind = 'qemu'\n{text}\n")
    assert SECRET not in told(text)


@pytest.mark.parametrize(
    "line",
    ["felhom@pve!agent=6f1e2d3c-0000-4000-8000-123456789abc",
     "6f1e2d3c-0000-4000-8000-123456789abc",
     "PVEAPIToken=felhom@pve!agent=6f1e2d3c-0000-4000-8000-123456789abc"],
)  # fmt: skip
def test_a_token_that_was_pasted_is_not_shown(line: str) -> None:
    assert "6f1e2d3c" not in told(f"[proxmox]\n{line}\n")


@given(st.text(alphabet="ab =\"'[]{}:;,.#\\\n\t-019TZ\u00a0\u201c\x07", max_size=60))
def test_any_text_is_toml_or_answered_in_one_printable_line(text: str) -> None:
    try:
        tomlfile.parse(text, Path("g.toml"))
    except ConfigError as error:
        (problem,) = error.problems
        assert str(problem).isprintable()
        assert 0 < problem.place.line <= text.count("\n") + 1


@pytest.mark.parametrize(
    "text",
    [
        "a." * 400_000, "a = " + "\"" * 900_000 + "x", "a = \\" * 150_000, "\n" * 900_000 + "x",
        " \n" * 400_000 + "x", "a = '" + "''" * 400_001, "x" * 900_000, "- a\n" * 200_000,
        "a = 1\n" * 40_000, "a:\n" * 300_000, "\u201c" * 300_000,
    ],
    ids=range(11),
)  # fmt: skip
def test_a_large_text_is_answered_at_once(text: str) -> None:
    # Without bounds each of these takes minutes.
    assert told(text)
