"""How was our year: a square for each day, the figures of a period, and what happened in it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import Response
from nicegui import ui
from nicegui.element import Element

from rectbot.console.address import Address, Query, Zone, zone_of
from rectbot.console.chronicle import KINDS, Entry, Filters, Period, as_csv, entries, midnight, numbers
from rectbot.console.desk import Desk
from rectbot.console.happened import Day, days_of, described, length, percent, tone
from rectbot.console.live import Now
from rectbot.console.visit import Choice, Visit, button, heading
from rectbot.console.widgets import Sentence, moment, packed
from rectbot.console.words import Words, choose
from rectbot.history.figures import Report
from rectbot.history.known import Known
from rectbot.history.story import Span

_SHOWN = 200
_TONES = ((1.0, "full"), (0.999, "good"), (0.99, "warning"), (0.0, "error"))
_PATIENCE_SECONDS = 20.0  # with the program that reads the past


class Calendar(Element, component="static/calendar.js"):
    """A square for each day of a year."""


class Entries(Element, component="static/entries.js"):
    """What happened, a sentence each."""


class HistoryPage:
    """What is looked at stands in the address: a period, and what is listed of it."""

    def __init__(self, visit: Visit, query: Query, now: Now) -> None:
        self._visit, self._words, self._now = visit, visit.words, now
        self._zone = Zone(visit)
        self._read(query)
        self._shown: object = None
        self._setting = False

    def _read(self, query: Query) -> None:
        today = datetime.fromtimestamp(time.time(), self._zone.now).date()
        self._period = Period.read((query.get("period") or [""])[0], today)
        self._filters = Filters.read(query)

    def build(self) -> None:
        """The elements, with what is known now."""
        words = self._words
        self._note = Sentence().classes("hint").props("role=status")
        self._problem = Sentence().classes("problem").props("role=status")
        with ui.element("section").classes("card below"):
            with ui.element("div").classes("status-row"):
                with ui.element("h2"):
                    self._year = ui.label()
                button(words("history.whole")).classes("act").on_click(lambda: self._go(Period(self._period.year)))
                earlier = button("").props(f'icon=chevron_left aria-label="{words("history.earlier")}"')
                earlier.on_click(lambda: self._go(Period(self._period.year - 1)))
                later = button("").props(f'icon=chevron_right aria-label="{words("history.later")}"')
                later.on_click(lambda: self._go(Period(self._period.year + 1)))
            self._calendar = Calendar().on("choose", self._chosen)
            self._calendar.props["words"] = {
                name: words(f"history.tone.{name}") for name in (*(tone for _, tone in _TONES), "unknown")
            }
            self._calendar.props["help"] = words("history.keys")
        with ui.element("section").classes("card below"):
            with ui.element("h2"):
                self._title = ui.label()
            self._figures = ui.element("dl").classes("shares")
            self._said = Sentence().classes("hint")
        with ui.element("section").classes("card"):
            heading(words("history.list"), 2)
            with ui.element("div").classes("controls"):
                self._build_filters()
            self._count = ui.label().classes("hint").props("role=status")
            self._entries = Entries()
            self._entries.props["label"] = words("history.log")
        self._address = Address(self._visit, "/history", self._back)
        self._show()
        self._visit.client.on_connect(self._begin)
        self._visit.client.on_delete(self._visit.desk.live.watch(self._look))

    def _build_filters(self) -> None:
        words, chosen = self._words, self._filters
        self._names = {words(f"history.kind.{kind}"): kind for kind in KINDS}
        kinds = [name for name, kind in self._names.items() if kind in chosen.kinds]
        self._kinds = Choice(words("history.kind"), list(self._names), kinds, words("logs.all"))
        self._kinds.on_value_change(lambda event: self._filter(kinds=self._kinds_named(event.value or ())))
        sites = list(self._visit.desk.config.priority)
        self._sites = Choice(words("logs.site"), sites, chosen.sites, words("logs.all"))
        self._sites.on_value_change(lambda event: self._filter(sites=tuple(event.value or ())))
        self._text = ui.input(words("logs.text"), value=chosen.text).props("dense outlined clearable debounce=500")
        self._text.on_value_change(lambda event: self._filter(text=(event.value or "")[:200]))
        self._csv = ui.link(words("history.csv"), "#").classes("act-link").props("download")

    def _kinds_named(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(self._names[name] for name in names if name in self._names)

    async def _begin(self) -> None:
        before = self._zone.now
        await self._zone.ask()
        if self._zone.now != before:
            self._shown = None
        self._say_address()
        self._show()
        await self._visit.desk.past.settled(_PATIENCE_SECONDS)  # it need not wait for the next look
        if not self._visit.client.is_deleted:
            self._show()

    def _look(self, now: Now) -> None:
        self._now = now
        with self._visit.client:
            self._show()

    async def _back(self, query: Query) -> None:
        self._read(query)
        self._setting = True
        try:
            self._kinds.set_value([name for name, kind in self._names.items() if kind in self._filters.kinds])
            self._sites.set_value(list(self._filters.sites))
            self._text.set_value(self._filters.text)
        finally:
            self._setting = False
        self._show()

    def _chosen(self, event: Any) -> None:
        self._go(Period.read(str(event.args), date(self._period.year, 1, 1)))

    def _go(self, period: Period) -> None:
        self._period = Period.read(str(period), date(self._period.year, 1, 1))
        self._say_address()
        self._show()

    def _filter(self, **changes: Any) -> None:
        wanted = replace(self._filters, **changes)
        if self._setting or wanted == self._filters:
            return
        self._filters = wanted
        self._say_address()
        self._show()

    def _query(self) -> list[tuple[str, str]]:
        return [("period", str(self._period)), *self._filters.address()]

    def _say_address(self) -> None:
        self._address.show(self._query())

    def _show(self) -> None:
        """All of it, when something is other than it was shown."""
        past = self._visit.desk.past
        found = past.known(self._now, alerts=True)
        self._say(found)
        key = (found, self._period, self._filters, self._zone.now, self._words.language)
        if self._shown is not None and all(a is b or a == b for a, b in zip(self._shown, key, strict=True)):  # type: ignore[call-overload]
            return
        self._shown = key
        known = found or Known()
        self._show_calendar(known)
        self._show_figures(known, found is not None)
        self._show_entries(known, found is not None)

    def _say(self, found: Known | None) -> None:
        words, past, now = self._words, self._visit.desk.past, self._now
        said, problems = [], []
        if found is None:
            said.append(words("happened.asked"))
        elif found.since is None:
            said.append(words("happened.nothing"))
        else:
            said.append(words("history.since", since=moment(found.since / 1000)))
        if now.snapshot is None and found is not None and found.until is not None:
            said.append(words("happened.until", at=moment(found.until / 1000)))
        if not past.enabled:
            problems.append(words("history.off"))
        if past.trouble:
            problems.append(words("history.trouble", error=past.trouble))
            if past.read is not None:
                problems.append(words("unknown.kept", at=moment(past.read.at)))
        if past.behind:
            problems.append(words("history.behind"))
        self._note.set_text(" ".join(said))
        self._problem.set_text(" ".join(problems))

    def _show_calendar(self, found: Known) -> None:
        self._year.set_text(str(self._period.year))
        self._calendar.props["months"] = packed(list(months(self._words, found, self._period.year, self._zone.now)))
        self._calendar.props["chosen"] = str(self._period)
        self._calendar.update()

    def _show_figures(self, found: Known, known: bool) -> None:
        words, span = self._words, self._period.span(self._zone.now)
        self._title.set_text(str(self._period))
        report = numbers(found, span)
        self._figures.clear()
        with self._figures:
            for name, value in told_numbers(words, report):
                with ui.element("div"):
                    with ui.element("dt"):
                        ui.label(name)
                    with ui.element("dd"):
                        ui.label(value)
        self._said.set_text(words("history.none.known") if known and not report.counted else _of_sites(words, report))

    def _show_entries(self, found: Known, known: bool) -> None:
        words = self._words
        listed = [each for each in entries(words, found, self._period.span(self._zone.now)) if self._filters.take(each)]
        shown = [{"words": each.text, "tone": each.tone, "log": each.log} for each in listed[:_SHOWN]]
        self._entries.props["entries"] = packed(shown)
        self._entries.update()
        if not listed:
            self._count.set_text(words("history.empty") if known and found.since is not None else "")
        elif len(listed) > _SHOWN:
            self._count.set_text(words("history.more", shown=_SHOWN, count=len(listed)))
        else:
            self._count.set_text(words("history.count", count=len(listed)))
        self._csv.props(f'href="/history.csv?{urlencode(self._query())}"')


def months(words: Words, found: Known, year: int, zone: tzinfo) -> Iterator[dict[str, Any]]:
    """The twelve of them, each with its days."""
    first, count = date(year, 1, 1), (date(year + 1, 1, 1) - date(year, 1, 1)).days
    dates = [first + timedelta(days=number) for number in range(count + 1)]
    edges = [midnight(each, zone) for each in dates]
    spans = [Span(*pair) for pair in pairwise(edges)]
    days = dict(zip(dates, days_of(found, spans), strict=False))
    for month in range(1, 13):
        counted = sum(day.counted for at, day in days.items() if at.month == month)
        down = sum(day.down for at, day in days.items() if at.month == month)
        yield {
            "key": str(Period(year, month)),
            "share": percent(1 - down / counted) if counted else "",
            "lead": (date(year, month, 1).weekday() + 1) % 7,  # weeks begin with Sunday, in both our languages
            "days": [_square(words, found, day, at) for at, day in days.items() if at.month == month],
        }


def _square(words: Words, found: Known, day: Day, at: date) -> tuple[str, str, str]:
    """Its date, its colour, and what it says."""
    said = f"{at}: {described(words, day)}"
    if day.share is None:
        coming = found.until is not None and day.span.start >= found.until and day.span.start > time.time() * 1000
        return f"{at}", "coming" if coming else "unknown", said
    if day.counted < day.span.end - day.span.start:
        said += f" ({words('history.part', known=length(words, day.counted))})"
    return f"{at}", tone(day, _TONES), said


def told_numbers(words: Words, report: Report) -> Iterator[tuple[str, str]]:
    """The figures of a period, each with its name; what is not known is a dash."""
    known = report.counted > 0
    share = report.availability
    yield words("history.share"), percent(share) if share is not None else words("state.unknown")
    outages = report.outages
    yield words("history.down"), length(words, report.down) if known else "-"
    yield words("history.outages"), str(len(outages)) if known else "-"
    yield words("history.longest"), length(words, report.longest_gap) if outages else "-"
    yield words("history.mean"), length(words, round(report.down / len(outages))) if outages else "-"
    yield words("history.kind.failover.short"), str(report.unplanned) if known else "-"
    yield words("history.kind.planned"), str(report.planned) if known else "-"
    yield words("history.logins"), str(report.logins) if known else "-"
    yield words("history.kind.alert"), str(sum(report.alerts.values())) if known else "-"


def _of_sites(words: Words, report: Report) -> str:
    led = [f"{site} {percent(ms / report.counted)}" for site, ms in sorted(report.leads.items()) if report.counted]
    return f"{words('history.led')} {', '.join(led)}" if led else ""


def add_download(app: FastAPI, desk: Desk) -> None:
    """`/history.csv`, with the page's own query; for who has a session, as all that is not open."""

    async def download(request: Request) -> Response:
        query = {name: request.query_params.getlist(name) for name in request.query_params}
        words = choose(request.cookies, request.headers.get("accept-language", ""))
        zone = zone_of(request.cookies)
        now = await desk.live.now()
        desk.past.known(now, alerts=True)
        await desk.past.settled(_PATIENCE_SECONDS)
        found = desk.past.known(now) or Known()
        period = Period.read((query.get("period") or [""])[0], datetime.fromtimestamp(time.time(), zone).date())
        filters = Filters.read(query)
        listed: list[Entry] = [each for each in entries(words, found, period.span(zone)) if filters.take(each)]
        name = f'attachment; filename="history-{period}.csv"'
        return Response(
            as_csv(listed), media_type="text/csv", headers={"Content-Disposition": name, "Cache-Control": "no-store"}
        )

    app.add_api_route("/history.csv", download)
