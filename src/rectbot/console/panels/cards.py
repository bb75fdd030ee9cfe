"""The panels' elements: each has its room from the beginning, and shows a drawing, a note or an error in it."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import markdown2
from nicegui import ui
from nicegui.element import Element

from rectbot.console.panels.draw import Drawing
from rectbot.console.panels.fields import field_of
from rectbot.console.panels.support import complaints
from rectbot.console.visit import heading
from rectbot.console.widgets import Lines, Sentence, moment
from rectbot.console.words import Words
from rectbot.dashboards.layout import Placed

log = logging.getLogger(__name__)
_TABLE = ("time", "from", "to", "name", "value", "state")  # the columns of a chart's table
Zoom = Callable[[Any, Any], Any]  # from one moment to another in milliseconds; of None: further out


class Stats(Element, component="../static/stats.js"):
    """Large values."""


class Bars(Element, component="../static/bars.js"):
    """A bar for each value."""


class Chart(Element, component="../static/chart.js"):
    """An ECharts chart. It tells of `zoom`, from one moment to another, and of `zoomout`."""


class Grid(Element, component="../static/grid.js"):
    """A table."""


class Card:
    """A panel on the page: title, explanation, what is not drawn as in Grafana, and the body that its type needs."""

    drawable = True  # from what servers answer

    def __init__(self, placed: Placed, words: Words, title: str, on_zoom: Zoom | None = None) -> None:
        self._panel, self._words, self._on_zoom = placed.panel, words, on_zoom
        self._title = title
        self._head: Element | None = None
        self._link: ui.link | None = None
        size = "card panel" if placed.w > 6 else "card panel small"
        style = f"--x: {placed.x + 1}; --y: {placed.y + 1}; --w: {placed.w}; --h: {placed.h}"
        self._section = ui.element("section").classes(f"{size} waiting").style(style)
        self._section.props(f"data-panel={_attribute(placed.key)}")
        with self._section:
            missing = complaints(self._panel)
            if title or missing:
                self._head = ui.element("header")
                with self._head:
                    heading(title, 2)
                    self._explain(str(self._panel.get("description") or ""), missing)
            self._age = Sentence().classes("age")
            self._drawn: float | None = None
            with ui.element("div").classes("body"):
                self._note = ui.label(words("panel.loading")).classes("note")
                self._build()
            if self._head is not None:
                with self._head:
                    self._offer()

    def _offer(self) -> None:
        """What the title has beside it, of one kind of panel."""

    def _explain(self, text: str, missing: Sequence[str]) -> None:
        """Behind a mark that fingers and keys find as well as a mouse does."""
        if missing:
            said = self._words("panel.unsupported", what=", ".join(missing))
            self._mark("!", said, self._words("panel.unsupported.short"), "about lacking")
        if text:
            self._mark("?", text, self._words("panel.about"), "about")

    def _mark(self, sign: str, text: str, label: str, classes: str) -> None:
        with ui.element("details").classes(classes):
            with ui.element("summary").props(f"aria-label={_attribute(label)}"):
                ui.label(sign)
            ui.label(text).classes("explanation")

    @abstractmethod
    def _build(self) -> None:
        """The body's element."""

    @abstractmethod
    def _draw(self, drawing: Drawing) -> None:
        """Shows the drawing in it."""

    def idle(self, text: str) -> None:
        """Says why nothing is shown: nothing was asked."""
        self._set_note(text, "note")

    def wait(self) -> None:
        """Says that another drawing is under way; what is there stays."""
        self._section.classes(add="waiting")

    def show(self, drawing: Drawing) -> None:
        """Shows a drawing; where there is no data, what its absence means."""
        absence = field_of(self._panel).no_value
        self._set_note((absence or self._words("panel.none")) if drawing["empty"] else "", "note")
        self._drawn = time.time()
        self._age.set_text("")
        self._draw(drawing)

    def blind(self) -> None:
        """Its server does not answer: data stays, with its age; that there was none does not. A banner says why."""
        self._section.classes(remove="waiting")
        if self._note.text or self._drawn is None:
            self._set_note(self._words("panel.blind"), "note")
        else:
            self._age.set_text(self._words("live.asof", at=moment(self._drawn)))

    def fail(self, reason: str) -> None:
        """Shows why there is nothing to show; what was there before stays."""
        self._set_note(self._words("panel.error", error=reason), "note problem")

    def explore(self, address: str = "") -> None:
        """Gives the title's mark the address where the panel's query can be asked by itself."""
        if address and self._link is None and self._head is not None:
            with self._head:
                self._link = ui.link("↗", address).classes("explore")
                self._link.props(f"aria-label={_attribute(self._words('panel.explore'))}")
        elif address and self._link is not None and self._link.props.get("href") != address:
            self._link.props["href"] = address
            self._link.update()

    def _set_note(self, text: str, classes: str) -> None:
        self._section.classes(remove="waiting")
        self._note.classes(replace=classes)
        self._note.set_text(text)


class ChartCard(Card):
    """Time series, gauges, state timelines."""

    def _build(self) -> None:
        self._chart = Chart().props(f"label={_attribute(self._title)}")
        if self._on_zoom is not None:
            zoom = self._on_zoom
            self._chart.on("zoom", lambda event: zoom(event.args.get("from"), event.args.get("to")))
            self._chart.on("zoomout", lambda _: zoom(None, None))
        self._chart.props["words"] = {name: self._words(f"table.{name}") for name in _TABLE}

    def _offer(self) -> None:
        """The same as a table, for whoever cannot see the picture, and for all who want the numbers."""
        label = _attribute(self._words("panel.table"))
        self._switch = (
            ui.element("button").classes("as-table").props(f"type=button aria-pressed=false aria-label={label}")
        )
        with self._switch:
            ui.label("▤")
        self._switch.on("click", self._turn)

    def _turn(self) -> None:
        shown = not self._chart.props.get("table")
        self._chart.props["table"] = shown
        self._chart.update()
        self._switch.props(f"aria-pressed={'true' if shown else 'false'}")

    def _draw(self, drawing: Drawing) -> None:
        self._chart.props["options"] = drawing["options"]
        self._chart.update()


class BarsCard(Card):
    """A bar for each value."""

    def _build(self) -> None:
        self._bars = Bars().props(f"label={_attribute(self._title)}")

    def _draw(self, drawing: Drawing) -> None:
        self._bars.props["items"] = drawing["items"]
        self._bars.update()


class StatCard(Card):
    """Large values."""

    def _build(self) -> None:
        self._stats = Stats()

    def _draw(self, drawing: Drawing) -> None:
        self._stats.props["items"] = drawing["items"]
        self._stats.update()


class TableCard(Card):
    """A table."""

    def _build(self) -> None:
        self._grid = Grid().props(f"label={_attribute(self._title)}")

    def _draw(self, drawing: Drawing) -> None:
        self._grid.props["header"] = drawing["header"]
        self._grid.props["columns"] = drawing["columns"]
        self._grid.props["rows"] = drawing["rows"]
        self._grid.update()


class LogsCard(Card):
    """Lines of the log."""

    def _build(self) -> None:
        self._lines = Lines(empty="", label=self._title)

    def _draw(self, drawing: Drawing) -> None:
        self._lines.show(drawing["lines"])


class TextCard(Card):
    """What the dashboard's author wrote. Markup is shown as text: whoever wrote the file may not be its reader."""

    drawable = False

    def _build(self) -> None:
        self._set_note("", "note")
        options = self._panel.get("options") or {}
        content = str(options.get("content") or self._panel.get("content") or "")
        if options.get("mode") in ("html", "code"):
            ui.label(content).classes("prose plain-text")
        else:
            ui.html(markdown2.markdown(content, safe_mode="escape"), sanitize=False).classes("prose")

    def _draw(self, drawing: Drawing) -> None:
        """It shows the same always."""


class UnknownCard(TextCard):
    """A panel of a type that only Grafana knows."""

    def _build(self) -> None:
        self._set_note(self._words("panel.unknown", type=self._panel["type"] or "?"), "note")


class BrokenCard(TextCard):
    """A panel whose JSON cannot even be laid out."""

    def _build(self) -> None:
        self._set_note(self._words("panel.error", error=self._panel["reason"]), "note problem")


CARDS: dict[str, type[Card]] = {
    "timeseries": ChartCard,
    "state-timeline": ChartCard,
    "status-history": ChartCard,
    "gauge": ChartCard,
    "piechart": ChartCard,
    "bargauge": BarsCard,
    "stat": StatCard,
    "table": TableCard,
    "logs": LogsCard,
    "text": TextCard,
}


def _kind(placed: Placed) -> type[Card]:
    return BrokenCard if placed.panel.get("reason") else CARDS.get(placed.panel["type"], UnknownCard)


def card(placed: Placed, words: Words, title: str, on_zoom: Zoom | None = None) -> Card:
    """The element for a panel, in the slot that is open; of a broken panel one that says what is wrong."""
    slot = ui.context.slot
    before = len(slot.children)
    try:
        return _kind(placed)(placed, words, title, on_zoom)
    except Exception as error:
        for half in slot.children[before:]:
            half.delete()
        log.exception("console: panel %r cannot be laid out", placed.panel.get("title"))
        reason = f"this panel's JSON cannot be read ({type(error).__name__}: {error})"
        return BrokenCard(replace(placed, panel={"type": "", "reason": reason[:300]}), words, title)


def _attribute(text: str) -> str:
    """A quoted word for `props`."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
