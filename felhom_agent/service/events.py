"""The kinds of events that are worth a name: what they mean, and what an operator should do.

Each has an id of its own that never changes (MESSAGE_ID in journald), so that one can ask for
`journalctl FELHOM_EVENT=guest-blocked`, and `journalctl -x` explains a line. The catalog for that
is made of this table (`catalog`), and so is the page of the manual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Event:
    """One kind: its name, its id, what it is in a few words, and what to do about it."""

    name: str
    message_id: str
    subject: str
    advice: str

    def __str__(self) -> str:
        return self.name


AGENT_STARTED: Final = Event(
    "agent-started",
    "837394e6e9eb47cba40cdc8be64fda55",
    "The agent has started",
    "Nothing needs to be done. What was in flight when it last ended is settled first.",
)
AGENT_STOPPED: Final = Event(
    "agent-stopped",
    "1f6f9ded768d43a4992160d5afef2311",
    "The agent has stopped",
    "Nothing needs to be done. What IN_FLIGHT counts goes on in PVE without the agent; its journal "
    "remembers it, and the next start finds out how it ended.",
)
CONFIG_UNUSABLE: Final = Event(
    "config-unusable",
    "7e1d1c6c5a0b4b0f9c0c5a8de2b64f31",
    "felhom-agent cannot begin: its configuration is wrong (exit code 78)",
    "The line names file, line and what is wrong. Mend it; `felhom-agent check` tells whether it "
    "is good. Then, for the service, `systemctl start felhom-agent`: systemd does not try again by "
    "itself.",
)
JOURNAL_DAMAGED: Final = Event(
    "journal-damaged",
    "b9c2f0a41d7e4c53a1f86be07d35c9a2",
    "felhom-agent cannot begin: its journal is damaged (exit code 65)",
    "The line names file and line. What was in flight is not known any more, so nothing is done, "
    "and systemd does not try again by itself. `felhom-agent journal verify` shows the damage, "
    "`felhom-agent journal repair` keeps what is good of it and the rest beside it; then "
    "`systemctl start felhom-agent`.",
)
NOT_DONE: Final = Event(
    "command-failed",
    "3d9a6e5b8f2c47d1b0e4a7c61852fd90",
    "felhom-agent ended with an error (exit code 1 or 75)",
    "The line says why. Only one agent may run on a host: `systemctl status felhom-agent` tells "
    "whether one does. A service is started again by systemd, every 10 s. After ten starts in a "
    "minute: `systemctl reset-failed felhom-agent` and `systemctl start felhom-agent`.",
)
BROKEN: Final = Event(
    "agent-broken",
    "c58e07b3a9f64e1d8d2b7f40e6a31c95",
    "felhom-agent ended with a defect of its own (exit code 70)",
    "Please report it, with the line, which names the place. Guests go on without the agent; "
    "systemd starts it again, and what was in flight is settled then. `felhom-agent run --verbose` "
    "tells how it got there, too.",
)
AGENT_WARNED: Final = Event(
    "agent-warned",
    "cbc07ac099ee499a84bb2d49a7ec756d",
    "The agent runs with a setting that weakens it",
    "The line names the setting in /etc/felhom-agent/agent.toml. Change it unless it is meant so.",
)
RELOADED: Final = Event(
    "agent-reloaded",
    "62a3da57f90944fe94e3a4d6c9ee51af",
    "Configuration and guest files were read again",
    "Nothing needs to be done. Changes of [proxmox], [journal], [authz] and [notify] need a "
    "restart.",
)
CONFIG_WRONG: Final = Event(
    "config-wrong",
    "a85c8cfaa3594db2aab75c9310c54823",
    "A file has an error",
    "The line names file, line and what is wrong. The last good version stays in force, if there "
    "is one. Mend the file, then `systemctl reload felhom-agent`; `felhom-agent check` tells "
    "whether it is good before that.",
)
CONFIG_GOOD: Final = Event(
    "config-good",
    "ae076a3d97c64bb397e17d07d6a4b5c7",
    "All guest files are good again",
    "Nothing needs to be done.",
)
NODE_AWAY: Final = Event(
    "node-away",
    "e7e491483a2c435b93136297b3b7eb9b",
    "The node's API cannot be asked",
    "The agent tries on, and says once when it is back. Meanwhile nothing is done. Look at "
    "`systemctl status pveproxy pvedaemon pve-cluster`, and at `felhom-agent check`.",
)
NODE_BACK: Final = Event(
    "node-back",
    "a62837f0184c4a5fa63566a8e8fc95c0",
    "The node's API answers again",
    "Nothing needs to be done.",
)
QUORUM_LOST: Final = Event(
    "quorum-lost",
    "0d7f5a7c1f0b4ad4b1a1b0d1a2c7e9f3",
    "The cluster has no quorum",
    "PVE writes no configuration and starts no guest until enough nodes are there again; the agent "
    "only observes meanwhile. `pvecm status` on the node tells which nodes are missing.",
)
QUORUM_BACK: Final = Event(
    "quorum-back",
    "a4c3e1b25b6d4f0c8a6f3e0f9d1b7c58",
    "The cluster has quorum again",
    "Nothing needs to be done. What drifted meanwhile is brought back now.",
)
PASS_FAILED: Final = Event(
    "pass-failed",
    "6b1d5a0e9d3f4c56a0b7b2f0c1e84d27",
    "A pass over the node failed",
    "The line says why. Nothing is changed until a pass works again; the agent tries on by itself.",
)
GUEST_CHANGED: Final = Event(
    "guest-changed",
    "4bf0c927ff50434b925c58c5edd455a2",
    "A guest was changed, and the change was seen",
    "Nothing needs to be done. `felhom-agent history VMID` tells what was done to a guest.",
)
GUEST_CONVERGED: Final = Event(
    "guest-converged",
    "c4df4666093947d28587e7fd3586b364",
    "A guest is as declared again",
    "Nothing needs to be done.",
)
GUEST_DIFFERS: Final = Event(
    "guest-differs",
    "e2f7b16d90c84a35b7d1c4e8a05f6392",
    "A guest differs from its declaration, and is only observed",
    "Nothing needs to be done, and nothing is: the guest, or this host, is in observe mode, or the "
    "agent was started with --dry-run. `felhom-agent plan VMID` shows the difference.",
)
GUEST_RETRY: Final = Event(
    "guest-retry",
    "d4928c109ea64a1a8217fcd302a88117",
    "A guest could not be brought in line yet",
    "The agent tries again by itself, each time after a longer wait. If the same reason stays for "
    "long, look at the guest's tasks in PVE.",
)
GUEST_BLOCKED: Final = Event(
    "guest-blocked",
    "d8713037fe5f4f5e97277730b96c328c",
    "A guest waits for a person",
    "The line tells what stands in the way: a lock that is held, a privilege that the token lacks, "
    "a restart that the guest's file does not allow. `felhom-agent plan VMID` shows all of it.",
)
GUEST_REFUSED: Final = Event(
    "guest-refused",
    "8f3b421ecc624bd78225207a19ea81ec",
    "What is declared of a guest cannot be",
    "Mend the guest's file. The agent does not try again until the declaration has changed.",
)
HOST_FROZEN: Final = Event(
    "host-frozen",
    "ae60e149a5c4486888598de76528594d",
    "A person has frozen this host: the agent changes nothing",
    "The line says who, why and until when. `felhom-agent thaw` ends it. A guest that was shut "
    "down for a restart at that moment stays down until then.",
)
HOST_THAWED: Final = Event(
    "host-thawed",
    "f43f6f17eb45498cbecd02afe9f60267",
    "The freeze of this host has ended",
    "Nothing needs to be done. What drifted meanwhile is brought back now.",
)
GUEST_PAUSED: Final = Event(
    "guest-paused",
    "ef78451452cd4769996cae8efeb89d56",
    "A person has paused a guest, or all: the agent leaves it alone",
    "The line says who, why and until when. `felhom-agent resume VMID` (or `--all`) ends it.",
)
GUEST_RESUMED: Final = Event(
    "guest-resumed",
    "dfa94564c9704810a3a45b828b00075e",
    "The pause of a guest, or of all, has ended",
    "Nothing needs to be done. What drifted meanwhile is brought back now.",
)
IN_FLIGHT: Final = Event(
    "operation-in-flight",
    "90a26c421e854f03abb839adc52dc645",
    "An operation has no outcome yet",
    "Nothing needs to be done. The agent stopped, or PVE's answer was lost, while it was under "
    "way; its guest is left alone until it is known what became of it.",
)
FOUND_OUT: Final = Event(
    "operation-settled",
    "4293df4a80a94b5084377f62fa07f7a9",
    "It was found out what became of an operation",
    "Nothing needs to be done where it succeeded or failed: the agent plans again from what it "
    "sees. Where it is unknown, and was a one-shot job, look at the guest: it is not done again.",
)
JOURNAL_LOST: Final = Event(
    "journal-lost",
    "5f1df78bdc844827affd77e7f8817520",
    "The agent's journal cannot be written",
    "Guests are only observed from now on. Make room on the disk, or mend it (`df`, `dmesg`); the "
    "agent goes on by itself once the journal can be written again.",
)
JOURNAL_BACK: Final = Event(
    "journal-back",
    "a3b375d0c9564067a78325e72b37b1a9",
    "The agent's journal can be written again",
    "Nothing needs to be done.",
)
JOURNAL_COMPACTED: Final = Event(
    "journal-compacted",
    "e8144eee730c4cb183b12e33a8ae6964",
    "The agent's journal was compacted, or could not be",
    "Nothing needs to be done, unless the line says that it could not be: then make room.",
)
HUB_AWAY: Final = Event(
    "hub-away",
    "84e9f23980b14489b774d20d8378b98c",
    "The hub cannot be reached",
    "The agent goes on with what it last knew, and tries on. Look at the [hub] section of "
    "agent.toml and at the network if it stays away.",
)
HUB_BACK: Final = Event(
    "hub-back",
    "2292ec40add44f2781bb9cbc44092e6d",
    "The hub has the report again",
    "Nothing needs to be done.",
)
HUB_REFUSED: Final = Event(
    "hub-refused",
    "02110b68d15b47d2bb13ef4c1a567b5e",
    "The hub said what cannot be followed, or refused the report",
    "The line tells what. What was in force stays in force. A wrong key (401, 403) is asked for "
    "only once an hour: mend /etc/felhom-agent/hub-key and restart the agent. A desired state "
    "that is refused must be mended at the hub, or what it wishes be allowed in [hub.options] of "
    "agent.toml; where it named a generation that it cannot go on from, `felhom-agent hub forget` "
    "lets it start again.",
)
SIGNERS_CHANGED: Final = Event(
    "signers-changed",
    "5d0a6f0d3c8e4b5f9a27c1e4b7f3d682",
    "Who may sign on this host has changed",
    "If nobody of yours has rotated the signers, taken a key back or provisioned a set as root, "
    "somebody else has. `felhom-agent signers` shows who may sign now, `felhom-agent audit` by "
    "whose signatures.",
)
HUB_STATE: Final = Event(
    "hub-state",
    "32c023bc94f24c3bba7c7f0e6afe5ff9",
    "The hub has changed what is desired, or blocked this host",
    "Nothing needs to be done. Files on the host go before the hub, guest by guest. `felhom-agent "
    "hub unblock` ends a block that should not be.",
)
HUB_JOBS: Final = Event(
    "hub-jobs",
    "b2f4d832405e4d76b638accc83c398ba",
    "The hub carries signed jobs for this host",
    "Nothing needs to be done. A job is examined like one that comes by `felhom-agent submit`, and "
    "done only if it is signed for this; one that waits is tried again by itself. `felhom-agent "
    "jobs` shows how jobs stand.",
)
CONTROLLED: Final = Event(
    "control-asked",
    "0e2b6d1c7f5a4c8e9b3d46a1f0c8e257",
    "Somebody on this host told the agent something, or tried to",
    "Nothing needs to be done. The line tells what, and who: root, or a member of the group "
    "felhom-admin.",
)
CONTROL_LOST: Final = Event(
    "control-lost",
    "b7c4f9a2d3e14f06a58c90d27e6b1f43",
    "The control socket cannot be made",
    "The agent works without it; `felhom-agent pause` and its like do not. The line tells why; "
    "mend it and restart the agent.",
)
NOTIFY_FAILED: Final = Event(
    "notify-failed",
    "9a3a0b5de3c64d4c8f0e53a7d1b26c48",
    "A notification cannot be delivered",
    "The agent goes on without it: what a receiver does not take is tried again for an hour, and "
    "`felhom-agent events` has all of it. See [notify] in agent.toml, and whether the unit lets "
    "the agent reach the receiver (IPAddressAllow= in a drop-in); `felhom-agent notify test` sends "
    "one.",
)
NOTIFY_BACK: Final = Event(
    "notify-back",
    "d07c1f6be2954a3fa6b8c4e93512d7ba",
    "Notifications are delivered again",
    "Nothing needs to be done.",
)
NOTIFY_TEST: Final = Event(
    "notify-test",
    "51c8e27f90ad4b6c9d3f1a84b7e06253",
    "Somebody has tried whether notifications arrive",
    "Nothing needs to be done.",
)
METRICS_LOST: Final = Event(
    "metrics-lost",
    "6e4c1f0b7a9d4d53b8e2a05c3f71d846",
    "The metrics cannot be made, or not be written",
    "The agent goes on without them. The line tells why; `felhom-agent check` names the commands "
    "that mend it. docs/metrics.md has what the file needs.",
)
METRICS_BACK: Final = Event(
    "metrics-back",
    "f1b7d25e80c94a6f9d3c64a7e50b2938",
    "The metrics are written again",
    "Nothing needs to be done.",
)
UNUSUALLY_LARGE: Final = Event(
    "unusually-large",
    "d73183c6b16d4fe3ba73479f738d8663",
    "Unusually many guests are changed at once",
    "Stops and restarts beyond the limits are held, and so is all that a hub asks for. See what it "
    "is with `felhom-agent plan`; `felhom-agent approve PLAN-ID` lets exactly that pass.",
)
STUCK: Final = Event(
    "agent-stuck",
    "4f84223db4cc4bd4882e73f561256962",
    "Something takes longer than it may",
    "Systemd restarts the agent if it does not end soon; what is in flight is settled by the next "
    "start. The line names what hangs: a disk, or the node's API.",
)
INTERNAL_ERROR: Final = Event(
    "internal-error",
    "24ba85fe3e7b4de38d3902129bf94b2f",
    "The agent met a defect of its own",
    "One guest or one pass was skipped; the agent goes on. Please report it, with the line, which "
    "names the place; `felhom-agent run --verbose` tells how it got there, too.",
)

EVENTS: Final = tuple(value for value in list(vars().values()) if isinstance(value, Event))


def catalog() -> str:
    """Return the catalog of all events, as `journalctl --update-catalog` wants it."""
    return "\n".join(_entry(event) for event in EVENTS)


def _entry(event: Event) -> str:
    lines = [f"-- {event.message_id}", f"Subject: {event.subject}", "Defined-By: felhom-agent",
             "Documentation: man:felhom-agent(1)", ""]  # fmt: skip
    return "\n".join([*lines, *_wrapped(event.advice)]) + "\n"


_WIDTH = 78
# What is quoted is a command: it is copied from there, so no line may end within it.
_WORD = re.compile(r"(?:`[^`]*`|[^\s`])+")


def _wrapped(text: str) -> Iterator[str]:
    """Yield a text in lines of at most 78 characters, broken between words and quoted commands."""
    line = ""
    for word in _WORD.findall(text):
        if line and len(line) + 1 + len(word) > _WIDTH:
            yield line
            line = word
        else:
            line = f"{line} {word}".lstrip()
    yield line
