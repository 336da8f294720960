"""What PVE's answers mean: from status, reason phrase and body to the error tree.

PVE answers 500 to nearly everything that is not a matter of parameters or rights, so the words
decide. `refusals` has what PVE says only before the first write, whatever else the request holds;
that is a plain refusal. Any other word makes a write's outcome unknown, since a 500 may follow
after the file was written (recorded: 13-lxc-roundtrip-root/006): a VM's keys are written one by
one, and a container's cards are looked at again after the write.

Such an error carries what it means `if_untouched`: whoever knows that the file is the same as
before, or that the request had one key alone, knows that it was a plain refusal.

PVE 9.2 answers what the worker of a change died of, behind "failed to update VM N: " and the status
(recorded: calls-9.2/200-post-worker); the same words, without the first, are the end of its task.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.errors import (
    Busy,
    Denied,
    Missing,
    NoQuorum,
    NotSent,
    OutcomeUnknown,
    PveError,
    Rejected,
    Stale,
    Unanswered,
    Unchanged,
)
from felhom_agent.model import Kind
from felhom_agent.proxmox import bodies
from felhom_agent.proxmox.deadline import Bounds, NoConnection
from felhom_agent.proxmox.refusals import Refusal, When, proves_nothing_done, refusal

# What follows the privilege tells what it was wanted for ("for modifying tag 'a'").
_PERMISSION = re.compile(
    r"Permission check failed"
    r"(?: \((?P<path>/[^,()]*), (?P<privilege>[A-Za-z]+(?:\.[A-Za-z]+)*(?:\|[A-Za-z.]+)*)\b)?"
)
# The lock of a guest's configuration is taken before anything else; any other, such as a storage's,
# may be wanted after a part of the change was written.
_BUSY = re.compile(
    r"can't lock file '/(?:var/lock/qemu-server/lock-\d+\.conf|"
    r"run/lock/lxc/pve-config-\d+\.lock)' - |"
    r"got no worker upid|unable to fork worker|starting worker failed"
)
_LOCK = re.compile(r"can't lock file '[^']*' - |trying to acquire.*lock|got lock request timeout")
_STALE = re.compile(r"checksum mismatch \(file change by other user\?\)|detected modified config")
_MISSING = re.compile(
    r"Configuration file '[^']*' does not exist|unable to find configuration file for|no such task"
)
# A pmxcfs without quorum is read-only, to root too (recorded: calls-9.2/201-quorum/031, 061-081).
_NO_QUORUM = re.compile(
    r"no quorum[?!]|"
    r"unable to open file '/etc/pve/[^']*\.tmp\.\d+' - (?:Permission denied|Read-only file system)"
)
_ALREADY = re.compile(r"^(?:VM|CT) \d+ (?:already|not) running")
# Of any call: nothing was done, and the next time may be different.
_NOT_NOW = re.compile(
    r"^(?:VM|CT) \d+ (?:already|not) running|^hostname lookup '|"
    r"^VM is paused - cannot shutdown|^you can't start a (?:vm|CT) if it's a template|"
    # Before the task of a destroy is begun (recorded: 110-destroy-qemu, 111-destroy-lxc,
    # 140-ha-no-crm/034; qemu-server API2/Qemu.pm destroy_vm, pve-container API2/LXC.pm).
    r"^can't remove (?:VM|CT) \d+ - |^VM \d+ is running - destroy failed|"
    r"^unable to (?:destroy|remove) (?:VM|CT) \d+ - |"
    # Before any handler (recorded: 92-outages/012).
    r"^RPCEnvironment init request failed|^proxy (?:loop detected|not allowed)"
)
# Of any call: nothing was done, and nothing will be as long as the same is asked for.
_NEVER = re.compile(r"is only allowed for root|^(?i:method) '")
# PVE wrote it, or a part of it, and then could not bring it into effect
# (recorded: 100-snapshots-qemu/237-238, 121-disks-lxc/072).
_HALF_DONE = re.compile(r"unable to (?:apply pending change|hotplug)|hotplug problem - ")
# PVE wrote all of a running guest's change, and could not plug a part of it: that waits for a
# restart, as what PVE does not try to plug (PVE: qemu-server API2/Qemu.pm update_vm_api and
# pve-container API2/LXC/Config.pm: what vmconfig_hotplug_pending collects in $errors).
_UNPLUGGED = re.compile(r"hotplug problem - |unable to hotplug ")
# What the worker of a change died of, when it died in time (recorded: calls-9.2/200-post-worker).
_WORKER = re.compile(r"(?:500 )?failed to update VM \d+: ")
_MAX_PREFIXES = 4
# No worker's end, but somebody's who ended it; or the call is answered, and its work goes on.
_CUT_OFF = re.compile(r"unexpected status|received interrupt|got timeout$")
_KIND = re.compile(r"/(qemu|lxc)/\d+(?:/|$)")
_FORBIDDEN = "403 Permission check failed"
# Of a volume that is no guest's (pve-storage Storage.pm check_volume_access).
_NO_ACCESS = re.compile(r"missing privileges to access (?P<storage>[^:/\s]+):\S.*")
_MEANINGS: tuple[tuple[re.Pattern[str], type[Unchanged]], ...] = (
    (_BUSY, Busy),
    (_STALE, Stale),
    (_MISSING, Missing),
    (_NO_QUORUM, NoQuorum),
)
_LOOKUP = re.compile(r"hostname lookup '([^']{1,100})' failed")
_MAX_NODES = 10
_MAX_WORDS = 500
_MAX_ERRORS = 20
# What PVE's own handlers die with; 595 to 599 are the proxy's (PVE: AnyEvent::HTTP).
_HANDLER = range(500, 595)
_PROXY = range(595, 600)
# No byte of a write has reached a worker. AnyEvent::HTTP 2.25 http_request says 595 as long as it
# connects; it turns to 596 before it begins TLS, also on a connection that it uses again, and then
# writes the request. It could come back to 595 only in a request that follows from the first: a
# redirect, or the repetition after a connection that was used again and found closed. PVE allows
# neither for a write: pve-http-server APIServer/AnyEvent.pm proxy_request gives it `recurse => 0`
# (always since 2017), with which either ends as 599, and since commit f5ac409 (2024) `persistent`
# is for GET alone, too. Where another node is asked, its own pveproxy may answer 595, which is
# passed on, and the same holds there; that proxy may not pass it on to a third node.
# recorded: 92-outages/005-007, 161-other-node-offline.
_NOT_CONNECTED = 595


@dataclass(frozen=True)
class Answer:
    """An answer as it came; `kind` is what its head says that the body is, `date` when it says that
    it was made (RFC 9110; empty: it does not).
    """

    status: int
    reason: str
    kind: str = ""
    body: bytes = b""
    date: str = ""


def error_of(call: str, answer: Answer, config: ProxmoxConfig | None = None) -> PveError:
    """Given an answer that is not a success, and whose token was used, return what it means."""
    status, text = answer.status, answer.reason.strip()
    writes, endpoint = not call.startswith("GET "), config.endpoint if config else ""
    if 300 <= status < 400:
        return not_pve(call, endpoint, "it answers with a redirect, which PVE never does", status)
    if status == 401:
        advice = _token_advice(config) if config else ""
        words = _printable(f"the API token was not accepted: {text}{advice}")
        return Denied(words, call=call, status=status)
    if status == 403:
        return _denied(call, text, status)
    if status == 400:
        return _parameters(call, text, answer)
    if status == _NOT_CONNECTED and writes:
        words = _printable(f"the API's proxy could not pass it on: {text or 'no connection'}")
        return NotSent(words, call=call, status=status)
    if status in _PROXY:
        words = _printable(f"the API's proxy says {status} {text}".strip())
        return _unusable(call, status, words)
    if status not in _HANDLER:
        return not_pve(call, endpoint, f"it answers {status} {text}".strip(), status)
    return _by_words(call, status, text, writes)


def _token_advice(config: ProxmoxConfig) -> str:
    # PVE answers alike to a token that is not there, has expired or another secret, and to a user
    # that is not there or disabled (recorded: 02-auth/001-009).
    user = config.token_id.partition("!")[0]
    return (
        f"; is {config.token_id} listed and not expired: pveum user token list {user}? If it is,"
        f" the secret in {config.token_file} is another one's: make a new token, and put what"
        " pveum shows as its value there"
    )


def by_words(text: str) -> type[PveError] | None:
    """Given PVE's words, of an answer or of a task's end, return the error they stand for."""
    words, _ = unwrapped(text)
    for pattern, error in _MEANINGS:
        if pattern.search(words):
            return error
    return Busy if _LOCK.search(words) else None


def _meaning(words: str) -> type[Unchanged] | None:
    """Given PVE's words without a worker's prefix, return what they mean where they come before the
    first write; None if they do not, or mean nothing of that kind. What PVE says of a change that
    it wrote may quote the same words.
    """
    if _HALF_DONE.search(words):
        return None
    return next((error for pattern, error in _MEANINGS if pattern.search(words)), None)


def unwrapped(text: str) -> tuple[str, bool]:
    """Given PVE's words, return them without what a worker's caller puts before them, and whether
    there was such a prefix.
    """
    words, wrapped = text.strip(), False
    for _ in range(_MAX_PREFIXES):
        if not (found := _WORKER.match(words)):
            break
        words, wrapped = words[found.end() :], True
    return words, wrapped


def nothing_done(kind: Kind, keys: int, text: str) -> bool:
    """Given a guest's kind, how many keys a change has, and the words with which PVE refused it, as
    an answer or as its task's end, return whether they alone prove that nothing was written.
    """
    words, _ = unwrapped(text)
    return _meaning(words) is not None or proves_nothing_done(words, kind, keys)


def refusal_if_untouched(kind: Kind, text: str) -> Unchanged | None:
    """Given a guest's kind and the words with which PVE refused a change of it, return what they
    mean if nothing was written; None if nobody knows these words.
    """
    words, _ = unwrapped(text)
    if error := _meaning(words):
        return error(_printable(words))
    return _refusal("", 0, words) if refusal(words, kind) else None


def denied_by_task(text: str) -> Denied | None:
    """Given a task's end, return what PVE lacked a privilege for; None if it was something else."""
    words, _ = unwrapped(text)
    if words.startswith(_FORBIDDEN):
        return _denied("", words, 403)
    return _no_access("", words, 403)


def is_held(text: str) -> bool:
    """Return whether PVE's words say that it waited for a lock that somebody else holds."""
    return _LOCK.search(text) is not None


def was_not_plugged(text: str) -> bool:
    """Return whether PVE's words say that a running guest's change is written, and that it could
    not be plugged.
    """
    return _UNPLUGGED.search(text) is not None


def already_there(text: str) -> bool:
    """Return whether PVE's words say that a guest is already in the state it shall be in.

    An answer of LXC, a task's end of QEMU (recorded: 41-tasks-lxc/001-010, 40-tasks-qemu/024).
    """
    return _ALREADY.search(text) is not None


def error_without_answer(call: str, error: Exception, endpoint: str, bounds: Bounds) -> PveError:
    """Given what befell a request that got no answer, and the call's bounds, return what it means.

    The error's own text may hold what the node sent; only that of a NoConnection is passed on.
    """
    if isinstance(error, NoConnection):
        not_sent = NotSent(_printable(f"{endpoint} {error}"), call=call)
        not_sent.temporary = error.temporary
        return not_sent
    if bounds.overrun:
        words, timed_out, cut_off = f"{endpoint} {bounds.overrun}", bounds.timed_out, False
    else:
        words, timed_out = f"{endpoint} broke the connection{_advice(call)}", False
        cut_off = not bounds.answered
    if not bounds.sent:
        return NotSent(words, call=call, timed_out=timed_out, cut_off=cut_off)
    if not call.startswith("GET "):
        return OutcomeUnknown(words, call=call, timed_out=timed_out)
    return Unanswered(words, call=call, timed_out=timed_out, cut_off=cut_off)


def is_json(answer: Answer) -> bool:
    """Return whether an answer says that it is JSON, as PVE's do."""
    return answer.kind.startswith("application/json")


def not_json(call: str, endpoint: str) -> PveError:
    """Return what it means that an answer claims success, but is not PVE's."""
    return not_pve(call, endpoint, "its answer is not PVE's JSON")


def odd_answer(call: str, endpoint: str, odd: str = "") -> PveError:
    """Return what it means that an answer is JSON, but not what PVE answers to this call, and what
    is odd.
    """
    what = f": {odd}" if odd else ""
    return not_pve(call, endpoint, f"its answer is not what PVE answers to this{what}")


def not_pve(call: str, endpoint: str, words: str, status: int = 200) -> PveError:
    """Given a call, where it went and what is wrong with the answer, return what it means: that
    another program than PVE may listen there.
    """
    return _unusable(call, status, f"{_printable(f'{endpoint}: {words}')}{_advice(call)}")


def unknown_node(answer: Answer) -> str:
    """Given an answer, return the name of the node that PVE could not look up; else nothing."""
    found = _LOOKUP.match(answer.reason) if answer.status in _HANDLER else None
    return found[1] if found else ""


def no_such_node(call: str, answer: Answer, node: str, known: list[str]) -> PveError:
    """Given an answer that a node's name could not be looked up, and the cluster's nodes (none if
    they could not be asked for), return what it means.
    """
    if not known:
        return error_of(call, answer)
    if node in known:
        words = (
            f'node "{node}" is one of the cluster, but the host that was asked cannot look its name'
            " up; see /etc/hosts there"
        )
    else:
        more = f" and {len(known) - _MAX_NODES} more" if len(known) > _MAX_NODES else ""
        names = ", ".join(sorted(known)[:_MAX_NODES])
        words = (
            f'the cluster has no node "{node}" (it has: {names}{more}); set node in [proxmox] of'
            " agent.toml"
        )
    return Rejected(_printable(words), call=call, status=answer.status)


def _advice(call: str) -> str:
    """Return what a person does who got no answer of PVE's. A write is looked up first."""
    if not call.startswith("GET "):
        return ""
    return (
        "; is endpoint in [proxmox] that of PVE's API (port 8006)? How it is there:"
        " `systemctl status pveproxy`"
    )


def _unusable(call: str, status: int, text: str) -> PveError:
    cls = Unanswered if call.startswith("GET ") else OutcomeUnknown
    return cls(text, call=call, status=status)


def _denied(call: str, text: str, status: int) -> Denied:
    found = _PERMISSION.search(text)
    path, privilege = (found["path"] or "", found["privilege"] or "") if found else ("", "")
    return Denied(
        _printable(text),
        call=call,
        status=status,
        path=_printable(path),
        privilege=_printable(privilege),
    )


def _no_access(call: str, words: str, status: int) -> Denied | None:
    """Given PVE's words, return what they deny if they name a volume alone."""
    if (found := _NO_ACCESS.fullmatch(words)) is None:
        return None
    path = _printable(f"/storage/{found['storage']}")
    said = _printable(words)
    return Denied(said, call=call, status=status, path=path, privilege="Datastore.Allocate")


def _parameters(call: str, text: str, answer: Answer) -> PveError:
    errors = _errors(answer)
    if "no such task" in errors.values():
        return Missing("no such task", call=call, status=400)
    words = "; ".join(f"{k}: {v}" for k, v in errors.items()) or _printable(text)
    if _HALF_DONE.search(words) and not call.startswith("GET "):
        return OutcomeUnknown(words, call=call, status=400, ended=True)
    return Rejected(words, call=call, status=400, errors=errors, final=True)


def _errors(answer: Answer) -> dict[str, str]:
    """Return PVE's words per parameter, those that it has."""
    try:
        said = bodies.parse(answer.body, bodies.OTHER).get("errors")
    except ValueError:
        return {}
    known = list(said.items())[:_MAX_ERRORS] if isinstance(said, dict) else []
    return {_printable(str(k)): _printable(str(v)) for k, v in known}


def _by_words(call: str, status: int, text: str, writes: bool) -> PveError:
    words, wrapped = unwrapped(text)
    if error := _meaning(words):
        return error(_printable(words), call=call, status=status)
    if denied := _no_access(call, words, status):
        return denied
    said = _printable(words) or f"status {status}"
    rows = _rows_of(call, words)
    first = bool(rows) and all(row.when is When.FIRST for row in rows)
    if _NEVER.search(words) or (first and all(row.final for row in rows)):
        return Rejected(said, call=call, status=status, final=True)
    if first or _NOT_NOW.search(words) or not writes:
        return Rejected(said, call=call, status=status)
    if _CUT_OFF.search(words) and not _LOCK.search(words):
        return OutcomeUnknown(said, call=call, status=status)
    # Without the prefix a task may have been begun, and go on.
    ended = wrapped or call.startswith("PUT ")
    refused = _refusal(call, status, words)
    return OutcomeUnknown(said, call=call, status=status, if_untouched=refused, ended=ended)


def _rows_of(call: str, words: str) -> list[Refusal]:
    """Return what is known of these words; PVE may say the same of a VM and of a container, at
    another moment.
    """
    named = _KIND.search(call)
    kinds = [Kind(named[1])] if named else list(Kind)
    return [row for kind in kinds if (row := refusal(words, kind)) is not None]


def _refusal(call: str, status: int, words: str) -> Unchanged:
    """Return what a refusal of a change means if the guest's file is the same as before."""
    if words.startswith(_FORBIDDEN):
        return _denied(call, words.removeprefix("403 "), status)
    if denied := _no_access(call, words, status):
        return denied
    said = _printable(words) or f"status {status}"
    if _LOCK.search(words):
        return Busy(said, call=call, status=status)
    rows = _rows_of(call, words)
    final = bool(rows) and all(row.final for row in rows)
    return Rejected(said, call=call, status=status, final=final)


def _printable(text: str) -> str:
    """Return a node's words as one bounded line that does no harm to a log or a terminal."""
    line = " ".join(text[: 2 * _MAX_WORDS].split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= _MAX_WORDS else line[: _MAX_WORDS - 3] + "..."
