"""Makes new inputs from old ones: what a fuzzer feeds to a harness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

MAX_KEPT: Final = 2000
"""How many inputs the corpus may have; a new one then replaces another."""
MAX_INPUT: Final = 4096
"""How long an input is in general, in bytes."""
MAX_LONG: Final = 16_384
"""How long one input in some hundreds may be."""

_LONG_EVERY = 400
_NUMBERS = (0, 1, 9, 10, 27, 32, 34, 39, 44, 61, 91, 92, 123, 127, 128, 192, 237, 254, 255)


class Mutator:
    """A corpus, and new inputs made from it; the same `random` makes the same ones."""

    def __init__(self, random: Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> None:
        """`tokens` are words that mean something to whoever reads the inputs."""
        self._random = random
        self._corpus = [seed[:MAX_INPUT] for seed in seeds][:MAX_KEPT] or [b""]
        self._tokens = tokens or (b"\x00", b"\xff")
        self._ways: tuple[Callable[[bytearray], None], ...] = (
            self._flip,
            self._set,
            self._insert,
            self._delete,
            self._repeat,
            self._splice,
            self._token,
            self._token,
        )

    def keep(self, data: bytes) -> None:
        """Given an input that led somewhere new, build on it from now on."""
        if len(self._corpus) < MAX_KEPT:
            self._corpus.append(data[:MAX_INPUT])
        else:
            self._corpus[self._random.randrange(MAX_KEPT)] = data[:MAX_INPUT]

    def next(self) -> bytes:
        """Return a new input."""
        random = self._random
        if not random.randrange(20):
            return random.randbytes(random.randrange(200))
        data = bytearray(random.choice(self._corpus))
        for _ in range(1 << random.randrange(5)):
            random.choice(self._ways)(data)
        if not random.randrange(_LONG_EVERY) and data:
            start = random.randrange(len(data))
            piece = data[start : start + random.randrange(1, 64)]
            data[start:start] = piece * random.randrange(MAX_LONG // len(piece))
            return bytes(data[:MAX_LONG])
        return bytes(data[:MAX_INPUT])

    def _place(self, data: bytearray) -> int:
        return self._random.randrange(len(data) + 1)

    def _range(self, data: bytearray) -> tuple[int, int]:
        start = self._place(data)
        return start, start + self._random.randrange(1, 1 << self._random.randrange(1, 8))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)

    def _set(self, data: bytearray) -> None:
        if data:
            number = self._random.choice((*_NUMBERS, self._random.randrange(256)))
            data[self._random.randrange(len(data))] = number

    def _insert(self, data: bytearray) -> None:
        place = self._place(data)
        data[place:place] = self._random.randbytes(self._random.randrange(1, 8))

    def _delete(self, data: bytearray) -> None:
        start, end = self._range(data)
        del data[start:end]

    def _repeat(self, data: bytearray) -> None:
        start, end = self._range(data)
        data[start:start] = data[start:end] * self._random.randrange(1, 4)

    def _splice(self, data: bytearray) -> None:
        other = self._random.choice(self._corpus)
        start, end = self._range(bytearray(other))
        place, behind = self._range(data)
        data[place : self._random.choice((place, behind))] = other[start:end]

    def _token(self, data: bytearray) -> None:
        place, behind = self._range(data)
        data[place : self._random.choice((place, behind))] = self._random.choice(self._tokens)
