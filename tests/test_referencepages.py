"""A JSON form is told from its schema."""

from __future__ import annotations

from pathlib import Path

from tools.referencepages import form


def test_each_member_is_told_with_its_type_and_whether_it_may_be_missing() -> None:
    schema = {
        "title": "What a door says",
        "properties": {
            "open": {"type": "boolean", "description": "whether it | is open"},
            "key": {"type": ["string", "null"]},
            "locks": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["open", "locks"],
    }
    assert list(form(Path("docs/json/door.json"), schema)) == [
        "### json/door.json",
        "[The schema](json/door.json): What a door says.",
        "",
        "| member | type | meaning |",
        "|---|---|---|",
        "| `open` | boolean | whether it \\| is open |",
        "| `key` | string or null, or not there |  |",
        "| `locks` | array of string |  |",
    ]


def test_what_every_schema_says_of_its_members_is_not_said_again() -> None:
    schema = {
        "title": "Open",
        "description": "As a door. Members are added and none is taken away.",
    }
    told = list(form(Path("docs/json/door.json"), schema))
    assert told[1:] == ["[The schema](json/door.json): Open.", "", "As a door."]
