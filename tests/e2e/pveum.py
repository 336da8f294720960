"""Plays `pveum`: users, tokens, roles and the access list, as the embedded node has them.

As strict as PVE's own where `init` and the pages use it: what is there already, or is not known,
is an error. A separated token may do what both its user and itself may. PVE: pve-access-control
CLI/pveum.pm, API2/{Role,User,ACL}.pm.
"""

from __future__ import annotations

import argparse
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

Give = Callable[[str, Mapping[str, Sequence[str]], str], object]
"""Given a token's full name, its privileges by path and its secret, makes the node know it."""


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
        self.acl: dict[str, dict[str, set[str]]] = {}

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
        given = _given(words, "path", "--users", "--tokens", "--roles")
        roles = set((given.roles or "").split(","))
        if unknown := sorted(roles - self.roles.keys()):
            raise PveumError(f"role '{unknown[0]}' does not exist")
        for who in filter(None, (given.users, given.tokens)):
            if who not in self.users | self.tokens.keys():
                raise PveumError(f"'{who}' does not exist")
            self.acl.setdefault(given.path, {}).setdefault(who, set()).update(roles)
        return ""

    def _tell(self) -> None:
        for name, secret in self.tokens.items():
            user = name.partition("!")[0]
            rights = {
                path: sorted(self._on(path, user) & self._on(path, name)) for path in self.acl
            }
            # A pool's role holds on its members, beside what they have themselves.
            for pool in [path for path in rights if path.startswith("/pool/")]:
                for vmid in self._members(pool.removeprefix("/pool/")):
                    own = self._on(f"/vms/{vmid}", user) & self._on(f"/vms/{vmid}", name)
                    rights[f"/vms/{vmid}"] = sorted(own | set(rights[pool]))
            self._give(name, rights, secret)

    def _on(self, path: str, who: str) -> set[str]:
        """Return the privileges on a path: an entry on a nearer path replaces a farther one."""
        while who not in self.acl.get(path, {}) and path != "/":
            path = path.rpartition("/")[0] or "/"
        roles = self.acl.get(path, {}).get(who, set())
        return {privilege for role in roles for privilege in self.roles[role]}


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
    return set((text or "").replace(",", " ").split())


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
