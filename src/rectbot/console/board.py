"""A dashboard's page: its variables, its time, its panels."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from nicegui import ui
from nicegui.element import Element

from rectbot.console.address import Address, Query, Zone
from rectbot.console.choices import Choices
from rectbot.console.explore import SOURCES, address
from rectbot.console.panels.ask import QUANTUM_SECONDS, View
from rectbot.console.panels.cards import Card, card
from rectbot.console.picker import TimePicker
from rectbot.console.reach import Unreachable
from rectbot.console.times import TimeRange, asked
from rectbot.console.visit import Visit, button
from rectbot.dashboards.layout import Placed, Section, sections
from rectbot.dashboards.model import interpolate, lenient_seconds, source_of, step_of, variables
from rectbot.errors import RectbotError

REFRESHES = ("5s", "10s", "30s", "1m", "5m", "15m", "1h")
AUTO = "auto"
_LEAST_REFRESH, _MOST_REFRESH = 5.0, 86_400.0  # seconds
_PATIENCE = 0.3  # seconds, after which a panel says that it is being drawn


class Board:
    """One dashboard in one browser."""

    def __init__(self, visit: Visit, dashboard: Mapping[str, Any], query: Query) -> None:
        """`query` is the address's: from, to, var-NAME, refresh, as in Grafana's addresses."""
        self._visit, self._words = visit, visit.words
        self._dashboard = dashboard
        self._zone = Zone(visit)
        self._choices = Choices(variables(dashboard), visit.words, self._changed)
        self._choices.read(query)
        self._times, self._refresh = self._read(query)
        self._sections: list[Section] = []
        self._toggled: dict[str, bool] = {}  # by section: whether somebody opened or folded it
        self._cards: dict[str, tuple[Placed, Card]] = {}
        self._drawing: asyncio.Task[None] | None = None

    def _read(self, query: Query) -> tuple[TimeRange, str]:
        given = self._dashboard.get("time") or {}
        default = TimeRange(str(given.get("from") or "now-6h"), str(given.get("to") or "now"))
        first = {name: values[0] for name, values in query.items() if values}
        return asked(first, default, time.time(), self._zone.now), refresh_of(first.get("refresh"), self._dashboard)

    def build(self) -> None:
        """The page; its panels are filled as soon as the browser is connected."""
        with ui.element("div").classes("controls"):
            self._choices.build()
            self._picker = TimePicker(self._words, self._zone, self._times, self._set_times)
            self._refreshes()
            with ui.element("nav").classes("links").props(f'aria-label="{self._words("dashboard.links")}"'):
                self._links = [(ui.link(title, "#"), each) for title, each in self._link_list()]
        self._address = Address(self._visit, f"/d/{self._dashboard['uid']}", self._back)
        self._place = ui.element("div").classes("sections")
        self._lay_out()
        self._show_links()
        self._timer = ui.timer(self._period() or 30.0, self.draw, active=bool(self._period()), immediate=False)
        self._visit.client.on_connect(self._begin)

    def _refreshes(self) -> None:
        words = self._words
        self._refresh_select = ui.select(self._refresh_options(), value=self._refresh, label=words("dashboard.refresh"))
        self._refresh_select.props("dense outlined options-dense")
        self._refresh_select.on_value_change(lambda event: self._set_refresh(event.value))
        button(words("dashboard.now")).classes("act").on_click(self.draw)

    def _refresh_options(self) -> dict[str, str]:
        names = {"": self._words("dashboard.off"), AUTO: self._words("dashboard.auto")}
        return {each: names.get(each, each) for each in ("", AUTO, *REFRESHES, self._refresh)}

    async def _begin(self) -> None:
        await self._zone.ask()
        self._picker.show(self._times)
        await self._changed()

    async def _back(self, query: Query) -> None:
        """Back and Forward: the page becomes what the address says."""
        self._choices.read(query)
        self._times, self._refresh = self._read(query)
        self._picker.show(self._times)
        self._refresh_select.set_options(self._refresh_options(), value=self._refresh)
        await self._load_and_draw()

    async def _set_times(self, times: TimeRange) -> None:
        self._times = times
        self._picker.show(times)
        await self._changed()

    def _set_refresh(self, value: str) -> None:
        wanted = refresh_of(value, self._dashboard)
        changed, self._refresh = wanted != self._refresh, wanted
        self._timer.interval = self._period() or 30.0
        self._timer.active = bool(self._period())
        if changed:
            self._address.show(self._query())

    def _period(self) -> float:
        if self._refresh == AUTO:
            start, end = self._span()
            return max(_LEAST_REFRESH, min(300.0, step_of({}, end - start)))
        return lenient_seconds(self._refresh)

    async def _changed(self) -> None:
        self._address.show(self._query())
        self._show_links()
        await self._load_and_draw()

    async def _load_and_draw(self) -> None:
        self._timer.interval = self._period() or 30.0
        if self._choices.decided:
            await asyncio.gather(self._load(), self.draw())
        else:
            await self._load()
            await self.draw()

    async def _load(self) -> None:
        await self._choices.load(self._visit.desk.asker, self._view)
        if not self._visit.client.is_deleted:
            self._lay_out()

    def _lay_out(self) -> None:
        """Builds the sections anew where repeated panels have become others."""
        found = sections(self._dashboard, self._choices.written_out())
        if found == self._sections:
            return
        self._sections, self._cards = found, {}
        self._place.clear()
        with self._place:
            for each in found:
                self._section(each)

    def _section(self, section: Section) -> None:
        if not section.key:
            with ui.element("div").classes("board"):
                self._fill(section)
            return
        with ui.element("section").classes("row-section"):
            is_open = self._is_open(section)
            title = self._titled(section.title, section.scope)
            head = button(f"{title} ({len(section.panels)})").classes("row-head")
            head.props(f"icon=expand_more aria-expanded={'true' if is_open else 'false'}")
            body = ui.element("div").classes("board")
            body.set_visibility(is_open)
            with body:
                if is_open:
                    self._fill(section)
        head.on_click(lambda: self._toggle(section, head, body))

    async def _toggle(self, section: Section, head: ui.button, body: Element) -> None:
        opened = self._toggled[section.key] = not self._is_open(section)
        head.props(f"aria-expanded={'true' if opened else 'false'}")
        body.set_visibility(opened)
        if opened and not any(placed.key in self._cards for placed in section.panels):
            with body:
                self._fill(section)
        if opened:
            await self.draw()

    def _fill(self, section: Section) -> None:
        for placed in section.panels:
            title = self._titled(str(placed.panel.get("title") or ""), placed.scope)
            self._cards[placed.key] = (placed, card(placed, self._words, title, self._picker.zoom))

    def _titled(self, title: str, scope: Sequence[tuple[str, str]]) -> str:
        return _scoped(self._view(), scope).put(title, "")

    def _is_open(self, section: Section) -> bool:
        return not section.key or self._toggled.get(section.key, not section.folded)

    def _visible(self) -> list[tuple[Placed, Card]]:
        keys = {placed.key for each in self._sections if self._is_open(each) for placed in each.panels}
        return [entry for key, entry in self._cards.items() if key in keys]

    async def draw(self) -> None:
        """Draws all panels anew; a drawing that is still under way is given up."""
        if self._drawing is not None and not self._drawing.done():
            self._drawing.cancel()
        self._drawing = asyncio.ensure_future(self._draw_all(self._view()))
        await asyncio.wait([self._drawing])

    async def _draw_all(self, view: View) -> None:
        cards = self._visible()
        drawings = [asyncio.ensure_future(self._draw_one(placed, shown, view)) for placed, shown in cards]
        try:
            if drawings:
                await asyncio.wait(drawings, timeout=_PATIENCE)
            for drawing, (_, shown) in zip(drawings, cards, strict=True):
                if not drawing.done() and not self._visit.client.is_deleted:
                    shown.wait()
            await asyncio.gather(*drawings)
        finally:
            for drawing in drawings:
                drawing.cancel()

    async def _draw_one(self, placed: Placed, shown: Card, view: View) -> None:
        artist, panel = self._visit.desk.artist, placed.panel
        if not artist.can(panel["type"]) or not shown.drawable:
            return
        try:
            drawing = await artist.draw(self._dashboard, panel, _scoped(view, placed.scope))
        except Unreachable:
            if not self._visit.client.is_deleted:
                shown.blind()
        except RectbotError as error:
            if not self._visit.client.is_deleted:
                shown.fail(str(error))
        else:
            if not self._visit.client.is_deleted:
                shown.show(drawing)
                shown.explore(*explored(placed.panel, _scoped(view, placed.scope)))

    def _span(self) -> tuple[float, float]:
        now = math.floor(time.time() / QUANTUM_SECONDS) * QUANTUM_SECONDS
        try:
            return self._times.at(now, self._zone.now)
        except ValueError:
            return now - 6 * 3600, now

    def _view(self) -> View:
        return View(self._choices.known, self._choices.chosen(), *self._span())

    def _query(self) -> Iterator[tuple[str, str]]:
        yield "from", self._times.start
        yield "to", self._times.end
        if self._refresh != (self._dashboard.get("refresh") or ""):
            yield "refresh", self._refresh
        yield from self._choices.query()

    def _link_list(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The dashboard's links; one to all dashboards of a tag is one to each."""
        for each in self._dashboard.get("links") or []:
            if each.get("type") == "dashboards":
                tags = set(each.get("tags") or ())
                for uid, other in self._visit.dashboards.items():
                    if uid != self._dashboard["uid"] and tags <= set(other.get("tags") or ()):
                        yield str(other["title"]), {**each, "url": f"/d/{uid}"}
            elif each.get("url"):
                yield str(each.get("title") or each["url"]), each

    def _show_links(self) -> None:
        """With the time and the variables, where a link is to keep them."""
        view = replace(self._view(), chosen=tuple(sorted(self._linked().items())))
        times = urlencode([("from", self._times.start), ("to", self._times.end)])
        for link, given in self._links:
            target = interpolate(str(given["url"]), "", view.known, view.values, view.window())
            more = [times] if given.get("keepTime") else []
            more += [urlencode(list(self._choices.query()))] if given.get("includeVars") else []
            joint = "&" if "?" in target else "?"
            safe = target.startswith(("/", "https://", "http://")) and not target.startswith(("//", "/\\"))
            link.props["href"] = target + (joint + "&".join(more) if any(more) else "") if safe else "#"
            link.update()

    def _linked(self) -> dict[str, tuple[str, ...] | None]:
        """What is chosen as links write it: all is all, and is not written out."""
        asked_for = {name.removeprefix("var-") for name, _ in self._choices.query()}
        return {name: value if name in asked_for else None for name, value in self._choices.chosen()}


def explored(panel: Mapping[str, Any], view: View) -> tuple[str, ...]:
    """The address of a panel's first query, with its variables' values, where it can be explored."""
    for target in panel.get("targets") or []:
        source = source_of(panel, target, view.known)
        if target.get("expr") and not target.get("hide") and source in SOURCES:
            expr = view.put(str(target["expr"]), source, step_of({}, view.end - view.start))
            return (address(source, expr, view.start, view.end),)
    return ()


def _scoped(view: View, scope: Sequence[tuple[str, str]]) -> View:
    """With the one value of a repeated variable."""
    if not scope:
        return view
    chosen = {**view.values, **{name: (value,) for name, value in scope}}
    return replace(
        view, chosen=tuple(sorted((name, tuple(v) if v is not None else None) for name, v in chosen.items()))
    )


def refresh_of(wanted: str | None, dashboard: Mapping[str, Any]) -> str:
    """How often it is drawn anew: any duration of at least 5 s, auto, or nothing; else the dashboard's own."""
    own = str(dashboard.get("refresh") or "")
    for text in (own if wanted is None else wanted, own):
        if text in ("", AUTO):
            return text
        if _LEAST_REFRESH <= lenient_seconds(text) <= _MOST_REFRESH:
            return text
    return ""
