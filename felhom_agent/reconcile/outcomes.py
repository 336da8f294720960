"""From what happened to one of the four outcomes, in words that tell a person what to do."""

from __future__ import annotations

import re

from felhom_agent.errors import (
    Busy,
    Denied,
    FelhomError,
    JournalError,
    NoQuorum,
    OutcomeUnknown,
    PveError,
    Rejected,
    StillRunning,
    TaskFailed,
    Unsigned,
)
from felhom_agent.model import (
    Action,
    Blocked,
    Outcome,
    Refused,
    Retry,
    SetConfig,
    Stop,
)
from felhom_agent.planning.granting import commands
from felhom_agent.planning.privileges import Required
from felhom_agent.proxmox.answers import by_words, denied_by_task, is_held

# Seconds until a guest is looked at again whose task goes on.
_STRAGGLER = 5.0
# Seconds until it is tried again where somebody else holds the guest. Each try waits for 10 s more
# within PVE. A delay of its own counts no failure and does not grow: PVE itself may hold a VM that
# was just restarted for 30 s (recorded: calls-9.2/208-lock-after-restart).
_HELD = 10.0
_DISOBEYED = ("got timeout", "container did not stop", "powerdown failed")


def of_error(error: FelhomError, doing: Action | None = None, token_id: str = "") -> Outcome:
    """Given why an action, or an observation (None), failed, and whose token asked, return the
    outcome.
    """
    if isinstance(error, TaskFailed):
        return _of_task(error, doing, token_id)
    if isinstance(error, Denied):
        return Blocked(_how_to_grant(error, token_id))
    if isinstance(error, Rejected):
        return _of_rejection(error, doing)
    if isinstance(error, JournalError):
        return Blocked(f"nothing is changed while the journal cannot be written: {error}")
    if isinstance(error, NoQuorum):
        return Blocked(f"nothing is changed while the cluster has no quorum: {error.text}")
    if isinstance(error, Busy) and is_held(error.text):
        return Retry(_HELD, f"another task holds the guest: {error.text}")
    if isinstance(error, Unsigned):
        return Blocked(str(error))
    if isinstance(error, StillRunning):
        # A wait of its own, which is no failure: what takes its time is not tried less often.
        return Retry(error.retry_after or _STRAGGLER, str(error))
    return Retry(0.0, _in_words(error, doing))


def _in_words(error: FelhomError, doing: Action | None) -> str:
    text = error.text if isinstance(error, PveError) else str(error)
    if not isinstance(error, OutcomeUnknown) or doing is None:
        return text
    if error.ended:
        return f"the {_noun(doing)} failed, and a part of it may be done: {text}"
    return f"the answer to the {_noun(doing)} was lost, and it is looked up: {text}"


def _of_task(error: TaskFailed, doing: Action | None, token_id: str) -> Outcome:
    if by_words(error.text) is NoQuorum:
        return Blocked(f"nothing is changed while the cluster has no quorum: {error.text}")
    if is_held(error.text):
        return Retry(_HELD, f"another task holds the guest: {error.text}")
    if denied := denied_by_task(error.text):
        return Blocked(_how_to_grant(denied, token_id))
    if lock := _lock_in(error.text):
        return Blocked(lock)
    if isinstance(doing, Stop) and any(words in error.text for words in _DISOBEYED):
        return Blocked(
            f"it did not shut down in time ({error.text}); shut it down by hand, or allow the "
            f'hard stop with stop = "power-off" in its guest file',
            upid=error.upid,
        )
    log = [line for line in error.log if not line.startswith("TASK ERROR")]
    said = f"{error.text} [{' | '.join(log)}]" if log else error.text
    failed = f"{_noun(doing)} failed"
    # PVE's own words for a start that failed begin the same way (PVE: QemuServer.pm vm_start).
    why = said if said.startswith(failed) else f"{failed}: {said}"
    return Retry(0.0, why, upid=error.upid)


def _noun(doing: Action | None) -> str:
    """Return what was being done, as a noun: "start"."""
    match doing:
        case None:
            return "its task"
        case Stop():
            return "shutdown"
        case SetConfig():
            return "change"
        case _:
            return "start"


def _of_rejection(error: Rejected, doing: Action | None) -> Outcome:
    refusal = f"PVE refuses {f'the {_noun(doing)}' if doing else 'it'}: {error.text}"
    if error.final:
        return Refused(refusal)
    if lock := _lock_in(error.text):
        return Blocked(lock)
    return Retry(0.0, refusal)


def _lock_in(text: str) -> str:
    """Return which lock PVE says that a guest has, in the words of a plan; empty if it says none.

    PVE: AbstractConfig.pm check_lock, "VM is locked (backup)", "CT is locked (backup)".
    """
    found = re.search(r" is locked (\([^)]*\))", text)
    return f"locked {found[1]}" if found else ""


def _how_to_grant(error: Denied, token_id: str) -> str:
    if not error.path:
        return error.text
    need = Required(error.path, tuple(error.privilege.split("|")))
    said = f"the token lacks {' or '.join(need.any_of)} on {error.path}"
    if not token_id:
        return f"{said}; felhom-agent check tells how to grant it"
    return f"{said}; to grant it, as root: {'; '.join(commands([need], token_id))}"
