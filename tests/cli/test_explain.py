"""`explain` says why, `explain --json` is as its schema says, and neither shows a secret."""

from __future__ import annotations

import pytest

from felhom_agent.cli.codes import USAGE
from felhom_agent.cli.main import main
from felhom_agent.options import keys, lookup
from felhom_agent.options.rules import rules_of
from tests.commands import validated

UUID = "0d6f1f6c-7c0f-4f0e-9a1e-3f6c2b1a0d5e"


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
        (
            ("qemu", "net0", "virtio,bridge=vmbr0", "virtio=BC:24:11:00:00:01,bridge=vmbr0"),
            "PVE fills in macaddr: kept where not declared (pve-common JSONSchema.pm)",
        ),
        (("qemu", "agent", "1", "enabled=1"), "a first part without a name is enabled (pve-common"),
        (("qemu", "cpu", "host", "cputype=host"), "a first part without a name is cputype (pve-co"),
        (
            ("qemu", "agent", "1,fstrim_cloned_disks=0", "1"),
            "fstrim_cloned_disks=0 is as good as n",
        ),
        (("qemu", "agent", "1,type=isa", "type=isa,enabled=1"), "parts in any order; one that eq"),
        (("qemu", "agent", "1", "enabled=on"), "enabled: true or false; of PVE's answer 1, on, ye"),
        (
            ("qemu", "smbios1", "serial=QQ==,base64=1", f"serial=QQ==,base64=1,uuid={UUID}"),
            "PVE fills in uuid: kept",
        ),
        (("qemu", "agent", "1", "1,newpart=7"), "parts of a newer PVE count as equal and are kep"),
        (
            ("qemu", "scsi0", "local:10", "local:vm-101-disk-0,size=10G"),
            "STORAGE:SIZE is any volume of that size there; a size is never changed (qemu-server",
        ),
        (
            ("lxc", "rootfs", "local:8", "local:vm-101-disk-0,size=8G"),
            "STORAGE:SIZE is any volume of that size there; a size is never changed (pve-contain",
        ),
        (
            ("lxc", "net0", "name=a,hwaddr=BC:24:11:00:00:0a", "name=a,hwaddr=BC:24:11:00:00:0A"),
            "hwaddr: a text; upper and lower case are one",
        ),
        (("qemu", "tags", "A", "a"), "PVE lower-cases tags"),
        (("qemu", "tags", "a", "a;felhom-pause"), "a tag that begins with felhom-"),
        (("qemu", "cores", "4", "4"), "the two are the same text (felhom-agent)"),
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


def test_the_rule_that_decided_is_told_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", "qemu", "agent", "1", "enabled=1"])
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (
        "equal: a first part without a name is enabled (pve-common JSONSchema.pm"
        " parse_property_string)"
    )


def test_no_rule_of_containers_is_of_vms() -> None:
    for key in keys("lxc"):
        option = lookup("lxc", key.replace("[n]", "0"))
        assert option is not None
        for rule in rules_of("lxc", option):
            only_vms = ("qemu-server" in rule.source or "Qemu" in rule.source) and (
                "pve-container" not in rule.source
            )
            assert not only_vms, (key, rule)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("foo", "'foo' is no OPTION=VALUE"),
        ("=1", "'=1' is no OPTION=VALUE"),
        ("corse=1", "--with: qemu has no option 'corse'; did you mean 'cores'?"),
    ],
)
def test_what_is_no_other_option_is_wrong_usage(
    given: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["explain", "qemu", "balloon", "1", "1", "--with", given])
    assert ended.value.code == USAGE
    assert told in capsys.readouterr().err


def test_what_nobody_can_compare_is_not_equal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "qemu", "cipassword", "x", "**********"]) == 2
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "incomparable: PVE never tells it, so nobody can compare it"


def test_what_is_said_of_a_refused_value_does_not_say_that_it_is_taken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain", "qemu", "onboot", "yes", "1"]) == 1
    out = capsys.readouterr().out
    assert "rule: true or false; of PVE's answer 1, on, yes and true are one" in out
