"""How long renewals take."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

BUCKETS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


class RoundTrips:
    """How long the answered requests took, and how many were not answered: a histogram since this process began."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_MS) + 1)
        self._total_ms = 0
        self._failed = 0

    def took(self, ms: int) -> None:
        self._counts[bisect_left(BUCKETS_MS, ms)] += 1
        self._total_ms += ms

    def failed(self) -> None:
        self._failed += 1

    def as_dict(self) -> dict[str, Any]:
        """`counts` of each bucket alone, the last without an upper bound."""
        return {"counts": list(self._counts), "total_ms": self._total_ms, "failed": self._failed}
