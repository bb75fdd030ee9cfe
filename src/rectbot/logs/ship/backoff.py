"""How long to wait after a failure."""

from __future__ import annotations

import random

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
LONGEST_OBEYED_SECONDS = 300.0  # a server that asks for more, by mistake, is asked again after this


class Backoff:
    """Doubles from half a second to half a minute; shortened at random, so that many clients do not come at once."""

    def __init__(self) -> None:
        self._failures = 0

    def succeeded(self) -> None:
        """The next failure is a first one again."""
        self._failures = 0

    def failed(self, retry_after: float | None) -> float:
        """Seconds to wait: at least what the server asks for."""
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * (1 << min(self._failures, 10)))
        self._failures += 1
        own = longest * random.uniform(0.5, 1)  # noqa: S311 - nothing secret
        return max(own, min(retry_after or 0.0, LONGEST_OBEYED_SECONDS))
