"""How was our month: the figures of a period, from the leaderships. The definitions are in story.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from rectbot.failover.events import iso
from rectbot.history import schema
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


def report(connection: Connection, span: Span) -> Report:
    """The figures of this period."""
    first = connection.execute(select(func.min(schema.event.c.time_ms))).scalar()
    leases = _leases(connection, span.end)
    start = span.end if first is None else min(span.end, max(span.start, first))
    counted = Span(start, span.end)
    spans = up(leases, span.end)
    down = gaps(spans, counted)
    switch, event, alert = schema.switch.c, schema.event.c, schema.alert.c
    within = (switch.at_ms >= span.start, switch.at_ms < span.end)
    planned = [row.planned for row in connection.execute(select(switch.planned).where(*within))]
    ready = (event.kind == "ready", event.time_ms >= span.start, event.time_ms < span.end)
    fired = (alert.fired_ms >= span.start, alert.fired_ms < span.end)
    count = func.count()
    return Report(
        span=span,
        first=first,
        counted=counted.end - counted.start,
        outages=list(map(Causes(leases).outage, down)),
        planned=sum(planned),
        unplanned=len(planned) - sum(planned),
        leads=_leads(leases, counted),
        logins=connection.execute(select(count).select_from(schema.event).where(*ready)).scalar_one(),
        days=_days(span, counted, down),
        alerts={
            row.name: row.fired
            for row in connection.execute(
                select(alert.name, count.label("fired")).where(*fired).group_by(alert.name).order_by(alert.name)
            )
        },
    )


def _leases(connection: Connection, until: int) -> list[Leadership]:
    table = schema.leadership.c
    columns = (table.site, table.owner, table.epoch, table.began_ms, table.ready_ms, table.ended_ms)
    query = select(*columns, table.end_kind, table.end_why).where(table.began_ms < until).order_by(table.id)
    return [Leadership(*row) for row in connection.execute(query)]


def _leads(leases: Sequence[Leadership], counted: Span) -> dict[str, int]:
    found: dict[str, int] = {}
    for lease in leases:
        ended = counted.end if lease.ended is None else lease.ended
        if ended > counted.start or lease.began >= counted.start:
            found[lease.site] = found.get(lease.site, 0) + overlap(Span(lease.began, ended), counted)
    return found


def _days(span: Span, counted: Span, down: Sequence[Span]) -> list[Day]:
    """In one pass: both days and gaps are in order."""
    found, place = [], 0
    for day in days(span):
        length, missing = overlap(day, counted), 0
        while place < len(down) and down[place].start < day.end:
            missing += overlap(down[place], day)
            if down[place].end > day.end:
                break  # it goes on tomorrow
            place += 1
        found.append(Day(date_of(day.start), 1 - missing / length if length else None))
    return found
