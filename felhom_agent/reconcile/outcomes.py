"""From what happened to one of the four outcomes, in words that tell a person what to do."""

from __future__ import annotations

from felhom_agent.errors import (
    Busy,
    Denied,
    FelhomError,
    JournalError,
    NoQuorum,
    PveError,
    Rejected,
    StillRunning,
    TaskFailed,
    Unsigned,
)
from felhom_agent.model import (
    Blocked,
    Outcome,
    Refused,
    Retry,
)
from felhom_agent.planning.granting import role_command
from felhom_agent.planning.privileges import Required
from felhom_agent.proxmox.answers import by_words

# Seconds until a guest is looked at again whose task goes on.
_STRAGGLER = 5.0
_DISOBEYED = ("got timeout", "container did not stop", "powerdown failed")


def of_error(error: FelhomError, *, stopping: bool = False) -> Outcome:
    """Given why an action or an observation failed, return the outcome.

    `stopping` tells that the action was a Stop, whose timeout has a meaning of its own.
    """
    if isinstance(error, TaskFailed):
        return _of_task(error, stopping=stopping)
    if isinstance(error, Denied):
        return Blocked(_how_to_grant(error))
    if isinstance(error, Rejected):
        return _of_rejection(error)
    if isinstance(error, JournalError):
        return Blocked(f"nothing is changed while the journal cannot be written: {error}")
    if isinstance(error, NoQuorum):
        return Blocked(f"nothing is changed while the cluster has no quorum: {error.text}")
    if isinstance(error, Unsigned):
        return Blocked(str(error))
    if isinstance(error, StillRunning):
        # A wait of its own, which is no failure: what takes its time is not tried less often.
        return Retry(error.retry_after or _STRAGGLER, str(error))
    text = error.text if isinstance(error, PveError) else str(error)
    return Retry(0.0, text)


def _of_task(error: TaskFailed, *, stopping: bool) -> Outcome:
    if by_words(error.text) is NoQuorum:
        return Blocked(f"nothing is changed while the cluster has no quorum: {error.text}")
    if by_words(error.text) is Busy:
        return Retry(0.0, f"another task holds the guest: {error.text}")
    if " is locked (" in error.text:
        return Blocked(error.text)
    if stopping and any(words in error.text for words in _DISOBEYED):
        return Blocked(
            f"it did not shut down in time ({error.text}); shut it down by hand, or allow the "
            f'hard stop with stop = "power-off" in its guest file'
        )
    log = [line for line in error.log if not line.startswith("TASK ERROR")]
    said = f"{error.text} [{' | '.join(log)}]" if log else error.text
    return Retry(0.0, f"its task failed: {said}")


def _of_rejection(error: Rejected) -> Outcome:
    if error.final:
        return Refused(f"PVE refuses it: {error.text}")
    if " is locked (" in error.text:
        return Blocked(error.text)
    return Retry(0.0, f"PVE refuses it: {error.text}")


def _how_to_grant(error: Denied) -> str:
    if not error.path:
        return error.text
    need = Required(error.path, tuple(error.privilege.split("|")))
    return (
        f"the token lacks {' or '.join(need.any_of)} on {error.path}; to grant it, as root: "
        f"{role_command(need)}"
    )
