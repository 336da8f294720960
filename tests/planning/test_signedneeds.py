"""What a signed act needs is granted on one guest, in a role that holds that act alone."""

from __future__ import annotations

import pytest

from felhom_agent.authz.parameters import ACTS
from felhom_agent.model import Facts, Rights
from felhom_agent.planning.privileges import lacking
from felhom_agent.planning.signedneeds import SIGNED_NEEDS, opt_in, signed_need

TOKEN = "felhom-agent@pve!agent"


def test_each_act_that_is_done_has_its_privileges() -> None:
    assert set(SIGNED_NEEDS) == set(ACTS)


@pytest.mark.parametrize(
    ("act", "role", "privilege"),
    [
        ("guest_destroy", "FelhomAgentDestroy", "VM.Allocate"),
        ("snapshot_rollback", "FelhomAgentRollback", "VM.Snapshot.Rollback"),
        ("snapshot_delete", "FelhomAgentSnapshots", "VM.Snapshot"),
    ],
)
def test_an_act_has_a_role_of_its_own_on_the_guests_own_path(
    act: str, role: str, privilege: str
) -> None:
    assert opt_in(act, "101", TOKEN) == (
        (
            f"pveum role add {role} --privs {privilege} || "
            f"pveum role modify {role} --append 1 --privs {privilege}"
        ),
        f"pveum acl modify /vms/101 --users felhom-agent@pve --roles FelhomAgent,{role}",
        f"pveum acl modify /vms/101 --tokens 'felhom-agent@pve!agent' --roles FelhomAgent,{role}",
    )


def test_what_the_agent_has_anyhow_goes_into_the_role_of_the_guests() -> None:
    lines = opt_in("force_stop", "101", "root@pam!agent")
    assert lines == (
        "pveum role modify FelhomAgent --append 1 --privs VM.PowerMgmt",
        "pveum acl modify /vms/101 --tokens 'root@pam!agent' --roles FelhomAgent",
    )


def test_a_rollback_needs_one_of_two_privileges() -> None:
    for privilege in ("VM.Snapshot", "VM.Snapshot.Rollback"):
        facts = Facts(rights=Rights({"/vms": {privilege: True}}))
        assert lacking((signed_need("snapshot_rollback", 101),), facts) == ()
        missing = lacking((signed_need("snapshot_delete", 101),), facts)
        assert bool(missing) == (privilege == "VM.Snapshot.Rollback")
