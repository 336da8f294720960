"""Plays `pveum`: users, tokens, roles and the access list, as the embedded node has them.

As strict as PVE's own where `init` and the pages use it: what is there already, or is not known,
is an error. A separated token may do what both its user and itself may; a role that is given
without `propagate` holds on its very path. PVE: pve-access-control CLI/pveum.pm,
API2/{Role,User,ACL}.pm, AccessControl.pm check_path and roles, RPCEnvironment.pm.
"""

from __future__ import annotations

import argparse
import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

Privileges = Mapping[str, Sequence[str]]
Give = Callable[[str, Privileges, str, Privileges], object]
"""Given a token's full name, its privileges by path that are handed down, its secret, and all that
it has on each path, makes the node know it.
"""


class PveumError(Exception):
    """What pveum says on stderr; it ends with 255 then."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise PveumError(f"400 not enough arguments, or unknown ones: {message}")


class Pveum:
    """What PVE knows; `give` hears of each token whenever its privileges may have changed, and
    `members` tells who is in a pool.
    """

    def __init__(self, give: Give, members: Callable[[str], Iterable[int]]) -> None:
        self._give = give
        self._members = members
        self.roles: dict[str, set[str]] = {"Administrator": set(), "PVESDNUser": {"SDN.Use"}}
        self.users = {"root@pam"}
        self.tokens: dict[str, str] = {}
        self.acl: dict[str, dict[str, dict[str, bool]]] = {}
        """By path, then by user or token: its roles, each with whether it is handed down."""

    def run(self, words: Sequence[str]) -> str:
        """Given the words behind `pveum`, do it; return what it prints. Raise PveumError."""
        for known, act in _ACTS.items():
            if tuple(words[: len(known)]) == known:
                answer = act(self, words[len(known) :])
                self._tell()
                return answer
        raise PveumError(f"ERROR: unknown command 'pveum {' '.join(words)}'")

    def _role_add(self, words: Sequence[str]) -> str:
        given = _given(words, "roleid", "--privs")
        if given.roleid in self.roles:
            raise PveumError(f"create role failed: role '{given.roleid}' already exists")
        self.roles[given.roleid] = _split(given.privs)
        return ""

    def _role_modify(self, words: Sequence[str]) -> str:
        given = _given(words, "roleid", "--privs", "--append")
        if given.roleid not in self.roles:
            raise PveumError(f"update role failed: role '{given.roleid}' does not exist")
        before = self.roles[given.roleid] if given.append == "1" else set()
        self.roles[given.roleid] = before | _split(given.privs)
        return ""

    def _role_list(self, words: Sequence[str]) -> str:
        _given(words, "--output-format")
        return json.dumps([{"roleid": r, "privs": ",".join(p)} for r, p in self.roles.items()])

    def _user_add(self, words: Sequence[str]) -> str:
        given = _given(words, "userid", "--comment")
        if given.userid in self.users:
            raise PveumError(f"create user failed: user '{given.userid}' already exists")
        self.users.add(given.userid)
        return ""

    def _user_list(self, words: Sequence[str]) -> str:
        _given(words, "--output-format")
        return json.dumps([{"userid": user} for user in sorted(self.users)])

    def _token_add(self, words: Sequence[str]) -> str:
        given = _given(words, "userid", "tokenid", "--privsep", "--output-format")
        if given.userid not in self.users:
            raise PveumError(f"no such user ('{given.userid}')")
        name = f"{given.userid}!{given.tokenid}"
        if name in self.tokens:
            raise PveumError("Token already exists.")
        self.tokens[name] = str(uuid.uuid4())
        return json.dumps({"full-tokenid": name, "value": self.tokens[name]})

    def _token_list(self, words: Sequence[str]) -> str:
        given = _given(words, "userid", "--output-format")
        if given.userid not in self.users:
            raise PveumError(f"no such user ('{given.userid}')")
        ours = [name.partition("!") for name in self.tokens]
        return json.dumps([{"tokenid": t} for user, _, t in ours if user == given.userid])

    def _acl_modify(self, words: Sequence[str]) -> str:
        given = _given(words, "path", "--users", "--tokens", "--roles", "--propagate")
        if not (given.users or given.tokens) or not given.roles:
            raise PveumError("400 Parameter verification failed.")
        if not _PATH.fullmatch(given.path):
            raise PveumError(f"400 path: invalid ACL path '{given.path}'")
        propagates = _flag(given.propagate)
        if unknown := [role for role in _words(given.roles) if role not in self.roles]:
            raise PveumError(f"ACL update failed: role '{unknown[0]}' does not exist")
        for who in (*_words(given.users), *_words(given.tokens)):
            if who not in self.users | self.tokens.keys():
                raise PveumError(f"ACL update failed: '{who}' does not exist")
            held = self.acl.setdefault(given.path, {}).setdefault(who, {})
            held.update(dict.fromkeys(_words(given.roles), propagates))
        return ""

    def _tell(self) -> None:
        for name, secret in self.tokens.items():
            down, there = (
                {path: self._of_token(path, name, final=final) for path in self._paths()}
                for final in (False, True)
            )
            self._give(name, down, secret, there)

    def _paths(self) -> list[str]:
        pools = (path.removeprefix("/pool/") for path in self.acl if path.startswith("/pool/"))
        members = {f"/vms/{vmid}" for pool in pools for vmid in self._members(pool)}
        return sorted({*self.acl, *members})

    def _of_token(self, path: str, name: str, *, final: bool) -> list[str]:
        """Return what a separated token may do on a path, or (not `final`) hands down from it."""
        user = name.partition("!")[0]
        return sorted(self._on(path, user, final) & self._on(path, name, final))

    def _on(self, path: str, who: str, final: bool) -> set[str]:
        """Return the privileges on a path: an entry on a nearer path replaces a farther one, and a
        pool's hold on its members, beside what they have themselves.
        """
        roles: set[str] = set()
        for above in _above(path):
            held = self.acl.get(above, {}).get(who, {})
            its = {role for role, down in held.items() if down or (final and above == path)}
            roles = its or roles
        found = {privilege for role in roles for privilege in self.roles[role]}
        for pool in self.acl:
            if pool.startswith("/pool/") and path in self._in_pool(pool):
                found |= self._on(pool, who, final=True)
        return found

    def _in_pool(self, path: str) -> set[str]:
        return {f"/vms/{vmid}" for vmid in self._members(path.removeprefix("/pool/"))}


# PVE: pve-access-control AccessControl.pm check_path, the paths that are used here
_PATH = re.compile(
    r"/|/access|/nodes(/[\w.-]+)?|/pool(/[\w.-]+){0,3}|/sdn|/sdn/zones(/[\w.-]+){0,2}"
    r"|/sdn/zones/[\w.-]+/[\w.-]+/[1-9][0-9]{0,3}|/storage(/[\w.-]+)?|/vms(/[1-9][0-9]{2,})?"
    r"|/mapping(/[\w.-]+){0,2}"
)


def _above(path: str) -> list[str]:
    """Return a path and all above it, the farthest first."""
    parts = [part for part in path.split("/") if part]
    return ["/", *("/" + "/".join(parts[: n + 1]) for n in range(len(parts)))]


def _flag(text: str | None) -> bool:
    # PVE: pve-common JSONSchema.pm parse_boolean
    if text is not None and text.lower() not in (
        "0",
        "off",
        "no",
        "false",
        "1",
        "on",
        "yes",
        "true",
    ):
        raise PveumError("400 propagate: type check ('boolean') failed")
    return text is None or text.lower() in ("1", "on", "yes", "true")


def _words(text: str | None) -> list[str]:
    return (text or "").replace(",", " ").split()


_ACTS: Mapping[tuple[str, ...], Callable[[Pveum, Sequence[str]], str]] = {
    ("role", "add"): Pveum._role_add,
    ("role", "modify"): Pveum._role_modify,
    ("role", "list"): Pveum._role_list,
    ("user", "add"): Pveum._user_add,
    ("user", "list"): Pveum._user_list,
    ("user", "token", "add"): Pveum._token_add,
    ("user", "token", "list"): Pveum._token_list,
    ("acl", "modify"): Pveum._acl_modify,
}


def _given(words: Sequence[str], *names: str) -> argparse.Namespace:
    parser = _Parser(add_help=False, allow_abbrev=False)
    for name in names:
        parser.add_argument(name)
    return parser.parse_args(list(words))


def _split(text: str | None) -> set[str]:
    return set(_words(text))


CLIENT = """\
#!{python}
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect({path!r})
s.sendall(json.dumps({before!r} + sys.argv[1:]).encode() + b"\\n")
code, out, err = json.loads(s.makefile().readline())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""
"""The program `pveum`, which hands its words to whoever plays it."""


def outcome(pveum: Pveum, words: Sequence[str]) -> tuple[int, str, str]:
    """Given the words behind `pveum`, return its exit code, stdout and stderr."""
    try:
        return 0, pveum.run(words), ""
    except PveumError as error:
        return 255, "", f"{error}\n"
