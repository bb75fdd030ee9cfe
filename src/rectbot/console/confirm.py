"""The dialogue before an act: it says what will happen in the state that is in force, and takes a reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from nicegui import ui

from rectbot.console.acts import MAX_WHY, Act, Consequence, NotAllowed, carry_out, consequence
from rectbot.console.buttons import ActButton
from rectbot.console.live import Now
from rectbot.console.outcome import Follower, Outcome
from rectbot.console.visit import Visit, button, heading
from rectbot.console.words import Words
from rectbot.errors import RectbotError

HOURS = {0.5: "30 min", 2: "2 h", 8: "8 h", 24: "24 h"}


class Confirm:
    """One dialogue for all acts of a page; `tell` is told of what comes of them."""

    def __init__(self, visit: Visit, tell: Callable[[Outcome], None]) -> None:
        self._visit, self._tell = visit, tell
        self._dialog = ui.dialog()
        self._act: Act | None = None
        self._question: Question | None = None

    def ask(self, act: Act, now: Now) -> None:
        """Opens it."""
        words = self._visit.words
        if now.snapshot is None:
            return
        spans = {0: words("act.hold.until")} | HOURS if act.name == "hold" else {}
        self._act = act
        title = words(f"act.title.{act.name}", site=act.site)
        self._question = Question(self._visit, self._dialog, title, self._go, spans=spans)
        self._question.say(consequence(words, now.snapshot, act))
        self._dialog.open()

    def show(self, now: Now) -> None:
        """What it would do now, while it is open."""
        if self._act is None or self._question is None or not self._dialog.value:
            return
        words = self._visit.words
        if now.snapshot is None:
            self._question.say(Consequence(words("act.unknown"), self._question.verb, possible=False))
        else:
            self._question.say(consequence(words, now.snapshot, self._act))

    async def _go(self, hours: float, why: str) -> None:
        visit, words, act = self._visit, self._visit.words, self._act
        assert act is not None
        assert self._question is not None
        try:
            before = await visit.desk.store.snapshot()
            if not self._question.holds(consequence(words, before, act)):
                return  # it says so, and asks again
            self._dialog.close()
            changed = await carry_out(visit.desk, visit.auth, visit.session, replace(act, hours=hours), why)
            follower = Follower(visit.desk.store, visit.desk.config, words)
            async for outcome in follower.follow(act, before, changed=changed):
                if visit.client.is_deleted:
                    return
                with visit.client:
                    self._tell(outcome)
        except RectbotError as error:
            self._dialog.close()
            self._tell(Outcome(refusal(words, error), "error"))


class Question:
    """What is to be agreed to. `spans` are hours to choose from, at first `hours`; without them there is no choice.

    `go` gets the hours that are chosen (else 0) and the reason; it closes the dialogue.
    """

    def __init__(
        self,
        visit: Visit,
        dialog: ui.dialog,
        title: str,
        go: Callable[[float, str], Awaitable[None]],
        *,
        spans: Mapping[float, str] | None = None,
        hours: float = 0,
    ) -> None:
        words = visit.words
        self._words, self._shown = words, Consequence("", "")
        dialog.clear()
        dialog.props["aria-label"] = title
        dialog.update()
        attributes = "role=alertdialog aria-modal=true aria-labelledby=dialogue aria-describedby=consequence"
        with dialog, ui.element("div").classes("dialogue").props(attributes):
            with ui.element("div").props("id=dialogue"):
                heading(title, 2)
            self._text = ui.label().classes("consequence").props("id=consequence aria-live=polite")
            self._changed = ui.label().classes("problem").props("role=alert")
            chosen = None
            if spans:
                chosen = ui.select(dict(spans), value=hours, label=words("alert.for"))
                chosen.props("dense outlined options-dense")
            why = ui.input(words("act.why")).props(f"maxlength={MAX_WHY} dense outlined")

            async def agreed() -> None:
                await go(float(chosen.value) if chosen else 0.0, why.value or "")

            with ui.element("div").classes("acts"):
                button(words("act.cancel")).on_click(dialog.close).props("autofocus")
                self._go = ActButton(visit, "", agreed, danger=True)

    @property
    def verb(self) -> str:
        """What stands on the button."""
        return self._shown.verb

    def say(self, found: Consequence) -> None:
        """What would happen, as things stand."""
        if found == self._shown:
            return
        if self._shown.text:
            self._changed.set_text(self._words("act.changed"))
            self._go.renew()
        self._shown = found
        self._text.set_text(found.text)
        self._go.say(found.verb, off=not found.possible)

    def holds(self, found: Consequence) -> bool:
        """Whether what was agreed to is what would happen; if not, that is said instead."""
        same = found == self._shown
        self.say(found)
        return same and found.possible


def refusal(words: Words, error: RectbotError) -> str:
    """Why an act was not done."""
    return words("act.refused") if isinstance(error, NotAllowed) else words("act.failed", error=error)
