"""The firing alerts, and their silences."""

from __future__ import annotations

from datetime import datetime, timedelta

from nicegui import ui

from rectbot.console.acts import allow, by, clean
from rectbot.console.alerts import Alert
from rectbot.console.confirm import HOURS, Question, ask, say_refused
from rectbot.console.live import Now
from rectbot.console.visit import Visit, button
from rectbot.errors import RectbotError


class AlertList:
    """Drawn anew when something changed, which is seldom."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._words = visit.words
        self._box = ui.element("div").classes("alerts").props("aria-live=polite")
        self._dialog = ui.dialog()
        self._shown: object = None

    def show(self, now: Now) -> None:
        """The alerts as of now."""
        shown = (now.alerts, now.alert_error)
        if shown == self._shown:
            return
        self._shown = shown
        self._box.clear()
        with self._box:
            if now.alert_error:
                ui.label(self._words("alert.error", error=now.alert_error)).classes("problem")
            elif not now.alerts:
                ui.label(self._words("alert.none")).classes("hint")
            for alert in now.alerts:
                self._row(alert)

    def _row(self, alert: Alert) -> None:
        words = self._words
        with ui.element("div").classes(f"alert {alert.severity if not alert.silences else 'silenced'}"):
            with ui.element("div"):
                ui.label(alert.name).classes("name")
                ui.label(alert.summary or alert.description)
                since = datetime.fromtimestamp(alert.since).astimezone().strftime("%m-%d %H:%M")
                notes = [alert.severity, f"{words('alert.since')} {since}"]
                notes += [words("alert.silenced")] if alert.silences else []
                notes += [words("alert.inhibited")] if alert.inhibited else []
                ui.label(" · ".join(notes)).classes("hint")
            if self._visit.may_act and alert.silences:
                button(words("alert.unsilence")).classes("act").on_click(lambda: self._unsilence(alert))
            elif self._visit.may_act:
                button(words("alert.silence")).classes("act").on_click(lambda: self._ask(alert))

    def _ask(self, alert: Alert) -> None:
        words = self._words

        async def go(hours: float, why: str) -> None:
            await self._silence(alert, timedelta(hours=hours), why)

        title = f"{words('alert.silence')}: {alert.name}"
        ask(self._dialog, words, Question(title, words("alert.silence.what"), HOURS, hours=2), go)

    async def _silence(self, alert: Alert, duration: timedelta, why: str) -> None:
        visit = self._visit
        try:
            allow(visit.auth, visit.session)
            await visit.desk.alerts.silence(alert, duration, by(visit.session), clean(why) or "-")
        except RectbotError as error:
            say_refused(self._words, error)
        else:
            ui.notify(self._words("alert.done", name=alert.name), type="positive")

    async def _unsilence(self, alert: Alert) -> None:
        visit = self._visit
        try:
            allow(visit.auth, visit.session)
            await visit.desk.alerts.unsilence(alert)
        except RectbotError as error:
            say_refused(self._words, error)
        else:
            ui.notify(self._words("alert.undone", name=alert.name), type="positive")
