"""Why a signed operation does not happen: one error for each stage of the examination.

    OperationRefused
    |-- OutOfBounds          bounds: too large, too deep, too many parts
    |   `-- TooManyJobs      ...or too many at once                        (temporary)
    |-- BadArmor             armor: not exactly one signature as ssh-keygen writes it
    |-- WrongNamespace       namespace: made for another purpose
    |-- UnknownKey           key: not on the list
    |   |-- NoSigners        ...since there is none: the normal first state
    |   `-- SignersUnusable  ...since what is there is not as it must be     (temporary)
    |       `-- SignersUnreadable  ...or the disk does not give it now       (temporary)
    |-- RevokedKey           revocation: taken back by root
    |-- BadSignature         signature: not over these bytes, or not in this role
    |   `-- VerifierFailed   ...or ssh-keygen did not answer               (temporary)
    |-- NotCanonical         form: not the one form that an operation has
    |-- WrongRole            role: a key of another role must sign this
    |   `-- NotSupported     ...or no version up to this one does it
    |-- TooFewSigners        threshold: more people must sign this, or another one
    |-- ForeignSignature     threshold: one of the signatures is by nobody who may sign
    |-- WrongHost            host: meant for another host
    |   `-- WrongGuest       ...or the guest is not here, or of another kind
    |-- OutsideTime          time: too late, too long a window, no challenge of ours
    |   |-- TooEarly         ...not yet                                    (temporary)
    |   |-- SignersExpired   ...or the set of signers has ended            (temporary)
    |   `-- ClockUntrusted   ...or this host does not know what time it is (temporary)
    |-- OtherIdentity        identity: another guest lives under the vmid by now
    |-- StateChanged         state: not what the signer saw any more
    |   |-- WrongVersion     ...or the set of signers is not the next one
    |   `-- GuestLocked      ...or PVE works on it, and it may be again          (temporary)
    |-- WrongParameters      parameters: they do not fit the act, or the guest
    `-- NonceSpent           nonce: it was used before

A temporary one says that the same bytes may be good a little later: the job waits. Nothing was done
in any case, and no nonce was burnt.
"""

from __future__ import annotations

from felhom_agent.authz.keymaterial import PublicKey
from felhom_agent.errors import FelhomError
from felhom_agent.printable import printable

_MAX_TEXT = 400


class OperationRefused(FelhomError):
    """The root; `stage` is the stage's name, and `str()` one line that may be shown."""

    stage = ""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text, _MAX_TEXT))


class OutOfBounds(OperationRefused):
    """More than any operation needs; nothing was parsed, and no process was started."""

    stage = "bounds"


class TooManyJobs(OutOfBounds):
    """Jobs come faster than an operator signs them."""

    temporary = True


class BadArmor(OperationRefused):
    """The signature's file is not exactly one signature."""

    stage = "armor"


class WrongNamespace(OperationRefused):
    """The signature was made for another purpose."""

    stage = "namespace"


class UnknownKey(OperationRefused):
    """The key that signed is on no list of this host."""

    stage = "key"


class NoSigners(UnknownKey):
    """This host has no list of signers."""


class SignersUnusable(UnknownKey):
    """The list of signers, or of revoked keys, is not as it must be; nobody knows yet whose key it
    is.
    """

    temporary = True


class SignersUnreadable(SignersUnusable):
    """The disk does not give what is kept of signers."""


class RevokedKey(OperationRefused):
    """The key was taken back."""

    stage = "revocation"


class BadSignature(OperationRefused):
    """OpenSSH does not find the signature good."""

    stage = "signature"


class VerifierFailed(BadSignature):
    """ssh-keygen could not be run, or did not end in time."""

    temporary = True


class NotCanonical(OperationRefused):
    """What was signed has not the one form that an operation has."""

    stage = "form"


class WrongRole(OperationRefused):
    """A key of this role does not sign acts of this class."""

    stage = "role"


class NotSupported(WrongRole):
    """This version does not do acts of this class, whoever signs them."""


class TooFewSigners(OperationRefused):
    """Not enough people have signed it, or not those who must."""

    stage = "threshold"


class ForeignSignature(OperationRefused):
    """One of several signatures is by a key that is on no list."""

    stage = "threshold"

    @classmethod
    def by(cls, key: PublicKey) -> ForeignSignature:
        """Return it for the key that signed."""
        return cls(f"key {key.fingerprint} has signed it, too, and is no signer; leave that out")


class WrongHost(OperationRefused):
    """It was signed for another host."""

    stage = "host"


class WrongGuest(WrongHost):
    """The guest is not on this host, is of another kind, or cannot be seen."""


class OutsideTime(OperationRefused):
    """It is too late, or nobody can tell that it is not."""

    stage = "time"


class TooEarly(OutsideTime):
    """It is not valid yet."""

    temporary = True


class SignersExpired(OutsideTime):
    """The set of signers has ended; another may come in its place."""

    temporary = True


class ClockUntrusted(OutsideTime):
    """This host does not know what time it is."""

    temporary = True


class OtherIdentity(OperationRefused):
    """Another guest lives under the vmid by now."""

    stage = "identity"


class StateChanged(OperationRefused):
    """The guest is not as the signer saw it."""

    stage = "state"


class WrongVersion(StateChanged):
    """A set of signers is not the one that follows the set in force."""


class GuestLocked(StateChanged):
    """PVE works on the guest (a backup, say), which shows in its configuration."""

    temporary = True


class WrongParameters(OperationRefused):
    """The parameters do not fit the act, or the guest."""

    stage = "parameters"


class NonceSpent(OperationRefused):
    """The nonce was used before."""

    stage = "nonce"
