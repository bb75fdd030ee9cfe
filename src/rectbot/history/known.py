"""What is known of the past, and what is not: the recorded history, and what the store's journal adds to it. Pure.

What nobody has recorded is unknown: it counts neither as up nor as down. So a day of which nothing is known has no
availability, and what came after the last look at the store has none yet.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rectbot.history.figures import without
from rectbot.history.story import Leadership, Span, Switch, Told, continued, is_whole, switch_of, switches

LATEST = 64  # leaderships whose events are told too, so that the store's journal can be put to them
_LATE_MS = 60_000  # what was not recorded within this time comes late


class Fired(NamedTuple):
    """One alert; `resolved` is None while it fires, `acknowledged` until somebody, `by`, took notice of it."""

    name: str
    severity: str
    summary: str
    fired: int
    resolved: int | None
    acknowledged: int | None = None
    by: str = ""


@dataclass(frozen=True)
class Recorded:
    """What was read from the history's database. `who` asked for the switch to the leadership of the same place."""

    leases: Sequence[Leadership] = ()
    who: Sequence[str] = ()
    events: Sequence[Told] = ()  # from the beginning of the last LATEST leaderships on
    first: int | None = None  # the first event
    logins: Sequence[int] = ()  # each `ready`, in order
    alerts: Sequence[Fired] = ()
    lacks: Sequence[Span] = ()  # times of which events are known not to be recorded

    def as_json(self) -> str:
        """For `of_json`, in another process."""
        return json.dumps([self.leases, self.who, self.events, self.first, self.logins, self.alerts, self.lacks])

    @classmethod
    def of_json(cls, text: str) -> Recorded:
        """Raises ValueError, TypeError for what is none."""
        leases, who, events, first, logins, alerts, lacks = json.loads(text)
        told = _each(Leadership, leases), who, _each(Told, events), first, logins
        return cls(*told, _each(Fired, alerts), _each(Span, lacks))


def _each(kind: Any, rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [kind(*row) for row in rows]


@dataclass(frozen=True)
class Known:
    """`spans`: of which time something is known, in order; `late`: an event that should have been recorded by now."""

    leases: Sequence[Leadership] = ()
    who: Sequence[str] = ()
    spans: Sequence[Span] = ()
    logins: Sequence[int] = ()
    alerts: Sequence[Fired] = ()
    late: int | None = None

    @property
    def since(self) -> int | None:
        """The first moment of which something is known."""
        return self.spans[0].start if self.spans else None

    @property
    def until(self) -> int | None:
        """The last one."""
        return self.spans[-1].end if self.spans else None

    def within(self, span: Span) -> range:
        """The places of the leaderships that there are in this time: the last that began before it, and those in it."""
        first = bisect_left(self.leases, span.start, key=lambda lease: lease.began)
        return range(max(0, first - 1), bisect_left(self.leases, span.end, key=lambda lease: lease.began))

    def switch(self, place: int) -> Switch:
        """The one to the leadership at this place, which is not the first."""
        return switch_of(self.leases[place - 1], self.leases[place], self.who[place])


def known(
    recorded: Recorded, journal: Sequence[Told], until: int | None, *, looked: int, gone: int | None = None
) -> Known:
    """What is known at the time `until`, which is when the store was last asked (None: never).

    `journal` has its newest events in the order of their times; `looked` is when the database was read. `gone` is since
    when nobody leads: of a leader that nobody has followed yet no event tells that.
    """
    have = set(recorded.events)
    events = sorted(dict.fromkeys([*recorded.events, *journal]), key=lambda event: event.time)
    boundary = max(0, len(recorded.leases) - LATEST)
    leases = continued(recorded.leases[: boundary + 1], events)
    if gone is not None and leases and leases[-1].ended is None:
        leases[-1] = leases[-1]._replace(ended=max(gone, leases[-1].began), end_kind="expired")
    moves = switches(leases[boundary:], events)
    new = [event.time for event in events if event.kind == "ready" and event not in have]
    return Known(
        leases=leases,
        who=[*(recorded.who[: boundary + 1] if boundary else [""]), *(move.who for move in moves)],
        spans=_spans(recorded, journal, until, joined=any(event in have for event in journal)),
        logins=sorted([*recorded.logins, *new]),
        alerts=recorded.alerts,
        late=min((e.time for e in journal if e not in have and e.time < looked - _LATE_MS), default=None),
    )


def _spans(recorded: Recorded, journal: Sequence[Told], until: int | None, *, joined: bool) -> list[Span]:
    """One, unless the journal has forgotten what was not recorded."""
    times = [event.time for event in (*recorded.events, *journal)]
    if recorded.first is not None:
        times.append(recorded.first)
    if not times:
        return []
    first = min(times)
    end = max(first, until if until is not None else max(times))
    last = max((event.time for event in recorded.events), default=recorded.first)
    begins = journal[0].time if journal else end
    lacks = list(recorded.lacks)
    if last is not None and journal and begins > last and not joined and not is_whole(journal):
        lacks.append(Span(last, begins))
    return without(Span(first, end), lacks)
