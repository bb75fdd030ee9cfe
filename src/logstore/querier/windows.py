"""The windows of a range aggregation: `[5m]` before each point in time, and the intervals between all their edges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


class Windows:
    """Times in nanoseconds. A window is open at its beginning, and so is an interval: each ends with an edge."""

    def __init__(self, steps: Sequence[int], length: int, offset: int) -> None:
        self.length = length
        self.ends = [step - offset for step in steps]
        self.edges = sorted({edge for end in self.ends for edge in (end - length, end)})
        self.intervals = [(bisect_right(self.edges, end - length), bisect_right(self.edges, end)) for end in self.ends]
        """Each window as the numbers of its first interval and of the one behind its last."""

    @property
    def between(self) -> tuple[int, int]:
        """The first time of all, and the one behind the last."""
        return self.edges[0] + 1, self.edges[-1] + 1

    def interval(self, time: int) -> int:
        """The number of the interval that a time lies in."""
        return bisect_right(self.edges, time - 1)

    def of(self, times: Sequence[int]) -> list[tuple[int, int]]:
        """Each window as a slice of such times, which are in order."""
        return [(bisect_right(times, end - self.length), bisect_right(times, end)) for end in self.ends]
