"""The exit codes: what a script may rely on, in one table that the manual is made of.

64, 65, 69, 70, 75 and 78 are those of sysexits(3). systemd is told (RestartPreventExitStatus=) not
to try again after 65 and 78, which only a person can mend.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

OK: Final = 0
ERROR: Final = 1
WOULD_CHANGE: Final = 2
DIFFERS: Final = 3
USAGE: Final = 64
DATAERR: Final = 65
UNAVAILABLE: Final = 69
SOFTWARE: Final = 70
TEMPFAIL: Final = 75
CONFIG: Final = 78
INTERRUPTED: Final = 130

MEANINGS: Final[Mapping[int, str]] = MappingProxyType(
    {
        OK: "done; for `plan`, `explain` and `run --once`: all is as declared",
        ERROR: "an error, told on stderr: what, where, and what to do; `check`: there are faults, "
        "and none of those below",
        WOULD_CHANGE: "`plan`: something would be changed, by the agent, or by `apply` where the "
        "agent only observes or does not run; `explain`: the values differ, or nobody can tell; "
        "`run --once`: not all is as declared",
        DIFFERS: "`plan`: something differs and will not be changed (observed; held by a freeze, a "
        "pause or the brake; waits; refused); `apply`: something stands in the way; `status`: not "
        "all is as declared",
        USAGE: "wrong usage: an unknown command or option, a bad value; nothing was done",
        DATAERR: "the journal is damaged, or the audit log is not what was written; `felhom-agent "
        "journal verify` and `audit verify` tell where. systemd does not try again",
        UNAVAILABLE: "the command is not installed; the line on stderr names the package that "
        "brings it",
        SOFTWARE: "a bug of felhom-agent; please report the line on stderr",
        TEMPFAIL: "not now, try again: the agent is starting or stopping, another agent holds the "
        "journal, the node cannot be reached (a name that cannot be looked up is an error: 1)",
        CONFIG: "the configuration is wrong, told with file and line (agent.toml; of `check FILE`, "
        "a guest file that was named). systemd does not try again",
        INTERRUPTED: "interrupted with Ctrl-C (SIGINT)",
    }
)
"""What each code says of the command that ended with it."""
