"""The dialogue before an act: it says what will happen, and takes a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nicegui import ui

from rectbot.console.acts import MAX_WHY, Act, NotAllowed, carry_out, consequence
from rectbot.console.visit import Visit, button, heading
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
        self._dialog.clear()
        with self._dialog, ui.element("div").classes("dialogue").props("role=alertdialog aria-labelledby=dialogue"):
            with ui.element("div").props("id=dialogue"):
                heading(words(f"act.title.{act.name}", site=act.site), 2)
            ui.label(consequence(words, snapshot, act)).classes("consequence")
            hours = self._hours() if act.name == "hold" else None
            why = ui.input(words("act.why")).props(f"maxlength={MAX_WHY} dense outlined")
            with ui.element("div").classes("acts"):
                button(words("act.cancel")).on_click(self._dialog.close).props("autofocus")

                async def go() -> None:
                    self._dialog.close()
                    chosen = replace(act, hours=float(hours.value)) if hours else act
                    await self._carry_out(chosen, why.value or "")

                button(words("act.go")).on_click(go).classes("danger")
        self._dialog.open()

    def _hours(self) -> ui.select:
        spans = {0: self._visit.words("act.hold.until")} | HOURS
        return ui.select(spans, value=0, label=self._visit.words("alert.for")).props("dense outlined options-dense")

    async def _carry_out(self, act: Act, why: str) -> None:
        visit, words = self._visit, self._visit.words
        try:
            changed = await carry_out(visit.desk, visit.auth, visit.session, act, why)
        except NotAllowed:
            ui.notify(words("act.refused"), type="negative")
        except RectbotError as error:
            ui.notify(words("act.failed", error=error), type="negative", multi_line=True)
        else:
            ui.notify(words("act.ordered" if changed else "act.was"), type="positive")
