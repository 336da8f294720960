"""Secrets are taken out of text where it leaves the process, whoever put them there.

No message of ours has a secret in it. But others send ours back: a proxy in front of PVE that
answers 401 with the request it got, a library whose exception quotes a header. So each secret that
is read is remembered here, and `safe_text`, which every exit calls, writes `MASK` in its place,
also where it was quoted for a URL, JSON or HTML, or encoded in base64 or hex.

Only secrets of this host's owner are remembered: what a guest file or a hub declares must not be
able to blot words out of the log.

Threads: `_lock` guards a change of `_known`; readers take the tuple as it is, it is replaced as a
whole.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from typing import Final

from felhom_agent.printable import MARK, printable

MASK: Final = "(secret)"
MIN_LENGTH: Final = 6
"""A shorter secret is not looked for: the gaps that it left in ordinary words would tell it."""

_MAX_SECRETS: Final = 16
_MAX_INPUT: Final = 1 << 20
_lock = threading.Lock()
_known: tuple[tuple[str, ...], ...] = ()


def remember(secret: str) -> None:
    """Given a secret, keep it out of all text that leaves from now on."""
    global _known  # the one thing that all exits share, and nobody can hand to all of them
    if len(secret) < MIN_LENGTH:
        return
    forms = tuple(sorted(set(_forms(secret)), key=len, reverse=True))
    with _lock:
        _known = (forms, *(f for f in _known if f != forms))[:_MAX_SECRETS]


def redacted(text: str) -> str:
    """Given a text, return it, or the first million characters of it, without any secret."""
    known = _known
    longest = max((len(forms[0]) for forms in known), default=0)
    cut = len(text) > _MAX_INPUT
    text = text[:_MAX_INPUT]
    for form in (form for forms in known for form in forms):
        if form in text:
            text = text.replace(form, MASK)
    # What was cut may end in the first half of a secret.
    return text[: len(text) - longest] + MARK if cut else text


def safe_text(text: str, max_length: int) -> str:
    """Given a text, return it without secrets, printable, in at most `max_length` characters."""
    return printable(redacted(text), max_length)


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it may stand in a text."""
    import html  # not at the top: most commands read no secret, and start sooner without it

    for plain in (secret, secret.lower(), secret.upper()):
        yield plain
        for quoted in _quoted(plain):
            yield quoted
            yield quoted.replace("%", "%25")
            yield re.sub("%..", lambda found: found[0].lower(), quoted)
        yield json.dumps(plain)[1:-1]
        yield json.dumps(plain, ensure_ascii=False)[1:-1]
        yield repr(plain)[1:-1]
        yield html.escape(plain)
    data = secret.encode("utf-8", "backslashreplace")
    yield data.hex()
    yield data.hex().upper()
    yield from _in_base64(data)


def _quoted(text: str) -> tuple[str, ...]:
    """Return a text as it may stand in a URL."""
    from urllib.parse import quote, quote_plus  # as in `_forms`

    every = "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "backslashreplace"))
    return (quote(text, safe="", errors="backslashreplace"), quote(text, errors="backslashreplace"),
            quote_plus(text, errors="backslashreplace"), every)  # fmt: skip


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield what any base64 of a text that holds these bytes must hold, wherever they stand in it.

    Three bytes are four characters, so there are three ways to fall on them; the characters at
    either end that belong to the neighbours, too, are left out.
    """
    for before in range(3):
        padded = bytes(before) + data
        whole = base64.b64encode(padded + bytes(-len(padded) % 3)).decode("ascii")
        form = whole[-(-before * 8 // 6) : len(padded) * 8 // 6]
        if len(form) >= MIN_LENGTH:
            yield form
            yield form.translate(str.maketrans("+/", "-_"))
