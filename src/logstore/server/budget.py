"""Bounds on what requests hold and send: bytes in memory, and bytes a second of each client."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

_MOST_CLIENTS = 1000  # whose rate is remembered; the one that has been quiet for longest is forgotten


class SpentError(Exception):
    """There is no room for more at the moment: `str` says what for."""


class Share:
    """What one request holds of a budget."""

    def __init__(self, budget: Budget) -> None:
        self.budget, self.held = budget, 0

    def grow(self, size: int) -> None:
        """Holds so many bytes more. Raises SpentError."""
        self.budget.take(size, self.held)
        self.held += size

    def shrink(self, size: int) -> None:
        """Gives so many bytes back."""
        self.budget.give(size)
        self.held -= size


class Budget:
    """Bytes that may be held at once, by all requests together. Safe to use from several threads.

    A request that is alone may hold more, or it could never be served: its own size has a bound elsewhere.
    """

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0
        self._lock = threading.Lock()

    def take(self, size: int, mine: int = 0) -> None:
        """For who holds `mine` already. Raises SpentError."""
        with self._lock:
            if self.held > mine and self.held + size > self.most:
                raise SpentError(f"{self.held} of {self.most} bytes are held, {size} more are wanted")
            self.held += size

    def give(self, size: int) -> None:
        """What was taken."""
        with self._lock:
            self.held -= size

    @contextmanager
    def share(self) -> Iterator[Share]:
        """A share that is given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self.give(share.held)


class Rates:
    """A bucket for each client, filled by so many bytes a second up to `burst`; a push takes its size out of it."""

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second, self.burst = per_second, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # when, and how much there was

    def wait(self, client: str) -> float:
        """Seconds until this client may push again; 0: now."""
        return max(0.0, -self._level(client) / self.per_second) if self.per_second else 0.0

    def spend(self, client: str, size: int) -> None:
        """Counts a push. The level may fall below zero: what was begun is taken, and the next ones wait."""
        if not self.per_second:
            return
        self._buckets[client] = (time.monotonic(), self._level(client) - size)
        self._buckets.move_to_end(client)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)

    def _level(self, client: str) -> float:
        now = time.monotonic()
        since, level = self._buckets.get(client, (now, self.burst))
        return min(self.burst, level + (now - since) * self.per_second)
