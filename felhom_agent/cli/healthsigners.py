"""Findings on signed operations: who may sign, what checks it, the clock, and what the token may do
of what is signed.

No list of signers is the normal first state. Where there is none, nothing else is told of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from felhom_agent.authz.setfile import SET
from felhom_agent.authz.signerline import Role, roles_for
from felhom_agent.authz.signers import ALLOWED, REVOKED, SignerSet
from felhom_agent.authz.sshkeygen import SshKeygen
from felhom_agent.cli import healthfiles, signerlist
from felhom_agent.cli.access import READ
from felhom_agent.cli.health import Finding, bad, good, note
from felhom_agent.cli.serviceuser import Service
from felhom_agent.cli.trustlook import look
from felhom_agent.config.settings import SIGNED_ACTS, AuthzConfig, ClockTrust, Config, KeyRole
from felhom_agent.daemon.reloaded import counted
from felhom_agent.daemon.signersexpiry import WARNED_SECONDS
from felhom_agent.model import Actual
from felhom_agent.planning.privileges import lacking
from felhom_agent.planning.signedneeds import SIGNED_NEEDS, opt_in, signed_need
from felhom_agent.printable import local_text, printable
from felhom_agent.service.timesync import TIMESYNCD, is_synchronised

_MAX_FAULTS: Final = 20
_MAX_NAMED: Final = 3


def of_signers(
    config: Config,
    service: Service,
    timesyncd: Path = TIMESYNCD,
    verifier: SshKeygen | None = None,
) -> Iterator[Finding]:
    """Given the configuration and as whom its agent runs, yield how the lists of signers are, and
    what their signatures are checked with. The file that tells of a clock that is right, and what
    runs ssh-keygen, are others in a test alone.
    """
    seen = look(config.path, config.authz, config.journal.directory)
    found = seen.signers
    if not found.present:
        yield note(f"{signerlist.none_yet(found)}; to let a key sign, as root:",
                   "felhom-agent signers init --key FILE.pub")  # fmt: skip
        return
    if seen.unseen:
        yield bad(f"what follows is of root's lists alone: {seen.unseen}")
    yield from _of_lists(found, service)
    if not found.problems:
        yield from _of_thresholds(found, config.authz)
    if missing := (verifier or SshKeygen()).missing:
        yield bad(f"no signature can be checked: {missing}", "apt install openssh-client")
    yield from _of_clock(config, timesyncd)


def of_acts(config: Config, token_id: str, actual: Actual) -> Iterator[Finding]:
    """Given the configuration, the token's id and the node's guests, yield which signed acts the
    token may not do, with what lets it; nothing where nobody may sign.
    """
    signers = look(config.path, config.authz, config.journal.directory).signers
    if not signers.signers or signers.problems or actual.facts.rights is None:
        return
    able: list[str] = []
    for act, privileges in SIGNED_NEEDS.items():
        lacks = [v for v in sorted(actual.guests) if lacking((signed_need(act, v),), actual.facts)]
        if not lacks:
            able.append(act)
            continue
        where = _where(lacks, actual)
        yield note(
            f"signed {act}: PVE will refuse it to the token on {where}: it lacks {privileges[0]}. "
            "To let it, as root, for one guest (whoever has the token can do it there without a "
            "signature, too):",
            *opt_in(act, "VMID", token_id),
        )
    if able and actual.guests:
        yield good(f"what is signed the token may do, of {', '.join(able)}")


def _of_lists(found: SignerSet, service: Service) -> Iterator[Finding]:
    """Yield what is wrong with the lists; else how many keys count."""
    for problem in islice(found.problems, _MAX_FAULTS):
        yield bad(f"{problem}; until that is mended nobody's signature counts")
    if (more := len(found.problems) - _MAX_FAULTS) > 0:
        yield bad(f"and {more} more faults in the lists of signers; `felhom-agent signers`")
    hidden = [
        finding
        for name in (ALLOWED, REVOKED, SET)
        if (found.directory / name).exists()
        for finding in healthfiles.seen(found.directory / name, service, READ)
    ]
    yield from hidden
    if found.problems or hidden:
        return
    where = printable(str(found.directory / ALLOWED), 300)
    text = f"{where}: {signerlist.counted(found, time.time())}"
    if signerlist.usable(found, time.time()):
        yield good(text)
    else:
        yield note(f"{text}: each is revoked, has ended, or begins later; see:",
                   "felhom-agent signers")  # fmt: skip
    yield from _of_end(found, time.time())


def _of_end(found: SignerSet, now: float) -> Iterator[Finding]:
    """Yield that the set of signers ends soon, or has ended."""
    if found.expires is None or now < found.expires - WARNED_SECONDS:
        return
    ends = local_text(found.expires)
    if found.is_over(now):
        yield bad(
            f"the set of signers has ended at {ends}: what cannot be undone is held until another "
            "comes; as root:",
            "felhom-agent signers init --force --key FILE.pub",
        )
    else:
        yield note(
            f"the set of signers ends at {ends}; rotate it before:",
            "felhom-agent request rotate-signers --signers FILE -o FILE.request",
        )


def _of_thresholds(found: SignerSet, wanted: AuthzConfig) -> Iterator[Finding]:
    """Yield the classes of acts that more people must sign than there are who can."""
    said = {each.act for each in wanted.threshold}
    short: dict[tuple[Role, int, int], list[str]] = {}
    for act in SIGNED_ACTS:
        needed = wanted.keys_for(act) + wanted.separate_requester
        for role in roles_for(act):
            have = len(found.keys_of(role, touched=KeyRole(role) in wanted.touch_required))
            # That there is no key of a role is no fault where nobody asks for one.
            if have < needed and (found.keys_of(role) or act in said):
                short.setdefault((role, needed, have), []).append(act)
    for (role, needed, have), acts in short.items():
        touched = "touched " if KeyRole(role) in wanted.touch_required else ""
        yield bad(f"{', '.join(acts)} must be signed by {needed} different {touched}{role} keys, "
                  f"and the set has {have}: add keys, or change what [authz] wants",
                  "felhom-agent signers")  # fmt: skip


def _of_clock(config: Config, timesyncd: Path) -> Iterator[Finding]:
    """Yield whether jobs wait for the clock."""
    if config.authz.clock is ClockTrust.TRUST:
        yield good('signers may choose times: clock = "trust" in [authz] takes this host\'s clock')
    elif is_synchronised(config.hints.directory, timesyncd):
        yield good("signers may choose times: this host's clock is synchronised")
    else:
        yield note(
            "jobs with the signer's own times (sign --for) wait: nobody tells that this host's "
            "clock is right. Jobs of this host's own requests need no clock. The kernel's word is "
            'passed on by felhom-agent-hints; clock = "trust" in [authz] takes the clock as it is:',
            "systemctl enable --now felhom-agent-hints",
        )


def _where(lacks: list[int], actual: Actual) -> str:
    """Return in words on which guests something is lacking."""
    if len(lacks) > _MAX_NAMED:
        return f"{len(lacks)} of {counted(len(actual.guests))}"
    return ", ".join(f"{v} {actual.guests[v].name}".rstrip() for v in lacks)
