"""Choosing the time that is looked at."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from nicegui import ui

from rectbot.console.address import Zone
from rectbot.console.times import TimeRange, between, last, moment, written
from rectbot.console.visit import button
from rectbot.console.words import Words

RANGES = ("5m", "15m", "30m", "1h", "3h", "6h", "12h", "24h", "2d", "7d", "30d", "90d")
_DAYS = (("today", "now/d", "now/d"), ("yesterday", "now-1d/d", "now-1d/d"), ("week", "now/w", "now/w"))


class TimePicker:
    """A button that says the time, and a menu of ranges, with fields for any other."""

    def __init__(
        self, words: Words, zone: Zone, times: TimeRange, on_change: Callable[[TimeRange], Awaitable[None]]
    ) -> None:
        self._words, self._zone, self._on_change = words, zone, on_change
        self.times = times
        with ui.element("div").classes("time-picker").props(f'role=group aria-label="{words("dashboard.range")}"'):
            button("").props(f'icon=chevron_left aria-label="{words("time.back")}"').on_click(lambda: self._move(0.5))
            self._button = button("").classes("act").props("aria-haspopup=dialog")
            with self._button, ui.menu().classes("time-menu") as self._menu:
                self._fill()
            button("").props(f'icon=chevron_right aria-label="{words("time.forth")}"').on_click(
                lambda: self._move(-0.5)
            )
            wider = button("").props(f'icon=zoom_out aria-label="{words("time.wider")}"')
            wider.on_click(lambda: self._choose(self.times.wider(time.time(), self._zone.now)))
        self.show(times)

    def _fill(self) -> None:
        words = self._words
        with ui.element("div").classes("time-choices"):
            with ui.element("div").classes("quick"):
                for length in RANGES:
                    button(words("time.last", length=length)).on_click(partial(self._choose, last(length)))
                for name, start, end in _DAYS:
                    button(words(f"time.{name}")).on_click(partial(self._choose, TimeRange(start, end)))
            with ui.element("div").classes("exact"):
                self._from = ui.input(words("time.from")).props("dense outlined stack-label spellcheck=false")
                self._to = ui.input(words("time.to")).props("dense outlined stack-label spellcheck=false")
                ui.label(words("time.hint")).classes("hint")
                self._problem = ui.label().classes("problem").props("role=alert")
                button(words("time.apply")).classes("act").on_click(self._apply)
                for field in (self._from, self._to):
                    field.on("keydown.enter", self._apply)

    def show(self, times: TimeRange) -> None:
        """Says this time, and chooses it no more than it is chosen."""
        self.times = times
        start, end = self._text(times.start), self._text(times.end, up=True)
        self._button.set_text(self._words("time.last", length=times.last) if times.last else f"{start} - {end}")
        self._from.set_value(start)
        self._to.set_value(end)

    async def zoom(self, start: Any, end: Any) -> None:
        """To what was dragged over in a chart, in milliseconds; without it further out."""
        if isinstance(start, int | float) and isinstance(end, int | float):
            times = between(start / 1000, max(end / 1000, start / 1000 + 1))
        else:
            times = self.times.wider(time.time(), self._zone.now)
        try:
            times = times.plain(time.time(), self._zone.now)
        except ValueError:
            return  # a message that no chart of ours sends
        await self._on_change(times)

    def _text(self, text: str, *, up: bool = False) -> str:
        if text.startswith("now"):
            return text
        found = moment(text, time.time(), self._zone.now, up=up)
        return text if found is None else written(found, self._zone.now)

    async def _apply(self) -> None:
        wanted = TimeRange(str(self._from.value or "").strip(), str(self._to.value or "").strip())
        try:
            wanted = wanted.plain(time.time(), self._zone.now)
        except ValueError:
            self._problem.set_text(self._words("time.wrong"))
            return
        self._problem.set_text("")
        await self._choose(wanted)

    async def _move(self, share: float) -> None:
        await self._choose(self.times.earlier(time.time(), self._zone.now, share))

    async def _choose(self, times: TimeRange) -> None:
        self._menu.close()
        await self._on_change(times)
