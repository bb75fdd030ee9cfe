"""The panels' elements: each has its room from the beginning, and shows a drawing, a note or an error in it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import markdown2
from nicegui import ui
from nicegui.element import Element

from rectbot.console.panels.draw import Drawing
from rectbot.console.panels.fields import field_of
from rectbot.console.visit import heading
from rectbot.console.widgets import Lines
from rectbot.console.words import Words


class Stats(Element, component="../static/stats.js"):
    """Large values."""


class Grid(Element, component="../static/grid.js"):
    """A table."""


class Card:
    """A panel on the page: title, explanation, and the body that its type needs."""

    def __init__(self, panel: Mapping[str, Any], words: Words) -> None:
        self._panel, self._words = panel, words
        place = panel["gridPos"]
        size = "card panel" if place["w"] > 6 else "card panel small"
        style = f"--x: {place['x'] + 1}; --y: {place['y'] + 1}; --w: {place['w']}; --h: {place['h']}"
        with ui.element("section").classes(size).style(style).props(f"data-panel={panel['id']}"):
            if panel.get("title"):
                with ui.element("header"):
                    heading(panel["title"], 2)
                    self._explain(panel.get("description", ""))
            with ui.element("div").classes("body"):
                self._note = ui.label().classes("note")
                self._build()

    def _explain(self, text: str) -> None:
        """Behind a mark that fingers and keys find as well as a mouse does."""
        if text:
            with ui.element("details").classes("about"):
                with ui.element("summary").props(f"aria-label={_attribute(self._words('panel.about'))}"):
                    ui.label("?")
                ui.label(text).classes("explanation")

    @abstractmethod
    def _build(self) -> None:
        """The body's element."""

    @abstractmethod
    def _draw(self, drawing: Drawing) -> None:
        """Shows the drawing in it."""

    def show(self, drawing: Drawing) -> None:
        """Shows a drawing; where there is no data, what its absence means."""
        absence = field_of(self._panel).no_value
        note = (absence or self._words("panel.none")) if drawing["empty"] else ""
        self._set_note(note, "note")
        self._draw(drawing)

    def fail(self, reason: str) -> None:
        """Shows why there is nothing to show; what was there before stays."""
        self._set_note(self._words("panel.error", error=reason), "note problem")

    def _set_note(self, text: str, classes: str) -> None:
        self._note.classes(replace=classes)
        self._note.set_text(text)


class ChartCard(Card):
    """Time series, gauges, state timelines."""

    def _build(self) -> None:
        self._chart = ui.echart({}).classes("chart").props(f"role=img aria-label={_attribute(self._panel['title'])}")

    def _draw(self, drawing: Drawing) -> None:
        self._chart.props["options"] = drawing["options"]
        self._chart.update()


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
        self._grid = Grid().props(f"label={_attribute(self._panel['title'])}")

    def _draw(self, drawing: Drawing) -> None:
        self._grid.props["columns"] = drawing["columns"]
        self._grid.props["rows"] = drawing["rows"]
        self._grid.update()


class LogsCard(Card):
    """Lines of the log."""

    def _build(self) -> None:
        self._lines = Lines(empty="", label=self._panel["title"])

    def _draw(self, drawing: Drawing) -> None:
        self._lines.show(drawing["lines"])


class TextCard(Card):
    """What the dashboard's author wrote, from our own files."""

    def _build(self) -> None:
        content = self._panel.get("options", {}).get("content", "")
        ui.html(markdown2.markdown(content, safe_mode="escape"), sanitize=False).classes("prose")

    def _draw(self, drawing: Drawing) -> None:
        """It shows the same always."""


class UnknownCard(TextCard):
    """A panel of a type that only Grafana knows."""

    def _build(self) -> None:
        self._set_note(self._words("panel.unknown", type=self._panel["type"]), "note")


CARDS: dict[str, type[Card]] = {
    "timeseries": ChartCard,
    "state-timeline": ChartCard,
    "gauge": ChartCard,
    "stat": StatCard,
    "table": TableCard,
    "logs": LogsCard,
    "text": TextCard,
}


def card(panel: Mapping[str, Any], words: Words) -> Card:
    """The element for a panel, in the slot that is open."""
    return CARDS.get(panel["type"], UnknownCard)(panel, words)


def _attribute(text: str) -> str:
    """A quoted word for `props`."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
