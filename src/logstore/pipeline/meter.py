"""What a template may cost on one line: characters, and steps, now and then with a look at the query's deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable

MOST = 1 << 20  # characters of one text
_MOST_BUILT = 8 << 20  # characters of all texts that are made on the way
_EVERY = 256  # steps


Check = Callable[[], None]


def never() -> None:
    """The check of who has no deadline."""


class Meter:
    """Counts for the template that runs now."""

    __slots__ = ("_built", "_check", "_steps")

    def __init__(self, check: Check) -> None:
        self._check, self._steps, self._built = check, 0, 0

    def begin(self) -> None:
        """Another line."""
        self._built = 0
        _LOCAL.meter = self

    def step(self, count: int = 1) -> None:
        """So much was done. Raises what the check raises."""
        self._steps += count
        if self._steps >= _EVERY:
            self._steps = 0
            self._check()

    def build(self, size: int) -> None:
        """A text of so many characters is about to be made. Raises ValueError beyond the bounds."""
        self._built += size
        self.step(1 + (size >> 12))
        if size > MOST or self._built > _MOST_BUILT:
            raise ValueError("the result is too long")


class _Local(threading.local):
    def __init__(self) -> None:
        self.meter = Meter(never)


_LOCAL = _Local()


def meter() -> Meter:
    """That of this thread."""
    return _LOCAL.meter
