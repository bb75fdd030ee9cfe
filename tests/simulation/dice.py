"""The one source of chance of a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """The very numbers of `random.Random`, whose other methods compiled code cannot speed up; and we ask often."""

    def __init__(self, seed: int) -> None:
        rng = Random(seed)
        self._random: Callable[[], float] = rng.random
        self._bits: Callable[[int], int] = rng.getrandbits

    def random(self) -> float:
        return self._random()

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self._random()

    def below(self, end: int) -> int:
        bits = end.bit_length()
        number = self._bits(bits)
        while number >= end:
            number = self._bits(bits)
        return number

    def choice(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]
