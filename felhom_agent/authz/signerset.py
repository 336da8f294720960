"""Making a list of signers from public keys: what `signers init` writes.

Given the text of .pub files it makes a text that the judge (`signers.py`) finds nothing wrong with,
or says of each file what is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from felhom_agent.authz.signerline import LineRefused, Role, Signer, is_blank, parse_signer, text_of
from felhom_agent.authz.signers import judge
from felhom_agent.model import Place, Problem
from felhom_agent.printable import printable

KeyFile = tuple[str, str]
"""The name of a .pub file, and its text."""


def made_of(
    operational: Iterable[KeyFile], recovery: Iterable[KeyFile] = (), valid_before: str = ""
) -> tuple[str, tuple[Signer, ...], tuple[Problem, ...]]:
    """Given .pub files for each role, and when the keys end to be good (OpenSSH's form; empty:
    never), return the list's text, its signers, and all that is wrong; with a problem the text is
    empty.
    """
    found: list[Signer] = []
    problems: list[Problem] = []
    files = [(Role.OPERATIONAL, f) for f in operational] + [(Role.RECOVERY, f) for f in recovery]
    for role, (name, text) in files:
        try:
            signer = _signer(role, text)
            # The line is judged once more, with its end in it.
            signer = parse_signer(_dated(signer, valid_before))
        except LineRefused as error:
            problems.append(Problem(Place(printable(name, 300)), printable(str(error), 300)))
            continue
        if any(each.key.data == signer.key.data for each in found):
            what = "the key is given twice; a key has one role"
            problems.append(Problem(Place(printable(name, 300)), what))
            continue
        found.append(signer)
    if not files:
        problems.append(Problem(Place("signers"), "no key is given"))
    if problems:
        return "", (), tuple(problems)
    text = text_of(found)
    signers, problems_of_all = judge("allowed_signers", text)
    return (text if not problems_of_all else ""), signers, problems_of_all


def _signer(role: Role, text: str) -> Signer:
    """Given a .pub file's text, return its key in a role. Raise LineRefused if it is none."""
    if "PRIVATE KEY" in text:
        raise LineRefused("it is a private key; it belongs on nobody's host: use the .pub file")
    lines = [line for line in text.split("\n") if not is_blank(line)]
    if len(lines) != 1:
        raise LineRefused(f"it has {len(lines)} lines, and a .pub file has one")
    signer = parse_signer(f"{role} {lines[0].strip()}")
    if lines[0].split()[0] != signer.key.type:
        # Its options would be lost, or would count although nobody saw them.
        raise LineRefused("something stands before the key; a .pub file has its type first")
    return signer


def _dated(signer: Signer, valid_before: str) -> str:
    dated = replace(signer, valid_before=valid_before)
    return f"{dated.line} {dated.comment}".rstrip()
