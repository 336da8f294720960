"""What PVE knows of each guest option: its type, its bounds, its default, who may set it.

Facts without an opinion, and without a network: others decide what to do with them. An option is
found by `lookup`; its `type` checks values in PVE's own words, puts declared values on the wire,
and tells what a value means. The facts are the lines of `qemu` and `lxc`.
"""

from felhom_agent.options.declaration import declared, keys, lookup, understood
from felhom_agent.options.formats import Invalid
from felhom_agent.options.propstring import Key, PropertyString
from felhom_agent.options.refusal import (
    beyond_token,
    dangerous,
    lost_by_unset,
    mask,
)
from felhom_agent.options.settling import never_settles
from felhom_agent.options.table import Option
from felhom_agent.options.together import clashes
from felhom_agent.options.types import OptionType
from felhom_agent.options.volume import Volume
from felhom_agent.options.words import holds_secrets, may_be_secret, spoken

__all__ = [
    "Invalid",
    "Key",
    "Option",
    "OptionType",
    "PropertyString",
    "Volume",
    "beyond_token",
    "clashes",
    "dangerous",
    "declared",
    "holds_secrets",
    "keys",
    "lookup",
    "lost_by_unset",
    "mask",
    "may_be_secret",
    "never_settles",
    "spoken",
    "understood",
]
