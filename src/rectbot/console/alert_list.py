"""The firing alerts, and their silences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from nicegui import ui

from rectbot.console.acts import Consequence, allow, by, clean
from rectbot.console.alerts import Alert
from rectbot.console.buttons import ActButton
from rectbot.console.confirm import HOURS, Question, refusal
from rectbot.console.live import Now
from rectbot.console.outcome import Outcome
from rectbot.console.visit import Visit
from rectbot.console.widgets import Sentence, moment
from rectbot.errors import RectbotError


class AlertList:
    """Drawn anew when something changed, which is seldom; `tell` is told of what comes of acts."""

    def __init__(self, visit: Visit, tell: Callable[[Outcome], None]) -> None:
        self._visit, self._tell = visit, tell
        self._words = visit.words
        self._note = Sentence().classes("hint age").props("role=status")
        self._box = ui.element("div").classes("alerts").props("aria-live=polite")
        self._dialog = ui.dialog()
        self._shown: object = None

    def show(self, now: Now) -> None:
        """The alerts as of now; that there are none is said only where it is known."""
        self._note.set_text(" ".join(self._notes(now)))
        blind = now.silent("alertmanager") is not None
        if (shown := (now.alerts, blind)) == self._shown:
            return
        self._shown = shown
        self._box.clear()
        with self._box:
            for alert in now.alerts or ():
                self._row(alert, blind=blind)

    def _notes(self, now: Now) -> Iterator[str]:
        words, firing, telling = self._words, now.silent("prometheus"), now.silent("alertmanager")
        if firing:
            yield words("alert.unknown", since=moment(firing.since))
        if telling:
            yield words("alert.error", error=telling.reason)
        if firing and now.alerts:
            yield words("alert.kept", at=moment(firing.answered or firing.since))
        if now.alerts is None and not firing and not telling:
            yield words("alert.asked")
        if now.alerts == () and not firing and not telling:
            yield words("alert.none")

    def _row(self, alert: Alert, *, blind: bool) -> None:
        words = self._words
        with ui.element("div").classes(f"alert {alert.severity if not alert.silences else 'silenced'}"):
            with ui.element("div"):
                ui.label(alert.name).classes("name")
                ui.label(words.summary(dict(alert.labels), alert.summary or alert.description))
                if alert.summary and alert.description:
                    ui.label(alert.description).classes("more")
                Sentence(" · ".join(self._facts(alert, blind=blind))).classes("hint")
                _runbook(alert, words("alert.runbook"))
            if self._visit.may_act and not blind and alert.told:
                self._act(alert)

    def _facts(self, alert: Alert, *, blind: bool) -> Iterator[str]:
        words = self._words
        yield words.optional(f"severity.{alert.severity}") or alert.severity
        yield f"{words('alert.since')} {moment(alert.since)}"
        if alert.silences:
            yield words("alert.silenced")
        if alert.inhibited:
            yield words("alert.inhibited")
        if not alert.told and not blind:
            yield words("alert.untold")

    def _act(self, alert: Alert) -> None:
        async def silence() -> None:
            self._ask(alert)

        async def unsilence() -> None:
            await self._unsilence(alert)

        key, act = ("alert.unsilence", unsilence) if alert.silences else ("alert.silence", silence)
        ActButton(self._visit, self._words(key), act).props(f'aria-label="{self._words(key)}: {alert.name}"')

    def _ask(self, alert: Alert) -> None:
        words = self._words

        async def go(hours: float, why: str) -> None:
            self._dialog.close()
            await self._silence(alert, timedelta(hours=hours), why)

        title = f"{words('alert.silence')}: {alert.name}"
        question = Question(self._visit, self._dialog, title, go, spans=HOURS, hours=2)
        question.say(Consequence(words("alert.silence.what"), title))
        self._dialog.open()

    async def _silence(self, alert: Alert, duration: timedelta, why: str) -> None:
        visit = self._visit
        try:
            allow(visit.auth, visit.session)
            await visit.desk.alerts.silence(alert, duration, by(visit.session), clean(why) or "-")
            await visit.desk.past.acknowledge(alert, by(visit.session), clean(why))
        except RectbotError as error:
            self._tell(Outcome(refusal(self._words, error), "error"))
        else:
            self._tell(Outcome(self._words("alert.done", name=alert.name)))

    async def _unsilence(self, alert: Alert) -> None:
        visit = self._visit
        try:
            allow(visit.auth, visit.session)
            await visit.desk.alerts.unsilence(alert)
        except RectbotError as error:
            self._tell(Outcome(refusal(self._words, error), "error"))
        else:
            self._tell(Outcome(self._words("alert.undone", name=alert.name)))


def _runbook(alert: Alert, words: str) -> None:
    """A link where the rule names an address; else the place of the text in the repository."""
    if alert.runbook.startswith(("https://", "http://")):
        ui.link(words, alert.runbook, new_tab=True).props("rel=noopener")
    elif alert.runbook:
        ui.label(f"{words}: {alert.runbook}").classes("hint")
