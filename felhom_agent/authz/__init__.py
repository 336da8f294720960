"""Signed operations: from received bytes to a verdict, and nothing is done here.

What cannot be undone happens only where an operator's own key signed it, for this host, this guest
in this state, now, and once. Everything here fails safe: what is unknown, late, unclear or unsigned
does not happen. The examination (`check.py`) goes through these stages in this order, and ends at
the first that refuses. What costs more, or believes more, comes later; nothing is parsed as an
operation before OpenSSH has found the signature good over the bytes as they were received.

     1. bounds       endless or too many data: sizes, depth, count and rate, before any process
     2. armor        bytes nobody signed: each file exactly one signature, nothing behind its end
     3. namespace    a signature made for something else: `felhom-op-v1`
     4. key          a stranger's key, or one under another's name: by its bytes, in the set in
                     force (`trust.py`), which must be without a fault (no pattern, no weak key)
     5. revocation   a stolen key: not among the keys taken back; an empty list is a fault
     6. signature    a changed blob: `/usr/bin/ssh-keygen -Y verify` in the key's one role, for each
                     signature; a security key must have been touched
     7. form         one text that is read in two ways: canonical JSON, every field and no other
     8. role         a key used beyond its purpose: its role signs this class of acts
     9. threshold    one key of several, stolen or forced: as many different keys as the owner
                     wants, and no stranger's beside them; a rotation by those of the new set, too
    10. host         a job for another host, or a copy of this one: a random id; the guest is here
    11. time         a hoarded blob, a clock set back: a window of 10 minutes at most, or this
                     agent's own challenge within 24 h, which a hub's job must have; the highest
                     time seen counts; a set of signers that has ended holds what is destructive
    12. identity     the right vmid, another guest: uuid and ctime; root volume and MACs; the task
                     list
    13. state        the right guest, changed since: configuration digest, volumes, snapshots; a set
                     of signers that is not the next version
    14. parameters   the right act, aimed elsewhere: exactly the act's own, and what they name is
                     there; the words that were shown are the words of this operation
    15. nonce        a replay: burnt last and durably, so that no refused job burns one

`Examiner.examine` goes through all of it when a job comes in, and burns nothing. `authorize` goes
through all of it again under the guest's lane, immediately before the act, writes the decision down
(`journal/audit.py`), burns the nonce (`journal/signed.py`), and only then returns the permission.
"""
