"""Which of the parts that the console asks can be reached, and since when not.

What cannot be asked is unknown: nothing may be concluded from its silence. What it said before is kept, and shown with
the moment at which it was true.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from rectbot.errors import RectbotError

Part = Literal["store", "hub", "prometheus", "alertmanager", "loki"]
PARTS: tuple[Part, ...] = ("store", "hub", "prometheus", "alertmanager", "loki")  # `store` holds the lease


@dataclass(frozen=True)
class Unknown:
    """A part that does not answer. `since` and `answered` in Unix time: its first silence, and its last answer."""

    part: Part
    since: float
    reason: str  # one line, in English, as the server or the network says it
    answered: float | None = None  # None: never, since this process began


class Unreachable(RectbotError):  # noqa: N818 - a state, not a fault
    """A part did not answer, which is something else than a question that it refuses."""

    def __init__(self, unknown: Unknown) -> None:
        super().__init__(unknown.reason)
        self.unknown = unknown


class Reach:
    """What is known of all parts; whoever asks one of them says here how that went."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._answered: dict[Part, float] = {}
        self._unknown: dict[Part, Unknown] = {}

    def answered(self, part: Part) -> None:
        """It did; so it is known again."""
        self._answered[part] = self._clock()
        self._unknown.pop(part, None)

    def failed(self, part: Part, reason: str) -> Unreachable:
        """It did not: the error to raise. It has been unknown since the first of such failures in a row."""
        before = self._unknown.get(part)
        since = before.since if before else self._clock()
        found = self._unknown[part] = Unknown(part, since, reason, self._answered.get(part))
        return Unreachable(found)

    def unknown(self, *parts: Part) -> Unknown | None:
        """The first of these parts that does not answer, if there is one."""
        return next((self._unknown[part] for part in parts if part in self._unknown), None)

    def all(self) -> tuple[Unknown, ...]:
        """All that do not answer, in the order of PARTS."""
        return tuple(self._unknown[part] for part in PARTS if part in self._unknown)


def of(unknown: Iterable[Unknown], *parts: Part) -> Unknown | None:
    """The first of these parts that is among the unknown ones."""
    return next((each for part in parts for each in unknown if each.part == part), None)
