"""The figures of a period, from the leaderships: pure, so that whoever knows them need not ask a database.

The definitions are in story.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rectbot.failover.events import iso
from rectbot.history.causes import Causes, Outage
from rectbot.history.period import date_of, days
from rectbot.history.story import Leadership, Span, gaps, overlap, up


@dataclass(frozen=True)
class Day:
    """A day in UTC, and which part of it the bot was up; None where nothing is known."""

    date: str
    availability: float | None


@dataclass(frozen=True)
class Report:
    """The figures; times in ms. What is not known is None."""

    span: Span
    first: int | None  # the first event that is known at all
    counted: int  # so much of the span is after it
    outages: list[Outage]
    planned: int
    unplanned: int
    leads: dict[str, int]  # by site
    logins: int
    days: list[Day]
    alerts: dict[str, int]  # that fired, by name

    @property
    def down(self) -> int:
        return sum(each.span.end - each.span.start for each in self.outages)

    @property
    def unknown(self) -> int:
        """So much of the span, since the first event, was not recorded."""
        start = self.span.end if self.first is None else min(self.span.end, max(self.span.start, self.first))
        return self.span.end - start - self.counted

    @property
    def availability(self) -> float | None:
        return 1 - self.down / self.counted if self.counted else None

    @property
    def longest_gap(self) -> int:
        return max((each.span.end - each.span.start for each in self.outages), default=0)

    def as_dict(self) -> dict[str, Any]:
        """As the JSON has it."""
        return {
            "from": iso(self.span.start),
            "until": iso(self.span.end),
            "first_event": None if self.first is None else iso(self.first),
            "availability": self.availability,
            "down_s": self.down / 1000,
            "unknown_s": self.unknown / 1000,
            "longest_gap_s": self.longest_gap / 1000,
            "mean_time_to_recover_s": self.down / len(self.outages) / 1000 if self.outages else None,
            "switches": {"planned": self.planned, "unplanned": self.unplanned},
            "by_site": {
                site: {"leads_s": ms / 1000, "share": ms / self.counted if self.counted else None}
                for site, ms in sorted(self.leads.items())
            },
            "logins": self.logins,
            "days": [{"date": day.date, "availability": day.availability} for day in self.days],
            "outages": [
                {
                    "from": iso(each.span.start),
                    "until": iso(each.span.end),
                    "seconds": each.seconds,
                    "cause": each.cause,
                }
                for each in self.outages
            ],
            "alerts": self.alerts,
        }


def figures(
    span: Span,
    known: Sequence[Span],
    leases: Sequence[Leadership],
    *,
    planned: Iterable[bool],
    logins: int,
    alerts: dict[str, int],
    causes: bool = True,
) -> Report:
    """The figures of `span`, of which only what is within `known` counts; `planned`: of each switch in it.

    Without `causes` no outage says why it was.
    """
    counted, down = downtime(span, known, leases)
    moves, dates = list(planned), days(span)
    return Report(
        span=span,
        first=known[0].start if known else None,
        counted=sum(part.end - part.start for part in counted),
        outages=list(map(Causes(leases).outage, down)) if causes else [Outage(gap, "") for gap in down],
        planned=sum(moves),
        unplanned=len(moves) - sum(moves),
        leads=_leads(leases, counted),
        logins=logins,
        days=[
            Day(date_of(day.start), 1 - missing / length if length else None)
            for day, (length, missing) in zip(dates, shares(dates, counted, down), strict=True)
        ],
        alerts=alerts,
    )


def downtime(span: Span, known: Iterable[Span], leases: Sequence[Leadership]) -> tuple[list[Span], list[Span]]:
    """What of `span` counts, since it is `known`; and in which parts of that the bot was away."""
    counted = [part for part in (within(each, span) for each in known) if part.end > part.start]
    served = up(leases, span.end)
    return counted, [gap for part in counted for gap in gaps(served, part)]


def without(span: Span, lacks: Sequence[Span]) -> list[Span]:
    """What of `span` is left without these, which are in order."""
    return gaps(lacks, span)


def within(span: Span, whole: Span) -> Span:
    """What of `span` is in `whole`; an empty one where that is nothing."""
    start = min(max(span.start, whole.start), whole.end)
    return Span(start, max(start, min(span.end, whole.end)))


def shares(days: Sequence[Span], counted: Sequence[Span], down: Sequence[Span]) -> list[tuple[int, int]]:
    """Of each day how much counts, and how much of that was without the bot, in ms. All are in order: one pass."""
    found, place = [], 0
    for day in days:
        length, missing = sum(overlap(day, part) for part in counted), 0
        while place < len(down) and down[place].start < day.end:
            missing += overlap(down[place], day)
            if down[place].end > day.end:
                break  # it goes on tomorrow
            place += 1
        found.append((length, missing))
    return found


def _leads(leases: Sequence[Leadership], counted: Sequence[Span]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in counted:
        for lease in leases:
            ended = part.end if lease.ended is None else lease.ended
            if (ended > part.start or lease.began >= part.start) and lease.began < part.end:
                found[lease.site] = found.get(lease.site, 0) + overlap(Span(lease.began, ended), part)
    return found
