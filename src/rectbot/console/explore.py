"""Asking Prometheus and the log store anything: a query with completion, its graph and its table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from rectbot.console.address import Address, Query, Zone
from rectbot.console.completion import Completion, names_of
from rectbot.console.panels.ask import View
from rectbot.console.panels.cards import Card, card
from rectbot.console.picker import TimePicker
from rectbot.console.times import TimeRange, asked, last
from rectbot.console.visit import Visit
from rectbot.dashboards.layout import Placed
from rectbot.errors import RectbotError

SOURCES = ("prometheus", "loki")
MOST_QUERY = 4_000


class ExplorePage:
    """One query at a time; all of it stands in the address."""

    def __init__(self, visit: Visit, query: Query) -> None:
        self._visit, self._words = visit, visit.words
        self._zone = Zone(visit)
        self._read(query)
        self._asks = 0

    def _read(self, query: Query) -> None:
        first = {name: values[0] for name, values in query.items() if values}
        self._source = first.get("source", "") if first.get("source") in SOURCES else SOURCES[0]
        self._expr = first.get("expr", "").strip()[:MOST_QUERY]
        self._times = asked(first, last("1h"), time.time(), self._zone.now)

    def build(self) -> None:
        """The page; it asks as soon as the browser is connected."""
        words = self._words
        with ui.element("div").classes("controls"):
            names = {"prometheus": "Prometheus (PromQL)", "loki": "Loki (LogQL)"}
            self._choice = ui.select(names, value=self._source, label=words("explore.source"))
            self._choice.props("dense outlined options-dense").on_value_change(lambda event: self._turn(event.value))
            self._field = Completion(words("explore.query"), self._expr).classes("grow mono")
            self._field.on("ask", lambda event: self._ask(str(event.args or "")))
            self._picker = TimePicker(words, self._zone, self._times, self._set_times)
        with ui.element("div").classes("board"):
            self._graph, self._table = (self._panel(*each) for each in (("timeseries", 0, 9), ("table", 9, 9)))
        self._address = Address(self._visit, "/explore", self._back)
        self._visit.client.on_connect(self._begin)

    def _panel(self, kind: str, top: int, height: int) -> Card:
        panel = {"id": kind, "type": kind, "title": "", "targets": [], "gridPos": {}}
        title = self._words(f"explore.{kind}")
        return card(Placed(panel, kind, 0, top, 24, height), self._words, title, self._picker.zoom)

    async def _begin(self) -> None:
        await self._zone.ask()
        await asyncio.gather(self._offer(), self._changed())

    async def _back(self, query: Query) -> None:
        self._read(query)
        self._choice.set_value(self._source)
        await self._draw()

    async def _turn(self, source: str) -> None:
        if source in SOURCES and source != self._source:
            self._source, self._expr = source, ""
            await asyncio.gather(self._offer(), self._changed())

    async def _ask(self, expr: str) -> None:
        self._expr = expr.strip()[:MOST_QUERY]
        await self._changed()

    async def _set_times(self, times: TimeRange) -> None:
        self._times = times
        await self._changed()

    async def _offer(self) -> None:
        """The names that may be completed."""
        start, end = self._times.at(time.time(), self._zone.now)
        found = await names_of(self._visit.desk.asker, self._source, View((), (), start, end))
        if not self._visit.client.is_deleted:
            self._field.offer(found)

    async def _changed(self) -> None:
        self._address.show(self._query())
        await self._draw()

    def _query(self) -> Iterator[tuple[str, str]]:
        yield "source", self._source
        if self._expr:
            yield "expr", self._expr
        yield "from", self._times.start
        yield "to", self._times.end

    async def _draw(self) -> None:
        self._picker.show(self._times)
        self._field.show(self._expr)
        self._asks += 1
        number = self._asks
        if not self._expr:
            for _, shown in self._cards():
                shown.idle(self._words("explore.hint"))
            return
        view = View((), (), *self._times.at(time.time(), self._zone.now))
        panels = panels_of(self._source, self._expr)
        await asyncio.gather(*(self._draw_one(shown, panels[name], view, number) for name, shown in self._cards()))

    def _cards(self) -> tuple[tuple[str, Card], ...]:
        return ("timeseries", self._graph), ("table", self._table)

    async def _draw_one(self, shown: Card, panel: Mapping[str, Any], view: View, number: int) -> None:
        shown.wait()
        try:
            drawing = await self._visit.desk.artist.draw({"uid": "explore"}, panel, view)
        except RectbotError as error:
            if number == self._asks and not self._visit.client.is_deleted:
                shown.fail(str(error))
        else:
            if number == self._asks and not self._visit.client.is_deleted:
                shown.show(drawing)


def panels_of(source: str, expr: str) -> dict[str, dict[str, Any]]:
    """A graph over time, and a table of the values at its end."""
    target = {"refId": "A", "expr": expr, "datasource": {"type": source}, "legendFormat": ""}
    common = {"title": "", "fieldConfig": {"defaults": {"color": {"mode": "palette-classic"}, "unit": "short"}}}
    table = {**target, "instant": True, "format": "table"}
    return {
        "timeseries": {"id": f"graph {source} {expr}", "type": "timeseries", "targets": [target], **common},
        "table": {"id": f"table {source} {expr}", "type": "table", "targets": [table], **common},
    }


def address(source: str, expr: str, start: float, end: float) -> str:
    """The page with this query, and this time in seconds since 1970."""
    query = {"source": source, "expr": expr, "from": f"{start * 1000:.0f}", "to": f"{end * 1000:.0f}"}
    return f"/explore?{urlencode(query)}"
