"""Whether a text may hold a secret, told from its words: for what is shown of a file that is wrong.

Who makes one mistake in a line may have made another one in the name of its setting (`cipasword`,
`pass word`). So what is a letter away from a secret's name counts as one, too. It says yes rather
once too often than once too little: what is taken for a secret is only not shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_WORDS: Final = re.compile(
    r"passw|passphrase|(?<![a-z])(?:ci)?(?:pass|pw|pwd)(?![a-z-])|token|secret|ssh|key(?!board)|"
    r"credential|private|\benv(?:ironment)?\b|\bargs\b|"
    # an API token's id or value; a variable of an environment
    r"![\w.-]+=|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-|(?-i:\b[A-Z][A-Z0-9_]+=)",
    re.IGNORECASE,
)
_NAMES: Final = ("password", "token", "secret", "credential")
_NO_LETTER: Final = re.compile(r"[^a-z]+")


def may_be_secret(text: str) -> bool:
    """Given a text, return whether it may hold a secret, or name one."""
    if _WORDS.search(text):
        return True
    letters = _NO_LETTER.sub("", text.lower())
    return bool(_ALIKE.search(letters))


def _alike(word: str) -> Iterator[str]:
    """Yield patterns for a word with a letter that is missing, wrong, too many or misplaced."""
    for at in range(len(word)):
        head, letter, tail = word[:at], word[at], word[at + 1 :]
        # A letter before the first one leaves the word itself; one instead of it, all but that one.
        yield f"{head}.?{tail}" if head and tail else f"{head}{tail}"
        yield f"{head}{letter}.{tail}"
        if tail:
            yield f"{head}{tail[0]}{letter}{tail[1:]}"


_ALIKE: Final = re.compile(
    "|".join(["ssh", "key(?!board)", *(each for name in _NAMES for each in _alike(name))])
)
