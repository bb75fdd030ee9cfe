"""What a page has been told, and when: a click says what the visitor saw, so that a late one can be told by its age.

A click waits in the browser while the connection is lost, and in the network while nobody notices that; it is then
carried out seconds later, in a state that nobody has looked at. The age is counted here, by one clock.
"""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable

LATE_SECONDS = 4.0  # a page is told something each second
_KEPT = 10


class Looks:
    """Of one page."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._sent: OrderedDict[str, float] = OrderedDict()

    def sent(self) -> str:
        """The name of a look that is sent now."""
        look = str(next(self._numbers))
        self._sent[look] = self._clock()
        while len(self._sent) > _KEPT:
            self._sent.popitem(last=False)
        return look

    def is_late(self, look: object) -> bool:
        """Whether a click comes from a page that had heard nothing newer for too long."""
        sent = self._sent.get(look) if isinstance(look, str) else None
        return sent is None or self._clock() - sent > LATE_SECONDS
