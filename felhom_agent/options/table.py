"""The form of the option tables: what is known of one option, and how a key finds its option.

`option` makes a line of a table; "net[n]" with `count=32` stands for net0 to net31. Facts only:
what follows from them is decided elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from felhom_agent.options.propstring import PropertyString
from felhom_agent.options.since import FIRST, Since
from felhom_agent.options.types import OptionType

_INDEXED: Final = re.compile(r"([a-z0-9]*[a-z])(0|[1-9][0-9]{0,3})")


@dataclass(frozen=True)
class Option:
    """What PVE knows of one option of a guest.

    * `name`: as in the table, "net[n]" for a numbered one; `count` is how many of it there are.
    * `default`: what PVE uses at run time where the key is absent, as wire text. That is not
      always the schema's default, and `None` where absence is like no value.
    * `privileges`: any one of them on the guest is enough to set it; `also` is needed besides.
    * `server_owned`: PVE writes it, nobody declares it. `secret`: it reads back masked.
    * `token_never`: why an API token can never set it, in PVE's words.
    * `read_only`: fixed when the guest was made. `required`: PVE refuses to delete it.
    * `presence`: its presence alone means something, so that a blank text is not absence.
    * `since`: when PVE came to know it; `None` where nobody knows.
    """

    name: str
    type: OptionType
    default: str | None = None
    privileges: tuple[str, ...] = ()
    count: int = 0
    also: str = ""
    server_owned: bool = False
    secret: bool = False
    token_never: str = ""
    read_only: bool = False
    required: bool = False
    presence: bool = False
    since: Since | None = FIRST

    @property
    def family(self) -> str:
        """The name without its number: "net" for "net[n]"."""
        return self.name.removesuffix("[n]")

    def at(self, key: str) -> Option:
        """Return this option as the one called `key`, which its messages then name."""
        kind = self.type.at(key) if isinstance(self.type, PropertyString) else self.type
        return replace(self, type=kind, token_never=self.token_never.format(key=key))


class Table:
    """The options of one kind of guest, by key."""

    def __init__(self, *options: Option) -> None:
        self.options = options
        self._by_name = {option.name: option for option in options}
        self._found: dict[str, Option] = {}

    def lookup(self, key: str) -> Option | None:
        """Given a key such as "net0", return its option; `None` if there is none."""
        option = self._found.get(key)
        if option is None and (line := self._line(key)) is not None:
            option = self._found[key] = line.at(key)
        return option

    def _line(self, key: str) -> Option | None:
        if key in self._by_name:
            return None if key.endswith("[n]") else self._by_name[key]
        match = _INDEXED.fullmatch(key)
        option = self._by_name.get(f"{match[1]}[n]") if match else None
        return option if match and option and int(match[2]) < option.count else None
