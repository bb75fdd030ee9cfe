"""A dashboard's page: its variables, its time, its panels."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from rectbot.console.panels.ask import QUANTUM_SECONDS, View
from rectbot.console.panels.cards import Card, card
from rectbot.console.visit import Choice, Visit, button
from rectbot.dashboards.model import Variable, interpolate, panels, seconds, variables
from rectbot.errors import RectbotError

RANGES = ("15m", "1h", "3h", "6h", "12h", "24h", "2d", "7d", "15d")
REFRESHES = ("10s", "30s", "1m", "5m")
_LONGEST_RANGE = 12  # characters
_LATEST = 1e11  # seconds since 1970, some thousand years from now; servers refuse what is later
_ALL = "$__all"  # Grafana's word in an address


class Board:
    """One dashboard in one browser."""

    def __init__(self, visit: Visit, dashboard: Mapping[str, Any], asked: Mapping[str, list[str]]) -> None:
        """`asked` is the address's query: from, to, var-NAME, refresh, as in Grafana's addresses."""
        self._visit, self._words = visit, visit.words
        self._dashboard = dashboard
        self._known = tuple(variables(dashboard))
        self._chosen = {each.name: _asked(each, asked) for each in self._known}
        self._range = _range(asked, dashboard)
        self._fixed = _fixed(asked)
        self._refresh = _refresh(asked, dashboard)
        self._cards: list[tuple[Mapping[str, Any], Card]] = []
        self._selects: dict[str, Choice] = {}
        self._drawing: asyncio.Task[None] | None = None

    async def build(self) -> None:
        """The page; its panels are filled as soon as the browser is connected."""
        with ui.element("div").classes("controls"):
            for variable in self._known:
                self._control(variable)
            self._times()
            with ui.element("nav").classes("links"):
                self._links = [(ui.link(each["title"], "#"), each) for each in self._dashboard.get("links", [])]
        with ui.element("div").classes("board"):
            self._cards = [(panel, card(panel, self._words)) for panel in panels(self._dashboard)]
        self._address()
        self._timer = ui.timer(self._period() or 30.0, self.draw, active=bool(self._period()), immediate=False)
        self._visit.client.on_connect(self._changed)

    def _control(self, variable: Variable) -> None:
        chosen = self._chosen[variable.name]
        if variable.kind == "textbox":
            field = ui.input(variable.label, value=(chosen or ("",))[0])
            field.props("dense outlined debounce=600 clearable")
            field.on_value_change(lambda event: self._choose(variable, [event.value] if event.value else []))
            return
        select = Choice(variable.label, list(variable.choices), chosen or (), self._words("logs.all"))
        select.on_value_change(lambda event: self._choose(variable, event.value))
        self._selects[variable.name] = select

    def _times(self) -> None:
        words = self._words
        ranges = list(dict.fromkeys((*RANGES, self._range)))
        time_select = ui.select({each: each for each in ranges}, value=self._range, label=words("dashboard.range"))
        time_select.props("dense outlined options-dense").on_value_change(lambda event: self._set_range(event.value))
        refreshes = dict.fromkeys(("", *REFRESHES, self._refresh))
        refresh = ui.select(
            {each: each or words("dashboard.off") for each in refreshes},
            value=self._refresh,
            label=words("dashboard.refresh"),
        )
        refresh.props("dense outlined options-dense").on_value_change(lambda event: self._set_refresh(event.value))
        button(words("dashboard.now")).classes("act").on_click(self.draw)

    async def _choose(self, variable: Variable, values: list[str] | None) -> None:
        self._chosen[variable.name] = tuple(values) if values else None
        await self._changed()

    async def _set_range(self, value: str) -> None:
        if value not in RANGES and value != self._range:
            return
        self._range, self._fixed = value, None
        await self._changed()

    async def _set_refresh(self, value: str) -> None:
        if value not in ("", *REFRESHES) and value != self._refresh:
            return
        self._refresh = value
        self._timer.interval = self._period() or 30.0
        self._timer.active = bool(self._period())
        self._address()

    def _period(self) -> float:
        return seconds(self._refresh) if self._refresh else 0.0

    async def _changed(self) -> None:
        self._address()
        await asyncio.gather(self._load_choices(), self.draw())

    async def _load_choices(self) -> None:
        asker, view = self._visit.desk.asker, self._view()
        for variable in self._known:
            if variable.kind != "query":
                continue
            try:
                found = await asker.choices(variable, view)
            except RectbotError:
                continue  # the panels say what is wrong with that server
            self._selects[variable.name].offer(found)

    async def draw(self) -> None:
        """Draws all panels anew; a drawing that is still under way is given up."""
        if self._drawing is not None and not self._drawing.done():
            self._drawing.cancel()
        view = self._view()
        self._drawing = asyncio.ensure_future(self._draw_all(view))
        await asyncio.wait([self._drawing])

    async def _draw_all(self, view: View) -> None:
        await asyncio.gather(*(self._draw_one(panel, each, view) for panel, each in self._cards))

    async def _draw_one(self, panel: Mapping[str, Any], shown: Card, view: View) -> None:
        artist = self._visit.desk.artist
        if not artist.can(panel["type"]):
            return
        try:
            drawing = await artist.draw(self._dashboard, panel, view)
        except RectbotError as error:
            if not self._visit.client.is_deleted:
                shown.fail(str(error))
        else:
            if not self._visit.client.is_deleted:
                shown.show(drawing)

    def _view(self) -> View:
        if self._fixed is not None:
            start, end = self._fixed
        else:
            end = math.floor(time.time() / QUANTUM_SECONDS) * QUANTUM_SECONDS
            start = end - seconds(self._range)
        return View(self._known, tuple(sorted(self._chosen.items())), start, end)

    def _address(self) -> None:
        """Puts what is chosen into the address, so that it can be kept and passed on; and into the links."""
        query = urlencode(list(self._query()))
        address = f"/d/{self._dashboard['uid']}?{query}"
        self._visit.client.run_javascript(f"history.replaceState(null, '', {json.dumps(address)})")
        times = urlencode([(name, value) for name, value in self._query() if name in ("from", "to")])
        view = self._view()
        for link, given in self._links:
            target = interpolate(given["url"], "", self._known, view.values, view.window())
            joint = "&" if "?" in target else "?"
            link.props["href"] = f"{target}{joint}{times}" if given.get("keepTime") else target
            link.update()

    def _query(self) -> Iterator[tuple[str, str]]:
        start, end = (f"now-{self._range}", "now")
        if self._fixed is not None:
            start, end = (f"{moment * 1000:.0f}" for moment in self._fixed)
        yield "from", start
        yield "to", end
        if self._refresh != self._dashboard.get("refresh", ""):
            yield "refresh", self._refresh
        for name, values in self._chosen.items():
            for value in values or ():
                yield f"var-{name}", value


def _asked(variable: Variable, asked: Mapping[str, list[str]]) -> tuple[str, ...] | None:
    values = [value for value in asked.get(f"var-{variable.name}", []) if value and value != _ALL]
    return tuple(values[:50]) or None


def _range(asked: Mapping[str, list[str]], dashboard: Mapping[str, Any]) -> str:
    """How far back is looked, as in `now-6h`; the dashboard's own where the address does not say."""
    for text in (*asked.get("from", [])[:1], dashboard.get("time", {}).get("from", "")):
        length = str(text).removeprefix("now-")[:_LONGEST_RANGE]
        try:
            if str(text).startswith("now-") and 0 < seconds(length) <= 90 * 86_400:
                return length
        except RectbotError:
            continue
    return "6h"


def _refresh(asked: Mapping[str, list[str]], dashboard: Mapping[str, Any]) -> str:
    """How often it is drawn anew; the dashboard's own where the address says nothing that we offer."""
    own = dashboard.get("refresh") or ""
    (wanted,) = asked.get("refresh", [])[:1] or (own,)
    return wanted if wanted in ("", own, *REFRESHES) else own


def _fixed(asked: Mapping[str, list[str]]) -> tuple[float, float] | None:
    """A time between two moments, given in milliseconds as Grafana's addresses do."""
    try:
        start, end = (int(asked[name][0]) / 1000 for name in ("from", "to"))
    except (KeyError, ValueError, IndexError, OverflowError):
        return None
    return (start, end) if 0 < start < end < _LATEST else None
