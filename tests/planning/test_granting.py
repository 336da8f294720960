"""The commands that grant what is lacking, and nothing more."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest

from felhom_agent.model import Facts, Rights
from felhom_agent.planning.granting import commands, commands_in_role
from felhom_agent.planning.privileges import Required, required

TOKEN = "felhom-agent@pve!agent"


def need(path: str, *any_of: str) -> Required:
    return Required(path, any_of)


def test_user_and_token_both_get_the_role_on_the_very_path() -> None:
    role, user, token = commands([need("/sdn/zones/localnetwork/vmbr0/7", "SDN.Use")], TOKEN)
    name, acl = "FelhomAgentSDN", "pveum acl modify /sdn/zones/localnetwork/vmbr0/7"
    assert role == (
        f"pveum role add {name} --privs SDN.Use || "
        f"pveum role modify {name} --append 1 --privs SDN.Use"
    )
    assert user == f"{acl} --users felhom-agent@pve --roles {name}"
    assert token == f"{acl} --tokens 'felhom-agent@pve!agent' --roles {name}"


def test_roots_own_token_needs_no_line_for_its_user() -> None:
    lines = commands([need("/vms/101", "VM.Config.CPU")], "root@pam!agent")
    assert [line.split()[1] for line in lines] == ["role", "acl"]
    (role,) = re.findall("add (FelhomAgentGuest-[0-9a-f]{8}) ", lines[0])
    acl = "pveum acl modify /vms/101 --tokens 'root@pam!agent' --roles"
    # What comes from above is not known, so that the role that has it stays beside it.
    assert lines[1] == f"{acl} FelhomAgent,{role}"


def test_privileges_of_one_path_share_one_role_line() -> None:
    lines = commands([need("/vms/1", "VM.Audit"), need("/vms/1", "VM.PowerMgmt")], TOKEN)
    assert "--privs VM.Audit,VM.PowerMgmt || pveum role modify FelhomAgentGuest-" in lines[0]
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("path", "privilege", "role"),
    [
        ("/vms/101", "VM.Config.Memory", "FelhomAgentGuest-39a378d5"),
        ("/vms/101", "VM.Allocate", "FelhomAgentNesting"),
        ("/storage/local", "Datastore.Audit", "FelhomAgentStorage"),
        ("/storage/fast", "Datastore.AllocateSpace", "FelhomAgentSpace"),
        ("/mapping/usb/x", "Mapping.Use", "FelhomAgentMapping"),
        ("/", "Sys.Modify", "FelhomAgentHost"),
        ("/", "Sys.Audit", "FelhomAgentAudit"),
        ("/nodes/pve1", "Sys.Audit", "FelhomAgentAudit"),
        ("/storage/iscsi", "Datastore.Allocate", "FelhomAgentVolumes"),
    ],
)
def test_each_kind_of_path_has_a_role_of_its_own(path: str, privilege: str, role: str) -> None:
    assert commands([need(path, privilege)], TOKEN)[0].startswith(f"pveum role add {role} --")


@pytest.mark.parametrize(
    ("kind", "key", "value", "granted"),
    [
        ("qemu", "memory", "1024", "VM.Config.Memory"),
        ("qemu", "nameserver", "192.0.2.1", "VM.Config.Cloudinit"),
        ("qemu", "ide2", "none,media=cdrom", "VM.Config.CDROM"),
        ("qemu", "freeze", "1", "VM.PowerMgmt"),
        ("lxc", "hostname", "a", "VM.Config.Network"),
    ],
)
def test_the_options_own_privilege_is_granted_and_not_another_that_would_do(
    kind: str, key: str, value: str, granted: str
) -> None:
    needs = required(kind, key, value, "", 101, Facts())
    assert granted in ",".join(line for line in commands(needs, TOKEN) if "role" in line)


@pytest.mark.parametrize(
    ("path", "privilege", "ends"),
    [
        ("/", "Sys.Modify", "--roles FelhomAgentHost --propagate 0"),
        ("/sdn/zones/localnetwork/vmbr0", "SDN.Use", "--roles FelhomAgentSDN --propagate 0"),
        ("/sdn/zones/localnetwork/vmbr0/7", "SDN.Use", "--roles FelhomAgentSDN"),
        ("/", "Sys.Audit", "--roles FelhomAgentAudit"),
        ("/storage/local", "Datastore.Audit", "--roles FelhomAgentStorage"),
    ],
)
def test_what_is_needed_on_a_path_is_not_given_on_those_below_it(
    path: str, privilege: str, ends: str
) -> None:
    _, user, token = commands([need(path, privilege)], TOKEN)
    assert user.endswith(ends)
    assert token.endswith(ends)


def test_a_role_that_is_handed_down_stays_so_beside_one_that_is_not() -> None:
    lines = commands([need("/", "Sys.Audit"), need("/", "Sys.Modify")], "root@pam!agent")
    assert lines[2:] == (
        "pveum acl modify / --tokens 'root@pam!agent' --roles FelhomAgentAudit",
        "pveum acl modify / --tokens 'root@pam!agent' --roles FelhomAgentHost --propagate 0",
    )


def test_a_path_cannot_add_a_command() -> None:
    lines = commands([need("/storage/a;reboot", "Datastore.Audit")], TOKEN)
    assert "'/storage/a;reboot'" in lines[1]


def test_where_the_role_is_given_already_its_privileges_are_one_line_and_the_rest_its_own() -> None:
    needs = [
        need("/vms/101", "VM.PowerMgmt"),
        need("/vms/102", "VM.Audit"),
        need("/vms/102", "VM.Audit"),
        need("/vms/101", "VM.Allocate"),
        need("/nodes/pve1", "Sys.Audit"),
    ]
    first, *others = commands_in_role(needs, TOKEN)
    assert first == "pveum role modify FelhomAgent --append 1 --privs VM.Audit,VM.PowerMgmt"
    assert tuple(others) == commands(needs[3:], TOKEN)
    assert commands_in_role(needs[3:], TOKEN) == commands(needs[3:], TOKEN)
    assert commands_in_role([], TOKEN) == ()


def test_of_several_privileges_that_would_do_the_first_is_given() -> None:
    either = Required("/vms/101", ("VM.Config.Cloudinit", "VM.Config.Network"))
    (line,) = commands_in_role([either], TOKEN)
    assert line.endswith("--privs VM.Config.Cloudinit")


@pytest.mark.parametrize(
    ("path", "ends"),
    [
        # What is given on a bridge, or on /, must not come down to all below it.
        ("/sdn/zones/localnetwork/vmbr0", True),
        ("/sdn/zones/localnetwork/vmbr0/7", False),
        ("/sdn/zones/localnetwork", False),
        ("/storage/local/a/b", False),
    ],
)
def test_what_is_given_on_a_bridge_is_not_given_on_its_vlans(path: str, *, ends: bool) -> None:
    _, user, token = commands([need(path, "SDN.Use")], TOKEN)
    assert user.endswith(" --propagate 0") is token.endswith(" --propagate 0") is ends


SYSTEM = {"/": {"VM.Audit", "VM.Config.CPU", "Sys.Audit"}}
"""What the token has: by a role of any name, on the whole host."""


def after(lines: tuple[str, ...], held: dict[str, set[str]]) -> Callable[[str], set[str]]:
    """Given commands, and what the token has by path, return what it has on a path after them."""
    roles: dict[str, set[str]] = {}
    acl = {path: {(name, True) for name in names} for path, names in held.items()}
    for line in lines:
        words = shlex.split(line.partition(" || ")[0])
        if words[1] == "role":
            assert words[:3] == ["pveum", "role", "add"], "no role that is there gets more"
            roles[words[3]] = set(words[words.index("--privs") + 1].split(","))
        elif "--tokens" in words:
            given = words[words.index("--roles") + 1].split(",")
            down = "--propagate" not in words
            acl.setdefault(words[3], set()).update((n, down) for r in given for n in roles[r])

    def on(path: str) -> set[str]:
        found = {name for name, _ in acl.get(path, ())}
        while not found and path != "/":
            path = path.rpartition("/")[0] or "/"
            found = {name for name, down in acl.get(path, ()) if down}
        return found

    return on


@pytest.mark.parametrize(
    ("held", "lacks", "others"),
    [
        (SYSTEM, [need("/vms/101", "VM.Config.Memory")], ["/vms/102", "/", "/vms"]),
        (SYSTEM, [need("/vms/101", "VM.Config.Memory"), need("/vms/102", "VM.Config.Disk")],
         ["/vms/103", "/"]),
        (SYSTEM, [need("/vms/200", "VM.Allocate")], ["/vms/101", "/"]),
        ({**SYSTEM, "/storage": {"Datastore.AllocateSpace"}},
         [need("/storage/local", "Datastore.Audit")], ["/storage/nas", "/storage"]),
        (SYSTEM, [need("/storage/local", "Datastore.Audit"),
                  need("/storage/iscsi", "Datastore.Allocate")], ["/storage/nas"]),
        ({**SYSTEM, "/vms/101": {"VM.Audit"}}, [need("/vms/101", "VM.PowerMgmt")], ["/vms/102"]),
        (SYSTEM, [need("/sdn/zones/localnetwork/vmbr0", "SDN.Use")],
         ["/sdn/zones/localnetwork/vmbr1"]),
        (SYSTEM, [need("/mapping/usb/stick", "Mapping.Use")], ["/mapping/usb/other"]),
    ],
)  # fmt: skip
def test_the_commands_give_what_is_lacking_where_it_is_and_take_nothing_away(
    held: dict[str, set[str]], lacks: list[Required], others: list[str]
) -> None:
    """Whatever the role is called that the token has already: no command names it."""
    rights = Rights({path: dict.fromkeys(names, True) for path, names in held.items()})
    on, before = after(commands(lacks, TOKEN, rights), held), after((), held)
    for each in lacks:
        kind = each.any_of[0].partition(".")[0]
        had = {name for name in before(each.path) if name.startswith(kind)}
        now = {name for name in on(each.path) if name.startswith(kind)}
        assert now == had | {each.any_of[0]}
    for path in others:
        assert on(path) == before(path)
