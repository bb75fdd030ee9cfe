"""What was sent of the alerts, and a button that tries the whole way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from nicegui import ui

from rectbot.console.acts import allow, by
from rectbot.console.buttons import ActButton
from rectbot.console.confirm import refusal
from rectbot.console.live import Now
from rectbot.console.messages import Delivery
from rectbot.console.outcome import Outcome
from rectbot.console.visit import Visit
from rectbot.console.widgets import Sentence, moment
from rectbot.errors import RectbotError

_EVERY_SECONDS = 60.0
_MOST = 8


class MessageList:
    """Asks once a minute; `tell` is told of what comes of the test."""

    def __init__(self, visit: Visit, tell: Callable[[Outcome], None]) -> None:
        self._visit, self._words, self._tell = visit, visit.words, tell
        self._due = 0.0
        self._task: asyncio.Future[None] | None = None
        visit.client.on_delete(self._end)
        self._note = Sentence(self._words("message.asked")).classes("hint")
        self._box = ui.element("ul").classes("messages")
        if visit.may_act:
            with ui.element("div").classes("acts"):
                ActButton(visit, self._words("message.test"), self._test)

    def show(self, now: Now) -> None:
        """Called each second; it does not wait."""
        if (silent := now.silent("prometheus")) is not None:
            self._note.set_text(self._words("message.unknown", since=moment(silent.since)))
            self._due = 0.0
        elif time.monotonic() >= self._due and self._task is None:
            self._task = asyncio.ensure_future(self._ask())

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _ask(self) -> None:
        try:
            found = await self._visit.desk.messages.recent()
        except RectbotError as error:
            self._note.set_text(self._words("message.error", error=error))
        else:
            if not self._visit.client.is_deleted:
                self._put(found)
        finally:
            self._task, self._due = None, time.monotonic() + _EVERY_SECONDS

    def _put(self, found: tuple[Delivery, ...]) -> None:
        words = self._words
        sent, failed = sum(each.sent for each in found), sum(each.failed for each in found)
        self._note.set_text(words("message.count", sent=sent, failed=failed) if found else words("message.none"))
        self._box.clear()
        with self._visit.client, self._box:
            for each in found[:_MOST]:
                key = "message.failed" if each.failed else "message.arrived"
                what = ", ".join(each.names) or words("message.something")
                with ui.element("li").classes("error" if each.failed else ""):
                    Sentence(words(key, at=moment(each.at), what=what, count=each.sent))

    async def _test(self) -> None:
        visit, words = self._visit, self._words
        try:
            allow(visit.auth, visit.session)
            self._tell(Outcome(words("message.tests"), "warning"))
            seconds = await visit.desk.messages.test(by(visit.session))
        except RectbotError as error:
            outcome = Outcome(refusal(words, error), "error")
        else:
            outcome = Outcome(words("message.tested", at=moment(time.time()), seconds=f"{seconds:.0f}"))
        if not visit.client.is_deleted:
            with visit.client:
                self._tell(outcome)
        self._due = 0.0
