"""How large a declared value may be, and which characters it may have, whatever its option.

Asked before anything is computed with a value: TOML and JSON put no limit to a number's digits or a
text's length, and Python's own conversions fail on some of them, or take their time. The limits are
far above what PVE takes or anybody needs.
"""

from __future__ import annotations

import math
import re
from typing import Final

from felhom_agent.model import DeclaredValue, Scalar
from felhom_agent.options.formats import Invalid
from felhom_agent.options.table import Option

MAX_TEXT: Final = 8192
"""How many characters a text may have: as many as PVE takes in a description."""
MAX_LONG_TEXT: Final = 65_536
"""How many the few may have that hold several texts."""
MAX_ELEMENTS: Final = 1000
"""How many elements a list may have."""

_LONG: Final = frozenset({"sshkeys", "env"})
# PVE keeps any character of a description, encoded (recorded: 14-fixpoints); keys are encoded here.
_ENCODED: Final = frozenset({"description", "sshkeys"})
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
# PVE: qemu-server QemuServer.pm check_type ("property contains a line feed"); pve-container
# LXC/Config.pm write_pct_config ("detected invalid newline inside property"). Of the others some
# options take some; none has a use for them. A tab is a blank (recorded: 202-values/473).
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def refuse_unbounded(option: Option, value: DeclaredValue) -> None:
    """Given a declared value, raise `Invalid` if it is larger than any value of the option, or has
    a character that no configuration file of PVE's can hold.
    """
    values = value if isinstance(value, tuple) else (value,)
    if len(values) > MAX_ELEMENTS:
        raise Invalid(f"must be a list of at most {MAX_ELEMENTS} elements")
    length = 0
    for scalar in values:
        length += len(scalar) if isinstance(scalar, str) else 0
        _refuse_scalar(option, scalar)
    limit = MAX_LONG_TEXT if option.name in _LONG else MAX_TEXT
    if length > limit:
        raise Invalid(f"must have at most {limit} characters")


def _refuse_scalar(option: Option, scalar: Scalar) -> None:
    if isinstance(scalar, str):
        _refuse_characters(option, scalar)
    elif isinstance(scalar, float) and not math.isfinite(scalar):
        raise Invalid("must be a finite number")
    elif not -(2**63) <= scalar < 2**63:
        raise Invalid("must be a number of at most 64 bits")


def _refuse_characters(option: Option, text: str) -> None:
    if found := _SURROGATE.search(text):
        raise Invalid(f"must be text, but has half a character, {_named(found)}; type it again")
    if option.name in _ENCODED:
        return
    # PVE: pve-container LXC/Config.pm: NUL stands between the variables
    found = _CONTROL.search(text.replace("\0", "") if option.name == "env" else text)
    if found:
        raise Invalid(f"must be one line of text, but has {_named(found)}")


def _named(found: re.Match[str]) -> str:
    if found[0] in "\n\r":
        return "a line feed" if found[0] == "\n" else "a carriage return"
    return f"the character U+{ord(found[0]):04X}"
