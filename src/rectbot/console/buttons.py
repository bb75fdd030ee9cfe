"""Buttons that order something."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from nicegui import ui
from nicegui.element import Element
from nicegui.events import GenericEventArguments

from rectbot.console.visit import Visit


class ActButton(Element, component="static/act.js"):
    """Calls `act` for one click at a time, once for each, and for none that comes late."""

    def __init__(self, visit: Visit, words: str, act: Callable[[], Awaitable[None]], *, danger: bool = False) -> None:
        super().__init__()
        self._visit, self._act = visit, act
        self._ticket = secrets.token_hex(4)
        self._props.update({"words": words, "ticket": self._ticket, "danger": danger, "off": False})
        self.on("act", self._take)

    def say(self, words: str, *, off: bool = False) -> None:
        """What stands on it, and whether it can be used."""
        if (words, off) != (self._props["words"], self._props["off"]):
            self._props.update({"words": words, "off": off})
            self.update()

    def renew(self) -> None:
        """Clicks that are under way count for nothing: what they were for has changed."""
        self._ticket = self._props["ticket"] = secrets.token_hex(4)
        self.update()

    async def _take(self, event: GenericEventArguments) -> None:
        given = event.args
        if not isinstance(given, dict) or given.get("ticket") != self._ticket or self._props["off"]:
            return  # the second of a double click, or one for what is not there any more
        self._ticket = ""
        try:
            if self._visit.looks.is_late(given.get("look")):
                ui.notify(self._visit.words("act.late"), type="warning", multi_line=True)
            else:
                await self._act()
        finally:
            if not self.is_deleted:
                self.renew()
