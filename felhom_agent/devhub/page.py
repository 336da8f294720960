"""What a person sees of the hub: all hosts, and one host with an editor for its desired state,
why the host refused one, and its signed jobs.

The list comes again every few seconds, the page of a host stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from felhom_agent.devhub import jobspage
from felhom_agent.devhub.jobs import Job
from felhom_agent.devhub.markup import Wrong, ago, complaint, frame, path_of, text
from felhom_agent.devhub.plain import listed, shown, table
from felhom_agent.devhub.store import Host

_FIRST: Final = "no report yet: the first one comes after the agent's first pass"
_MAX_OUTCOMES: Final = 20


def list_of(hosts: list[Host], now: float) -> str:
    """Given all hosts and the time (seconds since the epoch), return the page that lists them."""
    rows = "".join(_row(host, now) for host in hosts)
    body = (
        "<table><tr><th>Host</th><th>Last seen</th><th>Mode</th><th>PVE</th><th>Guests</th>"
        f"<th>Desired generation</th></tr>{rows}</table>"
    )
    empty = "<p class=dim>No host is enrolled yet: felhom-agent devhub --host NAME</p>"
    return frame("felhom hub", body if hosts else empty, refresh=5)


def page_of(host: Host, jobs: Sequence[Job], now: float, wrong: Wrong | None = None) -> str:
    """Given a host, its jobs and the time, return its page; `wrong` is a form of it that was not
    followed.
    """
    desired = json.dumps(host.state or {"guest": {}}, indent=2)
    if wrong is not None and wrong.form == "state":
        desired = wrong.typed.get("state", "") or desired
    word, label = ("", "Unblock: enforce again") if host.blocked else ("1", "Block: observe only")
    path = path_of(host.host_id)
    body = f"""
<h2>{text(host.host_id)}</h2>
<p>Last seen {_seen(host, now)}; {_generation(host)}.</p>{_refused(host)}
{_guests(host)}
<h3>Desired state</h3>{complaint("state", wrong)}
<form method="post" action="{path}/desired-state">
<textarea name="state" id="state" spellcheck="false">{text(desired)}</textarea>
<button id="save">Save as the next generation</button></form>
<form method="post" action="{path}/blocked">
<input type="hidden" name="blocked" value="{word}"><button id="block">{label}</button></form>
{jobspage.section(host, jobs, now, wrong)}
"""
    return frame(f"felhom hub: {host.host_id}", body)


def _row(host: Host, now: float) -> str:
    name, path = text(host.host_id), path_of(host.host_id)
    mode = text(shown(_agent(host).get("mode")))
    return (
        f'<tr id="host-{name}"><td><a href="{path}">{name}</a></td>'
        f"<td>{_seen(host, now)}</td><td>{mode}{' (blocked)' if host.blocked else ''}</td>"
        f"<td>{text(shown(table(host.report, 'host').get('pve_version')))}</td>"
        f"<td>{_outcomes(host)}</td>"
        f"<td>{_generation(host)}{_mark(host)}{jobspage.marks(host, now)}</td></tr>"
    )


def _guests(host: Host) -> str:
    rows = "".join(_guest(g) for g in listed(host.report, "guests") if isinstance(g, dict))
    head = "<tr><th>Guest</th><th>Kind</th><th>Name</th><th>Status</th><th>Outcome</th></tr>"
    return f'<table id="guests">{head}{rows}</table>' if rows else ""


def _guest(guest: dict[str, Any]) -> str:
    outcome = table(guest, "outcome")
    state, why = shown(outcome.get("state")), shown(outcome.get("why"))
    unmanaged = "not managed" if "managed" in guest else "not the hub's to see"
    managed = f"{state}{': ' if why else ''}{why}" if state else unmanaged
    css = "good" if state == "converged" else "bad" if state else "dim"
    # Of a guest that the host does not let the hub see, only some of it is there.
    cells = (shown(guest.get(key)) for key in ("vmid", "kind", "name", "status"))
    row = "".join(f"<td>{text(cell)}</td>" for cell in cells)
    return f'<tr>{row}<td class="{css}">{text(managed)}</td></tr>'


def _outcomes(host: Host) -> str:
    parts = islice(_counted(table(_agent(host), "outcomes")), _MAX_OUTCOMES)
    return ", ".join(parts) or '<span class="dim">none</span>'


def _counted(counts: dict[str, Any]) -> Iterator[str]:
    for state, count in counts.items():
        if count:
            css = "good" if state == "converged" else "bad"
            yield f'<span class="{css}">{text(shown(count))} {text(shown(state))}</span>'


def _generation(host: Host) -> str:
    if not host.generation:
        return "none desired"
    if _agent(host).get("generation", 0) == host.generation:
        return f"generation {host.generation} in force"
    return f"generation {host.generation}, {_number_in_force(host)} in force"


def _mark(host: Host) -> str:
    """Return what the list says of a refused generation; its page says why."""
    if (refused := host.refused) is None:
        return ""
    return (
        f'<br><a class="bad" id="refused-{text(host.host_id)}" '
        f'href="{path_of(host.host_id)}#refused">'
        f"generation {refused.generation} was refused</a>"
    )


def _refused(host: Host) -> str:
    """Return which generation the host's latest report says that it refused, and why."""
    if (refused := host.refused) is None:
        return ""
    newer = host.generation > refused.generation
    since = f" It has not reported on generation {host.generation} yet." if newer else ""
    reasons = "".join(f"<li>{text(problem)}</li>" for problem in refused.problems)
    return (
        f'<div class="error" id="refused"><p class="bad">The host refused generation '
        f"{refused.generation} as a whole; {_in_force(host)}.{since}</p>"
        f"<ul>{reasons or '<li>It gave no reason.</li>'}</ul></div>"
    )


def _in_force(host: Host) -> str:
    if not _agent(host).get("generation", 0):
        return "nothing that this hub desires is in force"
    return f"generation {_number_in_force(host)} stays in force"


def _number_in_force(host: Host) -> str:
    return text(shown(_agent(host).get("generation", 0)))


def _seen(host: Host, now: float) -> str:
    return ago(host.seen, now) if host.seen else f"never; {_FIRST}"


def _agent(host: Host) -> dict[str, Any]:
    return table(host.report, "agent")
