"""What happened in a day, a month or a year, as the history page lists it: switches, outages, alerts; pure."""

from __future__ import annotations

import csv
import io
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import pairwise
from urllib.parse import urlencode

from rectbot.console.happened import Move, length, told
from rectbot.console.widgets import moment
from rectbot.console.words import Words
from rectbot.failover.events import iso
from rectbot.history.figures import Report, figures, within
from rectbot.history.known import Fired, Known
from rectbot.history.show import cell
from rectbot.history.story import Span, overlap

KINDS = ("failover", "planned", "alert", "record")
_BEFORE_MS, _AFTER_MS, _LONGEST_MS = 60_000, 60_000, 600_000  # of the log around a moment
_PERIOD = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", re.ASCII)
_FIRST_YEAR, _LAST_YEAR = 1971, 9990
_MOST_TEXT = 200


@dataclass(frozen=True)
class Period:
    """A year, a month or a day, by the clock of who looks."""

    year: int
    month: int = 0
    day: int = 0

    @classmethod
    def read(cls, text: str, today: date) -> Period:
        """2026, 2026-11 or 2026-11-27; this month, where it is none of them."""
        found = _PERIOD.fullmatch(text)
        if found is not None:
            year, month, day = (int(part or 0) for part in found.groups())
            try:
                date(year, month or 1, day or 1)
            except ValueError:
                year = 0
            written = cls(year, month, day)
            if _FIRST_YEAR <= year <= _LAST_YEAR and str(written) == text:
                return written
        return cls(today.year, today.month)

    def __str__(self) -> str:
        return "-".join(f"{part:02}" for part in (self.year, self.month, self.day) if part)

    def span(self, zone: tzinfo) -> Span:
        """From its first moment to the one after its last."""
        first = date(self.year, self.month or 1, self.day or 1)
        if self.day:
            after = first + timedelta(days=1)
        elif self.month:
            after = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
        else:
            after = date(self.year + 1, 1, 1)
        return Span(midnight(first, zone), midnight(after, zone))


def midnight(day: date, zone: tzinfo) -> int:
    """The first moment of a day there, in ms since 1970."""
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


@dataclass(frozen=True)
class Filters:
    """What is listed; nothing chosen means all."""

    kinds: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    text: str = ""

    @classmethod
    def read(cls, query: Mapping[str, Sequence[str]]) -> Filters:
        """Of an address."""
        return cls(
            tuple(kind for kind in dict.fromkeys(query.get("kind", ())) if kind in KINDS),
            tuple(site for site in dict.fromkeys(query.get("site", ())) if site)[:20],
            (query.get("text") or [""])[0][:_MOST_TEXT],
        )

    def address(self) -> Iterator[tuple[str, str]]:
        """What an address says of them."""
        yield from (("kind", kind) for kind in self.kinds)
        yield from (("site", site) for site in self.sites)
        if self.text:
            yield "text", self.text

    def take(self, entry: Entry) -> bool:
        """Whether it is listed."""
        return (
            (not self.kinds or entry.kind in self.kinds)
            and (not self.sites or any(site in self.sites for site in entry.sites))
            and self.text.lower() in entry.text.lower()
        )


@dataclass(frozen=True)
class Entry:
    """One thing that happened. `text` is for a Sentence; `sites` are those that it is about."""

    kind: str
    span: Span  # until it was over
    sites: tuple[str, ...]
    text: str
    log: str = ""  # the address of what was logged then
    who: str = ""
    reason: str = ""

    @property
    def tone(self) -> str:
        """How it is marked."""
        return {"failover": "unplanned", "alert": "alerted", "record": "unknown"}.get(self.kind, "")


def entries(words: Words, found: Known, span: Span) -> list[Entry]:
    """All that happened in this time, or went on in it, the newest first."""
    if found.since is None or found.until is None:
        return []
    listed = [*_switches(words, found, span), *_alerts(words, found.alerts, span), *_records(words, found)]
    inside = [entry for entry in listed if span.start <= entry.span.start < span.end or overlap(entry.span, span)]
    return sorted(inside, key=lambda entry: entry.span.start, reverse=True)


def _switches(words: Words, found: Known, span: Span) -> Iterator[Entry]:
    leases, until = found.leases, found.until or 0
    # An outage may go on from long before, but only until the next leadership that serves.
    place = max(1, bisect_left(leases, span.start, key=lambda lease: lease.began) - 1)
    while place > 1 and leases[place - 1].ready is None:
        place -= 1
    while place < len(leases) and leases[place - 1].began < span.end:
        before, after = leases[place - 1], leases[place]
        switch = found.switch(place)
        start = before.ended if before.ended is not None else after.began
        end = after.ready if after.ready is not None else after.ended if after.ended is not None else until
        yield Entry(
            "planned" if switch.planned else "failover",
            Span(start, max(start, end)),
            tuple(dict.fromkeys((switch.from_site, switch.to_site))),
            told(words, Move(switch)),
            _log(start, max(start, end), (switch.from_site, switch.to_site)),
            switch.who,
            switch.why,
        )
        place += 1
    if leases and leases[-1].ended is not None:
        last, ended = leases[-1], leases[-1].ended
        cause = words(f"happened.{last.end_kind}", site=last.site, to="-")
        text = f"{moment(ended / 1000)} {cause}{words('happened.and')}{words('history.nobody')}{words('happened.stop')}"
        yield Entry(
            "failover",
            Span(ended, max(ended, until)),
            (last.site,),
            text,
            _log(ended, until, (last.site,)),
            "",
            last.end_why,
        )


def _alerts(words: Words, alerts: Iterable[Fired], span: Span) -> Iterator[Entry]:
    for alert in alerts:
        if alert.fired >= span.end or (alert.resolved is not None and alert.resolved < span.start):
            continue
        over = (
            words("history.firing")
            if alert.resolved is None
            else words("history.resolved", after=length(words, alert.resolved - alert.fired))
        )
        severity = words.optional(f"severity.{alert.severity}") or alert.severity or "-"
        what = f"{alert.name} ({severity}){': ' if alert.summary else ''}{alert.summary}"
        yield Entry(
            "alert",
            Span(alert.fired, alert.resolved if alert.resolved is not None else max(alert.fired, span.end)),
            (),
            f"{moment(alert.fired / 1000)} {plainly(what)}{words('happened.and')}{over}{words('happened.stop')}",
            _log(alert.fired, alert.fired, ()),
            reason=alert.severity,
        )


def _records(words: Words, found: Known) -> Iterator[Entry]:
    """Where the record begins, and what it lacks."""
    first = found.spans[0].start
    served = next((lease.ready for lease in found.leases if lease.ready is not None), None)
    text = words("history.begins", at=moment(first / 1000))
    yield Entry("record", Span(first, served if served is not None else found.until or first), (), text)
    for before, after in pairwise(found.spans):
        text = words("history.lacks", since=moment(before.end / 1000), until=moment(after.start / 1000))
        yield Entry("record", Span(before.end, after.start), (), text)


def plainly(text: str) -> str:
    """Without the bytes that mark a moment in a Sentence, so that nobody writes one of his own."""
    return text.replace("\1", "")


def _log(start: int, end: int, sites: Iterable[str]) -> str:
    """The log around the beginning of what lasted so long."""
    until = min(end, start + _LONGEST_MS) + _AFTER_MS
    query = [("site", site) for site in dict.fromkeys(sites)]
    query += [("from", str(max(0, start - _BEFORE_MS))), ("to", str(until)), ("live", "0")]
    return f"/logs?{urlencode(query)}"


def numbers(found: Known, span: Span) -> Report:
    """The figures of this time, as far as it is known."""
    until = found.until if found.until is not None else span.start
    end = max(span.start, min(span.end, until))
    asked = Span(span.start, end)
    first = max(0, bisect_left(found.leases, span.start, key=lambda lease: lease.began) - 1)
    leases = found.leases[first:]
    places = [place for place in range(1, len(found.leases)) if span.start <= found.leases[place].began < end]
    names = sorted(alert.name for alert in found.alerts if span.start <= alert.fired < span.end)
    return figures(
        asked,
        [within(part, asked) for part in found.spans],
        [lease for lease in leases if lease.began < end],
        planned=[found.switch(place).planned for place in places],
        logins=bisect_left(found.logins, end) - bisect_left(found.logins, span.start),
        alerts={name: names.count(name) for name in dict.fromkeys(names)},
    )


def as_csv(listed: Iterable[Entry]) -> str:
    """A row for each, times in UTC, and what a spreadsheet takes for no formula."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("from", "until", "seconds", "kind", "sites", "what", "by", "reason"))
    for entry in listed:
        start, end = entry.span
        text = re.sub(r"\x01(-?[\d.]+)\x01", lambda found: iso(round(float(found[1]) * 1000)), entry.text)
        said = map(cell, (" ".join(entry.sites), text, entry.who, entry.reason))
        rows.writerow((iso(start), iso(end), (end - start) / 1000, entry.kind, *said))
    return out.getvalue()
