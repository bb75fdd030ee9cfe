"""Searching the log, and following it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.disableable_element import DisableableElement

from rectbot.console.address import Address, Query, Zone
from rectbot.console.log_help import syntax_help
from rectbot.console.log_query import LABELS, LEVELS, MOST_QUERY, LogQuery
from rectbot.console.log_search import Found, around, search
from rectbot.console.panels.ask import View
from rectbot.console.panels.cards import Card, card
from rectbot.console.picker import TimePicker
from rectbot.console.times import TimeRange, asked, last
from rectbot.console.visit import Choice, Visit, button
from rectbot.console.widgets import MAX_LINES, Lines, log_lines
from rectbot.dashboards.layout import Placed
from rectbot.dashboards.model import Variable
from rectbot.errors import RectbotError
from rectbot.logs.client.query import Entry

_PAGE_LINES = 500
_SHOWN = MAX_LINES * 10


class LogPage:
    """Filters make a LogQL query; or one is written by hand, and then it is what is asked."""

    def __init__(self, visit: Visit, query: Query) -> None:
        self._visit, self._words = visit, visit.words
        self._zone = Zone(visit)
        self._read(query)
        self._stop: Callable[[], None] | None = None
        self._searches = 0
        self._setting = False
        self._count = self._left_out = 0
        self._oldest = 0.0

    def _read(self, query: Query) -> None:
        first = {name: values[0] for name, values in query.items() if values}
        length = first.get("last", "")
        default = last(length) if length else last("1h")
        self._query = LogQuery.read(query)
        self._times = asked(first, default, time.time(), self._zone.now)
        self._live = first.get("live", "1") != "0"
        self._line = first.get("line", "")[:80]

    def build(self) -> None:
        """The page; it searches as soon as the browser is connected."""
        words = self._words
        with ui.element("div").classes("controls"):
            self._labels = {name: self._select(name) for name in LABELS}
            self._text = ui.input(words("logs.text"), value=self._query.text).props("dense outlined clearable")
            self._text.props(f'debounce=500 placeholder="{words("logs.text.hint")}"')
            self._text.on_value_change(lambda event: self._filter(text=event.value or ""))
            self._case = ui.checkbox(words("logs.case"), value=self._query.case)
            self._case.on_value_change(lambda event: self._filter(case=bool(event.value)))
            self._regex = ui.checkbox(words("logs.regex"), value=self._query.regex)
            self._regex.on_value_change(lambda event: self._filter(regex=bool(event.value)))
            self._picker = TimePicker(words, self._zone, self._times, self._set_times)
        with ui.element("div").classes("controls"):
            self._field = ui.input(words("logs.query"), value=self._logql())
            self._field.props(f"dense outlined maxlength={MOST_QUERY} spellcheck=false").classes("grow mono")
            self._field.on("keydown.enter", self._ask_written)
            button(words("logs.search")).classes("act").on_click(self._ask_written)
            self._filters = button(words("logs.filters")).classes("act").on_click(self._leave_written)
            self._tail = ui.switch(words("logs.tail"), value=self._live)
            self._tail.on_value_change(lambda event: self._set_live(bool(event.value)))
            syntax_help(words, self._write)
        with ui.element("div").classes("status-row"):
            self._note = ui.label().classes("hint").props("role=status")
            self._lost = ui.label().classes("problem").props("role=status")
            self._older = button(words("logs.older")).classes("act").on_click(self._more)
            self._save = button(words("logs.download")).classes("act").on_click(self._download)
        self._place = ui.element("div").classes("volume board")
        self._volume = self._chart(words("logs.volume"), 6)
        with ui.element("section").classes("card lines-card") as self._card:
            self._lines = Lines(empty="", label=words("nav.logs"), max_lines=_SHOWN).classes("logs")
            self._lines.props["words"] = {name: words(f"line.{name}") for name in ("copy", "link", "context", "json")}
        self._address = Address(self._visit, "/logs", self._back)
        self._older.set_visibility(False)
        self._show_mode()
        self._visit.client.on_connect(self._begin)
        self._visit.client.on_delete(self._end_tail)

    def _chart(self, title: str, height: int) -> Card:
        panel: dict[str, Any] = {
            "id": 0,
            "type": "timeseries",
            "title": title,
            "targets": [],
            "gridPos": {},
            "fieldConfig": {"defaults": {"color": {"mode": "palette-classic"}}},
        }
        with self._place:
            return card(Placed(panel, "volume", 0, 0, 24, height), self._words, title, self._picker.zoom)

    def _select(self, name: str) -> Choice:
        options = list(LEVELS) if name == "level" else []
        choice = Choice(self._words(f"logs.{name}"), options, getattr(self._query, name), self._words("logs.all"))
        choice.on_value_change(lambda event: self._filter(**{name: tuple(event.value or ())}))
        return choice

    def _logql(self) -> str:
        try:
            return self._query.logql
        except ValueError:
            return ""

    async def _filter(self, **changes: Any) -> None:
        """A filter was changed by hand."""
        wanted = replace(self._query, written="", **changes)
        if self._setting or wanted == replace(self._query, written=""):
            return
        self._query = wanted
        await self._changed()

    async def _ask_written(self) -> None:
        """What stands in the field is asked; where it is not what the filters make, it is written by hand."""
        text = str(self._field.value or "").strip()
        if text and text != self._logql():
            self._query = replace(self._query, written=text[:MOST_QUERY])
        await self._changed()

    async def _write(self, text: str) -> None:
        self._field.set_value(text)
        await self._ask_written()

    async def _leave_written(self) -> None:
        self._query = replace(self._query, written="")
        await self._changed()

    async def _set_times(self, times: TimeRange) -> None:
        self._times = times
        await self._changed()

    async def _set_live(self, live: bool) -> None:
        if self._setting or live == self._live:
            return
        self._live = live
        await self._changed()

    async def _begin(self) -> None:
        await self._zone.ask()
        await asyncio.gather(self._load_choices(), self._changed(line=self._line))

    async def _back(self, query: Query) -> None:
        self._read(query)
        self._show_state()
        await self._search()

    async def _changed(self, line: str = "") -> None:
        """Something else is looked for: the address and the controls say it, and it is searched."""
        self._line = line
        self._address.show(self._address_query())
        self._show_state()
        await self._search()

    def _address_query(self) -> Iterator[tuple[str, str]]:
        yield from self._query.address()
        yield "from", self._times.start
        yield "to", self._times.end
        if not self._live:
            yield "live", "0"
        if self._line:
            yield "line", self._line

    def _show_state(self) -> None:
        self._setting = True
        try:
            for name, select in self._labels.items():
                select.offer(getattr(self._query, name))
                select.set_value(list(getattr(self._query, name)))
            self._text.set_value(self._query.text)
            self._case.set_value(self._query.case)
            self._regex.set_value(self._query.regex)
            self._tail.set_value(self._live)
            self._field.set_value(self._logql())
        finally:
            self._setting = False
        self._picker.show(self._times)
        self._show_mode()

    def _show_mode(self) -> None:
        """Filters rest while a query is written by hand, so that neither overwrites the other."""
        written = bool(self._query.written)
        self._filters.set_visibility(written)
        controls: tuple[DisableableElement, ...] = (*self._labels.values(), self._text, self._case, self._regex)
        for each in controls:
            each.set_enabled(not written)

    def _span(self) -> tuple[float, float]:
        try:
            return self._times.at(time.time(), self._zone.now)
        except ValueError:
            return time.time() - 3600, time.time()

    async def _load_choices(self) -> None:
        view = View((), (), *self._span())
        for name, select in self._labels.items():
            if name == "level":
                continue
            try:
                found = await self._visit.desk.asker.choices(Variable(name, name, "query", "loki", "", name), view)
            except RectbotError:
                return  # the search says what is wrong
            self._setting = True
            select.offer(found)
            self._setting = False

    async def _search(self) -> None:
        self._end_tail()
        self._searches += 1
        number = self._searches
        start, end = self._span()
        self._count = self._left_out = 0
        self._lost.set_text("")
        self._older.set_visibility(False)
        try:
            query = self._query.logql
        except ValueError as error:
            self._fail(str(error))
            return
        self._say(self._words("logs.searching"))
        self._lines.show([], "", mark=self._line)
        computes = not is_of_lines(query)
        self._card.set_visibility(not computes)
        self._save.set_visibility(not computes)
        volume = asyncio.ensure_future(self._draw_volume(query, start, end))
        try:
            if computes:
                self._say(self._words("logs.computes"))
            elif await self._lines_of(query, start, end, number):
                self._follow(query, number)
        except RectbotError as error:
            if number == self._searches and not self._visit.client.is_deleted:
                self._fail(str(error))
        await asyncio.wait([volume])

    async def _lines_of(self, query: str, start: float, end: float, number: int) -> bool:
        """Shows the lines as they are found; False when another search was begun meanwhile."""
        more = False
        async for found in self._slices(query, start, end):
            if number != self._searches or self._visit.client.is_deleted:
                return False
            self._count += len(found.lines)
            more, self._oldest = found.more, found.back_to
            if found.lines:
                self._lines.append(self._told(found.lines))
            self._say(self._words("logs.searching.so.far", count=self._count))
        self._done(more)
        return True

    async def _slices(self, query: str, start: float, end: float) -> AsyncIterator[Found]:
        """The newest lines; where a line is asked for, those around it."""
        asker, moment = self._visit.desk.asker, moment_of(self._line)
        if moment is not None and start <= moment < end:
            yield await around(asker, query, (start, end), moment, _PAGE_LINES)
            return
        async for found in search(asker, query, start, end, _PAGE_LINES):
            yield found

    def _done(self, more: bool) -> None:
        words = self._words
        self._lines.says(words("logs.none"))
        self._older.set_visibility(more)
        self._say(words("logs.found.more", count=self._count) if more else words("logs.found", count=self._count))

    async def _more(self) -> None:
        """The lines before those that are shown."""
        number, query = self._searches, self._logql()
        start, _ = self._span()
        more = False
        try:
            async for found in search(self._visit.desk.asker, query, start, self._oldest, _PAGE_LINES):
                if number != self._searches or self._visit.client.is_deleted:
                    return
                self._count += len(found.lines)
                more, self._oldest = found.more, found.back_to
                self._lines.append(self._told(found.lines))
        except RectbotError as error:
            self._fail(str(error))
            return
        self._done(more and self._count < _SHOWN)

    async def _draw_volume(self, query: str, start: float, end: float) -> None:
        """How many lines there are over time, by level; of a query that computes, what it computes."""
        view, number = View((), (), start, end), self._searches
        lines = is_of_lines(query)
        expr = f"sum by (level) (count_over_time({query} [$__interval]))" if lines else query
        dashboard, panel = {"uid": "logs", "title": ""}, volume_panel(expr, bars=lines)
        self._volume.wait()
        try:
            drawing = await self._visit.desk.artist.draw(dashboard, panel, view)
        except RectbotError as error:
            if number == self._searches and not self._visit.client.is_deleted:
                self._place.set_visibility(False)
                self._fail(str(error))
            return
        if number == self._searches and not self._visit.client.is_deleted:
            self._place.set_visibility(True)
            self._volume.show(drawing)

    def _told(self, entries: list[Entry]) -> list[dict[str, Any]]:
        return log_lines(entries, links=True)

    def _follow(self, query: str, number: int) -> None:
        if self._live and self._times.end == "now" and number == self._searches:
            self._stop = self._visit.desk.tails.follow(query, self._add, self._trouble)

    def _add(self, entries: list[Entry], left_out: int) -> None:
        self._left_out += left_out
        self._count += len(entries)
        with self._visit.client:
            self._lines.add(self._told(entries))
            if self._left_out:
                self._lost.set_text(self._words("logs.left.out", count=self._left_out))

    def _trouble(self, reason: str) -> None:
        with self._visit.client:
            if reason:
                self._lost.set_text(self._words("logs.tail.trouble", error=reason))
            elif not self._left_out:
                self._lost.set_text("")

    def _say(self, text: str) -> None:
        self._note.classes(replace="hint").set_text(text)

    def _fail(self, reason: str) -> None:
        self._note.classes(replace="problem").set_text(self._words("logs.error", error=reason))
        self._lines.says("")

    def _download(self) -> None:
        self._lines.run_method("download", "rectbot.log")

    def _end_tail(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None


def moment_of(key: str) -> float | None:
    """When the line of this key was logged, in seconds since 1970."""
    nanoseconds = key.partition("-")[0]
    return int(nanoseconds) / 1e9 if re.fullmatch("[0-9]{1,20}", nanoseconds) else None


def is_of_lines(query: str) -> bool:
    """Whether a query brings lines; one that computes begins with what it computes."""
    said = [line.strip() for line in query.splitlines()]
    return next((line for line in said if line and not line.startswith("#")), "").startswith("{")


def volume_panel(expr: str, *, bars: bool) -> Mapping[str, Any]:
    """The panel of a query in Loki: bars in the colours of levels, or lines."""
    custom = {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal"}} if bars else {}
    colours = {"critical": "purple", "error": "red", "warn": "orange", "info": "green", "debug": "blue"}
    overrides = [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for name, colour in colours.items()
    ]
    target = {"refId": "A", "expr": expr, "legendFormat": "{{level}}" if bars else "", "datasource": {"type": "loki"}}
    defaults = {"custom": custom, "color": {"mode": "palette-classic"}, **({"decimals": 0} if bars else {})}
    return {
        "id": f"volume {expr}",
        "type": "timeseries",
        "title": "",
        "targets": [target],
        "fieldConfig": {"defaults": defaults, "overrides": overrides if bars else []},
    }
