"""Which signers of a host the operator knows, so that signers that came from root are noticed.

A rotation is signed by the signers before it; root needs nobody's signature. So a list that root
provided in the place of one that this hub knew stays marked until a person has seen it. The first
list of a host is known as it comes: there was none before that it could have replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from felhom_agent.devhub.said import ROOT, Signers


@dataclass(frozen=True)
class KnownSigners:
    """The list that a host last told of (None: none yet), who provided it, and the version that
    root provided and nobody has seen yet (None: none).
    """

    version: int | None = None
    by: str = ""
    unseen: int | None = None

    def after(self, told: Signers | None) -> KnownSigners:
        """Given what a report says, return what is known after it."""
        if told is None or (told.version, told.by) == (self.version, self.by):
            return self
        from_root = self.version is not None and told.by == ROOT
        return KnownSigners(told.version, told.by, told.version if from_root else self.unseen)

    def seen(self, version: int) -> KnownSigners:
        """Given the version that a person was shown, return what is known then; one that came
        meanwhile stays marked.
        """
        return replace(self, unseen=None) if version == self.unseen else self
