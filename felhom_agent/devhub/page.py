"""What a person sees of the hub: all hosts, and one host with an editor for its desired state, and
why the host refused one.

Plain HTML without scripts; the list comes again every few seconds, the editor stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from felhom_agent.devhub.store import Host

_FIRST = "no report yet: the first one comes after the agent's first pass"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #2a8a4a; --bad: #c2471b; --dim: #888; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1rem; font-weight: 500; } h1 a { color: var(--dim); }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line);
         vertical-align: top; }
th { color: var(--dim); font-weight: 500; }
textarea { width: 100%; height: 18rem; font: 13px/1.45 ui-monospace, monospace; padding: .6rem;
           box-sizing: border-box; }
button { font: inherit; padding: .35rem 1rem; margin: .5rem .5rem 0 0; }
.good { color: var(--good); } .bad { color: var(--bad); } .dim { color: var(--dim); }
.error { border-left: 3px solid var(--bad); padding: .3rem .8rem; }
"""


def list_of(hosts: list[Host], now: float) -> str:
    """Given all hosts and the time (seconds since the epoch), return the page that lists them."""
    rows = "".join(_row(host, now) for host in hosts)
    body = (
        "<table><tr><th>Host</th><th>Last seen</th><th>Mode</th><th>PVE</th><th>Guests</th>"
        f"<th>Desired generation</th></tr>{rows}</table>"
    )
    empty = "<p class=dim>No host is enrolled yet: felhom-agent devhub --host NAME</p>"
    return _page("felhom hub", body if hosts else empty, refresh=5)


def page_of(host: Host, now: float, error: str = "", text: str = "") -> str:
    """Given a host, return its page; `error` is what is wrong with the `text` that was sent."""
    shown = text or json.dumps(host.state or {"guest": {}}, indent=2)
    complaint = f'<p class="error bad" id="error">{escape(error)}</p>' if error else ""
    word, label = ("", "Unblock: enforce again") if host.blocked else ("1", "Block: observe only")
    name = escape(host.host_id, quote=True)
    body = f"""
<h2>{name}</h2>
<p>Last seen {_seen(host, now)}; {_generation(host)}.</p>{_refused(host)}
{_guests(host)}
<h3>Desired state</h3>{complaint}
<form method="post" action="/hosts/{name}/desired-state">
<textarea name="state" id="state" spellcheck="false">{escape(shown)}</textarea>
<button id="save">Save as the next generation</button></form>
<form method="post" action="/hosts/{name}/blocked">
<input type="hidden" name="blocked" value="{word}"><button id="block">{label}</button></form>
"""
    return _page(f"felhom hub: {name}", body)


def _page(title: str, body: str, refresh: int = 0) -> str:
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{again}<title>{title}</title>'
        f'<style>{_STYLE}</style><h1><a href="/">felhom hub</a></h1>{body}</html>'
    )


def _row(host: Host, now: float) -> str:
    name = escape(host.host_id, quote=True)
    mode = str(_agent(host).get("mode", ""))
    return (
        f'<tr id="host-{name}"><td><a href="/hosts/{name}">{name}</a></td>'
        f"<td>{_seen(host, now)}</td><td>{escape(mode)}{' (blocked)' if host.blocked else ''}</td>"
        f"<td>{escape(str(_table(host.report, 'host').get('pve_version', '')))}</td>"
        f"<td>{_outcomes(host)}</td><td>{_generation(host)}{_mark(host, name)}</td></tr>"
    )


def _guests(host: Host) -> str:
    rows = "".join(_guest(g) for g in _list(host.report, "guests") if isinstance(g, dict))
    head = "<tr><th>Guest</th><th>Kind</th><th>Name</th><th>Status</th><th>Outcome</th></tr>"
    return f'<table id="guests">{head}{rows}</table>' if rows else ""


def _guest(guest: dict[str, Any]) -> str:
    outcome = _table(guest, "outcome")
    state, why = str(outcome.get("state", "")), str(outcome.get("why", ""))
    unmanaged = "not managed" if "managed" in guest else "not the hub's to see"
    managed = f"{state}{': ' if why else ''}{why}" if state else unmanaged
    css = "good" if state == "converged" else "bad" if state else "dim"
    # Of a guest that the host does not let the hub see, only some of it is there.
    cells = (guest.get(key, "") for key in ("vmid", "kind", "name", "status"))
    shown = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
    return f'<tr>{shown}<td class="{css}">{escape(managed)}</td></tr>'


def _outcomes(host: Host) -> str:
    counts = _table(_agent(host), "outcomes")
    parts = list(_counted(counts))
    return ", ".join(parts) or '<span class="dim">none</span>'


def _counted(counts: dict[str, Any]) -> Iterator[str]:
    for state, count in counts.items():
        if count:
            css = "good" if state == "converged" else "bad"
            yield f'<span class="{css}">{escape(str(count))} {escape(str(state))}</span>'


def _generation(host: Host) -> str:
    in_force = _agent(host).get("generation", 0)
    if not host.generation:
        return "none desired"
    if in_force == host.generation:
        return f"generation {host.generation} in force"
    return f"generation {host.generation}, {escape(str(in_force))} in force"


def _mark(host: Host, name: str) -> str:
    """Return what the list says of a refused generation; its page says why."""
    if (refused := host.refused) is None:
        return ""
    return (
        f'<br><a class="bad" id="refused-{name}" href="/hosts/{name}#refused">'
        f"generation {refused.generation} was refused</a>"
    )


def _refused(host: Host) -> str:
    """Return which generation the host's latest report says that it refused, and why."""
    if (refused := host.refused) is None:
        return ""
    newer = host.generation > refused.generation
    since = f" It has not reported on generation {host.generation} yet." if newer else ""
    reasons = "".join(f"<li>{escape(text)}</li>" for text in refused.problems)
    return (
        f'<div class="error" id="refused"><p class="bad">The host refused generation '
        f"{refused.generation} as a whole; {_in_force(host)}.{since}</p>"
        f"<ul>{reasons or '<li>It gave no reason.</li>'}</ul></div>"
    )


def _in_force(host: Host) -> str:
    in_force = _agent(host).get("generation", 0)
    if not in_force:
        return "nothing that this hub desires is in force"
    return f"generation {escape(str(in_force))} stays in force"


def _seen(host: Host, now: float) -> str:
    return f"{max(0, int(now - host.seen))} s ago" if host.seen else f"never; {_FIRST}"


def _agent(host: Host) -> dict[str, Any]:
    return _table(host.report, "agent")


def _table(row: dict[str, Any], key: str) -> dict[str, Any]:
    value = row.get(key)
    return value if isinstance(value, dict) else {}


def _list(row: dict[str, Any], key: str) -> list[Any]:
    value = row.get(key)
    return value if isinstance(value, list) else []
