"""`explain` says why, `explain --json` is as its schema says, and neither shows a secret."""

from __future__ import annotations

import pytest

from felhom_agent.cli.main import main
from tests.commands import validated


@pytest.mark.parametrize(
    "words",
    [
        ("qemu", "tags", "b;A", "a;b"),
        ("qemu", "memory", "2048", "absent"),
        ("qemu", "cores", "many", "4"),
        ("qemu", "cores", "4", "4", "--pending"),
        ("qemu", "scsi0", "local:32", "lvm:vm-1-disk-0,size=32G"),
        ("qemu", "args", "x", "absent"),
        ("lxc", "net0", "name=a", "name=b"),
        ("qemu", "cores", "unset", "4"),
        ("qemu", "startup", "order=1", "order=1"),
    ],
)
def test_explain_answers_as_its_schema_says(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["explain", *words])
    text = capsys.readouterr().out
    assert main(["explain", "--json", *words]) == code
    answer = validated("explain", capsys.readouterr().out)
    assert text.startswith(f"{answer['verdict']}: {answer['why']}\n")
    assert (answer["desired"], answer["actual"]) == words[2:4]
    for rule in answer["rules"]:
        assert f"rule: {rule['text']} ({rule['source']})" in text


@pytest.mark.parametrize(
    ("kind", "option", "desired"),
    [
        ("qemu", "cipassword", "hunter2zz"),
        ("qemu", "cipassword", '["hunter2zz"]'),
        ("qemu", "sshkeys", "hunter2zz"),
        ("lxc", "env", "A=hunter2zz"),
        ("lxc", "env", "hunter2zz"),
    ],
)
@pytest.mark.parametrize("actual", ["absent", "**********", "B=hunter2zz"])
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_explain_shows_no_value_of_a_secret(
    kind: str,
    option: str,
    desired: str,
    actual: str,
    more: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["explain", kind, option, desired, actual, *more])
    captured = capsys.readouterr()
    assert "hunter2zz" not in captured.out + captured.err
    if more:
        assert validated("explain", captured.out)["secret"] is True


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("qemu", "tags", "b;A", "a;b"), "a set: order does not count (pve-common JSONSchema.pm)"),
        (("qemu", "onboot", "yes", "1"), "reject"),
        (("qemu", "cores", "02", "2"), "a number: 2, 02 and 2.0 are one (pve-common"),
        (
            ("qemu", "onboot", "false", "absent"),
            "where it is absent, PVE uses 0, which is the same",
        ),
        (("qemu", "cores", "absent", "9"), "what is not declared makes no difference"),
        (("qemu", "cores", "unset", "1"), "its default, which is as good as none"),
        (("qemu", "cores", "unset", "absent"), "declared unset, and PVE has none"),
    ],
)
def test_equal_says_why_with_the_rule_and_its_source(
    words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["explain", *words])
    first = capsys.readouterr().out.splitlines()[0]
    assert why in first
    assert first != "equal"
