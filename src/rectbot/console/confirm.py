"""The dialogue before an act: it says what will happen, and takes a reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from nicegui import ui

from rectbot.console.acts import MAX_WHY, Act, NotAllowed, carry_out, consequence
from rectbot.console.visit import Visit, button, heading
from rectbot.console.words import Words
from rectbot.errors import RectbotError
from rectbot.failover.events import Snapshot

HOURS = {0.5: "30 min", 2: "2 h", 8: "8 h", 24: "24 h"}


class Confirm:
    """One dialogue for all acts of a page."""

    def __init__(self, visit: Visit, snapshot: Callable[[], Snapshot | None]) -> None:
        self._visit = visit
        self._snapshot = snapshot
        self._dialog = ui.dialog()

    def ask(self, act: Act) -> None:
        """Opens it. The consequence is that of the state at this moment."""
        words, snapshot = self._visit.words, self._snapshot()
        if snapshot is None:
            return

        async def go(hours: float, why: str) -> None:
            await self._carry_out(replace(act, hours=hours), why)

        spans = {0: words("act.hold.until")} | HOURS if act.name == "hold" else {}
        title = words(f"act.title.{act.name}", site=act.site)
        ask(self._dialog, words, Question(title, consequence(words, snapshot, act), spans), go)

    async def _carry_out(self, act: Act, why: str) -> None:
        visit, words = self._visit, self._visit.words
        try:
            changed = await carry_out(visit.desk, visit.auth, visit.session, act, why)
        except RectbotError as error:
            say_refused(words, error)
        else:
            ui.notify(words("act.ordered" if changed else "act.was"), type="positive")


@dataclass(frozen=True)
class Question:
    """What is to be agreed to. `spans` are hours to choose from, at first `hours`; without them there is no choice."""

    title: str
    consequence: str
    spans: Mapping[float, str]
    hours: float = 0


def ask(dialog: ui.dialog, words: Words, question: Question, go: Callable[[float, str], Awaitable[None]]) -> None:
    """Opens the dialogue; `go` gets the hours that are chosen (else 0) and the reason, when the operator agrees."""
    dialog.clear()
    with dialog, ui.element("div").classes("dialogue").props("role=alertdialog aria-labelledby=dialogue"):
        with ui.element("div").props("id=dialogue"):
            heading(question.title, 2)
        ui.label(question.consequence).classes("consequence")
        hours = None
        if spans := dict(question.spans):
            hours = ui.select(spans, value=question.hours, label=words("alert.for"))
            hours.props("dense outlined options-dense")
        why = ui.input(words("act.why")).props(f"maxlength={MAX_WHY} dense outlined")

        async def agreed() -> None:
            dialog.close()
            await go(float(hours.value) if hours else 0.0, why.value or "")

        with ui.element("div").classes("acts"):
            button(words("act.cancel")).on_click(dialog.close).props("autofocus")
            button(words("act.go")).on_click(agreed).classes("danger")
    dialog.open()


def say_refused(words: Words, error: RectbotError) -> None:
    """Shows why an act was not done."""
    text = words("act.refused") if isinstance(error, NotAllowed) else words("act.failed", error=error)
    ui.notify(text, type="negative", multi_line=True)
