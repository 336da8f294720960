"""What went wrong with a command, in a line for a person and a code for a script.

Whatever the system refuses (a disk, a file, memory) is told as that; only a bug of ours is an
"internal error", with its place and what to report.
"""

from __future__ import annotations

import logging
from pathlib import Path

from felhom_agent import __version__
from felhom_agent.cli.codes import CONFIG, DATAERR, ERROR, SOFTWARE, TEMPFAIL, UNAVAILABLE
from felhom_agent.cli.commands import NotInstalled
from felhom_agent.cli.out import OutputFailed, ReaderLeft, complain, give_up_stdout
from felhom_agent.errors import ConfigError, FelhomError, JournalDamaged
from felhom_agent.service.events import BROKEN, CONFIG_UNUSABLE, JOURNAL_DAMAGED, NOT_DONE
from felhom_agent.service.origins import described, text_of, trace_of


def told(error: Exception, *, debug: bool) -> int:
    """Given what ended a command, tell it on stderr; return the exit code.

    With `debug`, or where every detail is logged, tell the places that it came through, too.
    """
    code = _told(error)
    if debug or logging.getLogger("felhom_agent").isEnabledFor(logging.DEBUG):
        for line in trace_of(error):
            complain(line, prefix="  ")
    return code


def _told(error: Exception) -> int:
    match error:
        case ConfigError():
            for problem in error.problems:
                complain(problem, event=CONFIG_UNUSABLE)
            return CONFIG
        case ReaderLeft():
            give_up_stdout()
            return ERROR
        case FelhomError():
            code = code_of(error)
            complain(error, event=JOURNAL_DAMAGED if code == DATAERR else NOT_DONE)
            return code
    if words := _of_the_system(error):
        complain(words, event=NOT_DONE)
        return ERROR
    complain(
        f"internal error, please report it: {described(error)}; this is a bug of felhom-agent "
        f"{__version__}: send this line, and what the same command says with --debug, to its "
        f"maintainer (`dpkg -s felhom-agent` names him)",
        event=BROKEN,
    )
    return SOFTWARE


def code_of(error: FelhomError) -> int:
    """Given what ended a command, or a probe of one, return the exit code that says so."""
    if isinstance(error, ConfigError):
        return CONFIG
    if isinstance(error, JournalDamaged):
        return DATAERR
    if isinstance(error, NotInstalled):
        return UNAVAILABLE
    return TEMPFAIL if error.temporary and not isinstance(error, OutputFailed) else ERROR


def _of_the_system(error: Exception) -> str:
    """Return what the system refused, in words; nothing if it was not the system."""
    if isinstance(error, MemoryError):
        return "there is not enough memory; see `free -h`, and `ulimit -v` of this shell"
    if isinstance(error, RuntimeError) and text_of(error).startswith("can't start new thread"):
        return "the system allows no more threads; see `ulimit -u` of this shell"
    if isinstance(error, ImportError) and not str(error.name).startswith("felhom_agent"):
        return f"{text_of(error)}: a part of this installation is missing, or cannot be loaded"
    if isinstance(error, OSError) and error.errno is not None:
        if isinstance(error, FileNotFoundError) and not error.filename and _is_nowhere():
            return "the working directory was removed; go to another one, or name whole paths"
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or text_of(error)}"
    return ""


def _is_nowhere() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False
