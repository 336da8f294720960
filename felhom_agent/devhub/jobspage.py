"""The part of a host's page about signed jobs: what this hub has, and what the host says of it.

Nothing here signs, and nothing that a host says is believed: whoever signs reads the request on a
machine of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from felhom_agent.devhub.envelope import GUEST_ACTS, HOST_ACTS
from felhom_agent.devhub.jobs import Job
from felhom_agent.devhub.markup import Wrong, ago, complaint, path_of, text, typed
from felhom_agent.devhub.plain import moment_text
from felhom_agent.devhub.said import JobWord, Pending, Signers
from felhom_agent.devhub.store import Host
from felhom_agent.devhub.summary import summary

_BAD: Final = frozenset({"failed", "unknown", "refused", "expired"})
_NOT_TOLD: Final = '<span class="dim">not told</span>'


@dataclass(frozen=True)
class _View:
    """What the rows of a host's jobs are made of."""

    host: Host
    now: float
    pending: dict[str, Pending]
    words: dict[str, JobWord]


def section(host: Host, jobs: Sequence[Job], now: float, wrong: Wrong | None) -> str:
    """Given a host, its jobs and the time, return the section; `wrong` is a form that was not
    followed.
    """
    told = host.signing
    view = _View(
        host, now,
        {each.job_id: each for each in told.pending},
        {each.job_id: each for each in told.recent},
    )  # fmt: skip
    return (
        f'<section id="jobs"><h3>Signed jobs</h3>{_unseen(host)}{complaint("jobs", wrong)}'
        f"{_table(view, jobs)}{_facts(host, now)}{_ask_form(host, wrong)}"
        f"{_put_form(host, jobs, wrong)}</section>"
    )


def marks(host: Host, now: float) -> str:
    """Return what the list of hosts says of a host's signed jobs and signers."""
    found = [_unseen_words(host)] if host.signers.unseen is not None else []
    if count := len(host.waiting(now)):
        found.append(f"{count} request{'s wait' if count > 1 else ' waits'} for a signature")
    link = path_of(host.host_id)
    return "".join(f'<br><a class="bad" href="{link}#jobs">{words}</a>' for words in found)


# The table.


def _table(view: _View, jobs: Sequence[Job]) -> str:
    known = {job.job_id for job in jobs if job.is_open}
    rows = [_row(view, job) for job in jobs]
    rows += [_own_row(view, each) for each in view.pending.values() if each.job_id not in known]
    if not rows:
        return '<p class="dim">None was put in.</p>'
    head = "<tr><th>Job</th><th>What</th><th>At the hub</th><th>The host says</th><th></th></tr>"
    return f'<table id="joblist">{head}{"".join(rows)}</table>'


def _row(view: _View, job: Job) -> str:
    cells = (
        text(job.job_id),
        text(summary(job.envelope)),
        _at_the_hub(view, job),
        _host_says(view, job),
        _buttons(view.host, job),
    )
    return _cells(cells)


def _own_row(view: _View, pending: Pending) -> str:
    """Return the row of a request that this hub does not ask for, or no more."""
    said = "not asked for, or answered or dropped since"
    state = f'<span class="dim">{said}</span>; {_signature_wanted(view, pending)}'
    word = _word(view.words.get(pending.job_id))
    return _cells((text(pending.job_id), "request", state, word, ""))


def _cells(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _at_the_hub(view: _View, job: Job) -> str:
    if job.acknowledged is not None:
        return f'<span class="dim">acknowledged {ago(job.acknowledged, view.now)}</span>'
    put_in = f"put in {ago(job.since, view.now)}" if job.since else ""
    fetched = f"fetched {ago(job.delivered, view.now)}" if job.delivered is not None else ""
    return "; ".join(filter(None, (_state(view, job), put_in, fetched)))


def _state(view: _View, job: Job) -> str:
    if job.is_request:
        pending = view.pending.get(job.job_id)
        return "asked for" if pending is None else _signature_wanted(view, pending)
    return "held" if job.held else "to be delivered"


def _signature_wanted(view: _View, pending: Pending) -> str:
    until = moment_text(pending.expires)
    if pending.expires <= view.now:
        return f'<span class="bad">nobody signed it before it ended on {until}</span>'
    link = path_of(view.host.host_id, "requests", pending.job_id)
    return f'waiting for a signature until {until}: <a href="{link}">download the request</a>'


def _host_says(view: _View, job: Job) -> str:
    if job.is_untold:
        return '<span class="bad">the host has not told of it</span>'
    return _word(view.words.get(job.job_id))


def _word(word: JobWord | None) -> str:
    if word is None:
        return ""
    css = "bad" if word.state in _BAD else "good" if word.state == "done" else ""
    why = f": {text(word.why)}" if word.why else ""
    return f'<span class="{css}">{text(word.state)}</span>{why}'


def _buttons(host: Host, job: Job) -> str:
    if not job.is_open:
        return ""
    hold = "" if job.is_request else "deliver" if job.held else "hold"
    return "".join(_button(host, job, word) for word in (hold, "drop") if word)


def _button(host: Host, job: Job, word: str) -> str:
    return (
        f'<form method="post" action="{path_of(host.host_id, "jobs", word)}">'
        f'<input type="hidden" name="job_id" value="{text(job.job_id)}">'
        f"<button>{word.capitalize()}</button></form>"
    )


# What the host says of itself.


def _facts(host: Host, now: float) -> str:
    told = host.signing
    frozen = {True: '<span class="bad">yes</span>', False: "no", None: _NOT_TOLD}[told.frozen]
    rows = (
        ("Signers", _signers(told.signers, now)),
        ("Jobs accepted", _NOT_TOLD if told.accepted is None else str(told.accepted)),
        ("Last nonce", text(told.last_nonce) or _NOT_TOLD),
        ("Challenge", text(told.challenge) or _NOT_TOLD),
        ("Head of the audit log", text(told.audit_head) or _NOT_TOLD),
        ("Frozen", frozen),
    )
    shown = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    return f'<table id="signing">{shown}</table>'


def _signers(signers: Signers | None, now: float) -> str:
    if signers is None:
        return _NOT_TOLD
    by = "provisioned by root" if signers.by == "root" else "by a rotation"
    parts = [f"version {signers.version}, {by}"]
    if signers.since is not None:
        parts.append(f"since {moment_text(signers.since)}")
    parts.append(_expiry(signers.expires, now))
    for role, count in (("operational", signers.operational), ("recovery", signers.recovery)):
        parts += [f"{count} {role}"] if count is not None else []
    return ", ".join(parts)


def _expiry(expires: float | None, now: float) -> str:
    if expires is None:
        return "without an end that the host tells"
    if expires <= now:
        return f'<span class="bad">expired on {moment_text(expires)}</span>'
    return f"they expire on {moment_text(expires)}"


def _unseen(host: Host) -> str:
    if (version := host.signers.unseen) is None:
        return ""
    return (
        f'<form method="post" action="{path_of(host.host_id, "signers", "seen")}" id="unseen">'
        f'<p class="error bad">{_unseen_words(host)}: was it you, or the host\'s owner? '
        f'<input type="hidden" name="version" value="{version}"><button>Seen</button></p></form>'
    )


def _unseen_words(host: Host) -> str:
    return f"signers: version {host.signers.unseen}, provisioned by root"


# The forms.


def _ask_form(host: Host, wrong: Wrong | None) -> str:
    chosen = wrong.typed.get("act") if wrong is not None and wrong.form == "ask" else None
    acts = "".join(_option(act, act, chosen=act == chosen) for act in (*GUEST_ACTS, *HOST_ACTS))
    boxes = "".join(
        f'<label><input type="checkbox" name="{name}" value="1"'
        f"{' checked' if typed('ask', wrong, name) else ''}> {words}</label>"
        for name, words in _BOXES
    )
    return (
        f'<h4>Ask the host for a request</h4>{complaint("ask", wrong)}<form id="ask" '
        f'method="post" action="{path_of(host.host_id, "jobs", "ask")}">'
        f'<p><label>Act <select name="act">{acts}</select></label>'
        f"{_input('Guest', 'vmid', wrong)}{_input('Snapshot or disk key', 'what', wrong)}</p>"
        f"<p>{boxes}</p><p>{_input('Further parameters, as JSON', 'params', wrong)}</p>"
        "<button>Ask</button></form>"
    )


_BOXES: Final = (
    ("purge", "purge it from backup jobs and HA"),
    ("stop", "stop it first if it runs"),
    ("resume", "go on with the guest afterwards"),
)


def _input(label: str, name: str, wrong: Wrong | None) -> str:
    value = typed("ask", wrong, name)
    return f'<label>{label} <input name="{name}" value="{value}"></label>'


def _put_form(host: Host, jobs: Sequence[Job], wrong: Wrong | None) -> str:
    chosen = wrong.typed.get("request") if wrong is not None and wrong.form == "put" else None
    requests = [job for job in jobs if job.is_open and job.is_request]
    options = _option("", "no request of the list", chosen=False) + "".join(
        _option(job.job_id, f"{job.job_id}: {summary(job.envelope)}", chosen=job.job_id == chosen)
        for job in requests
    )
    held = " checked" if typed("put", wrong, "hold") else ""
    return (
        f'<h4>Put a signed job in</h4>{complaint("put", wrong)}<form id="put" method="post" '
        f'action="{path_of(host.host_id, "jobs", "put")}">'
        f'<p><label>It answers <select name="request">{options}</select></label></p>'
        f"{_area('The job, as its file has it', 'job', wrong)}"
        f"{_area('Its signatures, one after the other', 'signatures', wrong)}"
        f'<p><label><input type="checkbox" name="hold" value="1"{held}> hold it for now</label></p>'
        "<button>Put in</button></form>"
    )


def _option(value: str, words: str, *, chosen: bool) -> str:
    selected = " selected" if chosen else ""
    return f'<option value="{text(value)}"{selected}>{text(words)}</option>'


def _area(label: str, name: str, wrong: Wrong | None) -> str:
    # The line feed after the tag is not part of the text; without it, one of the text's would go.
    return (
        f'<label>{label}<textarea class="low" name="{name}" spellcheck="false">\n'
        f"{typed('put', wrong, name)}</textarea></label>"
    )
