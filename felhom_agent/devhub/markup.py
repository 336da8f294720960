"""What all pages have in common: the frame, the style, and texts that nothing can break out of.

Plain HTML without scripts. Every text that comes from elsewhere goes through `text`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Final
from urllib.parse import quote

from felhom_agent.devhub.plain import moment_text

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --good: #2a8a4a; --bad: #c2471b; --dim: #888; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1rem; font-weight: 500; } h1 a { color: var(--dim); }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line);
         vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--dim); font-weight: 500; }
textarea { width: 100%; height: 18rem; font: 13px/1.45 ui-monospace, monospace; padding: .6rem;
           box-sizing: border-box; }
textarea.low { height: 6rem; }
input, select { font: inherit; } label { margin-right: 1rem; }
button { font: inherit; padding: .35rem 1rem; margin: .5rem .5rem 0 0; }
td form { display: inline; } td button { padding: 0 .6rem; margin: 0 .3rem 0 0; }
.good { color: var(--good); } .bad { color: var(--bad); } .dim { color: var(--dim); }
.error { border-left: 3px solid var(--bad); padding: .3rem .8rem; }
"""


@dataclass(frozen=True)
class Wrong:
    """A form that was not followed: which, what is wrong with it, and what was typed."""

    form: str
    error: str
    typed: Mapping[str, str] = field(default_factory=dict)


def frame(title: str, body: str, refresh: int = 0) -> str:
    """Given a page's title (a text), its HTML, and after how many seconds it comes again (0:
    never), return the page.
    """
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{again}'
        f"<title>{text(title)}</title>"
        f'<style>{_STYLE}</style><h1><a href="/">felhom hub</a></h1>{body}</html>'
    )


def text(value: str) -> str:
    """Given a text, return it for HTML: between tags, or within a quoted attribute."""
    return escape(value, quote=True)


def path_of(host_id: str, *more: str) -> str:
    """Given a host, and what follows, return the path of its page, or of what is below that."""
    return "/".join(["/hosts", *(quote(part, safe="") for part in (host_id, *more))])


def complaint(form: str, wrong: Wrong | None) -> str:
    """Return what is wrong with a form, if it is this one."""
    if wrong is None or wrong.form != form:
        return ""
    return f'<p class="error bad" id="error">{text(wrong.error)}</p>'


def typed(form: str, wrong: Wrong | None, name: str) -> str:
    """Return for HTML what was typed into a field of a form that was not followed, so that it is
    not lost.
    """
    return text(wrong.typed.get(name, "")) if wrong is not None and wrong.form == form else ""


def ago(moment: float, now: float) -> str:
    """Return how long a moment is gone, in words; both are seconds since the epoch."""
    seconds = max(0, int(now - moment))
    if seconds < 600:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 7200 else f"on {moment_text(moment)}"
