"""What happened in a day, a month or a year, as the history page lists it: switches, outages, alerts; pure."""

from __future__ import annotations

import csv
import io
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import cached_property, partial
from itertools import pairwise
from urllib.parse import urlencode

from rectbot.console.happened import Move, length, told
from rectbot.console.widgets import moment
from rectbot.console.words import Words
from rectbot.failover.events import iso
from rectbot.history.figures import Report, figures
from rectbot.history.known import Fired, Known
from rectbot.history.show import cell
from rectbot.history.story import Leadership, Span, overlap

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
            and (not self.text or self.text.lower() in entry.text.lower())
        )


@dataclass(frozen=True)
class Entry:
    """One thing that happened, to `sites`; `tell` says it, for a Sentence: to say all of a year takes too long."""

    kind: str
    span: Span  # until it was over
    sites: tuple[str, ...]
    tell: Callable[[], str]
    near: Span | None = None  # about what was logged then
    who: str = ""
    reason: str = ""

    @cached_property
    def text(self) -> str:
        """In words."""
        return self.tell()

    @property
    def log(self) -> str:
        """The address of what was logged when it began."""
        if self.near is None:
            return ""
        until = min(self.near.end, self.near.start + _LONGEST_MS) + _AFTER_MS
        query = [("site", site) for site in self.sites]
        query += [("from", str(max(0, self.near.start - _BEFORE_MS))), ("to", str(until)), ("live", "0")]
        return f"/logs?{urlencode(query)}"

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
    leases, until, places = found.leases, found.until or 0, found.within(span)
    first = max(1, places.start)
    while first > 1 and leases[first - 1].ready is None:
        first -= 1  # an outage goes on until the next leadership that serves
    # The next one after this time may follow one that ended in it.
    for place in range(first, min(places.stop + 1, len(leases))):
        before, after = leases[place - 1], leases[place]
        switch = found.switch(place)
        start = before.ended if before.ended is not None else after.began
        end = after.ready if after.ready is not None else after.ended if after.ended is not None else until
        yield Entry(
            "planned" if switch.planned else "failover",
            Span(start, max(start, end)),
            tuple(dict.fromkeys((switch.from_site, switch.to_site))),
            partial(told, words, Move(switch)),
            Span(start, max(start, end)),
            switch.who,
            switch.why,
        )
    if leases and leases[-1].ended is not None:
        last, ended = leases[-1], leases[-1].ended
        lasts = Span(ended, max(ended, until))
        yield Entry("failover", lasts, (last.site,), partial(_nobody, words, last), lasts, reason=last.end_why)


def _nobody(words: Words, last: Leadership) -> str:
    cause = words(f"happened.{last.end_kind}", site=last.site, to="-")
    at = moment((last.ended or 0) / 1000)
    return f"{at} {cause}{words('happened.and')}{words('history.nobody')}{words('happened.stop')}"


def _alerts(words: Words, alerts: Iterable[Fired], span: Span) -> Iterator[Entry]:
    for alert in alerts:
        if alert.fired >= span.end or (alert.resolved is not None and alert.resolved < span.start):
            continue
        end = alert.resolved if alert.resolved is not None else max(alert.fired, span.end)
        near, tell = Span(alert.fired, alert.fired), partial(_fired, words, alert)
        yield Entry("alert", Span(alert.fired, end), (), tell, near, alert.by, alert.severity)


def _fired(words: Words, alert: Fired) -> str:
    over = (
        words("history.firing")
        if alert.resolved is None
        else words("history.resolved", after=length(words, alert.resolved - alert.fired))
    )
    severity = words.optional(f"severity.{alert.severity}") or alert.severity or "-"
    said = [f"{alert.name} ({severity}){': ' if alert.summary else ''}{alert.summary}"]
    if alert.acknowledged is not None:
        after = length(words, alert.acknowledged - alert.fired)
        said.append(words("history.acknowledged", by=alert.by, after=after))
    what = words("happened.and").join((*said, over)).replace("\1", "")  # else an alert could write a moment
    return f"{moment(alert.fired / 1000)} {what}{words('happened.stop')}"


def _records(words: Words, found: Known) -> Iterator[Entry]:
    """Where the record begins, and what it lacks."""
    first = found.spans[0].start
    served = next((lease.ready for lease in found.leases if lease.ready is not None), None)
    tell = partial(words, "history.begins", at=moment(first / 1000))
    yield Entry("record", Span(first, served if served is not None else found.until or first), (), tell)
    for before, after in pairwise(found.spans):
        tell = partial(words, "history.lacks", since=moment(before.end / 1000), until=moment(after.start / 1000))
        yield Entry("record", Span(before.end, after.start), (), tell)


def numbers(found: Known, span: Span) -> Report:
    """The figures of this time, as far as it is known."""
    until = found.until if found.until is not None else span.start
    asked = Span(span.start, max(span.start, min(span.end, until)))
    places = found.within(asked)
    names = sorted(alert.name for alert in found.alerts if asked.start <= alert.fired < asked.end)
    return figures(
        asked,
        found.spans,
        found.leases[places.start : places.stop],
        planned=[found.switch(each).planned for each in places if each and found.leases[each].began >= asked.start],
        logins=bisect_left(found.logins, asked.end) - bisect_left(found.logins, asked.start),
        alerts={name: names.count(name) for name in dict.fromkeys(names)},
        causes=False,
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
