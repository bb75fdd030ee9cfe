"""Searching the log, and following it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from nicegui import ui

from rectbot.console.panels.ask import View
from rectbot.console.picker import RANGES
from rectbot.console.visit import Choice, Visit, button
from rectbot.console.widgets import MAX_LINES, Lines, log_lines
from rectbot.dashboards.model import Variable, chosen_pattern, quoted_inside, seconds
from rectbot.errors import RectbotError
from rectbot.logs.client.query import Entry

LEVELS = ("critical", "error", "warn", "info", "debug")
_LABELS = ("site", "job")
_MAX_QUERY = 2_000


class LogPage:
    """The choices make a LogQL query, which can be edited; the query is what is asked."""

    def __init__(self, visit: Visit, asked: Mapping[str, str]) -> None:
        self._visit, self._words = visit, visit.words
        self._asked = asked
        self._stop: Callable[[], None] | None = None
        self._searches = 0
        self._found = ""  # how many lines the search found, in words

    def build(self) -> None:
        """The page; it searches as soon as the browser is connected."""
        words, asked = self._words, self._asked
        with ui.element("div").classes("controls"):
            self._labels = {name: self._select(words(f"logs.{name}"), [], asked.get(name, "")) for name in _LABELS}
            self._level = self._select(words("logs.level"), list(LEVELS), asked.get("level", ""))
            self._text = ui.input(words("logs.text"), value=asked.get("text", "")).props("dense outlined clearable")
            self._text.props(f'debounce=500 placeholder="{words("logs.text.hint")}"').on_value_change(self._compose)
            self._last = ui.select(list(RANGES), value=_known_range(asked.get("last", "")), label=words("logs.last"))
            self._last.props("dense outlined options-dense").on_value_change(self._search)
        with ui.element("div").classes("controls"):
            self._query = ui.input(words("logs.query"), value=asked.get("query", "")[:_MAX_QUERY])
            self._query.props(f"dense outlined maxlength={_MAX_QUERY} spellcheck=false").classes("grow mono")
            self._query.on("keydown.enter", self._search)
            button(words("logs.search")).classes("act").on_click(self._search)
            self._tail = ui.switch(words("logs.tail"), value=True).on_value_change(self._toggle)
        self._note = ui.label().classes("hint").props("role=status")
        with ui.element("section").classes("card"):
            self._lines = Lines(empty="", label=words("nav.logs"), max_lines=MAX_LINES).classes("logs")
        if not self._query.value:
            self._query.set_value(self._composed())
        self._visit.client.on_connect(self._begin)
        self._visit.client.on_delete(self._end_tail)

    def _select(self, label: str, options: list[str], chosen: str) -> Choice:
        choice = Choice(label, options, [value for value in chosen.split(",") if value], self._words("logs.all"))
        choice.on_value_change(self._compose)
        return choice

    def _composed(self) -> str:
        """The query for what is chosen; without a choice, of every bot and part."""
        chosen = {name: select.value for name, select in (*self._labels.items(), ("level", self._level))}
        matchers = [f'{name}=~"{chosen_pattern(values)}"' for name, values in chosen.items() if values]
        matchers = matchers or ['job=~".+"']
        text = (self._text.value or "").replace("\n", " ")
        return f"{{{', '.join(matchers)}}}" + (f' |= "{quoted_inside(text)}"' if text else "")

    async def _compose(self) -> None:
        self._query.set_value(self._composed())
        await self._search()

    async def _begin(self) -> None:
        await asyncio.gather(self._load_choices(), self._search())

    async def _load_choices(self) -> None:
        now = time.time()
        view = View((), (), now - seconds(self._last.value), now)
        for name, select in self._labels.items():
            try:
                found = await self._visit.desk.asker.choices(Variable(name, name, "query", "loki", "", name), view)
            except RectbotError:
                return  # the search says what is wrong
            select.offer(found)

    async def _search(self) -> None:
        words, query = self._words, (self._query.value or "").strip() or self._composed()
        self._end_tail()
        self._searches += 1
        search = self._searches
        chosen = {"query": query, "last": self._last.value}
        self._visit.client.run_javascript(f"history.replaceState(null, '', '/logs?{urlencode(chosen)}')")
        now = time.time()
        try:
            found = await self._visit.desk.asker.log(query, now - seconds(self._last.value), now, MAX_LINES, seconds=0)
        except RectbotError as error:
            self._note.classes(replace="problem").set_text(words("logs.error", error=error))
            self._lines.show([], "")
            return
        if search != self._searches or self._visit.client.is_deleted:
            return  # another was begun meanwhile
        self._found = words("logs.found", count=len(found))
        self._note.classes(replace="hint").set_text(self._found)
        self._lines.show(log_lines(found), words("logs.none"))
        if self._tail.value:
            self._stop = self._visit.desk.tails.follow(query, self._add, self._trouble)

    def _toggle(self) -> None:
        if self._tail.value:
            ui.timer(0, self._search, once=True)
        else:
            self._end_tail()
            self._note.classes(replace="hint").set_text(self._words("logs.paused"))

    def _add(self, entries: list[Entry]) -> None:
        with self._visit.client:
            self._lines.add(log_lines(entries))

    def _trouble(self, reason: str) -> None:
        with self._visit.client:
            self._note.classes(replace="problem" if reason else "hint")
            self._note.set_text(self._words("logs.error", error=reason) if reason else self._found)

    def _end_tail(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None


def _known_range(text: str) -> str:
    return text if text in RANGES else "1h"
